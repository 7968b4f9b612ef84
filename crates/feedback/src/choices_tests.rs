//! Choices few enough to count, and choices of raters who do not do their work.

use kudos_schema::{
    EndReason, PairChoice, PolicyId, RATING_VERSION, RatedPrompt, Sample, Sampling, Verdict,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::Evidence;

/// Raters, of whom the first 70 of 100 are honest, the next 20 choose at random, and the rest the opposite.
const RATERS: usize = 50;
const POLICIES: u32 = 5;

fn sample(token: u32) -> Sample {
    Sample {
        text: token.to_string(),
        token_ids: vec![token],
        logprobs_drawn: vec![-0.5],
        logprobs_full: vec![-0.5],
        end_reason: EndReason::Length,
        sampling: Sampling::default(),
        seed: 1,
    }
}

/// A choice between texts of two policies.
fn rating(rater: usize, policies: [u32; 2], tokens: [u32; 2], choice: PairChoice) -> Rating {
    let id = |number: u32| {
        let sha256 = format!("{number:064}");
        PolicyId { name: number.to_string(), sha256, adapter: None }
    };
    Rating {
        version: RATING_VERSION,
        id: String::new(),
        created: String::new(),
        page_version: String::new(),
        policy: id(policies[0]),
        rival: Some(id(policies[1])),
        backend: "cpu".into(),
        task: "sentences".into(),
        prompt: RatedPrompt {
            messages: Vec::new(),
            text: "a".into(),
            picture: None,
            token_ids: vec![3],
        },
        samples: tokens.map(sample).to_vec(),
        verdict: Verdict::Pair(choice),
        reported: Vec::new(),
        reasons: Vec::new(),
        remark: None,
        seconds: 1.0,
        rater: rater.to_string(),
        consent: "1".into(),
        locale: "en".into(),
        query: None,
    }
}

fn of(ratings: &[Rating]) -> Vec<Vote> {
    choices(&ratings.iter().collect::<Vec<_>>(), &|rater| rater.parse().unwrap())
}

#[test]
fn decided_choices_on_texts_that_nobody_else_judged_are_votes() {
    use PairChoice::{Left, Right, Tie};
    let found = of(&[
        rating(0, [1, 2], [10, 11], Left),
        // The same texts, the other way round, by somebody else; and again.
        rating(1, [2, 1], [11, 10], Left),
        rating(1, [1, 2], [10, 11], Left),
        rating(0, [1, 2], [12, 13], Tie),
        rating(0, [1, 2], [14, 14], Left),
        rating(0, [1, 1], [15, 16], Left),
        rating(1, [3, 1], [17, 18], Right),
    ]);
    let vote = |rater, left, right, outcome| Vote { rater, left, right, outcome };
    // Two judged the first texts; the last ones have competitors 2 and 0 by the order of their coming.
    assert_eq!(found, [vote(1, 2, 0, Outcome::Right)]);
}

#[test]
fn two_settings_of_a_policy_compete() {
    let mut rating = rating(0, [1, 1], [1, 2], PairChoice::Left);
    rating.samples[0].sampling.temperature = 0.5;
    assert_eq!(of(&[rating]).len(), 1);
}

/// `count` choices of each rater, all of other texts; the strengths are `spread` logits apart.
fn ratings(count: usize, spread: f64, coins: &mut ChaCha8Rng) -> Vec<Rating> {
    let mut coin = || f64::from(coins.next_u32()) / 2.0_f64.powi(32);
    let mut ratings = Vec::new();
    for rater in 0..RATERS {
        for _ in 0..count {
            let left = (coin() * f64::from(POLICIES)) as u32;
            let right = (left + 1 + (coin() * f64::from(POLICIES - 1)) as u32) % POLICIES;
            let far = spread * (f64::from(left) - f64::from(right));
            let prefers_left = coin() < 1.0 / (1.0 + (-far).exp());
            let says_left = match 10 * rater / RATERS {
                0..7 => prefers_left,
                7..9 => coin() < 0.5,
                _ => !prefers_left,
            };
            let tokens = [2, 3].map(|place| 2 * ratings.len() as u32 + place);
            let choice = if says_left { PairChoice::Left } else { PairChoice::Right };
            ratings.push(self::rating(rater, [left, right], tokens, choice));
        }
    }
    ratings
}

/// The mean weights of honest raters, of those at random, and of those who say the opposite.
fn mean_weights(seed: u64) -> [f64; 3] {
    let mut coins = ChaCha8Rng::seed_from_u64(seed);
    let mut evidence = Evidence::new(RATERS);
    evidence.add_votes(&of(&ratings(60, 1.0, &mut coins)));
    let weights: Vec<f64> = evidence.trust().weights.iter().map(|weight| weight.mean).collect();
    [0..7, 7..9, 9..10].map(|tenths| {
        let of = &weights[tenths.start * RATERS / 10..tenths.end * RATERS / 10];
        of.iter().sum::<f64>() / of.len() as f64
    })
}

#[test]
fn who_chooses_at_random_counts_little_and_who_says_the_opposite_nothing() {
    for seed in 0..10 {
        let [honest, random, opposite] = mean_weights(seed);
        let all = 0.7 * honest + 0.2 * random + 0.1 * opposite;
        let bad = (0.2 * random + 0.1 * opposite) / all;
        assert!(honest > 0.8 && random < 0.35 && opposite < 0.02, "{honest} {random} {opposite}");
        // 30 % of the raters, and of the weight without protection.
        assert!(bad < 0.12, "{bad}");
    }
}
