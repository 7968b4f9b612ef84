//! Laws of the collector's queries: what is shown, what the rating says, what is skipped.

use kudos_schema::{
    Arm, AskedReason, Failure, FailureKind, Message, PairChoice, PolicyId, Query, RatedPrompt,
    Sample,
};

use super::*;
use crate::event::{DownloadError, QueryError, Shelf};
use crate::state::asked::{QueryNote, SHOWN};
use crate::state::record::outgoing;

const ID: &str = "01930000-0000-7000-8000-000000000001";

/// A page with a collector, whose policy at hand is `a`; `b` is in the catalog too.
pub(crate) fn visit() -> Visit {
    Visit::ready_with(Opening::default(), catalog(1000, Some(COLLECTOR)))
}

/// A query with an arm for each letter, the first with top-k 5, the second with top-k 6.
pub(crate) fn query(policies: &[&str]) -> Query {
    let arm = |(top_k, letter): (usize, &&str)| Arm {
        policy: PolicyId { name: POLICY.into(), sha256: letter.repeat(64), adapter: None },
        sampling: Sampling { top_k, ..Sampling::default() },
    };
    Query {
        id: ID.into(),
        reason: AskedReason::Coverage,
        task: "summary".into(),
        prompt: RatedPrompt {
            messages: vec![Message::new("system", "summary"), Message::new("user", "Call 5551234")],
            text: String::new(),
            picture: None,
            token_ids: Vec::new(),
        },
        arms: (5..).zip(policies).map(arm).collect(),
        samples: Vec::new(),
    }
}

/// The same query with a text for each arm.
pub(crate) fn with_samples(policies: &[&str]) -> Query {
    let mut query = query(policies);
    query.prompt.token_ids = vec![7, 8];
    query.samples = query
        .arms
        .iter()
        .map(|arm| Sample {
            text: format!("text of {}", arm.sampling.top_k),
            token_ids: vec![4],
            logprobs_drawn: vec![-1.0],
            logprobs_full: vec![-1.5],
            end_reason: EndReason::Stop,
            sampling: arm.sampling.clone(),
            seed: 9,
        })
        .collect();
    query
}

/// The collector is asked and answers.
pub(crate) fn asks_for(visit: &mut Visit, query: Query) -> Vec<Effect> {
    visit.send(Event::QueryWanted);
    visit.send(Event::QueryCame(Ok(Some(Box::new(query)))))
}

/// The engine has taken policy `letter` and tested itself with it.
pub(super) fn takes(
    visit: &mut Visit,
    kind: EngineKind,
    (letter, logprob): (&str, f32),
) -> Vec<Effect> {
    let loaded = Loaded { sha256: letter.repeat(64), manifest: manifest(1000), seconds: 0.1 };
    visit.reply(kind, Reply::Loaded(loaded));
    visit.reply(kind, probed(vec![logprob], 1.0))
}

/// `a` and `b` meet, and both have written.
fn met(visit: &mut Visit) {
    asks_for(visit, query(&["a", "b"]));
    visit.send(Event::GuestDownload(DownloadEvent::Done));
    takes(visit, EngineKind::Cpu, ("b", -1.0));
    visit.writes(&["left", " text"]);
    visit.writes(&["right", " text"]);
}

pub(super) fn note(visit: &Visit) -> Option<QueryNote> {
    assert!(!visit.state.is_busy(), "nothing is under way");
    visit.state.query_note
}

#[test]
fn the_collector_is_asked_with_rater_and_task() {
    let mut visit = visit();
    visit.send(Event::TaskChosen("triples".into()));
    let effects = visit.key("q");
    let rater = visit.state.memory.rater.clone();
    let expected = Effect::FetchQuery { url: COLLECTOR.into(), rater, task: "triples".into() };
    assert_eq!(effects, [expected]);
    assert!(visit.send(Event::QueryWanted).is_empty(), "pressed twice is pressed once");
    assert!(asks(&visit.send(Event::WritePressed)).is_empty(), "one thing at a time");
}

#[test]
fn nobody_is_asked_without_a_collector_or_a_network() {
    assert!(Visit::ready().send(Event::QueryWanted).is_empty());
    let mut visit = visit();
    visit.send(Event::Online(false));
    assert!(visit.send(Event::QueryWanted).is_empty());
}

#[test]
fn policies_that_meet_stand_in_an_order_of_chance_that_the_rating_tells() {
    let mut first_left = 0;
    for dice in 0..400_u64 {
        let mut visit = visit();
        visit.shake(dice.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let effects = asks_for(&mut visit, query(&["a", "b"]));
        assert!(matches!(&effects[..], [Effect::Download { sha256, shelf: Shelf::Guest, .. }]
            if *sha256 == "b".repeat(64)));
        let effects = visit.send(Event::GuestDownload(DownloadEvent::Done));
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let keep = vec![a.clone(), b.clone()];
        let load = Request::Load { sha256: Some(b), keep, base: None };
        assert_eq!(effects, [Effect::Ask(EngineKind::Cpu, load)]);
        assert_eq!(asks(&takes(&mut visit, EngineKind::Cpu, ("b", -1.0))), ["write Cpu"]);
        let left = visit.asked().1;
        visit.writes(&["left"]);
        let right = visit.asked().1;
        visit.writes(&["right"]);
        visit.send(Event::PairJudged(PairChoice::Left));
        let rating = visit.rating();
        assert_eq!(rating.validate(), Ok(()));
        assert_eq!(rating.samples[0].text, "left", "the left text is written first");
        for (place, request) in [&left, &right].into_iter().enumerate() {
            assert_eq!(rating.policy_of(place).sha256, request.policy);
            assert_eq!(rating.samples[place].sampling, request.sampling);
            assert_eq!(rating.samples[place].seed, request.seed);
            let top_k = if request.policy == a { 5 } else { 6 };
            assert_eq!(request.sampling.top_k, top_k, "each arm has its own settings");
        }
        assert!(rating.rival.is_some() && left.seed != right.seed);
        assert_eq!(visit.state.speed, None, "their speeds do not tell who is who");
        let query = rating.query.clone().unwrap();
        assert_eq!((query.id.as_str(), query.reason), (ID, AskedReason::Coverage));
        assert_eq!(rating.task, "summary");
        first_left += u32::from(left.policy == a);
    }
    // 5 standard deviations of 400 throws.
    assert!((150..=250).contains(&first_left), "{first_left}");
}

#[test]
fn one_policy_with_two_settings_is_no_rival_of_itself() {
    let mut visit = visit();
    assert_eq!(asks(&asks_for(&mut visit, query(&["a", "a"]))), ["write Cpu"]);
    visit.writes(&["one"]);
    visit.writes(&["two"]);
    visit.send(Event::PairJudged(PairChoice::Tie));
    let rating = visit.rating();
    assert_eq!((rating.validate(), &rating.rival), (Ok(()), &None));
    let mut top_k = [0, 1].map(|place: usize| rating.samples[place].sampling.top_k);
    top_k.sort_unstable();
    assert_eq!(top_k, [5, 6]);
}

#[test]
fn one_arm_is_rated_alone_whatever_the_visitor_compares_otherwise() {
    let mut visit = visit();
    asks_for(&mut visit, query(&["a"]));
    visit.writes(&["one"]);
    assert_eq!(visit.state.shown_mode(), Mode::Single);
    visit.key("4");
    assert_eq!(visit.rating().validate(), Ok(()));
    assert!(visit.rating().query.is_some());
    assert_eq!(visit.state.memory.mode, Mode::Pair);
}

#[test]
fn texts_of_a_query_are_shown_and_not_written() {
    let mut left = BTreeMap::new();
    for dice in 0..40 {
        let mut visit = visit();
        visit.shake(dice << 40);
        // Nothing is loaded for it: not even a policy that the page does not know.
        let effects = asks_for(&mut visit, with_samples(&["a", "e"]));
        assert!(asks(&effects).is_empty());
        visit.send(Event::PairJudged(PairChoice::Right));
        let rating = visit.rating();
        assert_eq!((rating.validate(), rating.backend.as_str()), (Ok(()), SHOWN));
        assert_eq!(rating.prompt.token_ids, [7, 8]);
        assert_eq!(
            visit.place_texts(),
            [0, 1].map(|place: usize| rating.samples[place].text.clone())
        );
        for place in [0, 1] {
            let letter = if rating.samples[place].text == "text of 5" { "a" } else { "e" };
            assert_eq!(rating.policy_of(place).sha256, letter.repeat(64));
        }
        *left.entry(rating.samples[0].text.clone()).or_insert(0) += 1;
    }
    assert_eq!(left.len(), 2, "they too stand in an order of chance");
}

#[test]
fn a_query_is_no_part_of_the_visitors_conversation() {
    let mut visit = visit();
    visit.pair();
    visit.send(Event::PairJudged(PairChoice::Left));
    let mut dialogue = query(&["a"]);
    dialogue.task = "dialogue".into();
    asks_for(&mut visit, dialogue);
    visit.writes(&["one"]);
    visit.send(Event::Thumbed(kudos_schema::Thumb::Up));
    visit.send(Event::PromptTyped("And then?".into()));
    visit.send(Event::WritePressed);
    let said: Vec<String> = visit.asked().1.messages.into_iter().map(|it| it.content).collect();
    assert_eq!((said.len(), said[1].as_str(), said[3].as_str()), (4, "Hello.", "And then?"));
    visit.writes(&["x"]);
    visit.writes(&["y"]);
    visit.send(Event::PairJudged(PairChoice::Left));
    assert_eq!(visit.state.ratings.last().unwrap().rating.query, None, "own prompts carry none");
}

#[test]
fn a_skipped_query_is_not_answered_and_an_undone_rating_keeps_its_own() {
    let mut visit = visit();
    met(&mut visit);
    assert_eq!(visit.send(Event::SkipPressed), [Effect::Focus("ask")]);
    assert!(visit.state.ratings.is_empty());
    met(&mut visit);
    visit.send(Event::PairJudged(PairChoice::Left));
    let before = visit.rating().clone();
    visit.send(Event::UndoPressed);
    assert_eq!(visit.state.desk.task, "dialogue");
    visit.send(Event::PairJudged(PairChoice::Left));
    let after = visit.rating();
    assert_eq!((&after.query, &after.rival), (&before.query, &before.rival));
    assert!(after.query.is_some() && after.rival.is_some());
}

#[test]
fn a_branch_answers_no_query() {
    let mut visit = visit();
    met(&mut visit);
    visit.send(Event::TokenChosen(0, 1));
    let asked = visit.effects.iter().rev().find_map(|effect| {
        let Effect::Ask(_, Request::Alternatives(request)) = effect else { return None };
        Some(request.clone())
    });
    let asked = asked.expect("the policy of the left text is asked");
    let round = visit.state.round.as_ref().unwrap();
    assert_eq!(asked.policy, round.completions[0].policy());
    let other = kudos_schema::Alternative {
        id: 77,
        text: " other".into(),
        logprob_drawn: None,
        logprob_full: -3.0,
    };
    visit.reply(EngineKind::Cpu, Reply::Alternatives { id: asked.id, list: vec![other] });
    visit.send(Event::Branched(77));
    visit.writes(&[" end"]);
    visit.writes(&[" finish"]);
    visit.send(Event::PairJudged(PairChoice::Right));
    assert_eq!((visit.rating().validate(), &visit.rating().query), (Ok(()), &None));
    assert!(visit.rating().rival.is_some(), "who wrote stays");
}

#[test]
fn the_prompt_of_a_query_comes_back_as_it_was_sent() {
    let mut visit = visit();
    met(&mut visit);
    visit.send(Event::RemarkTyped("Call 5551234".into()));
    visit.send(Event::PairJudged(PairChoice::Left));
    let sent = outgoing(visit.rating());
    assert_eq!(sent.prompt, visit.rating().prompt);
    assert_ne!(sent.remark, visit.rating().remark, "what was typed is masked");
}

#[test]
fn what_cannot_be_shown_is_skipped_with_a_sentence_and_the_page_goes_on() {
    let check = |expected, play: &dyn Fn(&mut Visit)| {
        let mut visit = visit();
        visit.send(Event::QueryWanted);
        play(&mut visit);
        assert_eq!(note(&visit), Some(expected));
        let said = visit.effects.iter().any(|it| matches!(it, Effect::Announce(_)));
        assert!(said && visit.state.ratings.is_empty() && visit.state.problem.is_none());
        assert!(visit.state.can_ask(), "{expected:?}");
        met(&mut visit);
        assert_eq!(note(&visit), None);
    };
    let came = |visit: &mut Visit, query: Query| {
        visit.send(Event::QueryCame(Ok(Some(Box::new(query)))));
    };
    let both = query(&["a", "b"]);
    check(QueryNote::Nothing, &|visit| drop(visit.send(Event::QueryCame(Ok(None)))));
    for (error, expected) in [
        (QueryError::Unreachable, QueryNote::Unreachable),
        (QueryError::Unreadable, QueryNote::NotUnderstood),
    ] {
        check(expected, &|visit| drop(visit.send(Event::QueryCame(Err(error)))));
    }
    let wrong: [fn(&mut Query); 6] = [
        |query| query.arms.clear(),
        |query| query.arms.extend(query.arms.clone()),
        |query| query.arms[1].policy.sha256 = "f".repeat(64),
        |query| query.arms[0].policy.adapter = Some("lora".into()),
        |query| query.arms[0].sampling.top_p = 2.0,
        |query| query.prompt.messages.clear(),
    ];
    for change in wrong {
        let mut query = both.clone();
        change(&mut query);
        check(QueryNote::NotUnderstood, &|visit| came(visit, query.clone()));
    }
    let failed = DownloadEvent::Failed(DownloadError::Network);
    check(QueryNote::NotLoaded, &|visit| {
        came(visit, both.clone());
        visit.send(Event::GuestDownload(failed.clone()));
    });
}

#[test]
fn policies_that_read_the_prompt_differently_are_not_compared() {
    let mut visit = visit();
    asks_for(&mut visit, query(&["a", "b"]));
    visit.send(Event::GuestDownload(DownloadEvent::Done));
    takes(&mut visit, EngineKind::Cpu, ("b", -1.0));
    visit.writes(&["left"]);
    let (kind, request) = visit.asked();
    let effects = visit.reply(kind, Reply::Began { id: request.id, prompt_ids: vec![9] });
    assert_eq!(asks(&effects), ["stop Cpu"]);
    assert!(visit.state.round.is_none());
    assert_eq!(note(&visit), Some(QueryNote::OtherTokens));
}

#[test]
fn a_prompt_too_long_for_a_policy_skips_the_query() {
    let mut visit = visit();
    asks_for(&mut visit, query(&["a", "a"]));
    let (kind, request) = visit.asked();
    let (id, cause) = (Some(request.id), FailureKind::PromptTooLong);
    visit.reply(kind, Reply::Failed(Failure { id, cause, detail: String::new() }));
    assert_eq!(note(&visit), Some(QueryNote::NotWritten));
    assert!(visit.state.round.is_none() && visit.state.problem.is_none());
}

#[test]
fn stop_takes_the_question_back() {
    let mut visit = visit();
    visit.send(Event::QueryWanted);
    visit.key("Escape");
    assert_eq!(note(&visit), None);
    let effects = visit.send(Event::QueryCame(Ok(Some(Box::new(query(&["a"]))))));
    assert!(effects.is_empty(), "an answer too late is none");
    asks_for(&mut visit, query(&["b"]));
    visit.send(Event::StopPressed);
    assert!(visit.send(Event::GuestDownload(DownloadEvent::Done)).is_empty());
}
