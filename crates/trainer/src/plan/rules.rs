//! What a recipe must keep to, so that a run can only be right.

use anyhow::Result;
use burn::tensor::Device;
use kudos_core::objective::{Aggregation, Baseline, RatioBound};

use super::{distil, mix, objective, preference, self_play};
use crate::recipe::{Recipe, Stage};
use crate::tuned;
use crate::usage::usage;

pub(super) fn validate(recipe: &Recipe) -> Result<()> {
    let positive = [
        ("batch.prompts", recipe.batch.prompts),
        ("batch.num_generations", recipe.batch.num_generations),
        ("batch.micro_batch_size", recipe.batch.micro_batch_size),
        ("batch.gradient_accumulation_steps", recipe.batch.gradient_accumulation_steps),
        ("batch.num_iterations", recipe.batch.num_iterations),
        ("batch.mini_batches", recipe.batch.mini_batches),
        ("watch.keep", recipe.watch.keep),
    ];
    if let Some((field, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
        return Err(usage(format!("{field} is 0: it must be at least 1")));
    }
    let rate = recipe.optimizer.learning_rate;
    if !(rate.is_finite() && rate > 0.0) {
        return Err(usage(format!("learning_rate is {rate}: it must be above 0")));
    }
    if !(0.0..=0.5).contains(&recipe.data.picture_variation) {
        return Err(usage("data.picture_variation must be from 0 to 0.5"));
    }
    if !(0.0..=1.0).contains(&recipe.data.repeat_share) {
        return Err(usage("data.repeat_share is a share: give a number from 0 to 1"));
    }
    let norm = recipe.optimizer.max_grad_norm;
    if norm.is_nan() || norm <= 0.0 {
        return Err(usage("max_grad_norm must be above 0; a large value switches clipping off"));
    }
    recipe.sampling.validate().map_err(|error| usage(format!("sampling.{error}")))?;
    recipe
        .architecture
        .transformer(recipe.architecture.vocab_size)
        .validate()
        .map_err(|error| usage(format!("architecture: {error}")))?;
    recipe.vision.validate().map_err(|error| usage(error.to_string()))?;
    tuned::check(recipe)?;
    match recipe.stage {
        Stage::Pretrain => Ok(()),
        Stage::Sft => some_data(recipe),
        Stage::Distill => distil::validate(recipe),
        Stage::Reinforce => validate_reinforce(recipe),
        Stage::SelfPlay => self_play::validate(recipe),
        Stage::OffPolicy | Stage::Dpo | Stage::Kto | Stage::Reward => validate_feedback(recipe),
    }
}

pub(super) fn some_data(recipe: &Recipe) -> Result<()> {
    match (recipe.data.tasks.len(), &recipe.data.dataset) {
        (0, None) => Err(usage("nothing to learn from: give --task or --dataset")),
        (1.., Some(_)) => {
            Err(usage("data.tasks and data.dataset contradict each other: keep one of them"))
        }
        _ => Ok(()),
    }
}

fn validate_feedback(recipe: &Recipe) -> Result<()> {
    let feedback = &recipe.feedback;
    let verb = recipe.stage.name();
    match (feedback.ratings.is_empty(), &recipe.data.dataset) {
        (true, None) => {
            return Err(usage(format!("{verb} has nothing to learn from: give --ratings")));
        }
        (_, Some(_)) if recipe.stage == Stage::OffPolicy => {
            return Err(usage(
                "off-policy needs the probabilities that ratings carry: give --ratings instead of --dataset",
            ));
        }
        (false, Some(_)) => {
            return Err(usage(
                "feedback.ratings and data.dataset contradict each other: keep one of them",
            ));
        }
        (true, Some(_)) | (false, None) => {}
    }
    if recipe.sampling.temperature == 0.0 {
        return Err(usage(
            "sampling.temperature is 0: what a greedy policy writes has no probability",
        ));
    }
    let gradient = &recipe.objective;
    if recipe.stage == Stage::OffPolicy && gradient.baseline != Baseline::None {
        return Err(usage(
            "objective.baseline must be none: off-policy takes the mean of each kind of verdict off",
        ));
    }
    if recipe.stage == Stage::OffPolicy && gradient.aggregation == Aggregation::Constant(0) {
        return Err(usage("objective.aggregation constant is 0: give a positive length"));
    }
    let bound = match feedback.importance.bound {
        RatioBound::None => 1.0,
        RatioBound::Truncate(most) | RatioBound::Mask(most) => most,
    };
    let share = |value: f64| (0.0..=1.0).contains(&value);
    let smoothing = |value: f64| (0.0..0.5).contains(&value);
    let rules = [
        ("importance.bound", bound >= 1.0, "at least 1"),
        (
            "importance.min_effective_share",
            share(feedback.importance.min_effective_share),
            "a share",
        ),
        ("importance.max_drift_nats", feedback.importance.max_drift_nats > 0.0, "above 0"),
        ("preference.beta", feedback.preference.beta > 0.0, "above 0"),
        ("preference.label_smoothing", smoothing(feedback.preference.label_smoothing), "below 0.5"),
        ("preference.rpo_alpha", feedback.preference.rpo_alpha >= 0.0, "0 or more"),
        ("kto.beta", feedback.kto.beta > 0.0, "above 0"),
        ("reward.label_smoothing", smoothing(feedback.reward.label_smoothing), "below 0.5"),
        ("reward.margin", feedback.reward.margin >= 0.0, "0 or more"),
        ("members", feedback.members > 0, "at least 1"),
    ];
    match rules.into_iter().find(|(_, holds, _)| !holds) {
        None if recipe.stage == Stage::Dpo => preference::smooths(&feedback.preference),
        None => Ok(()),
        Some((field, _, range)) => Err(usage(format!("feedback.{field} must be {range}"))),
    }
}

fn validate_reinforce(recipe: &Recipe) -> Result<()> {
    some_data(recipe)?;
    if recipe.data.tasks.len() > 1 {
        return Err(usage("data.tasks names several tasks: reinforce takes one"));
    }
    if recipe.reward.is_empty() {
        return Err(usage("there is no reward: add a [[reward]] with its kind to the recipe"));
    }
    mix(recipe, &Device::flex())?;
    if recipe.sampling.temperature == 0.0 {
        return Err(usage(
            "sampling.temperature is 0: a greedy policy draws nothing to learn from",
        ));
    }
    if recipe.objective.baseline.compares_a_group() && recipe.batch.num_generations < 2 {
        return Err(usage(
            "objective.baseline compares completions of one prompt: \
             batch.num_generations must be at least 2",
        ));
    }
    recipe.critic.check()?;
    objective::validate(&recipe.objective, &recipe.batch)
}
