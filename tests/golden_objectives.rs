//! Ratios and advantages against TRL's own losses and plain torch (`tests/golden/objectives.py`).

use burn::tensor::{Device, Tensor, TensorData};
use kudos_core::objective::{
    Aggregation, Algorithm, Baseline, Clip, Coefficients, Collected, Compat, Correction, Dual,
    Experience, KlCoefficient, KlPlacement, Objective, PolicyGradient, RatioBound, RatioLevel,
    Scale, Scores, Surrogate, TokenBatch, generalized_advantages,
};
use kudos_core::rollout::Rollout;
use kudos_schema::{EndReason, Sampling};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/objectives.json")).unwrap()
}

fn table(value: &Value) -> Vec<Vec<f32>> {
    serde_json::from_value(value.clone()).unwrap()
}

fn list(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn close(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let scale = theirs.iter().fold(1e-3f32, |most, value| most.max(value.abs()));
    let off = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 2e-5 * scale, "{what}: off by {off} of {scale}");
}

/// The preset of the library whose loss a case is, with the case's numbers on top. The golden's advantages are given,
/// so nothing is compared, divided or paid before the loss.
fn choices(case: &Value, tokens: usize) -> PolicyGradient {
    let number = |key: &str, preset: f64| case[key].as_f64().unwrap_or(preset);
    let (loss, level) = (case["loss"].as_str().unwrap(), case["level"].as_str());
    let (algorithm, compat) = match (loss, level) {
        ("grpo", None) => (Algorithm::Grpo, Compat::Trl),
        ("grpo", Some("sequence")) => (Algorithm::Gspo, Compat::Trl),
        ("dapo", None) => (Algorithm::Dapo, Compat::Trl),
        ("dr_grpo", None) => (Algorithm::DrGrpo, Compat::Trl),
        ("cispo", None) => (Algorithm::Cispo, Compat::Trl),
        ("rloo", None) => (Algorithm::Rloo, Compat::Trl),
        ("dual_clip", None) => (Algorithm::Grpo, Compat::Verl),
        other => panic!("loss {other:?}"),
    };
    let sampling = Sampling { max_completion_length: tokens, ..Sampling::default() };
    let preset = algorithm.of(compat).unwrap().drawn_by(&sampling);
    let surrogate = match preset.surrogate {
        Surrogate::Clip(Clip { level, low, high, dual }) => Surrogate::Clip(Clip {
            level,
            low: number("low", low),
            high: number("high", high),
            dual: case["dual"].as_f64().map_or(dual, Dual::At),
        }),
        Surrogate::DetachedRatio { floor, ceiling } => {
            Surrogate::DetachedRatio { floor, ceiling: number("high", ceiling) }
        }
        other @ (Surrogate::ScoreFunction | Surrogate::Ratio { .. }) => {
            panic!("{loss} by {other:?}")
        }
    };
    // TRL's `GRPOConfig` has "dapo" for its `loss_type` by itself.
    let aggregation = if loss == "grpo" { Aggregation::SequenceMean } else { preset.aggregation };
    let correction =
        Correction::Importance { level: RatioLevel::Token, bound: RatioBound::Truncate(1.2) };
    let corrected = case["corrected"].as_bool().unwrap_or(false);
    PolicyGradient {
        baseline: Baseline::None,
        scale: Scale::None,
        surrogate,
        aggregation,
        kl_placement: if case["beta"].is_null() { KlPlacement::None } else { KlPlacement::LossK3 },
        correction: if corrected { correction } else { preset.correction },
        ..preset
    }
}

/// The batch of the golden file, with `old` as the policy that collected.
fn rollout(golden: &Value) -> Rollout {
    let lengths: Vec<usize> = serde_json::from_value(golden["lengths"].clone()).unwrap();
    Rollout {
        prompts: vec![vec![0]; lengths.len()],
        completions: lengths.iter().map(|length| vec![0; *length]).collect(),
        logprobs_drawn: table(&golden["drawn"]),
        logprobs_full: table(&golden["old"]),
        end_reasons: vec![EndReason::Stop; lengths.len()],
    }
}

/// The loss, its gradient by each log-probability, and what the bounds held.
fn loss(
    choices: &PolicyGradient,
    experiences: &[Experience],
    (log_probs, now): (&[f32], Coefficients),
) -> (f32, Vec<f32>, Option<Vec<f32>>) {
    let device = Device::flex().autodiff();
    let count = log_probs.len();
    let leaf = Tensor::<1>::from_data(TensorData::new(log_probs.to_vec(), [count]), &device);
    let leaf = leaf.require_grad();
    let scores = Scores { log_probs: leaf.clone(), entropy: None };
    let batch = TokenBatch::new(experiences, &device);
    let objective = choices.at(now);
    let loss = objective.loss(&scores, &batch);
    let mut gradients = loss.backward();
    let gradient = leaf.grad_remove(&mut gradients).unwrap().into_data();
    let clipping = objective.clipping(&scores, &batch);
    let clipping = clipping.map(|held| held.into_data().try_to_vec::<f32>().unwrap());
    let loss = loss.into_data().try_to_vec::<f32>().unwrap()[0];
    (loss, gradient.try_to_vec::<f32>().unwrap(), clipping)
}

#[test]
fn losses_gradients_and_clipped_shares_are_trls() {
    let golden = golden();
    let tokens = golden["tokens"].as_u64().unwrap() as usize;
    let (rollout, log_probs) = (rollout(&golden), table(&golden["logps"]).concat());
    let (rewards, reference) = (list(&golden["advantages"]), table(&golden["reference"]));
    let cases = golden["losses"].as_array().unwrap();
    assert_eq!(cases.len(), 11);
    for case in cases {
        let choices = choices(case, tokens);
        let collected =
            Collected { reference: &reference, ..Collected::new(&rollout, &rewards, 1) };
        let prepared = choices.prepare(&collected, &mut choices.initial_state());
        let beta = case["beta"].as_f64().unwrap_or(0.0);
        let now = Coefficients { beta, entropy_bonus: 0.0 };
        let (value, gradient, clipping) = loss(&choices, &prepared.experiences, (&log_probs, now));
        let what = format!("{} {}", case["loss"], case["level"]);
        close(&what, &[value], &[case["value"].as_f64().unwrap() as f32]);
        close(&what, &gradient, &table(&case["gradient"]).concat());
        // TRL counts completions where the ratio is one of a completion; we count their tokens.
        let shares = list(&case["clipped"]);
        let clipping = clipping.unwrap();
        if case["level"].is_null() && case["loss"] != "rloo" && !shares.is_empty() {
            close(&what, &[clipping[0] / clipping[4], clipping[1] / clipping[4]], &shares);
        }
    }
}

#[test]
fn advantages_follow_the_conventions_of_each_library() {
    let golden = golden();
    let wanted = &golden["wanted"];
    let (rollout, rewards) = (rollout(&golden), list(&golden["rewards"]));
    let reference = table(&golden["reference"]);
    let advantages = |choices: &PolicyGradient, group| {
        let collected =
            Collected { reference: &reference, ..Collected::new(&rollout, &rewards, group) };
        let prepared = choices.prepare(&collected, &mut choices.initial_state());
        prepared.experiences.into_iter().map(|one| one.advantages).collect::<Vec<_>>()
    };
    let of_group = |choices: &PolicyGradient, name: &str| {
        let choices = PolicyGradient { kl_placement: KlPlacement::None, ..choices.clone() };
        let firsts: Vec<f32> = advantages(&choices, 3).iter().map(|row| row[0]).collect();
        close(name, &firsts, &list(&wanted[name]));
    };
    let grpo = |compat| Algorithm::Grpo.of(compat).unwrap();
    of_group(&grpo(Compat::Trl), "trl_group");
    of_group(&grpo(Compat::Verl), "verl_group");
    of_group(&grpo(Compat::OpenRlhf), "open_rlhf_group");
    let deviation = kudos_core::objective::Deviation::GRPO;
    of_group(
        &PolicyGradient { scale: Scale::Batch(deviation), ..PolicyGradient::grpo() },
        "trl_batch",
    );
    let beta = wanted["reinforce_plus_plus"]["beta"].as_f64().unwrap();
    for (compat, name) in [(Compat::Verl, "verl"), (Compat::OpenRlhf, "open_rlhf")] {
        let choices = PolicyGradient {
            kl_placement: KlPlacement::TokenRewardK1,
            kl_coefficient: KlCoefficient::Fixed(beta),
            ..Algorithm::ReinforcePlusPlus.of(compat).unwrap()
        };
        let theirs = table(&wanted["reinforce_plus_plus"][name]);
        close(name, &advantages(&choices, 1).concat(), &theirs.concat());
    }
}

#[test]
fn generalized_advantages_and_returns_are_torchs() {
    let golden = golden();
    let (rollout, rewards) = (rollout(&golden), list(&golden["rewards"]));
    let (reference, values) = (table(&golden["reference"]), table(&golden["values"]));
    for case in golden["wanted"]["gae"].as_array().unwrap() {
        let number = |key: &str| case[key].as_f64().unwrap();
        let choices = PolicyGradient {
            baseline: Baseline::Value { gamma: number("gamma"), lam: number("lam") },
            scale: Scale::None,
            kl_coefficient: KlCoefficient::Fixed(0.1),
            ..PolicyGradient::ppo()
        };
        let collected = Collected {
            reference: &reference,
            values: &values,
            ..Collected::new(&rollout, &rewards, 1)
        };
        let prepared = choices.prepare(&collected, &mut choices.initial_state());
        let ours: Vec<f32> =
            prepared.experiences.iter().flat_map(|one| one.advantages.clone()).collect();
        close("advantages", &ours, &table(&case["advantages"]).concat());
        close("returns", &prepared.returns.concat(), &table(&case["returns"]).concat());
    }
    assert_eq!(generalized_advantages(&[], &[], 1.0, 1.0), Vec::<f64>::new());
}

#[test]
fn identical_policies_have_ratio_one_and_no_divergence() {
    let golden = golden();
    let (rollout, rewards) = (rollout(&golden), list(&golden["advantages"]));
    let log_probs = table(&golden["old"]).concat();
    let now = Coefficients { beta: 1.0, entropy_bonus: 0.0 };
    for kl_placement in [KlPlacement::LossK2, KlPlacement::LossK3] {
        for level in [RatioLevel::Token, RatioLevel::Sequence, RatioLevel::SequenceMean] {
            let surrogate = Surrogate::Ratio { level };
            let choices = PolicyGradient {
                kl_placement,
                surrogate,
                baseline: Baseline::None,
                ..PolicyGradient::reinforce()
            };
            let prepared = choices
                .prepare(&Collected::new(&rollout, &rewards, 1), &mut choices.initial_state());
            assert_eq!(prepared.kl_nats, 0.0);
            let (value, _, clipping) = loss(&choices, &prepared.experiences, (&log_probs, now));
            let weighted = prepared.experiences.iter();
            let sum = weighted.flat_map(|one| one.weights.iter().zip(&one.advantages));
            let expected: f32 = sum.map(|(weight, advantage)| weight * advantage).sum();
            close("ratio 1", &[value], &[-expected]);
            assert_eq!(clipping.unwrap()[..3], [0.0; 3]);
        }
    }
}

#[test]
fn clipping_never_raises_the_objective() {
    let golden = golden();
    let (rollout, rewards) = (rollout(&golden), list(&golden["advantages"]));
    let log_probs = table(&golden["logps"]).concat();
    let now = Coefficients { beta: 0.0, entropy_bonus: 0.0 };
    for level in [RatioLevel::Token, RatioLevel::Sequence, RatioLevel::SequenceMean] {
        let value = |surrogate| {
            let choices = PolicyGradient {
                baseline: Baseline::None,
                kl_placement: KlPlacement::None,
                surrogate,
                ..PolicyGradient::reinforce()
            };
            let prepared = choices
                .prepare(&Collected::new(&rollout, &rewards, 1), &mut choices.initial_state());
            loss(&choices, &prepared.experiences, (&log_probs, now)).0
        };
        let free = value(Surrogate::Ratio { level });
        for width in [0.0, 0.05, 0.2, 0.5] {
            let clip = Clip { level, low: width, high: width, dual: Dual::Off };
            assert!(value(Surrogate::Clip(clip)) >= free - 1e-6, "{level:?} {width}");
        }
    }
}

#[test]
fn k3_is_never_negative() {
    let golden = golden();
    let (rollout, reference) = (rollout(&golden), table(&golden["reference"]));
    let now = Coefficients { beta: 1.0, entropy_bonus: 0.0 };
    let choices = PolicyGradient {
        baseline: Baseline::None,
        kl_placement: KlPlacement::LossK3,
        ..PolicyGradient::reinforce()
    };
    let collected = Collected { reference: &reference, ..Collected::new(&rollout, &[0.0; 6], 1) };
    let prepared = choices.prepare(&collected, &mut choices.initial_state());
    for name in ["old", "logps", "drawn", "reference"] {
        let log_probs = table(&golden[name]).concat();
        for (row, one) in prepared.experiences.iter().enumerate() {
            let alone = one.clone();
            let first: usize = prepared.experiences[..row].iter().map(|one| one.old.len()).sum();
            let part = &log_probs[first..first + one.old.len()];
            let (value, ..) = loss(&choices, &[alone], (part, now));
            assert!(value >= 0.0, "{name} {value}");
        }
    }
}

#[test]
fn what_is_far_from_what_was_drawn_stays_finite_and_is_counted() {
    let now = Coefficients { beta: 1.0, entropy_bonus: 0.0 };
    let choices = PolicyGradient {
        surrogate: Surrogate::Ratio { level: RatioLevel::Sequence },
        ..PolicyGradient::grpo()
    };
    let one = |old: f32| Experience {
        prompt: vec![0],
        completion: vec![0; 2],
        weights: vec![0.25; 2],
        advantages: vec![1.0; 2],
        reference: vec![-1.0, 0.0],
        old: vec![old; 2],
    };
    // The first completion's ratio is e^6, above 100; its second token is 200 nats below the reference.
    let experiences = [one(-103.5), one(-100.5)];
    let log_probs = [-1.0, -200.0, -1.0, -200.0];
    let (value, gradient, clipping) = loss(&choices, &experiences, (&log_probs, now));
    assert!(value.is_finite() && gradient.iter().all(|slope| slope.is_finite()), "{gradient:?}");
    // Two such tokens, of four.
    assert_eq!(clipping.unwrap()[3..], [2.0, 4.0]);
}
