//! Tests of [`tally`]: ratings few enough to count by hand.

use kudos_schema::{
    EndReason, Message, PairChoice, PolicyId, RATING_VERSION, RatedPrompt, Sample, Sampling, Thumb,
};

use super::*;
use crate::items::labels_by_kind;

fn sample(text: &str, token: u32) -> Sample {
    Sample {
        text: text.into(),
        token_ids: vec![token, 1],
        logprobs_drawn: vec![-0.5, 0.0],
        logprobs_full: vec![-0.7, -0.1],
        end_reason: EndReason::Stop,
        sampling: Sampling::default(),
        seed: 7,
    }
}

fn rating(rater: &str, verdict: Verdict, samples: Vec<Sample>) -> Rating {
    Rating {
        version: RATING_VERSION,
        id: "01900000-0000-7000-8000-000000000001".into(),
        created: "2026-11-24T10:00:00Z".into(),
        page_version: "0.1.0".into(),
        policy: PolicyId { name: "base".into(), sha256: "0".repeat(64), adapter: None },
        rival: None,
        backend: "cpu".into(),
        task: "dialogue".into(),
        prompt: RatedPrompt {
            messages: vec![Message::new("user", "Hello")],
            text: String::new(),
            picture: None,
            token_ids: vec![3, 9, 4],
        },
        samples,
        verdict,
        reported: Vec::new(),
        reasons: vec!["clear".into()],
        remark: None,
        seconds: 3.0,
        rater: rater.into(),
        consent: "1".into(),
        locale: "en".into(),
        query: None,
    }
}

fn pair(rater: &str, value: PairChoice, tokens: [u32; 2]) -> Rating {
    let samples = tokens.map(|token| sample("text", token));
    rating(rater, Verdict::Pair(value), samples.to_vec())
}

fn one(rater: &str, verdict: Verdict) -> Rating {
    rating(rater, verdict, vec![sample("a cat", 5)])
}

/// The mean, as wide as the values.
fn mean(values: &[f64]) -> Estimate {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    Estimate { mean, low, high: values.iter().copied().fold(0.0, f64::max) }
}

fn tallied(ratings: &[Rating]) -> FeedbackStats {
    tally(ratings, &mut mean)
}

#[test]
fn every_kind_of_verdict_is_counted() {
    let other = PolicyId { name: "other".into(), sha256: "1".repeat(64), adapter: None };
    let ratings = [
        pair("a", PairChoice::Left, [5, 6]),
        pair("b", PairChoice::Left, [7, 6]),
        pair("b", PairChoice::Right, [8, 6]),
        pair("b", PairChoice::Tie, [9, 6]),
        one("a", Verdict::Thumbs(Thumb::Up)),
        Rating { policy: other, seconds: 9.0, ..one("c", Verdict::Thumbs(Thumb::Down)) },
        one("a", Verdict::Stars(2)),
        one("a", Verdict::Stars(5)),
        one("a", Verdict::Edit("a hat".into())),
        Rating { reported: vec![0], reasons: Vec::new(), ..one("d", Verdict::Report) },
    ];
    let stats = tallied(&ratings);
    assert_eq!((stats.ratings, stats.raters, stats.reported), (10, 4, 1));
    assert_eq!(stats.verdicts["pair"] + stats.verdicts["stars"], 6);
    assert_eq!(
        (stats.tasks["dialogue"], stats.backends["cpu"], stats.reasons["clear"]),
        (10, 10, 9)
    );
    assert_eq!(stats.median_seconds, Some(3.0));
    assert_eq!((stats.all.pairs["left"], stats.all.pairs["tie"]), (2, 1));
    assert_eq!(stats.all.left_over_right, wilson(2, 3));
    assert_eq!((stats.all.thumbs, stats.all.thumbs_up), (2, wilson(1, 2)));
    assert_eq!(stats.all.stars, Some(Estimate { mean: 3.5, low: 2.0, high: 5.0 }));
    assert_eq!(stats.all.edit_change, Some(Estimate { mean: 0.2, low: 0.2, high: 0.2 }));
    let named: Vec<(&str, usize)> =
        stats.policies.iter().map(|policy| (policy.name.as_str(), policy.ratings)).collect();
    assert_eq!(named, [("base", 9), ("other", 1)]);
    assert_eq!(stats.policies[1].said.thumbs_up, wilson(0, 1));
}

#[test]
fn nothing_gives_no_number_that_means_something() {
    let stats = tallied(&[]);
    assert_eq!(stats, FeedbackStats { version: VERSION, ..FeedbackStats::default() });
}

#[test]
fn the_median_of_an_even_number_lies_between_two() {
    assert_eq!(median(vec![4.0, 1.0, 2.0, 100.0]), Some(3.0));
    assert_eq!(median(vec![7.0]), Some(7.0));
}

#[test]
fn raters_agree_on_a_text_wherever_it_was_shown() {
    let check = |ratings: &[Rating], items, agreed| {
        let stats = tallied(ratings);
        let found = stats.agreement.get("pair").map(|found| (found.items, found.agreement));
        assert_eq!(found, Some((items, agreed)));
    };
    let left = pair("a", PairChoice::Left, [5, 6]);
    check(&[left.clone(), pair("b", PairChoice::Left, [5, 6])], 1, 1.0);
    check(&[left.clone(), pair("b", PairChoice::Right, [6, 5])], 1, 1.0);
    check(&[left.clone(), pair("b", PairChoice::Left, [6, 5])], 1, 0.0);
    check(&[left.clone(), pair("b", PairChoice::Tie, [6, 5])], 1, 0.0);
    let again = pair("a", PairChoice::Right, [5, 6]);
    check(&[left.clone(), again, pair("b", PairChoice::Left, [5, 6])], 1, 1.0);
}

#[test]
fn other_prompts_policies_kinds_and_equal_texts_are_no_common_item() {
    let check = |other: Rating| {
        let stats = tallied(&[pair("a", PairChoice::Left, [5, 6]), other]);
        assert!(stats.agreement.is_empty(), "{:?}", stats.agreement);
    };
    let left = || pair("b", PairChoice::Left, [5, 6]);
    check(pair("a", PairChoice::Left, [5, 6]));
    check(pair("b", PairChoice::Left, [5, 7]));
    check(one("b", Verdict::Stars(3)));
    let mut other = left();
    other.prompt.token_ids.push(1);
    check(other);
    let mut other = left();
    other.policy.sha256 = "1".repeat(64);
    check(other);
    let mut other = left();
    other.rival = Some(PolicyId { name: "other".into(), ..other.policy.clone() });
    other.rival.as_mut().unwrap().sha256 = "1".repeat(64);
    check(other);
    let same = [pair("a", PairChoice::Left, [5, 5]), pair("b", PairChoice::Right, [5, 5])];
    assert!(tallied(&same).agreement.is_empty());
}

#[test]
fn stars_that_differ_little_disagree_little() {
    let alpha = |stars: [[u8; 2]; 3]| {
        let ratings = stars.iter().enumerate().flat_map(|(item, values)| {
            ["a", "b"].into_iter().zip(values).map(move |(rater, value)| Rating {
                samples: vec![sample("text", item as u32)],
                ..one(rater, Verdict::Stars(*value))
            })
        });
        let ratings: Vec<Rating> = ratings.collect();
        tallied(&ratings).agreement["stars"].alpha.unwrap()
    };
    let (near, far) = (alpha([[4, 5], [1, 1], [3, 3]]), alpha([[1, 5], [1, 1], [3, 3]]));
    assert!(near > far, "{near} {far}");
}

#[test]
fn labels_are_of_items_that_several_judged_whatever_the_side() {
    let ratings = [
        pair("a", PairChoice::Left, [5, 6]),
        pair("b", PairChoice::Right, [6, 5]),
        pair("b", PairChoice::Tie, [5, 6]),
        pair("a", PairChoice::Left, [7, 8]),
        pair("c", PairChoice::Right, [9, 8]),
        pair("b", PairChoice::Right, [8, 9]),
        one("a", Verdict::Stars(4)),
    ];
    let all: Vec<&Rating> = ratings.iter().collect();
    let number = |rater: &str| u32::from(rater.as_bytes()[0] - b'a');
    let kinds = labels_by_kind(&all, &number);
    let found: Vec<(u32, u32, u32)> =
        kinds["pair"].iter().map(|label| (label.rater, label.item, label.class)).collect();
    assert_eq!(found, [(0, 0, 0), (1, 0, 0), (2, 1, 0), (1, 1, 1)]);
    assert!(kinds["stars"].is_empty());
}
