//! What a policy gradient remembers between steps.

use serde::{Deserialize, Serialize};

use super::{EntropyBonus, KlCoefficient, PolicyGradient};

/// What the objective remembers between steps; part of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyGradientState {
    /// Mean reward of past batches.
    pub running_mean: Option<f64>,
    /// Current cost of a nat.
    pub beta: f64,
    /// Current worth of a nat of entropy, where it is adaptive.
    #[serde(default)]
    pub entropy_bonus: f64,
    /// Entropy of the last step, in nats a token.
    #[serde(default)]
    pub entropy: Option<f64>,
}

/// What a step pays and earns by the nat.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coefficients {
    /// Cost of divergence from the reference.
    pub beta: f64,
    /// Worth of entropy.
    pub entropy_bonus: f64,
}

impl PolicyGradient {
    /// The state before the first step.
    pub fn initial_state(&self) -> PolicyGradientState {
        let beta = match self.kl_coefficient {
            KlCoefficient::Fixed(beta) => beta,
            KlCoefficient::Adaptive { initial, .. } => initial,
        };
        PolicyGradientState { running_mean: None, beta, entropy_bonus: 0.0, entropy: None }
    }

    /// What the next step pays and earns by the nat.
    pub fn coefficients(&self, state: &PolicyGradientState) -> Coefficients {
        let entropy_bonus = match self.entropy_bonus {
            EntropyBonus::Fixed(bonus) => bonus,
            EntropyBonus::Adaptive { target, .. } => {
                let short = state.entropy.is_some_and(|entropy| entropy <= target);
                if short { state.entropy_bonus } else { 0.0 }
            }
        };
        Coefficients { beta: state.beta, entropy_bonus }
    }

    /// Moves an adaptive entropy bonus by what a step showed, in nats a token.
    pub fn saw_entropy(&self, entropy: f64, state: &mut PolicyGradientState) {
        match self.entropy_bonus {
            EntropyBonus::Fixed(_) => {}
            EntropyBonus::Adaptive { target, step, most } => {
                let by = if entropy <= target { step } else { -step };
                state.entropy_bonus = (state.entropy_bonus + by).clamp(0.0, most);
                state.entropy = Some(entropy);
            }
        }
    }

    /// Moves an adaptive cost of divergence towards its target.
    pub(super) fn steer(&self, kl_nats: f64, completions: usize, state: &mut PolicyGradientState) {
        match self.kl_coefficient {
            KlCoefficient::Fixed(_) => {}
            KlCoefficient::Adaptive { target, horizon, .. } => {
                let error = (kl_nats / target - 1.0).clamp(-0.2, 0.2);
                state.beta *= 1.0 + error * completions as f64 / horizon;
            }
        }
    }
}
