//! The table `[critic]`: how what is expected of completions is learned, where `objective.baseline` is `value`.

use anyhow::Result;
use kudos_core::objective::ValueClip;
use serde::{Deserialize, Serialize};

use super::TrunkUse;
use crate::usage::usage;

/// How a critic learns.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CriticRecipe {
    /// Peak learning rate; its schedule is the policy's.
    pub learning_rate: f64,
    /// Whether an update may carry it far from what it said when the step began.
    pub value_clip: ValueClip,
    /// What of it learns.
    pub trunk: TrunkUse,
}

impl Default for CriticRecipe {
    fn default() -> Self {
        Self { learning_rate: 1e-3, value_clip: ValueClip::At(0.2), trunk: TrunkUse::Tuned }
    }
}

impl CriticRecipe {
    /// Refuses what cannot be learned with.
    ///
    /// # Errors
    /// A usage error that names the field and the remedy.
    pub fn check(&self) -> Result<()> {
        let rate = self.learning_rate;
        if !(rate.is_finite() && rate > 0.0) {
            return Err(usage(format!("critic.learning_rate is {rate}: it must be above 0")));
        }
        match self.value_clip {
            ValueClip::At(most) if most.is_nan() || most <= 0.0 => {
                Err(usage(format!("critic.value_clip at is {most}: it must be above 0, or off")))
            }
            ValueClip::At(_) | ValueClip::Off => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_learned_with_is_refused_with_a_remedy() {
        CriticRecipe::default().check().unwrap();
        let check = |critic: CriticRecipe, expected: &str| {
            let error = critic.check().unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(crate::usage::exit_code(&error), 2);
        };
        let usual = CriticRecipe::default();
        for rate in [0.0, -1.0, f64::NAN] {
            check(CriticRecipe { learning_rate: rate, ..usual }, "critic.learning_rate");
        }
        for most in [0.0, -0.2, f64::NAN] {
            check(CriticRecipe { value_clip: ValueClip::At(most), ..usual }, "or off");
        }
    }
}
