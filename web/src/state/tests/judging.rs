//! Laws of judging: what a rating holds, consent, change, undo.

use kudos_schema::{PairChoice, Rating, Thumb, Verdict};

use super::*;
use crate::event::Panel;
use crate::state::desk::MAX_PROMPT_BYTES;
use crate::state::judging::{Judgeable, REASONS};
use crate::state::record::{CONSENT_VERSION, MAX_EDIT_BYTES, MAX_REMARK_BYTES, outgoing};

fn single() -> Visit {
    Visit::ready_with(Visit::single(), catalog(1000, None))
}

#[test]
fn every_rating_is_valid_and_complete() {
    let check = |mode, events: Vec<Event>, verdict: Verdict| {
        let memory = Memory { mode, ..Memory::default() };
        let opening = Opening { memory, browser_locale: "zh-CN".into(), ..Opening::default() };
        let mut visit = Visit::ready_with(opening, catalog(1000, None));
        match mode {
            Mode::Pair => visit.pair(),
            Mode::Single => visit.one(),
        }
        visit.now_ms += 4000.0;
        events.into_iter().for_each(|event| drop(visit.send(event)));
        let rating = visit.rating();
        assert_eq!(rating.validate(), Ok(()), "{verdict:?}");
        assert_eq!(rating.verdict, verdict);
        assert_eq!(rating.page_version, env!("CARGO_PKG_VERSION"));
        assert_eq!((rating.backend.as_str(), rating.task.as_str()), ("cpu", "dialogue"));
        assert_eq!((rating.policy.name.as_str(), rating.locale.as_str()), (POLICY, "zh"));
        assert_eq!(rating.policy.sha256, "a".repeat(64));
        assert_eq!(
            (&rating.rater, &rating.consent),
            (&visit.state.memory.rater, &CONSENT_VERSION.to_owned())
        );
        assert!((3.9..4.5).contains(&rating.seconds), "{}", rating.seconds);
        assert_eq!(rating.prompt.token_ids, [1, 2, 3]);
        assert_eq!(rating.samples[0].logprobs_drawn, [-0.5, -0.5]);
        assert_eq!(rating.samples[0].sampling.top_k, 40);
        assert_eq!(kept(&visit.effects), [&StoredRating { rating: rating.clone(), sent: false }]);
    };
    for value in [PairChoice::Left, PairChoice::Right, PairChoice::Tie, PairChoice::BothBad] {
        check(Mode::Pair, vec![Event::PairJudged(value)], Verdict::Pair(value));
    }
    for value in [Thumb::Up, Thumb::Down] {
        check(Mode::Single, vec![Event::Thumbed(value)], Verdict::Thumbs(value));
    }
    for value in 1..=5 {
        check(Mode::Single, vec![Event::Starred(value)], Verdict::Stars(value));
    }
    let edit = vec![Event::EditOpened, Event::EditTyped("better".into()), Event::EditSaved];
    check(Mode::Single, edit, Verdict::Edit("better".into()));
    let report = vec![Event::ReportToggled(0), Event::SkipPressed];
    check(Mode::Single, report.clone(), Verdict::Report);
    check(Mode::Pair, report, Verdict::Report);
}

#[test]
fn the_largest_that_can_be_typed_is_valid_also_when_masked() {
    // Each of these becomes longer when it is masked.
    let worst = "www. a@b.c 123456\n";
    let typed = |bytes: usize| worst.repeat(bytes / worst.len() + 2);
    let mut visit = single();
    visit.send(Event::PromptTyped(typed(MAX_PROMPT_BYTES)));
    visit.one();
    visit.send(Event::RemarkTyped(typed(MAX_REMARK_BYTES)));
    REASONS.iter().for_each(|reason| drop(visit.send(Event::ReasonToggled(reason))));
    visit.send(Event::EditOpened);
    visit.send(Event::EditTyped(typed(MAX_EDIT_BYTES)));
    visit.send(Event::EditSaved);
    let rating = visit.rating();
    assert_eq!(rating.validate(), Ok(()));
    assert_eq!(outgoing(rating).validate(), Ok(()));
}

#[test]
fn a_verdict_before_consent_is_completed_after_it() {
    let mut visit = Visit::before_consent(Opening::default(), catalog(1000, None));
    visit.pair();
    visit.now_ms += 2000.0;
    let effects = visit.send(Event::PairJudged(PairChoice::Right));
    assert_eq!(effects, [Effect::Focus("consent-yes")]);
    assert!(visit.state.ratings.is_empty());
    visit.now_ms += 60_000.0;
    visit.send(Event::ConsentGiven);
    let rating = visit.rating();
    assert_eq!(rating.verdict, Verdict::Pair(PairChoice::Right));
    assert_eq!(rating.consent, CONSENT_VERSION);
    assert!(rating.seconds < 3.0, "reading the question is no part of judging");
    visit.send(Event::PairJudged(PairChoice::Left));
    assert!(visit.state.pending.is_none(), "it is asked once");
}

#[test]
fn without_consent_nothing_is_kept() {
    let mut visit = Visit::before_consent(Opening::default(), catalog(1000, None));
    visit.pair();
    visit.send(Event::PairJudged(PairChoice::Left));
    visit.key("ArrowRight");
    assert!(visit.state.pending.is_some(), "keys do nothing behind the question");
    let effects = visit.key("Escape");
    assert_eq!(effects, [Effect::Focus("judge-left")]);
    visit.send(Event::ReasonToggled("clear"));
    visit.send(Event::RemarkTyped("Hm".into()));
    assert!(kept(&visit.effects).is_empty() && visit.state.ratings.is_empty());
    visit.send(Event::PairJudged(PairChoice::Left));
    assert!(visit.state.pending.is_some(), "the next verdict asks again");
}

#[test]
fn judging_again_replaces_the_rating_under_its_id() {
    let mut visit = Visit::ready();
    visit.pair();
    visit.send(Event::PairJudged(PairChoice::Left));
    let first = visit.rating().clone();
    visit.send(Event::PairJudged(PairChoice::BothBad));
    visit.send(Event::ReasonToggled("wrong"));
    visit.send(Event::ReasonToggled("clear"));
    visit.send(Event::ReasonToggled("clear"));
    visit.send(Event::RemarkTyped(" why ".into()));
    visit.send(Event::ReportToggled(1));
    let last = visit.rating();
    assert_eq!(last.id, first.id);
    assert_eq!(last.verdict, Verdict::Pair(PairChoice::BothBad));
    assert_eq!(
        (last.reasons.as_slice(), last.remark.as_deref()),
        (&["wrong".into()][..], Some("why"))
    );
    assert_eq!(last.reported, [1]);
    assert_eq!(&kept(&visit.effects)[0].rating, last);
}

#[test]
fn a_verdict_that_does_not_fit_says_nothing() {
    let mut visit = Visit::ready();
    visit.send(Event::PairJudged(PairChoice::Left));
    visit.send(Event::WritePressed);
    visit.writes(&["first"]);
    visit.send(Event::PairJudged(PairChoice::Left));
    assert_eq!(visit.state.judgeable(), Judgeable::NotYet);
    visit.writes(&["second"]);
    visit.send(Event::Starred(3));
    visit.send(Event::Thumbed(Thumb::Up));
    visit.send(Event::EditOpened);
    assert!(visit.state.ratings.is_empty());
    let mut visit = single();
    visit.one();
    visit.send(Event::PairJudged(PairChoice::Left));
    visit.send(Event::Starred(0));
    visit.send(Event::Starred(6));
    visit.send(Event::EditOpened);
    visit.send(Event::EditTyped("  ".into()));
    visit.send(Event::EditSaved);
    assert!(visit.state.ratings.is_empty());
}

#[test]
fn an_edit_begins_with_what_was_written_and_can_be_given_up() {
    let mut visit = single();
    visit.one();
    visit.send(Event::EditOpened);
    let edit = |visit: &Visit| visit.state.round.as_ref().unwrap().edit.clone();
    assert_eq!(edit(&visit).as_deref(), Some("one text"));
    visit.send(Event::EditClosed);
    assert_eq!(edit(&visit), None);
    assert!(visit.state.ratings.is_empty());
}

#[test]
fn undo_takes_the_last_rating_back_and_shows_its_texts_again() {
    let mut visit = Visit::ready();
    visit.pair();
    visit.send(Event::PairJudged(PairChoice::Right));
    let (id, texts) = (visit.rating().id.clone(), visit.place_texts());
    visit.send(Event::PromptTyped("And then?".into()));
    visit.send(Event::WritePressed);
    visit.begins(&["third"]);
    let effects = visit.send(Event::UndoPressed);
    assert!(effects.contains(&Effect::ForgetRatings(vec![id.clone()])));
    assert_eq!(asks(&effects), ["stop Cpu"]);
    assert!(visit.state.ratings.is_empty());
    assert_eq!(visit.place_texts(), texts);
    assert!(visit.state.desk.conversation.is_empty(), "the conversation is where it was");
    visit.send(Event::PairJudged(PairChoice::Left));
    assert_ne!(visit.rating().id, id);
    assert_eq!(visit.rating().validate(), Ok(()));
}

#[test]
fn undo_goes_back_step_by_step_and_stops_at_what_is_sent() {
    let mut visit = Visit::ready_with(Opening::default(), catalog(1000, Some(COLLECTOR)));
    visit.send(Event::TaskChosen("summary".into()));
    for _ in 0..3 {
        visit.pair();
        visit.send(Event::PairJudged(PairChoice::Left));
    }
    let first = visit.state.ratings[0].rating.id.clone();
    visit.send(Event::Posted(Ok(vec![first.clone()])));
    for left in [2, 1, 1, 1] {
        visit.send(Event::UndoPressed);
        assert_eq!(visit.state.ratings.len(), left);
    }
    assert_eq!(visit.state.ratings[0].rating.id, first);
    assert!(!visit.state.can_undo());
}

#[test]
fn deleted_ratings_are_forgotten_and_can_be_brought_back() {
    let mut visit = Visit::ready();
    visit.pair();
    visit.send(Event::PairJudged(PairChoice::Left));
    let id = visit.rating().id.clone();
    let effects = visit.send(Event::RatingsDeleted);
    assert!(effects.contains(&Effect::ForgetRatings(vec![id.clone()])));
    assert!(visit.state.ratings.is_empty());
    let effects = visit.send(Event::UndoPressed);
    assert_eq!(kept(&effects).len(), 1);
    assert_eq!(visit.rating().id, id);
}

#[test]
fn what_leaves_the_page_is_masked_and_what_stays_is_as_typed() {
    let mut visit = single();
    let private = "Write to ann@example.org";
    visit.send(Event::PromptTyped(private.into()));
    visit.send(Event::WritePressed);
    visit.writes(&["See", " www.example.org"]);
    visit.send(Event::RemarkTyped("Call 1234567".into()));
    visit.send(Event::EditOpened);
    visit.send(Event::EditTyped("See https://example.org".into()));
    visit.send(Event::EditSaved);
    let rating = visit.rating();
    assert_eq!(rating.prompt.messages[1].content, private);
    let sent = outgoing(rating);
    assert_eq!(sent.prompt.messages[1].content, "Write to [e-mail]");
    assert_eq!(sent.remark.as_deref(), Some("Call [number]"));
    assert_eq!(sent.verdict, Verdict::Edit("See [link]".into()));
    assert_eq!(sent.samples, rating.samples, "the record of what was drawn is exact");
    assert_eq!(sent.prompt.token_ids, rating.prompt.token_ids);
}

#[test]
fn plain_text_is_masked_too() {
    let mut visit = single();
    visit.send(Event::TaskChosen("sentences".into()));
    visit.send(Event::PromptTyped("My mail is ann@example.org".into()));
    visit.one();
    visit.send(Event::Starred(4));
    assert_eq!(outgoing(visit.rating()).prompt.text, "My mail is [e-mail]");
}

#[test]
fn ids_are_unique_and_sort_by_time() {
    let mut visit = Visit::ready();
    visit.send(Event::TaskChosen("summary".into()));
    for _ in 0..20 {
        visit.pair();
        visit.send(Event::PairJudged(PairChoice::Left));
    }
    let ids: Vec<&str> = visit.state.ratings.iter().map(|r| r.rating.id.as_str()).collect();
    assert!(ids.is_sorted_by(|one, other| one < other), "{ids:?}");
}

#[test]
fn keys_do_what_the_buttons_do() {
    let check = |mode: Mode, key: &str, expected: Option<Verdict>| {
        let memory = Memory { mode, ..Memory::default() };
        let opening = Opening { memory, ..Opening::default() };
        let mut visit = Visit::ready_with(opening, catalog(1000, None));
        visit.key("w");
        visit.writes(&["one"]);
        if mode == Mode::Pair {
            visit.writes(&["two"]);
        }
        visit.key(key);
        let verdict = visit.state.ratings.first().map(|stored| stored.rating.verdict.clone());
        assert_eq!(verdict, expected, "{mode:?} {key}");
    };
    let pair = |value| Some(Verdict::Pair(value));
    check(Mode::Pair, "ArrowLeft", pair(PairChoice::Left));
    check(Mode::Pair, "1", pair(PairChoice::Left));
    check(Mode::Pair, "ArrowRight", pair(PairChoice::Right));
    check(Mode::Pair, "2", pair(PairChoice::Right));
    check(Mode::Pair, "=", pair(PairChoice::Tie));
    check(Mode::Pair, "x", pair(PairChoice::BothBad));
    check(Mode::Pair, "5", None);
    check(Mode::Single, "+", Some(Verdict::Thumbs(Thumb::Up)));
    check(Mode::Single, "-", Some(Verdict::Thumbs(Thumb::Down)));
    for value in 1..=5 {
        check(Mode::Single, &value.to_string(), Some(Verdict::Stars(value)));
    }
    check(Mode::Single, "ArrowLeft", None);
    check(Mode::Single, "q", None);
}

#[test]
fn keys_close_what_is_in_front_and_can_be_turned_off() {
    let mut visit = Visit::ready();
    visit.key("?");
    assert_eq!(visit.state.panel, Some(Panel::Help));
    visit.key("Escape");
    assert_eq!(visit.state.panel, None);
    visit.key("w");
    assert_eq!(asks(&visit.key("Escape")), ["stop Cpu"]);
    visit.ends(EndReason::Interrupted);
    visit.key("s");
    assert!(visit.state.round.is_none());
    visit.key("c");
    assert!(visit.state.memory.colored);
    visit.send(Event::PromptTyped("Hi".into()));
    visit.pair();
    visit.key("r");
    visit.key("R");
    assert_eq!(visit.state.round.as_ref().unwrap().reported, [0, 1]);
    visit.key("1");
    visit.key("u");
    assert!(visit.state.ratings.is_empty());
    visit.send(Event::ShortcutsToggled);
    visit.key("1");
    assert!(visit.state.ratings.is_empty());
    visit.send(Event::PanelToggled(Panel::Help));
    visit.key("Escape");
    assert_eq!(visit.state.panel, None, "Escape is no single character");
}

#[test]
fn a_policy_that_writes_nonsense_numbers_gives_no_rating_but_a_sentence() {
    let mut visit = single();
    visit.send(Event::WritePressed);
    let (kind, request) = visit.asked();
    visit.reply(kind, Reply::Began { id: request.id, prompt_ids: vec![1] });
    let broken = Written { logprob_full: f32::NAN, ..token(5, "x") };
    visit.reply(kind, Reply::Wrote { id: request.id, tokens: vec![broken] });
    visit.ends(EndReason::Stop);
    visit.send(Event::Starred(5));
    assert!(visit.state.ratings.is_empty() && kept(&visit.effects).is_empty());
    assert!(visit.state.problem.is_some());
}

/// A rating read back from storage is shown, counted and exported as any other.
#[test]
fn ratings_of_an_earlier_visit_are_there() {
    let mut visit = Visit::ready();
    visit.pair();
    visit.send(Event::PairJudged(PairChoice::Left));
    let rating: Rating = visit.rating().clone();
    let ratings = vec![StoredRating { rating, sent: false }];
    let again = Visit::ready_with(Opening { ratings, ..Opening::default() }, catalog(1000, None));
    assert_eq!(again.state.ratings.len(), 1);
    assert_eq!(again.state.n_of_session(), 0);
}
