//! Laws of advantages, and what recipes state.

mod compat;

use super::*;
use crate::objective::RatioLevel;

const REWARDS: [f64; 8] = [1.0, 0.25, -0.5, 2.0, 0.75, 0.0, 0.1, -3.0];

fn advantages(baseline: Baseline, group: usize) -> Vec<f64> {
    let mut state = PolicyGradient::reinforce().initial_state();
    baseline.advantages(&REWARDS, (group, &[]), &mut state)
}

fn near(ours: &[f64], theirs: &[f64]) {
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() < 1e-9, "{ours:?} {theirs:?}");
    }
}

/// A batch of completions of these lengths.
fn rollout(lengths: &[usize]) -> Rollout {
    let log_probs = |length: &usize| (0..*length).map(|t| -1.0 - t as f32 / 8.0).collect();
    Rollout {
        prompts: vec![vec![0]; lengths.len()],
        completions: lengths.iter().map(|length| vec![1; *length]).collect(),
        logprobs_drawn: lengths.iter().map(log_probs).collect(),
        logprobs_full: lengths.iter().map(log_probs).collect(),
        end_reasons: vec![EndReason::Stop; lengths.len()],
    }
}

#[test]
fn leave_one_out_advantages_sum_to_zero_in_each_group() {
    for group in [2, 4, 8] {
        for part in advantages(Baseline::LeaveOneOut, group).chunks(group) {
            assert!(part.iter().sum::<f64>().abs() < 1e-12);
        }
    }
}

#[test]
fn grpo_without_scale_is_rloo_up_to_the_size_of_the_group() {
    for group in [2, 4, 8] {
        let factor = group as f64 / (group as f64 - 1.0);
        let centered = advantages(Baseline::GroupMean, group);
        let scaled: Vec<f64> = centered.iter().map(|advantage| factor * advantage).collect();
        near(&scaled, &advantages(Baseline::LeaveOneOut, group));
    }
}

#[test]
fn the_greedy_reward_is_taken_off_its_own_prompt() {
    let mut state = PolicyGradient::remax().initial_state();
    let found = Baseline::Greedy.advantages(&REWARDS, (4, &[1.0, 0.5]), &mut state);
    near(&found, &[0.0, -0.75, -1.5, 1.0, 0.25, -0.5, -0.4, -3.5]);
}

#[test]
fn deviations_by_hand() {
    let values = [1.0, 3.0];
    let check = |ddof, guard, expected: f64| {
        let found = Deviation { ddof, guard }.divisor(&values);
        assert!((found - expected).abs() < 1e-12, "{ddof:?} {guard:?}: {found}");
    };
    check(Ddof::Population, Guard::Deviation(0.5), 1.5);
    check(Ddof::Sample, Guard::Deviation(0.0), 2f64.sqrt());
    check(Ddof::Population, Guard::Variance(3.0), 2.0);
    check(Ddof::Population, Guard::Floor(4.0), 2.0);
    check(Ddof::Population, Guard::Floor(1e-8), 1.0);
}

#[test]
fn whitened_advantages_have_mean_zero_and_variance_one() {
    let mut rows = vec![vec![1.0, -2.0, 0.5], vec![4.0], vec![0.0, 0.0]];
    Scale::Whiten(Deviation::WHITEN).of_tokens(&mut rows);
    let all = rows.concat();
    assert!(mean(&all).abs() < 1e-12);
    assert!((mean(&all.iter().map(|a| a * a).collect::<Vec<_>>()) - 1.0).abs() < 1e-12);
}

#[test]
fn advantages_with_lambda_one_are_what_follows_less_the_value() {
    let (rewards, values) = ([0.5, -1.0, 2.0], [0.1f32, 0.2, 0.3]);
    let found = generalized_advantages(&rewards, &values, 1.0, 1.0);
    let expected: Vec<f64> =
        to_go(&rewards).iter().zip(values).map(|(sum, v)| sum - f64::from(v)).collect();
    near(&found, &expected);
    // With lambda 0 each step's error stands alone: r + gamma V' - V.
    let found = generalized_advantages(&rewards, &[1.0, 2.0, 4.0], 0.5, 0.0);
    near(&found, &[0.5 + 1.0 - 1.0, -1.0 + 2.0 - 2.0, 2.0 - 4.0]);
}

#[test]
fn a_token_pays_for_itself_and_for_what_follows() {
    let rollout = rollout(&[3, 1]);
    let reference: Vec<Vec<f32>> =
        rollout.logprobs_full.iter().map(|row| row.iter().map(|p| p - 0.5).collect()).collect();
    let choices = PolicyGradient {
        baseline: Baseline::None,
        kl_placement: KlPlacement::TokenRewardK1,
        kl_coefficient: KlCoefficient::Fixed(0.1),
        ..PolicyGradient::reinforce()
    };
    let collected = Collected { reference: &reference, ..Collected::new(&rollout, &[1.0, 2.0], 1) };
    let prepared = choices.prepare(&collected, &mut choices.initial_state());
    let found: Vec<f64> =
        prepared.experiences[0].advantages.iter().map(|a| f64::from(*a)).collect();
    for (found, expected) in found.iter().zip([0.85, 0.9, 0.95]) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    assert!((prepared.kl_nats - 1.0).abs() < 1e-6);
}

#[test]
fn long_completions_lose_up_to_one() {
    let shape = Truncated::Shape { longest: 20, buffer: 4 };
    near(
        &[10, 16, 17, 18, 20, 25].map(|tokens| shape.penalty(tokens)),
        &[0.0, 0.0, 0.25, 0.5, 1.0, 1.0],
    );
    let drawn = PolicyGradient::dapo()
        .drawn_by(&Sampling { max_completion_length: 100, ..Sampling::default() });
    assert_eq!(drawn.truncated, Truncated::Shape { longest: 100, buffer: 20 });
}

#[test]
fn groups_without_signal_are_left_out_where_asked() {
    let rollout = rollout(&[2, 2, 2, 2]);
    let rewards = [1.0, 1.0, 0.0, 1.0];
    let collected = Collected::new(&rollout, &rewards, 2);
    let check = |flat_groups, expected: [bool; 4], share: f32| {
        let choices = PolicyGradient { flat_groups, ..PolicyGradient::dr_grpo() };
        let choices = PolicyGradient { aggregation: Aggregation::TokenMean, ..choices };
        let prepared = choices.prepare(&collected, &mut choices.initial_state());
        assert_eq!(prepared.included, expected);
        assert_eq!(prepared.frac_reward_zero_std, 0.5);
        assert_eq!(prepared.experiences[3].weights, [share; 2]);
    };
    check(FlatGroups::Keep, [true; 4], 0.125);
    check(FlatGroups::Drop, [false, false, true, true], 0.25);
    check(FlatGroups::Resample { attempts: 1 }, [false, false, true, true], 0.25);
}

#[test]
fn a_correction_multiplies_advantages_with_bounded_ratios() {
    let rollout = rollout(&[2]);
    let mut old = rollout.logprobs_full.clone();
    old[0][0] += 2f32.ln();
    old[0][1] += 8f32.ln();
    let choices = PolicyGradient {
        baseline: Baseline::None,
        kl_placement: KlPlacement::None,
        correction: Correction::Importance {
            level: RatioLevel::Token,
            bound: crate::objective::RatioBound::Truncate(3.0),
        },
        ..PolicyGradient::reinforce()
    };
    let rewards = [1.5];
    let collected = Collected { old: &old, ..Collected::new(&rollout, &rewards, 1) };
    let prepared = choices.prepare(&collected, &mut choices.initial_state());
    for (found, expected) in prepared.experiences[0].advantages.iter().zip([3.0, 4.5]) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
    let report = prepared.importance.unwrap();
    assert!((report.ratio_max - 8.0).abs() < 1e-4, "{report:?}");
}

#[test]
fn an_adaptive_entropy_bonus_is_paid_below_its_target_alone() {
    let adaptive = EntropyBonus::Adaptive { target: 1.0, step: 0.01, most: 0.015 };
    let choices = PolicyGradient { entropy_bonus: adaptive, ..PolicyGradient::grpo() };
    let mut state = choices.initial_state();
    let mut paid = Vec::new();
    for entropy in [0.5, 0.5, 1.5, 0.9] {
        paid.push(choices.coefficients(&state).entropy_bonus);
        choices.saw_entropy(entropy, &mut state);
    }
    paid.push(choices.coefficients(&state).entropy_bonus);
    near(&paid, &[0.0, 0.01, 0.015, 0.0, 0.015]);
}

#[test]
fn what_is_remembered_survives_a_checkpoint() {
    let adaptive = EntropyBonus::Adaptive { target: 1.0, step: 0.01, most: 0.1 };
    let choices = PolicyGradient {
        entropy_bonus: adaptive,
        baseline: Baseline::RunningMean { decay: 0.9 },
        ..PolicyGradient::ppo()
    };
    let mut state = choices.initial_state();
    let rollout = rollout(&[2, 3]);
    let reference: Vec<Vec<f32>> =
        rollout.logprobs_full.iter().map(|row| vec![-4.0; row.len()]).collect();
    let collected = Collected { reference: &reference, ..Collected::new(&rollout, &[1.0, 2.0], 1) };
    choices.prepare(&collected, &mut state);
    choices.saw_entropy(0.5, &mut state);
    assert!(state.running_mean.is_some() && state.entropy_bonus > 0.0 && state.beta != 0.05);
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<PolicyGradientState>(&text).unwrap(), state);
}

const ALGORITHMS: [Algorithm; 13] = [
    Algorithm::Reinforce,
    Algorithm::Rloo,
    Algorithm::Grpo,
    Algorithm::DrGrpo,
    Algorithm::Dapo,
    Algorithm::ReinforcePlusPlus,
    Algorithm::ReinforcePlusPlusBaseline,
    Algorithm::Remax,
    Algorithm::Gspo,
    Algorithm::Cispo,
    Algorithm::Ppo,
    Algorithm::A2c,
    Algorithm::Raft,
];

fn stated(text: &str) -> Result<PolicyGradient, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[test]
fn an_algorithm_is_stated_by_its_name_and_choices_lie_on_top() {
    for algorithm in ALGORITHMS {
        let name = serde_json::to_string(&algorithm).unwrap();
        let found = stated(&format!(r#"{{"algorithm":{name}}}"#)).unwrap();
        assert_eq!(found, algorithm.ours());
        // Every choice is written out, and reads back.
        let written = serde_json::to_string(&found).unwrap();
        assert_eq!(stated(&written).unwrap(), found);
    }
    let on_top = stated(r#"{"algorithm":"grpo","compat":"verl","aggregation":"sequence_mean"}"#);
    let verl = Algorithm::Grpo.of(Compat::Verl).unwrap();
    let expected = PolicyGradient { aggregation: Aggregation::SequenceMean, ..verl };
    assert_eq!(on_top.unwrap(), expected);
}

#[test]
fn what_a_library_lacks_is_refused_with_a_remedy() {
    for (text, expected) in [
        (r#"{"algorithm":"remax","compat":"trl"}"#, "leave compat out"),
        (r#"{"compat":"trl"}"#, "name the algorithm"),
        (r#"{"baselin":"none"}"#, "unknown field"),
    ] {
        let error = stated(text).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn libraries_differ_where_their_sources_do() {
    let scale = |compat| Algorithm::Grpo.of(compat).unwrap().scale;
    let group =
        |epsilon| Scale::Group(Deviation { ddof: Ddof::Sample, guard: Guard::Deviation(epsilon) });
    assert_eq!(scale(Compat::Trl), group(1e-4));
    assert_eq!(scale(Compat::Verl), group(1e-6));
    assert_eq!(scale(Compat::OpenRlhf), group(1e-9));
    let whiten = |compat| Algorithm::ReinforcePlusPlus.of(compat).unwrap().scale;
    assert_ne!(whiten(Compat::Verl), whiten(Compat::OpenRlhf));
    // What OpenRLHF has, it has with k1 in the tokens' rewards and, with a critic, with whole returns.
    for algorithm in ALGORITHMS {
        let Ok(theirs) = algorithm.of(Compat::OpenRlhf) else { continue };
        assert_eq!(theirs.kl_placement, KlPlacement::TokenRewardK1, "{algorithm:?}");
        if theirs.needs_values() {
            assert_eq!(theirs.baseline, Baseline::Value { gamma: 1.0, lam: 1.0 });
        }
    }
    let cispo = Algorithm::Cispo.of(Compat::Verl).unwrap().surrogate;
    assert_eq!(cispo, Surrogate::DetachedRatio { floor: 0.8, ceiling: 1.2 });
}
