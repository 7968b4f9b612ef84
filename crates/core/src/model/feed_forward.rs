//! The feed-forward layer of a block: GELU in its tanh form, or SwiGLU.
//!
//! Source: Hendrycks and Gimpel 2016 (GELU), Shazeer 2020 (SwiGLU).

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, activation};

use super::config::{FeedForwardKind, TransformerConfig};
use super::parameters::filled;
use super::projection::forward;
use crate::first_order::{constant, with_gradient_of};

/// Two or three projections with a nonlinearity between.
#[derive(Module, Debug)]
pub struct FeedForward {
    /// The gate of SwiGLU; none for GELU. `[D, d_ff]`
    pub gate: Option<Linear>,
    /// `[D, d_ff]`
    pub up: Linear,
    /// `[d_ff, D]`
    pub down: Linear,
}

impl FeedForward {
    /// Projections of zeros.
    pub(super) fn init(config: &TransformerConfig, device: &Device) -> Self {
        let linear = |input, output| Linear {
            weight: filled([input, output], 0.0, device),
            bias: config.feed_forward_bias.then(|| filled([output], 0.0, device)),
        };
        let gate = match config.feed_forward {
            FeedForwardKind::Gelu => None,
            FeedForwardKind::SwiGlu => Some(linear(config.d_model, config.d_ff)),
        };
        Self {
            gate,
            up: linear(config.d_model, config.d_ff),
            down: linear(config.d_ff, config.d_model),
        }
    }

    /// Transforms each position. `[B, T, D] -> [B, T, D]`
    pub fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        forward(&self.down, self.inner(input))
    }

    /// The channels. `[B, T, D] -> [B, T, d_ff]`
    pub(crate) fn inner(&self, input: Tensor<3>) -> Tensor<3> {
        match &self.gate {
            None => gelu_tanh(forward(&self.up, input)),
            Some(gate) => activation::silu(forward(gate, input.clone())) * forward(&self.up, input),
        }
    }
}

/// GELU in its tanh form, `x * sigmoid(2 z)` with `z = sqrt(2 / pi) (x + 0.044715 x^3)`: the same
/// function as `x (1 + tanh z) / 2` in fewer passes over memory. `[B, T, D] -> [B, T, D]`
///
/// With automatic differentiation the tracked part is its exact first-order form, so that the backward
/// pass is one product instead of a dozen.
fn gelu_tanh(input: Tensor<3>) -> Tensor<3> {
    const TWO_SQRT_2_OVER_PI: f64 = 1.595_769_121_605_730_7;
    const CUBIC: f64 = 0.044715 * TWO_SQRT_2_OVER_PI;
    let fixed = input.clone().without_autodiff();
    let square = fixed.clone() * fixed.clone();
    let factor = square.clone().mul_scalar(CUBIC).add_scalar(TWO_SQRT_2_OVER_PI);
    let gate = activation::sigmoid(factor * fixed.clone());
    let value = fixed * gate.clone();
    if !input.is_autodiff() {
        return value;
    }
    // d(2 z) / dx, then the derivative of the product: gate + x gate (1 - gate) d(2 z) / dx.
    let inner = square.mul_scalar(3.0 * CUBIC).add_scalar(TWO_SQRT_2_OVER_PI);
    let rest = value.clone() - value.clone() * gate.clone();
    let slope = inner * rest + gate;
    let slope = constant(slope, &input);
    with_gradient_of(value, input * slope)
}
