//! Laws of the outbox: what is sent, when, and what is never sent twice or lost.

use kudos_schema::PairChoice;

use super::*;
use crate::event::{PostError, Timer};

fn visit() -> Visit {
    let mut visit = Visit::ready_with(Opening::default(), catalog(1000, Some(COLLECTOR)));
    visit.send(Event::TaskChosen("summary".into()));
    visit
}

fn rate(visit: &mut Visit) -> Vec<Effect> {
    visit.pair();
    visit.send(Event::PairJudged(PairChoice::Left))
}

fn posts(effects: &[Effect]) -> Vec<Vec<String>> {
    let ids = |effect: &Effect| {
        let Effect::Post { url, ratings } = effect else { return None };
        assert_eq!(url, COLLECTOR);
        Some(ratings.iter().map(|rating| rating.id.clone()).collect())
    };
    effects.iter().filter_map(ids).collect()
}

fn pause(effects: &[Effect]) -> Option<u32> {
    effects.iter().find_map(|effect| {
        let Effect::After(pause, Timer::Send) = effect else { return None };
        Some(*pause)
    })
}

/// The pause runs out.
fn wait(visit: &mut Visit, pause_ms: u32) -> Vec<Effect> {
    visit.now_ms += f64::from(pause_ms);
    visit.send(Event::Timer(Timer::Send))
}

#[test]
fn a_rating_is_sent_a_moment_later_and_then_locked() {
    let mut visit = visit();
    let pause = pause(&rate(&mut visit)).expect("it is sent later");
    assert!(posts(&visit.effects).is_empty(), "there is time to change it");
    let effects = wait(&mut visit, pause);
    let id = visit.rating().id.clone();
    assert_eq!(posts(&effects), [[id.clone()]]);
    let before = visit.rating().clone();
    visit.send(Event::PairJudged(PairChoice::Right));
    visit.send(Event::UndoPressed);
    assert_eq!(visit.rating(), &before, "on its way it cannot change");
    let effects = visit.send(Event::Posted(Ok(vec![id])));
    assert!(kept(&effects)[0].sent);
    visit.send(Event::PairJudged(PairChoice::Right));
    assert_eq!(visit.rating(), &before);
}

#[test]
fn a_change_gives_its_moment_anew() {
    let mut visit = visit();
    let pause = pause(&rate(&mut visit)).unwrap();
    visit.now_ms += f64::from(pause) - 100.0;
    visit.send(Event::PairJudged(PairChoice::Right));
    assert!(posts(&wait(&mut visit, 100)).is_empty(), "the first timer is out of date");
    assert_eq!(posts(&wait(&mut visit, pause)).len(), 1);
}

#[test]
fn nothing_is_sent_where_no_collector_is_named() {
    let mut visit = Visit::ready();
    let effects = rate(&mut visit);
    assert_eq!(pause(&effects), None);
    assert!(posts(&visit.send(Event::SendPressed)).is_empty());
}

#[test]
fn what_leaves_is_masked_and_goes_in_batches_of_ten() {
    let mut visit = visit();
    visit.send(Event::PromptTyped("Ask ann@example.org".into()));
    (0..23).for_each(|_| drop(rate(&mut visit)));
    let mut effects = visit.send(Event::SendPressed);
    let mut sizes = Vec::new();
    while let Some(Effect::Post { ratings, .. }) =
        effects.iter().find(|effect| matches!(effect, Effect::Post { .. })).cloned()
    {
        sizes.push(ratings.len());
        assert!(ratings.iter().all(|rating| rating.validate() == Ok(())));
        assert!(ratings.iter().all(|rating| rating.prompt.messages[1].content == "Ask [e-mail]"));
        let ids = ratings.into_iter().map(|rating| rating.id).collect();
        visit.send(Event::Posted(Ok(ids)));
        effects = wait(&mut visit, 0);
    }
    assert_eq!(sizes, [10, 10, 3]);
    assert_eq!(visit.state.n_unsent(), 0);
}

#[test]
fn a_silent_collector_is_asked_ever_more_rarely_with_the_same_ids() {
    let mut visit = visit();
    rate(&mut visit);
    let mut effects = visit.send(Event::SendPressed);
    let mut pauses = Vec::new();
    let id = visit.rating().id.clone();
    for _ in 0..14 {
        assert_eq!(posts(&effects), [[id.clone()]]);
        let answer = visit.send(Event::Posted(Err(PostError::Later)));
        let pause = pause(&answer).expect("it is tried again");
        pauses.push(pause);
        effects = wait(&mut visit, pause);
    }
    for pair in pauses[..9].windows(2) {
        assert!(pair[1] > pair[0] + pair[0] / 2, "{pauses:?}");
    }
    assert!(pauses.iter().all(|pause| *pause <= 4_500_000), "{pauses:?}");
    visit.send(Event::Posted(Ok(vec![id])));
    assert_eq!((visit.state.n_unsent(), visit.state.outbox.failures), (0, 0));
}

#[test]
fn rating_on_does_not_shorten_the_pause() {
    let mut visit = visit();
    rate(&mut visit);
    visit.send(Event::SendPressed);
    for _ in 0..6 {
        visit.send(Event::Posted(Err(PostError::Later)));
        visit.now_ms += 4e6;
        visit.send(Event::Timer(Timer::Send));
    }
    visit.send(Event::Posted(Err(PostError::Later)));
    rate(&mut visit);
    assert!(posts(&wait(&mut visit, 11_000)).is_empty());
}

#[test]
fn an_answer_that_names_nothing_is_a_failure_and_no_endless_loop() {
    let mut visit = visit();
    rate(&mut visit);
    visit.send(Event::SendPressed);
    for answer in [Ok(Vec::new()), Err(PostError::Refused(Vec::new())), Ok(vec!["other".into()])] {
        let effects = visit.send(Event::Posted(answer));
        let pause = pause(&effects).expect("it is tried again");
        assert!(pause >= 5000);
        assert_eq!(posts(&wait(&mut visit, pause)).len(), 1);
    }
    assert_eq!(visit.state.n_unsent(), 1);
}

#[test]
fn what_is_refused_is_kept_with_its_reason_and_sent_again_only_on_request() {
    let mut visit = visit();
    (0..2).for_each(|_| drop(rate(&mut visit)));
    visit.send(Event::SendPressed);
    let ids: Vec<String> = visit.state.ratings.iter().map(|s| s.rating.id.clone()).collect();
    let refused = vec![(ids[0].clone(), "too old".to_owned())];
    visit.send(Event::Posted(Err(PostError::Refused(refused.clone()))));
    assert_eq!(visit.state.outbox.refused, refused);
    assert_eq!(posts(&wait(&mut visit, 0)), [[ids[1].clone()]]);
    visit.send(Event::Posted(Ok(vec![ids[1].clone()])));
    assert!(posts(&wait(&mut visit, 100_000)).is_empty());
    assert_eq!(visit.state.ratings.len(), 2);
    assert_eq!(posts(&visit.send(Event::SendPressed)), [[ids[0].clone()]]);
}

#[test]
fn offline_ratings_wait_for_the_network() {
    let mut visit = visit();
    visit.send(Event::Online(false));
    let pause_ms = pause(&rate(&mut visit)).unwrap();
    assert!(posts(&wait(&mut visit, pause_ms)).is_empty());
    let pause_ms = pause(&visit.send(Event::Online(true))).unwrap();
    assert_eq!(posts(&wait(&mut visit, pause_ms)).len(), 1);
}

#[test]
fn what_an_earlier_visit_did_not_send_is_sent() {
    let mut first = visit();
    rate(&mut first);
    let ratings = first.state.ratings.clone();
    let opening = Opening { ratings, ..Opening::default() };
    let mut visit = Visit::ready_with(opening, catalog(1000, Some(COLLECTOR)));
    let pause = pause(&visit.effects).expect("it is sent");
    assert_eq!(posts(&wait(&mut visit, pause)).len(), 1);
}
