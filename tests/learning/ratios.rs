//! Laws of policy gradients by ratios: gradients, micro-batches, and where they are REINFORCE.

use super::*;

/// Experience whose collecting policy stands a little off the model, so that ratios are near but not 1.
fn near_ratios(choices: &PolicyGradient, model: &Transformer) -> Vec<Experience> {
    let mut all = experiences(choices);
    let pairs: Vec<(&[u32], &[u32])> =
        all.iter().map(|one| (&one.prompt[..], &one.completion[..])).collect();
    let current = block_on(log_probs(&model.valid(), &pairs, choices.temperature, 8)).unwrap();
    let mut coins = ChaCha8Rng::seed_from_u64(9);
    for (one, row) in all.iter_mut().zip(current) {
        let off = |value: f32| value + (coins.next_u32() % 1000) as f32 / 2000.0 - 0.25;
        one.old = row.into_iter().map(off).collect();
    }
    all
}

/// Each way of carrying the gradient by a ratio.
fn surrogates() -> [Surrogate; 6] {
    let clip = Surrogate::Clip(Clip::default());
    let of = |level| Surrogate::Clip(Clip { level, low: 0.1, high: 0.15, ..Clip::default() });
    [
        clip,
        of(RatioLevel::SequenceMean),
        of(RatioLevel::Sequence),
        Surrogate::Ratio { level: RatioLevel::Token },
        Surrogate::Ratio { level: RatioLevel::SequenceMean },
        Surrogate::Clip(Clip { dual: kudos_core::objective::Dual::At(1.1), ..Clip::default() }),
    ]
}

#[test]
fn the_gradient_of_every_ratio_is_its_finite_difference() {
    let now = Coefficients { beta: 0.1, entropy_bonus: 0.0 };
    for surrogate in surrogates() {
        let choices = PolicyGradient { surrogate, ..PolicyGradient::grpo() };
        let model = model(&configs()[0], &Device::flex().autodiff());
        let experiences = near_ratios(&choices, &model);
        check_slopes(&format!("{surrogate:?}"), &model, &|model| {
            let learned = learn(model, &experiences, &choices.at(now), 64);
            (number(learned.loss), learned.gradients)
        });
    }
}

#[test]
fn micro_batches_change_no_ratio_of_whole_completions() {
    let now = Coefficients { beta: 0.1, entropy_bonus: 0.0 };
    for surrogate in surrogates() {
        let choices = PolicyGradient { surrogate, ..PolicyGradient::grpo() };
        let model = model(&configs()[0], &Device::flex().autodiff());
        let experiences = near_ratios(&choices, &model);
        let gradient = |size| flat(&learn(&model, &experiences, &choices.at(now), size).gradients);
        let whole = gradient(64);
        for size in [1, 3] {
            assert!(worst(&gradient(size), &whole) < 1e-5 * norm(&whole) as f32, "{surrogate:?}");
        }
    }
}

#[test]
fn ppo_on_the_policy_that_drew_and_without_clipping_is_reinforce_with_its_baseline() {
    let now = Coefficients { beta: 0.0, entropy_bonus: 0.0 };
    let model = model(&configs()[0], &Device::flex().autodiff());
    let gradient = |surrogate| {
        let choices = PolicyGradient { surrogate, ..PolicyGradient::dr_grpo() };
        let choices = PolicyGradient { aggregation: Aggregation::TokenMean, ..choices };
        let mut all = experiences(&choices);
        let pairs: Vec<(&[u32], &[u32])> =
            all.iter().map(|one| (&one.prompt[..], &one.completion[..])).collect();
        let current = block_on(log_probs(&model.valid(), &pairs, 1.0, 8)).unwrap();
        all.iter_mut().zip(current).for_each(|(one, row)| one.old = row);
        flat(&learn(&model, &all, &choices.at(now), 64).gradients)
    };
    let reinforce = gradient(Surrogate::ScoreFunction);
    let unclipped = Surrogate::Ratio { level: RatioLevel::Token };
    let clipped = Surrogate::Clip(Clip::default());
    let detached = Surrogate::DetachedRatio { floor: 0.0, ceiling: 2.0 };
    for surrogate in [unclipped, clipped, detached] {
        let off = worst(&gradient(surrogate), &reinforce);
        assert!(off < 1e-5 * norm(&reinforce) as f32, "{surrogate:?}: {off}");
    }
}

#[test]
fn ten_steps_of_every_algorithm_change_the_weights_and_stay_finite() {
    let all = [
        Algorithm::Grpo,
        Algorithm::DrGrpo,
        Algorithm::Dapo,
        Algorithm::ReinforcePlusPlus,
        Algorithm::ReinforcePlusPlusBaseline,
        Algorithm::Gspo,
        Algorithm::Cispo,
    ];
    for algorithm in all {
        let sampling = kudos_schema::Sampling { max_completion_length: 12, ..Default::default() };
        let choices = algorithm.ours().drawn_by(&sampling);
        let now = choices.coefficients(&choices.initial_state());
        let start = model(&configs()[0], &Device::flex().autodiff());
        let experiences = near_ratios(&choices, &start);
        // The value of a detached ratio's loss is no objective: what it raises is the ratio's.
        let measured = match choices.surrogate {
            Surrogate::DetachedRatio { .. } => Surrogate::Ratio { level: RatioLevel::Token },
            own @ (Surrogate::ScoreFunction | Surrogate::Ratio { .. } | Surrogate::Clip(_)) => own,
        };
        let measured = PolicyGradient { surrogate: measured, ..choices.clone() };
        let (losses, after) = trajectory(&|model| {
            let loss = learn(model, &experiences, &measured.at(now), 8).loss;
            (number(loss), learn(model, &experiences, &choices.at(now), 8).gradients)
        });
        assert!(losses.iter().all(|loss| loss.is_finite()), "{algorithm:?}: {losses:?}");
        assert!(losses[9] < losses[0], "{algorithm:?}: {losses:?}");
        assert!(worst(&after, &weights(&start)) > 1e-4, "{algorithm:?}");
    }
}
