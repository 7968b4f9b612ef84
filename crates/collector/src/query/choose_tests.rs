//! The choice on boards small enough to count.

use std::collections::BTreeMap;

use kudos_schema::{PolicyManifest, PoolPrompt, QuerySettings};

use super::super::board::Asked;
use super::*;
use crate::policy::shelf::Listed;

fn arena(name: &str, reads: &str) -> Arena {
    let manifest = PolicyManifest {
        name: name.to_owned(),
        tasks: vec!["dialogue".to_owned()],
        ..PolicyManifest::default()
    };
    let policy = Listed { sha256: name.to_owned(), bytes: 1, manifest, retired: false };
    Arena { policy, reads: reads.to_owned() }
}

fn asked(place: usize) -> Asked {
    let prompt = PoolPrompt { text: place.to_string(), ..PoolPrompt::default() };
    Asked {
        task: "dialogue".to_owned(),
        prompt,
        uncertainty: place as f64,
        ratings: place as u64,
        last_ms: 1000 - place as i64,
    }
}

fn board(settings: QuerySettings) -> Board {
    Board {
        settings,
        prompts: (0..100).map(asked).collect(),
        policies: ["new", "old", "older"].map(|name| arena(name, "same")).into(),
        ..Board::default()
    }
}

fn only(change: impl FnOnce(&mut QuerySettings)) -> QuerySettings {
    let mut settings = QuerySettings {
        random: 0.0,
        gold: 0.0,
        repeat: 0.0,
        uncertain: 0.0,
        coverage: 0.0,
        stale: 0.0,
    };
    change(&mut settings);
    settings
}

fn draw(board: &Board, number: usize) -> Vec<Choice> {
    let coins = Coins::seeded([5; 32]);
    (0..number).map(|_| choose(board, None, &[], &coins).unwrap()).collect()
}

fn count<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_default() += 1);
    counts
}

#[test]
fn reasons_come_in_their_shares() {
    let mut board = board(QuerySettings { gold: 0.0, repeat: 0.0, ..QuerySettings::default() });
    let counts = count(draw(&board, 10_000).iter().map(|choice| choice.reason));
    // A share of 0.8 is split as 0.5 : 0.3 : 0.2; three standard deviations are at most 150.
    for (reason, expected) in [
        (AskedReason::Random, 2000),
        (AskedReason::Uncertain, 4000),
        (AskedReason::Coverage, 2400),
        (AskedReason::Stale, 1600),
    ] {
        assert!(counts[&reason].abs_diff(expected) < 150, "{reason:?}: {counts:?}");
    }
    board.settings = QuerySettings::default();
    let counts = count(draw(&board, 10_000).iter().map(|choice| choice.reason));
    assert!(
        counts[&AskedReason::Random].abs_diff(3000) < 150,
        "no gold and no repeats: {counts:?}"
    );
}

#[test]
fn the_random_share_is_uniform_over_prompts_and_pairs() {
    let board = board(only(|it| it.random = 1.0));
    let choices = draw(&board, 30_000);
    let prompts = count(choices.iter().map(|choice| choice.place));
    assert_eq!(prompts.len(), 100);
    // 300 each; five standard deviations are 87.
    assert!(prompts.values().all(|number| number.abs_diff(300) < 87), "{prompts:?}");
    let name = |choice: &Choice, place: usize| choice.arms[place].policy.name.clone();
    let pairs = count(choices.iter().map(|choice| [name(choice, 0), name(choice, 1)]));
    assert_eq!(pairs.len(), 3);
    assert!(pairs.values().all(|number| number.abs_diff(10_000) < 410), "{pairs:?}");
}

#[test]
fn the_other_shares_look_where_little_is_known() {
    let places = |settings| {
        let choices = draw(&board(settings), 500);
        count(choices.iter().map(|choice| choice.place.unwrap())).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(places(only(|it| it.uncertain = 1.0)), (90..100).collect::<Vec<_>>());
    assert_eq!(places(only(|it| it.coverage = 1.0)), (0..10).collect::<Vec<_>>());
    assert_eq!(places(only(|it| it.stale = 1.0)), (90..100).collect::<Vec<_>>());
}

#[test]
fn the_newest_policy_meets_the_one_it_is_least_known_against() {
    let mut board = board(only(|it| it.coverage = 1.0));
    let meeting = |first: &str, second: &str, first_wins, second_wins| Meeting {
        first: first.to_owned(),
        second: second.to_owned(),
        first_wins,
        second_wins,
        ..Meeting::default()
    };
    let mut check = |meetings: Vec<Meeting>, rival: &str| {
        board.meetings = meetings;
        let arms = &draw(&board, 1)[0].arms;
        assert_eq!([&*arms[0].policy.name, &arms[1].policy.name], ["new", rival]);
    };
    check(vec![meeting("new", "old", 1, 0)], "older");
    check(vec![meeting("new", "older", 1, 0)], "old");
    check(vec![meeting("new", "old", 9, 9), meeting("new", "older", 5, 5)], "older");
    // As often: the one-sided meeting is known better.
    check(vec![meeting("new", "old", 10, 0), meeting("older", "new", 5, 5)], "older");
}

#[test]
fn an_interval_is_that_of_wilson() {
    let meeting = Meeting {
        first: "a".to_owned(),
        second: "b".to_owned(),
        first_wins: 8,
        second_wins: 2,
        ..Meeting::default()
    };
    // Wilson's 95 % interval of 8 in 10 is 0.490 to 0.943.
    for (one, other) in [("a", "b"), ("b", "a")] {
        assert!((interval(one, other, std::slice::from_ref(&meeting)) - 0.453).abs() < 1e-3);
    }
    assert!((interval("a", "c", &[meeting]) - 1.0).abs() < 1e-12);
}

#[test]
fn only_those_meet_who_read_the_same_tokens() {
    let mut board = board(only(|it| it.random = 1.0));
    board.policies = vec![arena("new", "one"), arena("old", "another")];
    for choice in draw(&board, 50) {
        let [left, right] = [0, 1].map(|place| &choice.arms[place]);
        assert_eq!(left.policy, right.policy);
        assert_ne!(left.sampling, right.sampling, "one policy meets itself at two settings");
    }
    board.policies.clear();
    assert_eq!(choose(&board, None, &[], &Coins::seeded([1; 32])), None);
}
