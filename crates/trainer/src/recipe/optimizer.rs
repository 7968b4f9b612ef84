//! The table `[optimizer]`: how weights move, and in which numbers.

use burn::tensor::DType;
use kudos_core::learn::Activations;
use kudos_core::optim::{AdamWConfig, Decay};
use serde::{Deserialize, Serialize};

/// How weights move.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerRecipe {
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Steps of a straight line from zero to the peak.
    pub warmup_steps: usize,
    /// What follows the warm-up.
    pub decay: Decay,
    /// Gradients are scaled down to this global norm.
    pub max_grad_norm: f64,
    /// The constants of AdamW.
    pub adamw: AdamWConfig,
    /// Number type of the forward and backward pass; the weights themselves stay f32.
    pub precision: Precision,
    /// Whether cheap activations are kept or computed again.
    pub activations: Activations,
}

/// Number type of the forward and backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits with 5 bits of exponent.
    F16,
    /// 16 bits with 8 bits of exponent.
    Bf16,
}

impl Precision {
    /// As the tensor library calls it.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }
}

impl Default for OptimizerRecipe {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            warmup_steps: 10,
            decay: Decay::Constant,
            max_grad_norm: 1.0,
            adamw: AdamWConfig::default(),
            precision: Precision::F32,
            activations: Activations::Keep,
        }
    }
}
