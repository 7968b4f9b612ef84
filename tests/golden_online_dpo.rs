//! Ten steps of online DPO against torch (`tests/golden/online_dpo.py`): the same coins draw the same completions,
//! make the same pairs, and lead to the same losses.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use kudos_core::learn::{learn, log_probs};
use kudos_core::model::Transformer;
use kudos_core::model::hugging_face::{config_from_json, read_weights};
use kudos_core::objective::{Linear, Pair, Preference, Side};
use kudos_core::optim::{AdamW, AdamWConfig};
use kudos_core::rollout::{Coins, Generation, StopTokens, generate};
use kudos_schema::Sampling;
use pollster::block_on;
use serde::Deserialize;
use trainer::recipe::Pairing;

#[derive(Deserialize)]
struct Golden {
    prompts: Vec<Vec<u32>>,
    group: usize,
    length: usize,
    beta: f64,
    seed: u64,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    /// Prompt, chosen, rejected.
    pairs: Vec<[Vec<u32>; 3]>,
    loss: f64,
    grad_norm: f64,
}

fn model(device: &Device) -> Transformer {
    let config = config_from_json(include_str!("golden/transformer/llama/config.json")).unwrap();
    let weights = include_bytes!("golden/transformer/llama/model.safetensors");
    read_weights(&config, &weights[..], device).unwrap()
}

fn number(tensor: Tensor<1>) -> f64 {
    f64::from(tensor.into_data().try_to_vec::<f32>().unwrap()[0])
}

/// What a completion earns: a whole number, so that no rounding decides who is better.
fn reward(completion: &[u32]) -> f32 {
    completion.iter().map(|token| 7 * token % 13).sum::<u32>() as f32
}

/// The pairs that a policy makes at a step.
fn pairs(golden: &Golden, policy: &Transformer, step: usize) -> Vec<[Vec<u32>; 3]> {
    let prompts = golden.prompts.iter();
    let prompts: Vec<Vec<u32>> =
        prompts.flat_map(|prompt| vec![prompt.clone(); golden.group]).collect();
    let sampling = Sampling { max_completion_length: golden.length, ..Sampling::default() };
    let coins = Coins::new(golden.seed, step as u64);
    let stop = StopTokens(Vec::new());
    let generation = Generation { sampling: &sampling, stop: &stop, coins, first_index: 0 };
    let drawn = block_on(generate(policy, &prompts, &generation)).unwrap().completions;
    let rewards: Vec<f32> = drawn.iter().map(|completion| reward(completion)).collect();
    let places = Pairing::BestAndWorst.pairs(&rewards, golden.group).into_iter();
    places
        .map(|[best, worst]| [prompts[best].clone(), drawn[best].clone(), drawn[worst].clone()])
        .collect()
}

fn sums(model: &Transformer, rows: &[(&[u32], &[u32])]) -> Vec<f64> {
    let log_probs = block_on(log_probs(model, rows, 1.0, 8)).unwrap();
    log_probs.iter().map(|row| row.iter().map(|value| f64::from(*value)).sum()).collect()
}

#[test]
fn ten_steps_of_online_dpo_follow_those_of_torch() {
    let golden: Golden = serde_json::from_str(include_str!("golden/online_dpo.json")).unwrap();
    let preference = Preference { beta: golden.beta, ..Preference::default() };
    let reference = model(&Device::flex());
    let mut policy = model(&Device::flex().autodiff());
    let mut optimizer = AdamW::new(AdamWConfig::default());
    for (index, step) in golden.steps.iter().enumerate() {
        let reading = policy.valid();
        let found = pairs(&golden, &reading, index);
        assert_eq!(found, step.pairs, "step {index}");
        let rows: Vec<(&[u32], &[u32])> = found
            .iter()
            .flat_map(|[prompt, chosen, rejected]| {
                [(&prompt[..], &chosen[..]), (&prompt[..], &rejected[..])]
            })
            .collect();
        let both = sums(&reading, &rows).into_iter().zip(sums(&reference, &rows));
        let tokens = golden.length;
        let sides: Vec<Side> =
            both.map(|(policy, reference)| Side { policy, reference, tokens }).collect();
        let two = sides.chunks(2);
        let scored: Vec<Pair> =
            two.map(|two| Pair { chosen: two[0], rejected: two[1], weight: 1.0 }).collect();
        let linearized = preference.linearize(&scored);
        assert!((linearized.loss - step.loss).abs() < 1e-4, "step {index}: {}", linearized.loss);
        let experiences = Linear::experiences(&rows, &linearized.slopes);
        let mut learned = learn(&policy, &experiences, &Linear { temperature: 1.0 }, 4);
        let norm = number(learned.gradients.clip(1.0));
        assert!((norm - step.grad_norm).abs() < 1e-3 * step.grad_norm, "step {index}: {norm}");
        policy = optimizer.step(policy, learned.gradients, 1e-3);
    }
}
