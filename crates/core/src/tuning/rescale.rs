//! A learned factor for each activation of a frozen projection: (IA)3.
//!
//! Source: Liu et al. 2022, "Few-shot parameter-efficient fine-tuning is better and cheaper than
//! in-context learning". As there, keys, values and the inner activations of the feed-forward layer.

use burn::module::{Module, Param, Reparameterization};
use burn::nn::Linear;
use burn::tensor::Tensor;

use super::target::Target;
use crate::model::project;

/// The factors of one projection. D its inputs, F its outputs.
#[derive(Module, Debug)]
pub struct Rescale {
    /// `[F]`, or `[D]` where inputs are scaled
    pub factor: Param<Tensor<1>>,
    #[module(skip)]
    side: Side,
}

/// What is scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Input,
    Output,
}

impl Side {
    /// The inner activations are the inputs of `down`; of all others the outputs are scaled.
    pub(crate) fn of(target: Target) -> Self {
        match target {
            Target::Down => Self::Input,
            Target::Query
            | Target::Key
            | Target::Value
            | Target::Output
            | Target::Gate
            | Target::Up => Self::Output,
        }
    }
}

impl Rescale {
    /// Factors of one side. `[F]` or `[D]`
    pub(crate) fn new(factor: Tensor<1>, side: Side) -> Self {
        Self { factor: Param::from_tensor(factor), side }
    }

    /// The scaled projection. `[B, T, D] -> [B, T, F]`
    pub(crate) fn forward(&self, layer: &Linear, input: Tensor<3>) -> Tensor<3> {
        let base = layer.weight.base();
        let bias = layer.bias.as_ref().map(|bias| bias.val());
        let factor = self.factor.val().unsqueeze::<3>();
        match self.side {
            Side::Input => project(input * factor, base, bias),
            Side::Output => project(input, base, bias) * factor,
        }
    }

    /// What becomes of the bias. `[F] -> [F]`
    pub(crate) fn bias(&self, bias: Tensor<1>) -> Tensor<1> {
        match self.side {
            Side::Input => bias,
            Side::Output => bias * self.factor.val(),
        }
    }
}

impl Reparameterization for Rescale {
    const NAME: &'static str = "rescale";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let shape = base.shape();
        let base: Tensor<2> = base.reshape([shape[0], shape[1]]);
        let factor = self.factor.val();
        let factor: Tensor<2> = match self.side {
            Side::Input => factor.unsqueeze_dim(1),
            Side::Output => factor.unsqueeze_dim(0),
        };
        (base * factor).reshape(shape)
    }
}
