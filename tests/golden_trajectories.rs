//! Ten updates by every policy gradient and preference loss against plain torch, through whole models
//! (`tests/golden/trajectories.py`).

use burn::module::Module;
use burn::tensor::Tensor;
use kudos_core::learn::{Learned, learn, log_probs};
use kudos_core::model::Transformer;
use kudos_core::objective::{
    Algorithm, Clip, Collected, Correction, Dual, EntropyBonus, Judged, Label, Linear, Linearized,
    Pair, PolicyGradient, Preference, RatioBound, RatioLevel, Scale, Side, Surrogate, Truncated,
    Unpaired,
};
use kudos_core::optim::AdamW;
use kudos_core::rollout::Rollout;
use kudos_schema::{EndReason, Sampling};
use pollster::block_on;
use serde_json::Value;

use crate::torch_models::{adamw, close, model, pairs, read, values};

/// Sequences in a forward pass: fewer than there are.
const MICRO_BATCH: usize = 4;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/trajectories.json")).unwrap()
}

fn number(tensor: Tensor<1>) -> f64 {
    f64::from(values(tensor)[0])
}

/// An algorithm of ours as the case has it.
fn choices(case: &str) -> PolicyGradient {
    let name = match case.split_once('_') {
        Some(("grpo" | "cispo", _)) => case.split('_').next().unwrap(),
        Some(_) => case,
        None if case == "entropy" => "reinforce",
        None => case,
    };
    let algorithm: Algorithm = serde_json::from_value(Value::from(name)).unwrap();
    let ours = algorithm.ours();
    let corrected = |level, bound| PolicyGradient {
        correction: Correction::Importance { level, bound },
        ..ours.clone()
    };
    let surrogate = |surrogate| PolicyGradient { surrogate, ..ours.clone() };
    match case {
        "entropy" => PolicyGradient { entropy_bonus: EntropyBonus::Fixed(0.02), ..ours },
        "grpo_batch" => {
            let Scale::Group(deviation) = ours.scale else { panic!("grpo divides by groups") };
            PolicyGradient { scale: Scale::Batch(deviation), ..ours }
        }
        "grpo_dual" => surrogate(Surrogate::Clip(Clip { dual: Dual::At(1.1), ..Clip::default() })),
        "grpo_masked" => corrected(RatioLevel::Token, RatioBound::Mask(1.3)),
        "grpo_truncated" => corrected(RatioLevel::Sequence, RatioBound::Truncate(1.2)),
        "gspo" => {
            let level = RatioLevel::SequenceMean;
            surrogate(Surrogate::Clip(Clip { level, low: 0.05, high: 0.06, dual: Dual::Off }))
        }
        "cispo" => surrogate(Surrogate::DetachedRatio { floor: 0.0, ceiling: 1.1 }),
        "cispo_both" => surrogate(Surrogate::DetachedRatio { floor: 0.9, ceiling: 1.1 }),
        "dapo" => PolicyGradient { truncated: Truncated::Shape { longest: 8, buffer: 4 }, ..ours },
        _ => ours,
    }
}

/// The batch of the golden file with the model that it begins with.
struct Bench<'a> {
    golden: &'a Value,
    own: &'a Value,
    model: Transformer,
    optimizer: AdamW,
    rollout: Rollout,
}

impl<'a> Bench<'a> {
    fn new(golden: &'a Value, name: &str) -> Self {
        let model = model(name);
        let prompts: Vec<Vec<u32>> = read(&golden["prompts"]);
        let group = golden["group"].as_u64().unwrap() as usize;
        let repeated = |prompt: &Vec<u32>| vec![prompt.clone(); group];
        let completions: Vec<Vec<u32>> = read(&golden["completions"]);
        let mut rollout = Rollout {
            prompts: prompts.iter().flat_map(repeated).collect(),
            end_reasons: vec![EndReason::Stop; completions.len()],
            completions,
            ..Rollout::default()
        };
        rollout.logprobs_full =
            block_on(log_probs(&model.valid(), &pairs(&rollout), 1.0, 3)).unwrap();
        let own = &golden[name];
        let mut bench = Self { golden, own, model, optimizer: AdamW::new(adamw()), rollout };
        bench.rollout.logprobs_drawn = bench.rows("drawn");
        bench
    }

    /// Numbers of each token of each completion.
    fn rows(&self, name: &str) -> Vec<Vec<f32>> {
        let mut flat = read::<Vec<f32>>(&self.own[name]).into_iter();
        let rows = self.rollout.completions.iter();
        rows.map(|row| flat.by_ref().take(row.len()).collect()).collect()
    }

    /// Takes ten updates and compares each with torch's.
    fn follow(
        &mut self,
        (what, expected): (&str, &Value),
        learned: impl Fn(&Transformer) -> (f64, Learned),
    ) {
        let rate = self.golden["rate"].as_f64().unwrap();
        let steps = expected["steps"].as_array().unwrap();
        assert_eq!(steps.len(), 10);
        for (step, expected) in steps.iter().enumerate() {
            let (loss, mut learned) = learned(&self.model);
            let wanted = expected["loss"].as_f64().unwrap();
            assert!((loss - wanted).abs() < 1e-4, "{what} {step}: loss {loss}, not {wanted}");
            let norm = number(learned.gradients.clip(1.0));
            let wanted = expected["norm"].as_f64().unwrap();
            let off = (norm - wanted).abs();
            assert!(off < 1e-3 * wanted.max(1e-2), "{what} {step}: norm {norm}, not {wanted}");
            self.model = self.optimizer.step(self.model.clone(), learned.gradients, rate);
        }
        let after = block_on(log_probs(&self.model.valid(), &pairs(&self.rollout), 1.0, 3));
        let wanted = read::<Vec<f32>>(&expected["after"]);
        close(what, &after.unwrap().concat(), &wanted, 9e-4);
    }
}

#[test]
fn ten_updates_of_every_policy_gradient_follow_those_of_torch() {
    let golden = golden();
    for name in ["gpt2", "llama"] {
        let cases = golden[name]["policies"].as_object().unwrap();
        assert_eq!(cases.len(), 18);
        for (case, expected) in cases {
            let mut bench = Bench::new(&golden, name);
            let max_completion_length = golden["longest"].as_u64().unwrap() as usize;
            let sampling = Sampling { max_completion_length, ..Sampling::default() };
            let choices = choices(case).drawn_by(&sampling);
            let (rewards, greedy): (Vec<f32>, Vec<f32>) =
                (read(&golden["rewards"]), read(&golden["greedy"]));
            let (reference, values) = (bench.rows("reference"), bench.rows("values"));
            let group = golden["group"].as_u64().unwrap() as usize;
            let collected = Collected::new(&bench.rollout, &rewards, group);
            let old = match case.as_str() {
                "grpo_dual" => &bench.rollout.logprobs_drawn,
                _ => &bench.rollout.logprobs_full,
            };
            let values = if choices.needs_values() { &values[..] } else { &[] };
            let collected =
                Collected { reference: &reference, greedy: &greedy, values, old, ..collected };
            let mut state = choices.initial_state();
            let now = choices.coefficients(&state);
            let prepared = choices.prepare(&collected, &mut state);
            let experiences = prepared.experiences.into_iter().zip(prepared.included);
            let experiences: Vec<_> =
                experiences.filter(|(_, included)| *included).map(|(one, _)| one).collect();
            bench.follow((&format!("{name} {case}"), expected), |model| {
                let learned = learn(model, &experiences, &choices.at(now), MICRO_BATCH);
                (number(learned.loss.clone()), learned)
            });
        }
    }
}

#[test]
fn ten_updates_of_every_preference_loss_follow_those_of_torch() {
    let golden = golden();
    for name in ["gpt2", "llama"] {
        let cases = golden[name]["rated"].as_array().unwrap();
        assert_eq!(cases.len(), 10);
        for case in cases {
            let mut bench = Bench::new(&golden, name);
            let reference: Vec<f64> = bench.rows("reference").iter().map(|row| sum(row)).collect();
            let group = golden["group"].as_u64().unwrap() as usize;
            let rollout = bench.rollout.clone();
            let places = (0..reference.len()).filter(|place| place % group < 2);
            let places: Vec<usize> = places.collect();
            let rows = pairs(&rollout);
            let rows: Vec<_> = places.iter().map(|place| rows[*place]).collect();
            bench.follow((&format!("{name} {}", case["loss"]), case), |model| {
                let policy = block_on(log_probs(&model.valid(), &rows, 1.0, 3)).unwrap();
                let sides = policy.iter().zip(&places).map(|(row, place)| Side {
                    policy: sum(row),
                    reference: reference[*place],
                    tokens: row.len(),
                });
                let linearized = linearized((case, &golden), &sides.collect::<Vec<_>>());
                let experiences = Linear::experiences(&rows, &linearized.slopes);
                let objective = Linear { temperature: 1.0 };
                (linearized.loss, learn(model, &experiences, &objective, MICRO_BATCH))
            });
        }
    }
}

fn sum(row: &[f32]) -> f64 {
    row.iter().map(|value| f64::from(*value)).sum()
}

/// The loss of a case with its slopes by each completion's log-probability.
fn linearized((case, golden): (&Value, &Value), sides: &[Side]) -> Linearized {
    let constant = |key: &str, usual: f64| case[key].as_f64().unwrap_or(usual);
    let beta = constant("beta", 0.0);
    if case["loss"] == "kto" {
        let unpaired = Unpaired {
            beta,
            desirable_weight: constant("desirable_weight", 1.0),
            undesirable_weight: constant("undesirable_weight", 1.0),
        };
        let judged = sides.iter().zip(read::<Vec<bool>>(&golden["labels"])).map(|(side, good)| {
            let label = if good { Label::Good } else { Label::Bad };
            Judged { log_ratio: side.policy - side.reference, label, weight: 1.0 }
        });
        let others: Vec<f64> = read(&golden["others"]);
        return unpaired.linearize(&judged.collect::<Vec<_>>(), &others);
    }
    let loss = match case["loss"].as_str().unwrap() {
        "simpo" => serde_json::json!({ "simpo": { "margin": case["margin"] } }),
        other => Value::from(other),
    };
    let preference = Preference {
        loss: serde_json::from_value(loss).unwrap(),
        beta,
        label_smoothing: constant("label_smoothing", 0.0),
        rpo_alpha: constant("rpo_alpha", 0.0),
    };
    let weights: Vec<f64> = read(&golden["weights"]);
    let pairs = sides.chunks(2).zip(weights);
    let pairs = pairs.map(|(two, weight)| Pair { chosen: two[0], rejected: two[1], weight });
    preference.linearize(&pairs.collect::<Vec<_>>())
}
