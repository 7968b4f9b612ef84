//! A low-rank sum beside a frozen projection: LoRA, rsLoRA, DoRA and the form that AdaLoRA prunes.
//!
//! Hung on the weight as one of burn's reparameterizations, so that every walk over a model meets its
//! parameters, and `Param::val` is the merged weight. Not burn's own `LoraAdapter`: that one always
//! composes the dense weight, which costs a weight-sized gradient in each backward pass, takes its
//! random start from the device, and knows neither dropout nor lengths of columns nor singular values.
//!
//! Source: Hu et al. 2022 (LoRA), Kalajdzievski 2023 (rsLoRA), Liu et al. 2024 (DoRA), Zhang et al.
//! 2023 (AdaLoRA).

use burn::module::{Module, Param, Reparameterization};
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::Tensor;

use crate::first_order::constant;
use crate::model::project;

/// The small parameters of one projection. D its inputs, F its outputs, R the rank.
#[derive(Module, Debug)]
pub struct LowRank {
    /// `[D, R]`
    pub a: Param<Tensor<2>>,
    /// `[R, F]`
    pub b: Param<Tensor<2>>,
    /// Singular values, in AdaLoRA. `[R]`
    pub e: Option<Param<Tensor<1>>>,
    /// Length of each column of the tuned weight, in DoRA. `[F]`
    pub magnitude: Option<Param<Tensor<1>>>,
    /// On the inputs of the sum.
    dropout: Dropout,
    /// The factor of the sum.
    scale: f64,
}

impl LowRank {
    /// The sum `scale * a * b`.
    pub(crate) fn new(a: Tensor<2>, b: Tensor<2>, scale: f64) -> Self {
        let (a, b) = (Param::from_tensor(a), Param::from_tensor(b));
        let dropout = DropoutConfig::new(0.0).init();
        Self { a, b, e: None, magnitude: None, dropout, scale }
    }

    /// With singular values between the two. `[R]`
    pub(crate) fn with_singular_values(self, e: Tensor<1>) -> Self {
        Self { e: Some(Param::from_tensor(e)), ..self }
    }

    /// With learned lengths of the columns. `[F]`
    pub(crate) fn with_magnitude(self, magnitude: Tensor<1>) -> Self {
        Self { magnitude: Some(Param::from_tensor(magnitude)), ..self }
    }

    /// With dropout on its inputs.
    pub(crate) fn with_dropout(self, probability: f64) -> Self {
        Self { dropout: DropoutConfig::new(probability).init(), ..self }
    }

    /// The factor of the sum.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The probability of dropping an input while training.
    pub fn dropout(&self) -> f64 {
        self.dropout.prob
    }

    /// `a`, its columns times the singular values. `[D, R]`
    fn left(&self) -> Tensor<2> {
        match &self.e {
            None => self.a.val(),
            Some(e) => self.a.val() * e.val().unsqueeze::<2>(),
        }
    }

    /// What is added to the weight. `[D, F]`
    pub fn delta(&self) -> Tensor<2> {
        self.left().matmul(self.b.val()).mul_scalar(self.scale)
    }

    /// What each column of `base + delta` is multiplied by, in DoRA: its learned length over the one it
    /// has, which counts as a constant (section 4.3 of the paper). `[D, F] -> [1, F]`
    fn stretch(&self, base: &Tensor<2>) -> Option<Tensor<2>> {
        let magnitude = self.magnitude.as_ref()?.val();
        let sum = base.clone().without_autodiff() + self.delta().without_autodiff();
        let length = beside(column_lengths(sum), &magnitude);
        Some((magnitude / length).unsqueeze())
    }

    /// The tuned weight. `[D, F] -> [D, F]`
    fn compose(&self, base: Tensor<2>) -> Tensor<2> {
        let stretch = self.stretch(&base);
        let sum = base + self.delta();
        match stretch {
            None => sum,
            Some(stretch) => sum * stretch,
        }
    }

    /// The tuned projection, without composing its weight. `[B, T, D] -> [B, T, F]`
    pub(crate) fn forward(&self, layer: &Linear, input: Tensor<3>) -> Tensor<3> {
        let base = layer.weight.base();
        let bias = layer.bias.as_ref().map(|bias| bias.val());
        let dropped = self.dropout.forward(input.clone());
        let low = project(project(dropped.clone(), self.left(), None), self.b.val(), None);
        let low = low.mul_scalar(self.scale);
        match self.stretch(&base) {
            None => project(input, base, bias) + low,
            Some(stretch) if self.dropout.prob == 0.0 => {
                let product = (project(input, base, None) + low) * stretch.unsqueeze::<3>();
                match bias {
                    None => product,
                    Some(bias) => product + bias.unsqueeze(),
                }
            }
            Some(stretch) => {
                // As PEFT: what is stretched sees the dropped input, what is not sees all of it.
                let stretch = stretch.unsqueeze::<3>();
                let stretched = project(dropped, base.clone(), None);
                let moved = stretched * stretch.clone().sub_scalar(1.0);
                project(input, base, bias) + moved + low * stretch
            }
        }
    }
}

impl Reparameterization for LowRank {
    const NAME: &'static str = "low_rank";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let shape = base.shape();
        let [inputs, outputs] = [shape[0], shape[1]];
        self.compose(base.reshape([inputs, outputs])).reshape(shape)
    }
}

/// An untracked value where `like` is: a constant of its graph, if it has one. `[F] -> [F]`
pub(crate) fn beside<const D: usize>(value: Tensor<1>, like: &Tensor<D>) -> Tensor<1> {
    if like.is_autodiff() { constant(value, like) } else { value }
}

/// The Euclidean length of each column. `[D, F] -> [F]`
pub(crate) fn column_lengths(weight: Tensor<2>) -> Tensor<1> {
    weight.square().sum_dim(0).sqrt().squeeze_dim(0)
}
