//! Tests of [`CrowdBt`].

use serde_json::Value;

use super::*;
use crate::golden::{distance, numbers, trust};
use crate::vote::Outcome;

fn votes(rows: &Value) -> Vec<Vote> {
    let vote = |row: &[f64]| Vote {
        rater: row[0] as u32,
        left: row[1] as u32,
        right: row[2] as u32,
        outcome: if row[3] == 1.0 { Outcome::Left } else { Outcome::Right },
    };
    numbers(rows).chunks(4).map(vote).collect()
}

fn check(case: &str, otherwise: Otherwise) -> CrowdScores {
    let golden = trust()["crowd_bt"].clone();
    let case = &golden[case];
    let prior_votes = case["prior_votes"].as_f64().unwrap();
    let found = CrowdBt { otherwise, prior_votes }.fit(&votes(&golden["votes"]));
    let followed: Vec<f64> = found.followed.iter().map(|share| share.mean).collect();
    assert!(distance(&found.scores, &numbers(&case["scores"])) < 1e-6);
    assert!(distance(&followed, &numbers(&case["followed"])) < 1e-6);
    // The votes tell of a rater's side only as far as the rater does not follow.
    let seen = |followed: &[f64], left: &[f64]| -> Vec<f64> {
        left.iter().zip(followed).map(|(left, followed)| (1.0 - followed) * left).collect()
    };
    let golden = seen(&numbers(&case["followed"]), &numbers(&case["left"]));
    assert!(distance(&seen(&followed, &found.left), &golden) < 1e-6);
    let likelihood = case["log_likelihood"].as_f64().unwrap();
    assert!((found.log_likelihood - likelihood).abs() < 1e-6, "{}", found.log_likelihood);
    found
}

/// Made by tests/golden/trust.py with scipy.
#[test]
fn the_maximum_of_chen_et_al_is_that_of_scipy() {
    check("opposite", Otherwise::Opposite);
}

/// Made by tests/golden/trust.py with scipy on crowd-kit's own likelihood.
#[test]
fn the_maximum_of_crowd_kits_likelihood_is_reached_and_above_where_crowd_kit_stops() {
    check("side", Otherwise::Side);
    let found = check("weak_prior", Otherwise::Side);
    let golden = trust()["crowd_bt"]["crowd_kit"]["log_likelihood"].as_f64().unwrap();
    assert!(found.log_likelihood > golden + 100.0, "{golden}");
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let votes = votes(&trust()["crowd_bt"]["votes"]);
    let mut votes = votes[..200].to_vec();
    votes.iter_mut().step_by(5).for_each(|vote| vote.outcome = Outcome::Tie);
    for otherwise in [Otherwise::Opposite, Otherwise::Side] {
        let model = CrowdBt { otherwise, prior_votes: 2.0 };
        let problem = Problem { model, votes: &votes, n_competitors: 12, n_raters: 30 };
        let size = problem.start().len();
        let point: Vec<f64> = (0..size).map(|place| (place as f64 * 1.7).sin() * 2.0).collect();
        let [mut gradient, mut other, mut unused] = [(); 3].map(|()| vec![0.0; size]);
        problem.evaluate(&point, (&mut gradient, &mut unused));
        for place in 0..size {
            let mut at = |step: f64| {
                let mut moved = point.clone();
                moved[place] += step;
                problem.evaluate(&moved, (&mut other, &mut unused))
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((slope - gradient[place]).abs() < 1e-6, "{otherwise:?}, number {place}");
        }
    }
}

#[test]
fn intervals_hold_the_share_and_narrow_with_votes() {
    let vote = |rater, place: u32| Vote {
        rater,
        left: place % 3,
        right: (place + 1) % 3,
        outcome: if (place % 3 < 2) != place.is_multiple_of(7) {
            Outcome::Left
        } else {
            Outcome::Right
        },
    };
    let votes = (0..200).map(|place| vote(0, place)).chain((0..20).map(|place| vote(1, place)));
    let found = CrowdBt::default().fit(&votes.collect::<Vec<_>>());
    let width = |share: &Estimate| share.high - share.low;
    assert!(width(&found.followed[0]) < width(&found.followed[1]), "{found:?}");
    for share in &found.followed {
        assert!(0.0 < share.low && share.low < share.mean);
        assert!(share.mean < share.high && share.high < 1.0);
    }
    let reliability = found.reliability(1);
    assert!((reliability.mean - (2.0 * found.followed[1].mean - 1.0)).abs() < 1e-12);
}

/// The search may end at either of two maxima that mirror each other.
#[test]
fn the_truth_is_what_most_votes_say() {
    for (left, right) in [(2, 1), (1, 2), (5, 4), (9, 1), (1, 9)] {
        for prior_votes in [0.01, 0.1, 1.0] {
            let vote = |rater| Vote {
                rater,
                left: 0,
                right: 1,
                outcome: if rater < left { Outcome::Left } else { Outcome::Right },
            };
            let votes = (0..left + right).flat_map(|rater| vec![vote(rater); 20]);
            let model = CrowdBt { otherwise: Otherwise::Opposite, prior_votes };
            let found = model.fit(&votes.collect::<Vec<_>>());
            assert_eq!(found.scores[0] > found.scores[1], left > right, "{left}, {right}");
        }
    }
}

#[test]
fn no_votes_say_nothing() {
    let found = CrowdBt::default().fit(&[]);
    assert!(found.scores.is_empty() && found.followed.is_empty());
}
