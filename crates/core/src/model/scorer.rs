//! A transformer that says one number of a whole text: the shape of a reward model.
//!
//! The score is a linear map of the final hidden state of the last token, which has seen all others.
//! Reference: Ouyang et al. 2022.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{DType, Int, Tensor, TensorData};

use super::parameters::filled;
use super::{PaddingSide, Tokens, Transformer};

/// A trunk with a head of one number.
#[derive(Module, Debug)]
pub struct Scorer {
    /// What reads.
    pub trunk: Transformer,
    /// What says. Its weight: `[D, 1]`
    pub head: Linear,
}

impl Scorer {
    /// A head of zeros on `trunk`: every text scores 0.
    pub fn zeroed(trunk: Transformer) -> Self {
        let (width, device) = (trunk.config().d_model, trunk.device());
        let bias = Some(filled([1], 0.0, &device));
        Self { head: Linear { weight: filled([width, 1], 0.0, &device), bias }, trunk }
    }

    /// One number a text, in f32. `-> [B]`
    ///
    /// # Panics
    /// If a text has no token or is longer than the context.
    pub fn forward(&self, texts: &[&[u32]]) -> Tensor<1> {
        let device = self.trunk.device();
        let tokens = Tokens::new(texts, PaddingSide::Right, &device);
        let hidden = self.trunk.hidden(&tokens, None);
        let [batch, time, width] = hidden.dims();
        let last = texts.iter().enumerate().map(|(row, text)| (row * time + text.len() - 1) as i32);
        let last = TensorData::new(last.collect::<Vec<i32>>(), [batch]);
        let last = Tensor::<1, Int>::from_data(last, &device);
        let hidden = hidden.reshape([batch * time, width]).select(0, last);
        self.head.forward(hidden).cast(DType::F32).reshape([batch])
    }
}
