//! Policy gradients against plain torch: advantages, loss, the gradient of the logits, and what is
//! remembered between batches (`tests/golden/policy_gradient.py`).
//!
//! The objective scores a model, so the model here is its own logits: token, head and position
//! embeddings that reproduce a given table are more machinery than a table that is the leaf.

use burn::tensor::{Device, Int, Tensor, TensorData};
use kudos_core::objective::{
    Aggregation, Baseline, Collected, Correction, Deviation, EntropyBonus, EntropyUse,
    KlCoefficient, KlPlacement, Objective, PolicyGradient, PolicyGradientState, RatioBound,
    RatioLevel, Scale, TokenBatch, score_logits,
};
use kudos_core::rollout::Rollout;
use kudos_schema::EndReason;
use serde_json::Value;

struct Golden {
    json: Value,
}

impl Golden {
    fn read() -> Self {
        let text = include_str!("golden/policy_gradient.json");
        Self { json: serde_json::from_str(text).unwrap() }
    }

    fn table(&self, key: &str) -> Vec<Vec<Vec<f64>>> {
        serde_json::from_value(self.json[key].clone()).unwrap()
    }

    fn lengths(&self) -> Vec<usize> {
        serde_json::from_value(self.json["lengths"].clone()).unwrap()
    }

    fn actions(&self) -> Vec<Vec<u32>> {
        let all: Vec<Vec<u32>> = serde_json::from_value(self.json["actions"].clone()).unwrap();
        let lengths = self.lengths();
        all.into_iter().zip(lengths).map(|(row, length)| row[..length].to_vec()).collect()
    }

    /// Log-probabilities of the actions under a table of logits, at a temperature.
    fn log_probs(&self, key: &str, temperature: f64) -> Vec<Vec<f32>> {
        let log_prob = |logits: &[f64], action: u32| {
            let total: f64 = logits.iter().map(|logit| (logit / temperature).exp()).sum();
            (logits[action as usize] / temperature - total.ln()) as f32
        };
        let (table, actions) = (self.table(key), self.actions());
        let rows = table.iter().zip(&actions);
        rows.map(|(row, actions)| {
            actions.iter().zip(row).map(|(action, logits)| log_prob(logits, *action)).collect()
        })
        .collect()
    }
}

fn choices(case: &Value, golden: &Golden) -> PolicyGradient {
    let text = |key: &str| case[key].as_str().unwrap();
    PolicyGradient {
        baseline: match text("baseline") {
            "none" => Baseline::None,
            "batch_mean" => Baseline::BatchMean,
            "leave_one_out" => Baseline::LeaveOneOut,
            "group_z_score" => Baseline::GroupMean,
            other => panic!("baseline {other}"),
        },
        scale: match text("baseline") {
            "group_z_score" => Scale::Group(Deviation::GRPO),
            _ => Scale::None,
        },
        aggregation: match text("aggregation") {
            "token_mean" => Aggregation::TokenMean,
            "sequence_mean" => Aggregation::SequenceMean,
            "constant" => Aggregation::Constant(golden.json["tokens"].as_u64().unwrap() as usize),
            other => panic!("aggregation {other}"),
        },
        kl_placement: match text("kl") {
            "none" => KlPlacement::None,
            "reward_k1" => KlPlacement::RewardK1,
            "loss_k2" => KlPlacement::LossK2,
            "loss_k3" => KlPlacement::LossK3,
            other => panic!("kl {other}"),
        },
        kl_coefficient: KlCoefficient::Fixed(golden.json["beta"].as_f64().unwrap()),
        entropy_bonus: EntropyBonus::Fixed(case["entropy_coefficient"].as_f64().unwrap()),
        temperature: case["temperature"].as_f64().unwrap(),
        ..PolicyGradient::reinforce()
    }
}

fn floats(value: &Value) -> Vec<f32> {
    match value.as_array() {
        Some(parts) => parts.iter().flat_map(floats).collect(),
        None => vec![value.as_f64().unwrap() as f32],
    }
}

fn worst(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn check(golden: &Golden, case: &Value) {
    let choices = choices(case, golden);
    let (lengths, actions) = (golden.lengths(), golden.actions());
    let logprobs = golden.log_probs("logits", choices.temperature);
    let rollout = Rollout {
        prompts: vec![vec![0]; lengths.len()],
        completions: actions.clone(),
        logprobs_drawn: logprobs.clone(),
        logprobs_full: logprobs,
        end_reasons: vec![EndReason::Stop; lengths.len()],
    };
    let rewards = floats(&golden.json["rewards"][case["rewards"].as_str().unwrap()]);
    let reference = golden.log_probs("reference_logits", choices.temperature);
    let mut state = choices.initial_state();
    let group = golden.json["group"].as_u64().unwrap() as usize;
    let now = choices.coefficients(&state);
    let collected =
        Collected { reference: &reference, ..Collected::new(&rollout, &rewards, group) };
    let prepared = choices.prepare(&collected, &mut state);
    let advantages: Vec<f32> = prepared.experiences.iter().map(|one| one.advantages[0]).collect();
    assert!(worst(&advantages, &floats(&case["advantages"])) < 1e-5, "{case}");

    // The chosen positions of the table, sequence after sequence, as one tracked leaf.
    let table = golden.table("logits");
    let vocabulary = table[0][0].len();
    let rows = table.iter().zip(&lengths).flat_map(|(row, length)| &row[..*length]);
    let flat: Vec<f32> = rows.flatten().map(|logit| *logit as f32).collect();
    let count = lengths.iter().sum::<usize>();
    let device = Device::flex().autodiff();
    let leaf = Tensor::<2>::from_data(TensorData::new(flat, [count, vocabulary]), &device);
    let leaf = leaf.require_grad();
    let targets: Vec<i32> = actions.iter().flatten().map(|id| *id as i32).collect();
    let targets = Tensor::<2, Int>::from_data(TensorData::new(targets, [count, 1]), &device);
    let objective = choices.at(now);
    let scores = score_logits(leaf.clone(), targets, objective.scoring());
    assert_eq!(objective.scoring().entropy == EntropyUse::Learn, now.entropy_bonus != 0.0);
    let loss = objective.loss(&scores, &TokenBatch::new(&prepared.experiences, &device));
    let mut gradients = loss.backward();
    let loss: f32 = loss.into_data().try_to_vec::<f32>().unwrap()[0];
    let expected = case["loss"].as_f64().unwrap() as f32;
    assert!((loss - expected).abs() < 1e-4 * expected.abs().max(1.0), "{loss} {case}");
    let gradient = leaf.grad_remove(&mut gradients).unwrap();
    let gradient: Vec<f32> = gradient.into_data().try_to_vec().unwrap();
    let theirs: Vec<Vec<Value>> = serde_json::from_value(case["gradient"].clone()).unwrap();
    let theirs: Vec<f32> =
        theirs.iter().zip(&lengths).flat_map(|(row, n)| &row[..*n]).flat_map(floats).collect();
    let scale = theirs.iter().fold(1e-6f32, |largest, value| largest.max(value.abs()));
    assert!(worst(&gradient, &theirs) < 1e-3 * scale, "gradient of {case}");
}

#[test]
fn every_choice_gives_the_advantages_loss_and_gradient_of_torch() {
    let golden = Golden::read();
    let cases = golden.json["cases"].as_array().unwrap();
    assert!(cases.len() > 30);
    cases.iter().for_each(|case| check(&golden, case));
}

/// A batch in which completion `i` earned `rewards[i]` and stands `kl_nats[i]` from the reference.
fn advantages(
    choices: &PolicyGradient,
    (rewards, kl_nats): (&[f32], &[f32]),
    state: &mut PolicyGradientState,
) -> Vec<f32> {
    let row = |value: &f32| vec![*value];
    let rollout = Rollout {
        prompts: vec![vec![0]; rewards.len()],
        completions: vec![vec![0]; rewards.len()],
        logprobs_drawn: kl_nats.iter().map(row).collect(),
        logprobs_full: kl_nats.iter().map(row).collect(),
        end_reasons: vec![EndReason::Stop; rewards.len()],
    };
    let reference = vec![vec![0.0]; rewards.len()];
    let collected = Collected { reference: &reference, ..Collected::new(&rollout, rewards, 1) };
    let prepared = choices.prepare(&collected, state);
    prepared.experiences.iter().map(|one| one.advantages[0]).collect()
}

#[test]
fn the_running_mean_follows_the_batches_that_came_before() {
    let golden = Golden::read();
    for case in golden.json["running_mean"].as_array().unwrap() {
        let decay = case["decay"].as_f64().unwrap();
        let choices = PolicyGradient {
            baseline: Baseline::RunningMean { decay },
            kl_placement: KlPlacement::None,
            ..PolicyGradient::reinforce()
        };
        let mut state = choices.initial_state();
        for batch in case["batches"].as_array().unwrap() {
            let rewards = floats(&batch["rewards"]);
            let kl = vec![0.0; rewards.len()];
            let ours = advantages(&choices, (&rewards, &kl), &mut state);
            assert!(worst(&ours, &floats(&batch["advantages"])) < 1e-6, "{batch}");
        }
    }
}

#[test]
fn the_adaptive_coefficient_is_steered_as_in_its_paper() {
    let golden = Golden::read();
    for case in golden.json["adaptive_kl"].as_array().unwrap() {
        let number = |key: &str| case[key].as_f64().unwrap();
        let [initial, target, horizon] = ["initial", "target", "horizon"].map(number);
        let choices = PolicyGradient {
            kl_placement: KlPlacement::LossK3,
            kl_coefficient: KlCoefficient::Adaptive { initial, target, horizon },
            ..PolicyGradient::reinforce()
        };
        let mut state = choices.initial_state();
        assert_eq!(state.beta, initial);
        for batch in case["batches"].as_array().unwrap() {
            let kl = floats(&batch["kl_nats"]);
            advantages(&choices, (&vec![0.0; kl.len()], &kl), &mut state);
            let expected = batch["beta"].as_f64().unwrap();
            assert!((state.beta / expected - 1.0).abs() < 1e-6, "{} {expected}", state.beta);
        }
    }
}

/// A policy without baseline and reference.
fn plain() -> PolicyGradient {
    PolicyGradient {
        baseline: Baseline::None,
        kl_placement: KlPlacement::None,
        ..PolicyGradient::reinforce()
    }
}

fn number(tensor: Tensor<1>) -> f64 {
    f64::from(tensor.into_data().try_to_vec::<f32>().unwrap()[0])
}

#[test]
fn the_adaptive_entropy_bonus_is_paid_and_moved_as_in_torchs_series() {
    let golden = Golden::read();
    let device = Device::flex().autodiff();
    for case in golden.json["adaptive_entropy"].as_array().unwrap() {
        let setting = |key: &str| case[key].as_f64().unwrap();
        let [target, step, most] = ["target", "step", "most"].map(setting);
        let bonus = EntropyBonus::Adaptive { target, step, most };
        let choices = PolicyGradient { entropy_bonus: bonus, ..plain() };
        let actions: Vec<i32> = serde_json::from_value(case["actions"].clone()).unwrap();
        let (count, rewards) = (actions.len(), floats(&case["rewards"]));
        let rollout = Rollout {
            prompts: vec![vec![0]; count],
            completions: actions.iter().map(|action| vec![*action as u32]).collect(),
            logprobs_drawn: vec![vec![0.0]; count],
            logprobs_full: vec![vec![0.0]; count],
            end_reasons: vec![EndReason::Stop; count],
        };
        let targets = Tensor::<2, Int>::from_data(TensorData::new(actions, [count, 1]), &device);
        let mut state = choices.initial_state();
        let prepared = choices.prepare(&Collected::new(&rollout, &rewards, 1), &mut state);
        let batch = TokenBatch::new(&prepared.experiences, &device);
        let mut logits = floats(&case["logits"]);
        for (place, expected) in case["steps"].as_array().unwrap().iter().enumerate() {
            let now = choices.coefficients(&state);
            let data = TensorData::new(logits.clone(), [1, logits.len()]);
            let leaf = Tensor::<2>::from_data(data, &device).require_grad();
            let objective = choices.at(now);
            let rows = leaf.clone().repeat_dim(0, count);
            let scores = score_logits(rows, targets.clone(), objective.scoring());
            let loss = objective.loss(&scores, &batch);
            let entropy = number((scores.entropy.unwrap() * batch.weights.clone()).sum());
            let found = [now.entropy_bonus, number(loss.clone()), entropy];
            for (found, key) in found.into_iter().zip(["paid", "loss", "entropy"]) {
                let expected = expected[key].as_f64().unwrap();
                assert!((found - expected).abs() < 1e-5, "step {place}: {key} {found} {expected}");
            }
            choices.saw_entropy(entropy, &mut state);
            let gradient = leaf.grad_remove(&mut loss.backward()).unwrap();
            let gradient: Vec<f32> = gradient.into_data().try_to_vec().unwrap();
            let moved = logits.iter_mut().zip(gradient);
            moved.for_each(|(logit, slope)| *logit -= setting("rate") as f32 * slope);
        }
        assert!(worst(&logits, &floats(&case["after"])) < 1e-5);
    }
}

#[test]
fn completions_whose_ratio_is_beyond_a_bound_of_the_whole_teach_nothing() {
    let golden = Golden::read();
    let case = &golden.json["sequence_mask"];
    let drawn: Vec<Vec<f32>> = serde_json::from_value(case["drawn"].clone()).unwrap();
    let rollout = Rollout {
        prompts: vec![vec![0]; drawn.len()],
        completions: golden.actions(),
        end_reasons: vec![EndReason::Stop; drawn.len()],
        logprobs_drawn: drawn,
        logprobs_full: golden.log_probs("logits", 1.0),
    };
    let bound = RatioBound::Mask(case["bound"].as_f64().unwrap());
    let correction = Correction::Importance { level: RatioLevel::Sequence, bound };
    let choices = PolicyGradient { correction, ..plain() };
    let rewards = floats(&golden.json["rewards"]["varied"]);
    let collected = Collected::new(&rollout, &rewards, 1);
    let prepared = choices.prepare(&collected, &mut choices.initial_state());
    let rows = prepared.experiences.iter().zip(floats(&case["advantages"]));
    rows.for_each(|(one, expected)| {
        assert!(worst(&one.advantages, &vec![expected; one.advantages.len()]) < 1e-5);
    });
    let report = prepared.importance.unwrap();
    let found = [report.ratio_min, report.ratio_mean, report.ratio_max, report.effective_share];
    let mut expected = floats(&case["ratios"]);
    expected.extend(floats(&case["effective_share"]));
    assert!(worst(&found.map(|value| value as f32), &expected) < 1e-5, "{report:?}");
}
