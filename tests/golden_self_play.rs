//! Games of a policy with itself: gradients by torch, equilibria by numpy (`tests/golden/self_play.py`), and
//! whom the opponent's completions are drawn from.

use burn::tensor::Device;
use kudos_core::model::{Transformer, TransformerConfig, initialize};
use kudos_core::objective::{Contest, Side, Verdicts, nash_md};
use kudos_core::rollout::{Coins, Generation, Mixture, StopTokens, generate, generate_mixed};
use kudos_schema::Sampling;
use pollster::block_on;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/self_play.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

/// A game of single completions: which is preferred to which, and what it costs to leave the reference.
struct Game {
    table: Vec<Vec<f64>>,
    reference: Vec<f64>,
    beta: f64,
    share: f64,
}

impl Game {
    fn new(case: &Value) -> Self {
        Self {
            table: serde_json::from_value(case["table"].clone()).unwrap(),
            reference: numbers(&case["reference"]),
            beta: case["beta"].as_f64().unwrap(),
            share: case["share"].as_f64().unwrap(),
        }
    }

    /// Gradient of the loss by the logits of the policy: each completion as a contest of its own, as often as it
    /// is drawn.
    fn gradient(&self, policy: &[f64]) -> Vec<f64> {
        let rows = policy.iter().zip(&self.reference);
        let mixed: Vec<f64> =
            rows.map(|(p, r)| p.powf(1.0 - self.share) * r.powf(self.share)).collect();
        let total: f64 = mixed.iter().sum();
        let slope = |drawn: usize| {
            let wins: f64 = self.table[drawn].iter().zip(&mixed).map(|(p, q)| p * q / total).sum();
            let (policy, reference) = (policy[drawn].ln(), self.reference[drawn].ln());
            let side = Side { policy, reference, tokens: 1 };
            nash_md(&[Contest { side, wins }], self.beta).slopes[0]
        };
        let slopes: Vec<f64> = (0..policy.len()).map(slope).collect();
        let mean: f64 = policy.iter().zip(&slopes).map(|(p, slope)| p * slope).sum();
        policy.iter().zip(&slopes).map(|(p, slope)| p * (slope - mean)).collect()
    }
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
    logits.iter().map(|logit| logit.exp() / sum).collect()
}

fn distance(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn slopes_of_contests_are_torchs() {
    let case = &golden()["gradient"];
    let rows = numbers(&case["policy"]).into_iter().zip(numbers(&case["reference"]));
    let contests: Vec<Contest> = rows
        .zip(numbers(&case["wins"]))
        .map(|((policy, reference), wins)| Contest {
            side: Side { policy, reference, tokens: 3 },
            wins,
        })
        .collect();
    let found = nash_md(&contests, case["beta"].as_f64().unwrap());
    assert!((found.loss - case["value"].as_f64().unwrap()).abs() < 1e-12);
    assert!(distance(&found.slopes, &numbers(&case["gradient"])) < 1e-12);
}

#[test]
fn the_mean_gradient_over_all_draws_is_that_of_the_exact_expectation() {
    for case in golden()["expectation"].as_array().unwrap() {
        let found = Game::new(case).gradient(&softmax(&numbers(&case["logits"])));
        assert!(distance(&found, &numbers(&case["gradient"])) < 1e-12, "{case}: {found:?}");
    }
}

#[test]
fn a_policy_that_plays_itself_approaches_the_regularized_equilibrium_of_circular_preferences() {
    for case in golden()["equilibria"].as_array().unwrap() {
        let (game, expected) = (Game::new(case), numbers(&case["policy"]));
        let mut logits = vec![0.0; expected.len()];
        assert!(distance(&softmax(&logits), &expected) > 0.02, "it starts elsewhere: {case}");
        for _ in 0..20_000 {
            let gradient = game.gradient(&softmax(&logits));
            logits.iter_mut().zip(gradient).for_each(|(logit, slope)| *logit -= slope);
        }
        let found = softmax(&logits);
        assert!(distance(&found, &expected) < 1e-6, "{case}: {found:?}");
    }
}

#[test]
fn preferences_of_two_rewards_are_complementary() {
    for verdicts in [Verdicts::Higher, Verdicts::BradleyTerry] {
        for (one, other) in [(1.0, 0.5), (-2.0, 3.0), (0.25, 0.25)] {
            let (first, second) = (verdicts.wins(one, other), verdicts.wins(other, one));
            assert!((first + second - 1.0).abs() < 1e-12);
            assert_eq!(one > other, first > 0.5);
        }
    }
}

fn model(seed: u64) -> Transformer {
    let config = TransformerConfig::llama(40, 24, 2, 32);
    let mut coins = ChaCha8Rng::seed_from_u64(seed);
    initialize(Transformer::zeroed(&config, &Device::flex()), &mut coins)
}

#[test]
fn a_mixture_with_nothing_of_one_policy_writes_what_the_other_writes() {
    let (policy, reference) = (model(1), model(2));
    let prompts: Vec<Vec<u32>> =
        (0..6u32).map(|row| (0..2 + row % 4).map(|place| 3 + row + place).collect()).collect();
    let stop = StopTokens(vec![0, 1, 2, 5, 9]);
    let sampling = Sampling { temperature: 0.8, top_k: 30, ..Sampling::default() };
    let generation =
        Generation { sampling: &sampling, stop: &stop, coins: Coins::new(4, 2), first_index: 3 };
    let mixed = |share: f64| {
        let mixture = Mixture { policy: &policy, reference: &reference, share };
        block_on(generate_mixed(&mixture, &prompts, &generation)).unwrap()
    };
    for (share, model) in [(0.0, &policy), (1.0, &reference)] {
        let (found, expected) =
            (mixed(share), block_on(generate(model, &prompts, &generation)).unwrap());
        assert_eq!(found.completions, expected.completions);
        assert_eq!(found.end_reasons, expected.end_reasons);
        let both = found.logprobs_drawn.concat().into_iter().zip(expected.logprobs_drawn.concat());
        both.for_each(|(ours, theirs)| assert!((ours - theirs).abs() < 1e-5));
    }
    let between = mixed(0.5).completions;
    assert!(between != mixed(0.0).completions && between != mixed(1.0).completions);
}
