//! A policy gradient as a recipe states it: an algorithm, a library's conventions, and single choices
//! on top.

use serde::Deserialize;

use super::{
    Algorithm, Baseline, Compat, Correction, EntropyBonus, FlatGroups, Kept, KlCoefficient,
    KlPlacement, PolicyGradient, Scale, Surrogate, Truncated,
};
use crate::objective::Aggregation;

/// What was stated; what was not is the algorithm's.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Stated {
    algorithm: Option<Algorithm>,
    compat: Option<Compat>,
    baseline: Option<Baseline>,
    scale: Option<Scale>,
    surrogate: Option<Surrogate>,
    kl_placement: Option<KlPlacement>,
    kl_coefficient: Option<KlCoefficient>,
    entropy_bonus: Option<EntropyBonus>,
    aggregation: Option<Aggregation>,
    truncated: Option<Truncated>,
    flat_groups: Option<FlatGroups>,
    kept: Option<Kept>,
    correction: Option<Correction>,
    temperature: Option<f64>,
}

impl TryFrom<Stated> for PolicyGradient {
    type Error = String;

    fn try_from(stated: Stated) -> Result<Self, String> {
        let base = match (stated.algorithm, stated.compat) {
            (None, None) => Self::reinforce(),
            (None, Some(_)) => {
                return Err(
                    "compat says how a library does an algorithm: name the algorithm".into()
                );
            }
            (Some(algorithm), None) => algorithm.ours(),
            (Some(algorithm), Some(compat)) => algorithm.of(compat)?,
        };
        Ok(Self {
            baseline: stated.baseline.unwrap_or(base.baseline),
            scale: stated.scale.unwrap_or(base.scale),
            surrogate: stated.surrogate.unwrap_or(base.surrogate),
            kl_placement: stated.kl_placement.unwrap_or(base.kl_placement),
            kl_coefficient: stated.kl_coefficient.unwrap_or(base.kl_coefficient),
            entropy_bonus: stated.entropy_bonus.unwrap_or(base.entropy_bonus),
            aggregation: stated.aggregation.unwrap_or(base.aggregation),
            truncated: stated.truncated.unwrap_or(base.truncated),
            flat_groups: stated.flat_groups.unwrap_or(base.flat_groups),
            kept: stated.kept.unwrap_or(base.kept),
            correction: stated.correction.unwrap_or(base.correction),
            temperature: stated.temperature.unwrap_or(base.temperature),
        })
    }
}
