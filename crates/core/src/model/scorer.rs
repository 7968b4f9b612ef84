//! A trunk that says one number of a whole text: the shape of a reward model.
//!
//! The score is a linear map of what the trunk makes of the text. Source: Ouyang et al. 2022.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::parameters::filled;
use super::{Encoder, PaddingSide, Tokens, Transformer};

/// What reads a text.
#[expect(clippy::large_enum_variant, reason = "there is one a scorer, and it is hardly moved")]
#[derive(Module, Debug)]
pub enum Trunk {
    /// A policy's transformer; its features are the final hidden state of the last token, which has
    /// seen all others.
    Policy(Transformer),
    /// An encoder; its features are means over the tokens in every layer.
    Encoder(Encoder),
}

/// A trunk with a head of one number.
#[derive(Module, Debug)]
pub struct Scorer {
    /// What reads.
    pub trunk: Trunk,
    /// What says. Its weight: `[F, 1]`
    pub head: Linear,
}

impl Trunk {
    /// Numbers that it makes of a text.
    pub fn width(&self) -> usize {
        match self {
            Self::Policy(model) => model.config().d_model,
            Self::Encoder(encoder) => encoder.config().d_model * (encoder.config().n_layers + 1),
        }
    }

    /// Probability that an activation is dropped in training.
    pub fn dropout(&self) -> f64 {
        match self {
            Self::Policy(model) => model.config().dropout,
            Self::Encoder(encoder) => encoder.config().dropout,
        }
    }

    /// The device that holds the weights.
    pub fn device(&self) -> Device {
        match self {
            Self::Policy(model) => model.device(),
            Self::Encoder(encoder) => encoder.device(),
        }
    }

    /// What it makes of each text, in f32. `-> [B, F]`
    ///
    /// # Panics
    /// If a text has no token or is longer than the context.
    pub fn features(&self, texts: &[&[u32]]) -> Tensor<2> {
        match self {
            Self::Policy(model) => last_states(model, texts),
            Self::Encoder(encoder) => encoder.features(texts),
        }
    }
}

/// The final hidden state of each text's last token, in f32. `-> [B, D]`
fn last_states(model: &Transformer, texts: &[&[u32]]) -> Tensor<2> {
    let device = model.device();
    let tokens = Tokens::new(texts, PaddingSide::Right, &device);
    let hidden = model.hidden(&tokens, None);
    let [batch, time, width] = hidden.dims();
    let last = texts.iter().enumerate().map(|(row, text)| (row * time + text.len() - 1) as i32);
    let last = TensorData::new(last.collect::<Vec<i32>>(), [batch]);
    let last = Tensor::<1, Int>::from_data(last, &device);
    hidden.reshape([batch * time, width]).select(0, last).cast(DType::F32)
}

impl Scorer {
    /// A head of zeros on `trunk`: every text scores 0.
    pub fn zeroed(trunk: Trunk) -> Self {
        Self { head: Self::zeroed_head(trunk.width(), &trunk.device()), trunk }
    }

    /// A head of zeros for features of this width.
    pub fn zeroed_head(width: usize, device: &Device) -> Linear {
        let bias = Some(filled([1], 0.0, device));
        Linear { weight: filled([width, 1], 0.0, device), bias }
    }

    /// One number a text, in f32. `-> [B]`
    ///
    /// # Panics
    /// As [`Trunk::features`].
    pub fn forward(&self, texts: &[&[u32]]) -> Tensor<1> {
        say(&self.head, self.trunk.features(texts))
    }
}

/// What a head says of features. `[B, F] -> [B]`
pub fn say(head: &Linear, features: Tensor<2>) -> Tensor<1> {
    let batch = features.dims()[0];
    head.forward(features).reshape([batch])
}
