//! What a recipe of `self-play` must keep to.

use anyhow::Result;
use burn::tensor::Device;

use super::rules::some_data;
use super::{mix, preference};
use crate::recipe::{Recipe, SelfPlay};
use crate::usage::usage;

pub(super) fn validate(recipe: &Recipe) -> Result<()> {
    some_data(recipe)?;
    if recipe.data.tasks.len() > 1 {
        return Err(usage("data.tasks names several tasks: self-play takes one"));
    }
    let method = recipe.self_play.method;
    if !recipe.reward.is_empty() {
        mix(recipe, &Device::flex())?;
    } else if method.needs_rewards() {
        return Err(usage("there is no reward: add a [[reward]] with its kind to the recipe"));
    }
    let sampling = &recipe.sampling;
    let uncut = sampling.top_k == 0 && sampling.top_p == 1.0 && sampling.min_p == 0.0;
    let plain = uncut && sampling.temperature == 1.0 && sampling.repetition_penalty == 1.0;
    let preference = &recipe.feedback.preference;
    let (game, remedy) = match method {
        SelfPlay::OnlineDpo(_) => (
            recipe.batch.num_generations > 1,
            "self_play.method online_dpo compares completions of one prompt: batch.num_generations must be at least 2",
        ),
        SelfPlay::Spin { iteration_steps } => {
            (iteration_steps > 0, "self_play.method spin: iteration_steps must be at least 1")
        }
        SelfPlay::NashMd { mixture } => (
            (0.0..=1.0).contains(&mixture) && plain,
            "self_play.method nash_md: mixture is a share from 0 to 1, and the policy plays as it is, so \
             sampling.temperature must be 1, with no cut and no penalty",
        ),
    };
    let rules = [
        (
            sampling.temperature != 0.0,
            "sampling.temperature is 0: a greedy policy draws nothing to learn from",
        ),
        (preference.beta > 0.0, "feedback.preference.beta must be above 0"),
        (
            (0.0..0.5).contains(&preference.label_smoothing),
            "feedback.preference.label_smoothing must be below 0.5",
        ),
        (preference.rpo_alpha >= 0.0, "feedback.preference.rpo_alpha must be 0 or more"),
        (
            recipe.batch.num_iterations * recipe.batch.mini_batches == 1,
            "self-play learns once from what was drawn: batch.num_iterations and batch.mini_batches must be 1",
        ),
        (game, remedy),
    ];
    match rules.into_iter().find(|(holds, _)| !holds) {
        None => preference::smooths(preference),
        Some((_, remedy)) => Err(usage(remedy)),
    }
}
