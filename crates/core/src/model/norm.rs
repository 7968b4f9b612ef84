//! The normalization layer of either family, as one module.

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, module};

use super::config::{NormKind, TransformerConfig};
use super::parameters::filled;

/// LayerNorm or RMSNorm over the last dimension.
#[derive(Module, Debug)]
pub enum Norm {
    /// Mean and variance, gain and bias.
    Layer(LayerNorm),
    /// Root mean square, gain.
    Rms(RmsNorm),
}

/// Mean and variance, gain and bias. Source: Ba, Kiros and Hinton 2016.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// The gain. `[D]`
    pub gamma: Param<Tensor<1>>,
    /// The bias. `[D]`
    pub beta: Param<Tensor<1>>,
    epsilon: f64,
}

/// Root mean square, gain. Source: Zhang and Sennrich 2019.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// The gain. `[D]`
    pub gamma: Param<Tensor<1>>,
    epsilon: f64,
}

impl Norm {
    /// A normalization of width `d_model` with gain one and bias zero.
    pub(super) fn init(config: &TransformerConfig, device: &Device) -> Self {
        let (shape, epsilon) = ([config.d_model], config.norm_epsilon);
        let gamma = filled(shape, 1.0, device);
        match config.norm {
            NormKind::LayerNorm => {
                Self::Layer(LayerNorm { gamma, beta: filled(shape, 0.0, device), epsilon })
            }
            NormKind::RmsNorm => Self::Rms(RmsNorm { gamma, epsilon }),
        }
    }

    /// Normalizes each position, computing in f32. `[B, T, D] -> [B, T, D]`
    pub fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let dtype = input.dtype();
        match self {
            Self::Layer(LayerNorm { gamma, beta, epsilon }) => {
                let wide = |tensor: Tensor<1>| tensor.cast(DType::F32);
                let (gamma, beta) = (wide(gamma.val()), Some(wide(beta.val())));
                module::layer_norm(input.cast(DType::F32), gamma, beta, *epsilon).cast(dtype)
            }
            Self::Rms(RmsNorm { gamma, epsilon }) => {
                let square = input.clone().cast(DType::F32).square().mean_dim(2);
                let rms = square.add_scalar(*epsilon).sqrt();
                (input / rms.cast(dtype)) * gamma.val().unsqueeze()
            }
        }
    }
}
