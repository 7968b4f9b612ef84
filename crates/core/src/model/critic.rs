//! A critic: what is still to be expected of a completion, said before each of its tokens is chosen.
//!
//! It is a model of its own, as in verl and OpenRLHF: a copy of the starting policy's trunk with one linear map
//! of its final hidden states, which begins at 0. On a trunk shared with the policy its errors, which are
//! large at first, would move the policy, too, by as much as a further constant says. So the policy, its adapters, its
//! number type and its checkpoints know nothing of it; the price is the memory of another model.
//! Source: Konda and Tsitsiklis 2000; Schulman et al. 2017.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{DType, Tensor};

use super::valued::states;
use super::{Places, Scorer, Transformer, say};

/// A trunk with a head of one number for each place.
#[derive(Module, Debug)]
pub struct Critic {
    /// What reads; it has no output head.
    pub trunk: Transformer,
    /// What says. Its weight: `[D, 1]`
    pub head: Linear,
}

impl Critic {
    /// A head of zeros on `trunk`: nothing is expected of anything.
    pub fn zeroed(trunk: Transformer) -> Self {
        let head = Scorer::zeroed_head(trunk.config().d_model, &trunk.device());
        Self { trunk: trunk.without_head(), head }
    }

    /// What is expected at each place, in f32. `-> [N]`
    ///
    /// # Panics
    /// If there is no place, or a sequence is longer than the context.
    pub fn forward(&self, read: &Places) -> Tensor<1> {
        say(&self.head, states(&self.trunk, read)).cast(DType::F32)
    }
}
