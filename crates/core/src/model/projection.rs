//! A linear layer over all positions of a batch as one matrix product.
//!
//! burn's `linear` keeps the batch dimension and multiplies sequence by sequence, which is slower on
//! the CPU, forward and backward: one large product packs the weights once.

use std::sync::OnceLock;

use burn::nn::Linear;
use burn::tensor::{Tensor, module};

/// One row times a matrix where a device has something faster than its matrix product; none = it has
/// not for these tensors. `[1, D], [D, F] -> [1, F]`
pub type RowProduct = fn(&Tensor<2>, &Tensor<2>) -> Option<Tensor<2>>;

static ROW_PRODUCT: OnceLock<RowProduct> = OnceLock::new();

/// Multiplies single rows by `product` from now on; the first caller of a process decides.
pub fn use_row_product(product: RowProduct) {
    ROW_PRODUCT.get_or_init(|| product);
}

/// `[B, T, D], [D, F], [F] -> [B, T, F]`
pub(super) fn project(input: Tensor<3>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<3> {
    let [batch, time, d_input] = input.dims();
    let d_output = weight.dims()[1];
    let rows = input.reshape([batch * time, d_input]);
    let own = ROW_PRODUCT.get().filter(|_| batch * time == 1);
    let product = match own.and_then(|own| own(&rows, &weight)) {
        Some(product) => match bias {
            Some(bias) => product + bias.unsqueeze(),
            None => product,
        },
        None => module::linear(rows, weight, bias),
    };
    product.reshape([batch, time, d_output])
}

/// [`project`] with the parameters of a layer. `[B, T, D] -> [B, T, F]`
pub(super) fn forward(layer: &Linear, input: Tensor<3>) -> Tensor<3> {
    project(input, layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val()))
}
