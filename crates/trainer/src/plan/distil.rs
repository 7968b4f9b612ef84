//! What the table `[distil]` must keep to.

use anyhow::Result;
use burn::tensor::Device;

use super::mix;
use super::rules::some_data;
use crate::recipe::{Level, Recipe};
use crate::usage::usage;

pub(super) fn validate(recipe: &Recipe) -> Result<()> {
    some_data(recipe)?;
    let distil = &recipe.distil;
    let (beta, temperature) = (distil.divergence.beta, distil.divergence.temperature);
    let share = |value: f64| (0.0..=1.0).contains(&value);
    let rules = [
        ("divergence.beta", share(beta), "from 0 to 1"),
        ("divergence.temperature", temperature.is_finite() && temperature > 0.0, "above 0"),
        ("top_k", distil.top_k > 0, "at least 1"),
        ("on_policy_share", share(distil.on_policy_share), "from 0 to 1"),
        ("best_share", distil.best_share > 0.0 && distil.best_share <= 1.0, "above 0, at most 1"),
    ];
    if let Some((field, _, range)) = rules.into_iter().find(|(_, holds, _)| !holds) {
        return Err(usage(format!("distil.{field} must be {range}")));
    }
    let chooses = distil.best_share < 1.0 || distil.min_reward.is_some();
    if chooses && recipe.reward.is_empty() {
        return Err(usage(
            "distil.best_share and distil.min_reward choose by a reward: add a [[reward]] to the recipe",
        ));
    }
    if chooses && distil.level != Level::Sequence {
        return Err(usage(
            "distil.best_share and distil.min_reward choose what the teacher wrote: take distil.level = \"sequence\"",
        ));
    }
    if !distil.instruction.is_empty() && distil.level != Level::Sequence {
        return Err(usage(
            "distil.instruction is for what the teacher writes: take distil.level = \"sequence\"",
        ));
    }
    if !recipe.reward.is_empty() {
        mix(recipe, &Device::flex())?;
    }
    if distil.level == Level::OnPolicy && recipe.sampling.temperature == 0.0 {
        return Err(usage(
            "sampling.temperature is 0: a greedy student sees the same completion each time",
        ));
    }
    Ok(())
}
