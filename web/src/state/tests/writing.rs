//! Laws of writing: order, stop, prompts, conversation, branches.

use kudos_schema::{Alternative, Failure, FailureKind, PairChoice, Request};

use super::*;
use crate::event::Setting;
use crate::state::inspection::Answer;
use crate::state::problem::Problem;
use crate::state::settings::SEEDS;

#[test]
fn left_and_right_are_a_fair_coin_and_the_record_says_which() {
    let mut first_left = 0;
    for dice in 0..400_u64 {
        let mut visit = Visit::ready();
        visit.shake(dice.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        visit.send(Event::WritePressed);
        let first = visit.asked().1.seed;
        visit.writes(&["first"]);
        let second = visit.asked().1.seed;
        visit.writes(&["second"]);
        assert_eq!(second, first + 1);
        visit.send(Event::PairJudged(PairChoice::Left));
        let shown = visit.place_texts();
        let recorded: Vec<&str> = visit.rating().samples.iter().map(|s| s.text.as_str()).collect();
        assert_eq!(recorded, shown);
        let seed_of_left = if shown[0] == "first" { first } else { second };
        assert_eq!(visit.rating().samples[0].seed, seed_of_left);
        first_left += u32::from(shown[0] == "first");
    }
    // 5 standard deviations of 400 throws.
    assert!((150..=250).contains(&first_left), "{first_left}");
}

#[test]
fn one_text_is_written_after_the_other() {
    let mut visit = Visit::ready();
    let effects = visit.send(Event::WritePressed);
    assert_eq!(asks(&effects), ["write Cpu"]);
    assert!(asks(&visit.send(Event::WritePressed)).is_empty(), "pressed twice is pressed once");
    visit.begins(&["first"]);
    let effects = visit.ends(EndReason::Length);
    assert_eq!(asks(&effects), ["write Cpu"]);
    visit.begins(&["second"]);
    assert!(asks(&visit.ends(EndReason::Stop)).is_empty());
}

#[test]
fn nothing_is_written_before_the_policy_is_there() {
    let mut visit = Visit::opened(Opening::default());
    visit.send(Event::CatalogCame(Ok(catalog(1000, None))));
    assert!(asks(&visit.send(Event::WritePressed)).is_empty());
    assert!(visit.state.round.is_none());
}

#[test]
fn stop_ignores_what_arrives_later_and_waits_for_the_engine() {
    let mut visit = Visit::ready();
    visit.send(Event::WritePressed);
    visit.begins(&["one"]);
    let effects = visit.send(Event::StopPressed);
    assert_eq!(asks(&effects), ["stop Cpu"]);
    let round = visit.state.round.as_ref().unwrap();
    assert!(!round.is_busy(), "it is stopped at once");
    let (kind, request) = visit.asked();
    visit.reply(kind, Reply::Wrote { id: request.id, tokens: vec![token(99, " late")] });
    assert!(!visit.place_texts().concat().contains("late"));
    visit.send(Event::PromptTyped("Anew".into()));
    assert!(asks(&visit.send(Event::WritePressed)).is_empty(), "the engine still writes");
    let (kind, reason) = (EngineKind::Cpu, EndReason::Interrupted);
    let (rest, seconds, reads) = (String::new(), 0.1, 1);
    let effects = visit.reply(kind, Reply::Ended { id: request.id, reason, rest, seconds, reads });
    assert_eq!(asks(&effects), ["write Cpu"]);
}

#[test]
fn a_stopped_text_can_be_rated_as_one_and_is_marked() {
    let mut visit = Visit::ready_with(Visit::single(), catalog(1000, None));
    visit.send(Event::WritePressed);
    visit.begins(&["one"]);
    visit.send(Event::StopPressed);
    visit.send(Event::Starred(2));
    assert_eq!(visit.rating().samples[0].end_reason, EndReason::Interrupted);
    assert_eq!(visit.rating().validate(), Ok(()));
}

#[test]
fn an_empty_prompt_is_refused_with_a_sentence() {
    let mut visit = Visit::ready();
    visit.send(Event::PromptTyped(" \n".into()));
    let effects = visit.send(Event::WritePressed);
    assert_eq!(effects, [Effect::Focus("prompt")]);
    assert_eq!(visit.state.problem, Some(Problem::EmptyPrompt));
    visit.send(Event::PromptTyped("Hi".into()));
    assert_eq!(visit.state.problem, None);
}

#[test]
fn each_task_asks_in_its_own_form() {
    let check = |task: &str, roles: &[&str], text: &str| {
        let mut visit = Visit::ready();
        visit.send(Event::TaskChosen(task.into()));
        visit.send(Event::PromptTyped("Say this ".into()));
        visit.send(Event::WritePressed);
        let (_, request) = visit.asked();
        let found: Vec<&str> = request.messages.iter().map(|turn| turn.role.as_str()).collect();
        assert_eq!(found, roles, "{task}");
        assert_eq!(request.text, text, "{task}");
        if let [system, user] = request.messages.as_slice() {
            assert_eq!((system.content.as_str(), user.content.as_str()), (task, "Say this"));
        }
    };
    check("dialogue", &["system", "user"], "");
    check("triples", &["system", "user"], "");
    check("summary", &["system", "user"], "");
    check("sentences", &[], "Say this");
}

#[test]
fn the_winner_goes_on_in_the_conversation() {
    let winners = [
        (PairChoice::Left, 0),
        (PairChoice::Right, 1),
        (PairChoice::Tie, 0),
        (PairChoice::BothBad, 0),
    ];
    for (choice, place) in winners {
        let mut visit = Visit::ready();
        visit.pair();
        let texts = visit.place_texts();
        visit.send(Event::PairJudged(choice));
        visit.send(Event::PromptTyped("And then?".into()));
        visit.send(Event::WritePressed);
        let said: Vec<String> =
            visit.asked().1.messages.into_iter().map(|turn| turn.content).collect();
        assert_eq!(said, ["dialogue", "Hello.", &texts[place], "And then?"], "{choice:?}");
    }
}

#[test]
fn a_skipped_pair_goes_on_with_the_left_text_and_a_new_conversation_with_none() {
    let mut visit = Visit::ready();
    visit.pair();
    let left = visit.place_texts().remove(0);
    visit.send(Event::SkipPressed);
    assert!(visit.state.round.is_none() && visit.state.ratings.is_empty());
    assert_eq!(visit.state.desk.conversation[1].content, left);
    visit.send(Event::NewConversation);
    visit.send(Event::PromptTyped("Anew".into()));
    visit.send(Event::WritePressed);
    assert_eq!(visit.asked().1.messages.len(), 2);
}

#[test]
fn a_conversation_never_outgrows_a_rating() {
    let mut visit = Visit::ready();
    let long = "x".repeat(600);
    for _ in 0..80 {
        visit.send(Event::PromptTyped(long.clone()));
        visit.send(Event::WritePressed);
        visit.writes(&[&long]);
        visit.writes(&[&long]);
        visit.send(Event::PairJudged(PairChoice::Left));
        let rating = &visit.state.ratings.last().unwrap().rating;
        assert_eq!(rating.validate(), Ok(()));
        let turns = &rating.prompt.messages[1..];
        assert_eq!(turns[0].role, "user", "it begins with the visitor");
        assert_eq!(turns.len() % 2, 1);
    }
}

#[test]
fn settings_reach_the_request_and_wrong_ones_are_named() {
    let mut visit = Visit::ready();
    let settings = [
        (Setting::Temperature, "0.5"),
        (Setting::TopK, "7"),
        (Setting::TopP, "0.9"),
        (Setting::Length, "12"),
        (Setting::Seed, "42"),
    ];
    for (setting, value) in settings {
        visit.send(Event::SettingTyped(setting, value.into()));
    }
    visit.send(Event::WritePressed);
    let (_, request) = visit.asked();
    assert_eq!(request.seed, 42);
    let sampling = request.sampling;
    assert_eq!((sampling.temperature, sampling.top_k, sampling.top_p), (0.5, 7, 0.9));
    assert_eq!(sampling.max_completion_length, 12);
    let wrong = [
        (Setting::Temperature, "-1"),
        (Setting::Temperature, "NaN"),
        (Setting::TopK, "1.5"),
        (Setting::TopP, "0"),
        (Setting::TopP, "2"),
        (Setting::Length, "0"),
        (Setting::Length, "257"),
        (Setting::Seed, "9007199254740991"),
    ];
    for (setting, value) in wrong {
        let mut visit = Visit::ready();
        visit.send(Event::SettingTyped(setting, value.into()));
        assert!(asks(&visit.send(Event::WritePressed)).is_empty(), "{setting:?} {value}");
        assert_eq!(visit.state.problem, Some(Problem::Setting(setting)), "{value}");
    }
}

#[test]
fn every_seed_is_exact_in_javascript() {
    let mut visit = Visit::ready();
    visit.send(Event::SettingTyped(Setting::Seed, (SEEDS - 1).to_string()));
    visit.send(Event::WritePressed);
    visit.writes(&["a"]);
    assert_eq!(visit.asked().1.seed, (1 << 53) - 1);
    for dice in 0..200 {
        let mut visit = Visit::ready();
        visit.shake(dice << 40);
        visit.send(Event::WritePressed);
        assert!(visit.asked().1.seed < SEEDS);
    }
}

#[test]
fn a_prompt_too_long_comes_back_into_the_field() {
    let mut visit = Visit::ready();
    visit.send(Event::PromptTyped("Much".into()));
    visit.send(Event::WritePressed);
    let (kind, request) = visit.asked();
    let (id, cause, detail) = (Some(request.id), FailureKind::PromptTooLong, String::new());
    visit.reply(kind, Reply::Failed(Failure { id, cause, detail }));
    assert!(matches!(visit.state.problem, Some(Problem::Writing { .. })));
    assert_eq!(visit.state.desk.prompt, "Much");
    assert!(visit.state.round.is_none());
}

#[test]
fn another_prompt_is_another_one_of_the_policys() {
    let mut visit = Visit::ready();
    for expected in ["What is a tree?", "Hello.", "What is a tree?"] {
        visit.send(Event::AnotherPrompt);
        assert_eq!(visit.state.desk.prompt, expected);
    }
}

/// Looks at the last token of the left text and knows its alternatives.
fn looked_at(visit: &mut Visit) -> Vec<Effect> {
    visit.send(Event::ColorToggled);
    let effects = visit.send(Event::TokenChosen(0, 1));
    let Some(inspection) = &visit.state.inspection else { panic!("a token is looked at") };
    let Answer::Asked(kind, id) = inspection.answer else { panic!("the engine is asked") };
    let list = [(10, "one"), (77, " other")].map(|(id, text)| Alternative {
        id,
        text: text.into(),
        logprob_drawn: None,
        logprob_full: -3.0,
    });
    visit.reply(kind, Reply::Alternatives { id, list: list.into() });
    effects
}

#[test]
fn alternatives_are_asked_for_after_the_tokens_before() {
    let mut visit = Visit::ready();
    visit.pair();
    let effects = looked_at(&mut visit);
    let asked = |effect: &Effect| {
        let Effect::Ask(_, Request::Alternatives(request)) = effect else { return None };
        Some((request.token_ids.clone(), request.count))
    };
    assert_eq!(effects.iter().find_map(asked), Some((vec![1, 2, 3, 10], 8)));
}

#[test]
fn a_token_chosen_while_the_engine_writes_waits() {
    let mut visit = Visit::ready();
    visit.send(Event::WritePressed);
    visit.writes(&["first", " text"]);
    let there = visit.place_texts().iter().position(|text| text == "first text").unwrap();
    assert!(!asks(&visit.send(Event::TokenChosen(there, 0))).contains(&"alternatives Cpu".into()));
    visit.begins(&["second"]);
    assert_eq!(asks(&visit.ends(EndReason::Stop)), ["alternatives Cpu"]);
}

#[test]
fn a_branch_fixes_the_beginning_and_rates_only_what_was_drawn_after_it() {
    let mut visit = Visit::ready();
    visit.send(Event::TaskChosen("sentences".into()));
    visit.pair();
    looked_at(&mut visit);
    let beginning = visit.place_texts()[0].split(' ').next().unwrap().to_owned();
    let effects = visit.send(Event::Branched(77));
    assert_eq!(asks(&effects), ["write Cpu"]);
    assert_eq!(visit.asked().1.begin, [10, 77]);
    visit.writes(&[" end"]);
    assert_eq!(visit.asked().1.begin, [10, 77], "both texts of the pair share their prompt");
    visit.writes(&[" finish"]);
    visit.send(Event::PairJudged(PairChoice::Left));
    let rating = visit.rating();
    assert_eq!(rating.prompt.text, format!("Once upon{beginning} other"));
    assert_eq!(rating.prompt.token_ids, [1, 2, 3, 10, 77]);
    assert!(rating.samples.iter().all(|sample| sample.token_ids == [10]));
    assert!(rating.samples.iter().any(|sample| sample.text == " end"));
    assert_eq!(rating.validate(), Ok(()));
}

#[test]
fn nothing_goes_on_after_the_token_that_ends_a_text() {
    let mut visit = Visit::ready();
    visit.pair();
    looked_at(&mut visit);
    assert!(visit.state.ends_text(11));
    assert!(asks(&visit.send(Event::Branched(11))).is_empty());
    assert!(asks(&visit.send(Event::Branched(5))).is_empty(), "nor from one never offered");
}

#[test]
fn a_branch_after_a_verdict_is_another_rating() {
    let mut visit = Visit::ready();
    visit.pair();
    visit.send(Event::PairJudged(PairChoice::Left));
    looked_at(&mut visit);
    visit.send(Event::Branched(77));
    visit.writes(&[" end"]);
    visit.writes(&[" finish"]);
    visit.send(Event::PairJudged(PairChoice::Right));
    assert_eq!(visit.state.ratings.len(), 2);
}
