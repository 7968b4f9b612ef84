//! A linear layer over all positions of a batch as one matrix product.
//!
//! burn's `linear` keeps the batch dimension and multiplies sequence by sequence, which is slower on
//! the CPU, forward and backward: one large product packs the weights once.

use burn::nn::Linear;
use burn::tensor::{Tensor, module};

/// Positions that are few beside the rows of a vocabulary.
const FEW: usize = 64;

/// `[B, T, D], [D, F], [F] -> [B, T, F]`
pub(crate) fn project(input: Tensor<3>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<3> {
    let [batch, time, d_input] = input.dims();
    let d_output = weight.dims()[1];
    let rows = input.reshape([batch * time, d_input]);
    module::linear(rows, weight, bias).reshape([batch, time, d_output])
}

/// Products of each position with each row of a matrix, as of a tied head. Few positions are multiplied from the
/// right, so that the matrix, which is large, is read as it lies and never packed. `[F, D], [B, T, D] -> [B, T, F]`
pub(super) fn onto(rows: &Tensor<2>, input: Tensor<3>) -> Tensor<3> {
    let [batch, time, d_input] = input.dims();
    if batch * time > FEW {
        return project(input, rows.clone().transpose(), None);
    }
    let positions = input.reshape([batch * time, d_input]).transpose();
    let products = rows.clone().matmul(positions).transpose();
    products.reshape([batch as i64, time as i64, -1])
}

/// [`project`] with the parameters of a layer, tuned or not. `[B, T, D] -> [B, T, F]`
pub(super) fn forward(layer: &Linear, input: Tensor<3>) -> Tensor<3> {
    #[cfg(feature = "train")]
    if let Some(tuned) = crate::tuning::forward(layer, &input) {
        return tuned;
    }
    project(input, layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val()))
}
