//! The normalization layer of either family, as one module.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Tensor};

use super::config::{NormKind, TransformerConfig};

/// LayerNorm or RMSNorm over the last dimension.
#[derive(Module, Debug)]
pub enum Norm {
    /// Mean and variance, gain and bias.
    Layer(LayerNorm),
    /// Root mean square, gain.
    Rms(RmsNorm),
}

impl Norm {
    /// A normalization of width `d_model` with gain one and bias zero.
    pub(super) fn init(config: &TransformerConfig, device: &Device) -> Self {
        match config.norm {
            NormKind::LayerNorm => Self::Layer(
                LayerNormConfig::new(config.d_model).with_epsilon(config.norm_epsilon).init(device),
            ),
            NormKind::RmsNorm => Self::Rms(
                RmsNormConfig::new(config.d_model).with_epsilon(config.norm_epsilon).init(device),
            ),
        }
    }

    /// Normalizes each position. `[B, T, D] -> [B, T, D]`
    pub fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Layer(norm) => norm.forward(input),
            Self::Rms(norm) => norm.forward(input),
        }
    }
}
