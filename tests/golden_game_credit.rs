//! What the tokens of a game were worth against numpy, and what is learned of tokens that were met several times against
//! plain torch (`tests/golden/game_credit.py`).

use burn::tensor::{Device, Tensor, TensorData};
use kudos_core::objective::{
    Clip, Coefficients, Credit, Experience, GameLine, Judgement, JudgementBatch, KlPlacement,
    Lived, MiniBatch, Objective, PolicyGradient, Scores, Surrogate, TokenBatch, ValueClip,
};
use kudos_core::rollout::Trajectory;
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/game_credit.json")).unwrap()
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn near(found: f64, expected: f64, bound: f64, what: &str) {
    assert!((found - expected).abs() <= bound, "{what}: {found}, not {expected}");
}

#[test]
fn what_tokens_of_a_game_were_worth_is_numpy_s() {
    for case in golden()["cases"].as_array().unwrap() {
        let credit = Credit { gamma: read(&case["gamma"]), lam: read(&case["lam"]) };
        let line = GameLine {
            rewards: read(&case["rewards"]),
            values: read(&case["values"]),
            ends: read(&case["ends"]),
            after: read(&case["after"]),
        };
        let expected: Vec<f64> = read(&case["advantages"]);
        let found = credit.advantages(&line);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.into_iter().zip(expected) {
            near(found, expected, 1e-12 * expected.abs().max(1.0), "advantage");
        }
    }
}

/// The texts of the golden file as they were met.
fn met(golden: &Value) -> Vec<Lived> {
    let texts: Vec<usize> = read(&golden["met"]);
    let rows = |name: &str| -> Vec<Vec<f32>> { read(&golden[name]) };
    let (old, values) = (rows("old"), rows("values"));
    let own = rows("advantages").into_iter().zip(rows("returns"));
    let one = |(text, (advantages, returns)): (&usize, (Vec<f32>, Vec<f32>))| Lived {
        trajectory: Trajectory {
            experience: Experience {
                prompt: vec![*text as u32],
                completion: vec![7, 8],
                weights: vec![1.0; 2],
                advantages,
                reference: old[*text].clone(),
                old: old[*text].clone(),
            },
            rewards: vec![0.0; 2],
            returns: vec![0.0; 2],
            after: Vec::new(),
        },
        values: values[*text].clone(),
        after: 0.0,
        returns,
    };
    texts.iter().zip(own).map(one).collect()
}

/// Numbers of each row's text as a leaf.
fn leaf(table: &[Vec<f32>], texts: &[u32]) -> Tensor<1> {
    let numbers: Vec<f32> = texts.iter().flat_map(|text| table[*text as usize].clone()).collect();
    let count = numbers.len();
    let device = Device::flex().autodiff();
    Tensor::<1>::from_data(TensorData::new(numbers, [count]), &device).require_grad()
}

/// The gradient by each token of each different text: that of its rows together.
fn by_text(leaf: &Tensor<1>, loss: &Tensor<1>, texts: &[u32]) -> Vec<f64> {
    let gradients = loss.backward();
    let rows: Vec<f32> = leaf.grad(&gradients).unwrap().into_data().try_to_vec().unwrap();
    let mut sums = vec![0.0; 6];
    for (row, text) in rows.chunks(2).zip(texts) {
        row.iter().enumerate().for_each(|(place, slope)| {
            sums[2 * *text as usize + place] += f64::from(*slope);
        });
    }
    sums
}

fn one(tensor: Tensor<1>) -> f64 {
    let values: Vec<f32> = tensor.into_data().try_to_vec().unwrap();
    f64::from(values[0])
}

fn same(found: &[f64], expected: &Value, what: &str) {
    let expected: Vec<Vec<f64>> = read(expected);
    for (found, expected) in found.iter().zip(expected.concat()) {
        near(*found, expected, 1e-6, what);
    }
}

#[test]
fn what_was_met_several_times_is_learned_once_with_the_same_gradient() {
    let golden = &golden()["surrogate"];
    let epsilon: f64 = read(&golden["epsilon"]);
    let lived = met(golden);
    let batch = MiniBatch::of(&lived.iter().collect::<Vec<_>>());
    // Three texts, and at least one of them with both signs at one token.
    assert!(batch.experiences.len() > 3 && batch.judgements.len() == 3);
    let clip = Clip { low: epsilon, high: epsilon, ..Clip::default() };
    let objective = PolicyGradient {
        surrogate: Surrogate::Clip(clip),
        kl_placement: KlPlacement::None,
        ..PolicyGradient::ppo()
    };
    let texts: Vec<u32> = batch.experiences.iter().map(|one| one.prompt[0]).collect();
    let log_probs = leaf(&read::<Vec<Vec<f32>>>(&golden["log_probs"]), &texts);
    let now = Coefficients { beta: 0.0, entropy_bonus: 0.0 };
    let tokens = TokenBatch::new(&batch.experiences, &log_probs.device());
    let scores = Scores { log_probs: log_probs.clone(), entropy: None };
    let loss = objective.at(now).loss(&scores, &tokens);
    near(one(loss.clone()), read(&golden["loss"]), 1e-6, "loss");
    same(&by_text(&log_probs, &loss, &texts), &golden["gradient"], "gradient");
    let texts: Vec<u32> = batch.judgements.iter().map(|one: &Judgement| one.prompt[0]).collect();
    let values = leaf(&read::<Vec<Vec<f32>>>(&golden["values"]), &texts);
    let judged = JudgementBatch::new(&batch.judgements, &values.device());
    let loss = ValueClip::Off.loss(&values, &judged).loss;
    same(&by_text(&values, &loss, &texts), &golden["value_gradient"], "gradient of values");
}
