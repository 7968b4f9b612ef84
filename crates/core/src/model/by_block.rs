//! A backward pass block by block: gradient checkpointing at the residual stream.
//!
//! Between the passes only the input of each block is kept. Going back, a block is passed again, tracked, and the
//! gradient goes through it before the block below is met: one block's activations are in memory at a time, and one
//! block's weights where a frozen base is packed. The price is one more forward pass.
//!
//! Leaves out: dropout, whose draws a second pass would not repeat.
//! Source: Chen et al. 2016, "Training deep nets with sublinear memory cost".

use burn::module::Module;
use burn::tensor::Tensor;

use super::attention::Visibility;
use super::rotary::Rotation;
use super::tokens::{PaddingSide, Tokens};
use super::transformer::Transformer;
use crate::first_order::constant;
use crate::optim::Gradients;

/// How a model is passed where it learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Passes {
    /// Forward through all blocks, then backward through all.
    #[default]
    Whole,
    /// Forward untracked, then backward through one block at a time, which is passed again.
    ByBlock,
}

/// What the backward pass needs of the forward pass.
pub(crate) struct Tape {
    tokens: Tokens,
    rotation: Option<Rotation>,
    visibility: Visibility,
    /// The stream before each block, untracked. `[B, T, D]` each
    inputs: Vec<Tensor<3>>,
    /// The stream behind the last block, a leaf. `[B, T, D]`
    last: Tensor<3>,
}

impl Transformer {
    /// The same, passed like this where it learns.
    #[must_use]
    pub fn passing(mut self, passes: Passes) -> Self {
        self.passes = passes;
        self
    }

    /// How it is passed where it learns.
    pub fn passes(&self) -> Passes {
        self.passes
    }

    /// Final hidden states of sequences padded on the right, tracked from behind the last block on, and what leads back
    /// from there. `-> [B, T, D]`
    pub(crate) fn hidden_by_block(&self, rows: &[&[u32]]) -> (Tensor<3>, Tape) {
        let plain = self.valid();
        let tokens = Tokens::new(rows, PaddingSide::Right, &plain.device());
        let (mut stream, rotation, visibility) = plain.enter(&tokens, None);
        let mut inputs = Vec::with_capacity(plain.blocks.len());
        for block in &plain.blocks {
            inputs.push(stream.clone());
            stream = block.forward(stream, rotation.as_ref(), &visibility);
        }
        let tokens = Tokens::new(rows, PaddingSide::Right, &self.device());
        let (first, rotation, visibility) = self.enter(&tokens, None);
        let last = constant(stream, &first).require_grad();
        let hidden = self.leave(last.clone());
        (hidden, Tape { tokens, rotation, visibility, inputs, last })
    }
}

impl Tape {
    /// The gradient of a model by a loss whose own backward pass came down to behind the last block.
    pub(crate) fn backward(
        self,
        model: &Transformer,
        mut above: burn::tensor::Gradients,
    ) -> Gradients {
        let mut slope = self.last.grad_remove(&mut above);
        let mut sum = Gradients::of(model, above);
        for (block, input) in model.blocks.iter().zip(self.inputs).rev() {
            let Some(by_output) = slope else { return sum };
            let input = constant(input, &self.last).require_grad();
            let output = block.forward(input.clone(), self.rotation.as_ref(), &self.visibility);
            let mut found = (output * constant(by_output, &self.last)).sum().backward();
            slope = input.grad_remove(&mut found);
            sum.add(Gradients::of(model, found));
        }
        // Where nothing learns before the blocks, there is no graph to go through.
        let (first, _, _) = model.enter(&self.tokens, None);
        if let Some(by_first) = slope.filter(|_| first.is_tracked()) {
            let found = (first.clone() * constant(by_first, &first)).sum().backward();
            sum.add(Gradients::of(model, found));
        }
        sum
    }
}
