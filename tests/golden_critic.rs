//! The critic against plain torch: its loss, and ten updates of PPO through whole models (`tests/golden/critic.py`,
//! `tests/golden/objectives.py`).

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use kudos_core::learn::{Criticized, Learned, expectations, learn, learn_critic, log_probs};
use kudos_core::model::hugging_face::{read_critic, write_critic};
use kudos_core::model::{Critic, Transformer};
use kudos_core::objective::{
    Baseline, Collected, Judgement, JudgementBatch, KlCoefficient, PolicyGradient, Prepared,
    ValueClip, explained_variance,
};
use kudos_core::optim::AdamW;
use kudos_core::rollout::Rollout;
use kudos_schema::EndReason;
use pollster::block_on;
use safetensors::SafeTensors;
use serde_json::Value;

use crate::torch_models::{adamw, close, model, pairs, read, values};

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/critic.json")).unwrap()
}

fn number(value: &Value) -> f32 {
    value.as_f64().unwrap() as f32
}

/// The models of one architecture with the batch of the golden file.
struct Bench {
    policy: Transformer,
    critic: Critic,
    rollout: Rollout,
    reference: Vec<Vec<f32>>,
}

impl Bench {
    fn new(golden: &Value, name: &str) -> Self {
        let device = Device::flex().autodiff();
        let own = &golden[name];
        let mut critic = Critic::zeroed(model(name));
        let head: Vec<f32> = read(&own["head"]);
        let head = TensorData::new(head.clone(), [head.len(), 1]);
        let bias = TensorData::new(vec![number(&own["bias"])], [1]);
        let leaf = |data| Tensor::<2>::from_data(data, &device).require_grad();
        critic.head.weight = critic.head.weight.map(|_| leaf(head));
        critic.head.bias = critic
            .head
            .bias
            .map(|old| old.map(|_| Tensor::<1>::from_data(bias, &device).require_grad()));
        let completions: Vec<Vec<u32>> = read(&golden["completions"]);
        let mut rollout = Rollout {
            prompts: read(&golden["prompts"]),
            end_reasons: vec![EndReason::Stop; completions.len()],
            completions,
            ..Rollout::default()
        };
        let policy = model(name);
        let old = block_on(log_probs(&policy.valid(), &pairs(&rollout), 1.0, 3)).unwrap();
        rollout.logprobs_full = old.clone();
        rollout.logprobs_drawn = old;
        let mut flat = read::<Vec<f32>>(&own["reference"]).into_iter();
        let rows = rollout.completions.iter();
        let reference = rows.map(|row| flat.by_ref().take(row.len()).collect()).collect();
        Self { policy, critic, rollout, reference }
    }

    fn expectations(&self) -> Vec<Vec<f32>> {
        block_on(expectations(&self.critic.valid(), &pairs(&self.rollout), 3)).unwrap()
    }

    fn prepared(&self, golden: &Value, choices: &PolicyGradient) -> (Vec<Vec<f32>>, Prepared) {
        let (said, rewards): (_, Vec<f32>) = (self.expectations(), read(&golden["rewards"]));
        let collected = Collected {
            reference: &self.reference,
            values: &said,
            ..Collected::new(&self.rollout, &rewards, 1)
        };
        let prepared = choices.prepare(&collected, &mut choices.initial_state());
        (said, prepared)
    }
}

fn choices(golden: &Value) -> PolicyGradient {
    let constant = |key: &str| golden[key].as_f64().unwrap();
    PolicyGradient {
        baseline: Baseline::Value { gamma: constant("gamma"), lam: constant("lam") },
        kl_coefficient: KlCoefficient::Fixed(constant("beta")),
        ..PolicyGradient::ppo()
    }
}

fn judgements(prepared: &Prepared, said: &[Vec<f32>]) -> Vec<Judgement> {
    let rows = prepared.experiences.iter().zip(said).zip(&prepared.returns);
    rows.map(|((one, said), returns)| Judgement::of(one, said, returns)).collect()
}

/// One update of policy and critic is what torch's was.
fn follows(what: &str, expected: &Value, (policy, critic): (&mut Learned, &mut Criticized)) {
    let check = |key: &str, ours: &[f32], tolerance| {
        close(&format!("{what} {key}"), ours, &[number(&expected[key])], tolerance);
    };
    check("policy_loss", &values(policy.loss.clone()), 1e-4);
    check("value_loss", &values(critic.loss.clone()), 1e-4);
    let held = values(policy.clipping.clone().unwrap());
    check("clip_ratio", &[(held[0] + held[1]) / held[4]], 1e-6);
    let held = values(critic.held.clone());
    check("value_clip_ratio", &[held[0] / held[1]], 1e-6);
    let norm = number(&expected["policy_norm"]);
    check("policy_norm", &values(policy.gradients.clip(1.0)), 1e-3 * norm);
    let norm = number(&expected["value_norm"]);
    check("value_norm", &values(critic.gradients.clip(1.0)), 1e-3 * norm);
}

#[test]
fn ten_updates_of_ppo_with_a_critic_follow_those_of_torch() {
    let golden = golden();
    assert_eq!(golden["decay"].as_f64().unwrap(), adamw().weight_decay);
    let clip = ValueClip::At(golden["value_clip"].as_f64().unwrap());
    for name in ["gpt2", "llama"] {
        let (own, mut bench, choices) =
            (&golden[name], Bench::new(&golden, name), choices(&golden));
        let (said, prepared) = bench.prepared(&golden, &choices);
        let flat = |rows: &[Vec<f32>]| rows.concat();
        close(name, &flat(&said), &read::<Vec<f32>>(&own["old_values"]), 1e-4);
        close(name, &flat(&prepared.returns), &read::<Vec<f32>>(&own["returns"]), 1e-4);
        let advantages = prepared.experiences.iter().flat_map(|one| one.advantages.clone());
        let advantages: Vec<f32> = advantages.collect();
        close(name, &advantages, &read::<Vec<f32>>(&own["advantages"]), 1e-3);
        let explained = explained_variance(&flat(&said), &flat(&prepared.returns)) as f32;
        close(name, &[explained], &[number(&own["explained_variance"])], 1e-3);
        let judgements = judgements(&prepared, &said);
        let now = choices.coefficients(&choices.initial_state());
        let (mut actor, mut judge) = (AdamW::new(adamw()), AdamW::new(adamw()));
        for (step, expected) in own["steps"].as_array().unwrap().iter().enumerate() {
            let objective = choices.at(now);
            let mut learned = learn(&bench.policy, &prepared.experiences, &objective, 3);
            let mut taught = learn_critic(&bench.critic, &judgements, clip, 3);
            follows(&format!("{name} {step}"), expected, (&mut learned, &mut taught));
            let rate = |who: &str| golden["rates"][who].as_f64().unwrap();
            bench.policy = actor.step(bench.policy, learned.gradients, rate("policy"));
            bench.critic = judge.step(bench.critic, taught.gradients, rate("critic"));
        }
        let after = block_on(log_probs(&bench.policy.valid(), &pairs(&bench.rollout), 1.0, 3));
        close(name, &flat(&after.unwrap()), &read::<Vec<f32>>(&own["after"]["log_probs"]), 1e-3);
        close(name, &flat(&bench.expectations()), &read::<Vec<f32>>(&own["after"]["values"]), 1e-3);
    }
}

#[test]
fn a_critic_is_stored_as_transformers_stores_what_classifies_tokens() {
    let golden = golden();
    for name in ["gpt2", "llama"] {
        let critic = Bench::new(&golden, name).critic;
        let bytes = block_on(write_critic(&critic)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let shape = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
            (name, view.shape().to_vec())
        };
        let found: BTreeMap<String, Vec<usize>> = file.tensors().into_iter().map(shape).collect();
        let expected: BTreeMap<String, Vec<usize>> = read(&golden[name]["parameters"]);
        assert_eq!(found, expected);
        let again = read_critic(&critic.trunk, &bytes).unwrap();
        assert_eq!(block_on(write_critic(&again)).unwrap(), bytes);
        let damaged = read_critic(&critic.trunk, &bytes[..bytes.len() - 1]).unwrap_err();
        assert!(damaged.to_string().contains("damaged"), "{damaged}");
    }
}

#[test]
fn the_loss_of_values_is_torchs_with_and_without_a_clip() {
    let golden: Value = serde_json::from_str(include_str!("golden/objectives.json")).unwrap();
    let flat = |value: &Value| read::<Vec<Vec<f32>>>(value).concat();
    let device = Device::flex().autodiff();
    let upload = |values: Vec<f32>| {
        let count = values.len();
        Tensor::<1>::from_data(TensorData::new(values, [count]), &device)
    };
    let cases = golden["value_losses"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let clip = case["clip"].as_f64().map_or(ValueClip::Off, ValueClip::At);
        let said = upload(flat(&golden["new_values"])).require_grad();
        let count = said.dims()[0];
        let batch = JudgementBatch {
            weights: upload(vec![1.0 / count as f32; count]),
            old: upload(flat(&golden["values"])),
            returns: upload(flat(&case["returns"])),
        };
        let loss = clip.loss(&said, &batch).loss;
        close("loss", &values(loss.clone()), &[number(&case["value"])], 1e-6);
        let gradient = said.grad(&loss.backward()).unwrap();
        close("gradient", &values(gradient), &flat(&case["gradient"]), 1e-6);
    }
}
