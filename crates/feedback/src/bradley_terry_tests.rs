//! Tests of the leaderboard: against choix, arena-rank and a logistic regression, and by its laws.

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::*;
use crate::golden::{distance, numbers, trust};

fn vote(left: u32, right: u32, outcome: Outcome) -> Vote {
    Vote { rater: 0, left, right, outcome }
}

fn votes(golden: &Value) -> Vec<Vote> {
    let outcome = |won: f64| if won == 1.0 { Outcome::Left } else { Outcome::Right };
    let rows = numbers(&golden["votes"]);
    rows.chunks(4).map(|row| vote(row[1] as u32, row[2] as u32, outcome(row[3]))).collect()
}

/// Made by tests/golden/trust.py; the packages themselves agree to 2e-7.
#[test]
fn without_a_prior_strengths_are_those_of_choix_and_arena_rank() {
    let golden = &trust()["bradley_terry"];
    let model = BradleyTerry { prior_votes: 1e-7, position: Position::Ignored };
    let found = model.fit(&Comparisons::new(&votes(golden)));
    assert!(distance(&found.strengths, &numbers(&golden["choix"])) < 1e-6);
    assert!(distance(&found.strengths, &numbers(&golden["arena_rank"])) < 1e-6);
    assert_eq!(found.left_advantage, 0.0);
}

#[test]
fn a_prior_is_a_competitor_of_whom_everybody_wins_half() {
    let golden = &trust()["bradley_terry"];
    let prior_votes = golden["prior_votes"].as_f64().unwrap();
    let model = BradleyTerry { prior_votes, position: Position::Ignored };
    let found = model.fit(&Comparisons::new(&votes(golden)));
    assert!(distance(&found.strengths, &numbers(&golden["choix_prior"])) < 1e-6);
}

#[test]
fn the_left_sides_advantage_is_that_of_a_logistic_regression() {
    let golden = &trust()["bradley_terry"];
    let prior_votes = golden["prior_votes"].as_f64().unwrap();
    let model = BradleyTerry { prior_votes, position: Position::Corrected };
    let found = model.fit(&Comparisons::new(&votes(golden)));
    assert!(distance(&found.strengths, &numbers(&golden["corrected"])) < 1e-9);
    assert!((found.left_advantage - golden["left_advantage"].as_f64().unwrap()).abs() < 1e-9);
}

/// The sandwich formula is another way to the same intervals. With 4,000 resamples the error of a
/// width is about 2.5 %, with the difference of the two ways 10 % are enough.
#[test]
fn intervals_are_as_wide_as_those_of_arena_rank() {
    let golden = &trust()["bradley_terry"];
    let model = BradleyTerry { prior_votes: 1e-3, position: Position::Ignored };
    let mut coins = ChaCha8Rng::seed_from_u64(1);
    let found = model.standings(&Comparisons::new(&votes(golden)), 4000, &mut coins);
    for (found, half) in found.strengths.iter().zip(numbers(&golden["arena_rank_half_widths"])) {
        let width = (found.high - found.low) / 2.0;
        assert!((width / half - 1.0).abs() < 0.1, "{width}, not {half}");
        assert!(found.low < found.mean && found.mean < found.high);
    }
}

/// Of 200 sets of votes drawn from the model; 1,000 intervals that depend on each other in fives have
/// a standard error of at most 1.5 % around 95 %.
#[test]
fn intervals_hold_the_truth_as_often_as_they_say() {
    let truth = [-0.8, -0.2, 0.3, 0.7];
    let mut coins = ChaCha8Rng::seed_from_u64(5);
    let (mut held, mut all) = (0, 0);
    for _ in 0..200 {
        let votes: Vec<Vote> = (0..400)
            .map(|_| {
                let left = coins.next_u32() % 4;
                let right = (left + 1 + coins.next_u32() % 3) % 4;
                let chosen = sigmoid(truth[left as usize] - truth[right as usize] + 0.4).0;
                let coin = f64::from(coins.next_u32()) / f64::from(u32::MAX);
                vote(left, right, if coin < chosen { Outcome::Left } else { Outcome::Right })
            })
            .collect();
        let model = BradleyTerry { prior_votes: 0.1, position: Position::Corrected };
        let found = model.standings(&Comparisons::new(&votes), 200, &mut coins);
        let estimates = found.strengths.iter().chain([&found.left_advantage]);
        for (found, truth) in estimates.zip(truth.iter().chain([&0.4])) {
            held += usize::from(found.low <= *truth && *truth <= found.high);
            all += 1;
        }
    }
    let share = held as f64 / all as f64;
    assert!((0.92..0.975).contains(&share), "{share}");
}

#[test]
fn two_competitors_have_the_logit_of_their_votes() {
    // 30 against 10 with a prior of nearly none: the logarithm of 3, half to either side of 0.
    let mut votes = vec![vote(0, 1, Outcome::Left); 29];
    votes.extend(vec![vote(1, 0, Outcome::Left); 9]);
    votes.extend([vote(0, 1, Outcome::Tie), vote(1, 0, Outcome::Tie)]);
    let model = BradleyTerry { prior_votes: 1e-9, position: Position::Ignored };
    let found = model.fit(&Comparisons::new(&votes)).strengths;
    assert!((found[0] - 3f64.ln() / 2.0).abs() < 1e-7 && (found[0] + found[1]).abs() < 1e-12);
}

#[test]
fn who_always_won_stays_in_place_and_who_was_never_seen_in_the_middle() {
    let votes = vec![vote(0, 2, Outcome::Left); 50];
    let mut coins = ChaCha8Rng::seed_from_u64(1);
    let found = BradleyTerry::default().standings(&Comparisons::new(&votes), 50, &mut coins);
    let strengths: Vec<f64> = found.strengths.iter().map(|strength| strength.mean).collect();
    assert!(strengths[0] < 10.0 && (strengths[0] + strengths[2]).abs() < 1e-9);
    assert!(strengths[1].abs() < 1e-9);
}

#[test]
fn a_weight_is_so_many_votes() {
    let base =
        [(0, 1), (1, 2), (2, 0), (0, 1)].map(|(left, right)| vote(left, right, Outcome::Left));
    let heavy = base.map(|vote| Vote { rater: 1, ..vote });
    let contrary = Vote { rater: 2, ..vote(1, 0, Outcome::Left) };
    let weighted: Vec<Vote> = base.iter().chain(&heavy[..2]).copied().chain([contrary]).collect();
    let counted: Vec<Vote> = [&base[..], &heavy[..2], &heavy[..2]].concat();
    let model = BradleyTerry::default();
    let found = model.fit(&Comparisons::weighted(&weighted, &[1.0, 2.0, 0.0]));
    let other = model.fit(&Comparisons::new(&counted));
    assert!(distance(&found.strengths, &other.strengths) < 1e-12);
}

#[test]
fn the_same_coins_give_the_same_intervals() {
    let comparisons = Comparisons::new(&votes(&trust()["bradley_terry"])[..200]);
    let draw = |seed| {
        let mut coins = ChaCha8Rng::seed_from_u64(seed);
        BradleyTerry::default().standings(&comparisons, 20, &mut coins)
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

proptest! {
    #[test]
    fn turning_every_vote_around_turns_the_ranking_around(
        rows in prop::collection::vec((0u32..5, 1u32..5, 0usize..3), 1..60)
    ) {
        let outcomes = [Outcome::Left, Outcome::Right, Outcome::Tie];
        let turned = [Outcome::Right, Outcome::Left, Outcome::Tie];
        let of = |outcomes: [Outcome; 3]| -> Vec<Vote> {
            let row = |(left, far, said): &(u32, u32, usize)| {
                vote(*left, (left + far) % 5, outcomes[*said])
            };
            rows.iter().map(row).collect()
        };
        let model = BradleyTerry { prior_votes: 0.5, position: Position::Corrected };
        let found = model.fit(&Comparisons::new(&of(outcomes)));
        let other = model.fit(&Comparisons::new(&of(turned)));
        let negative: Vec<f64> = other.strengths.iter().map(|strength| -strength).collect();
        prop_assert!(distance(&found.strengths, &negative) < 1e-9);
        prop_assert!((found.left_advantage + other.left_advantage).abs() < 1e-9);
    }
}
