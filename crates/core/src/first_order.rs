//! Tracked tensors out of untracked ones: a value computed once by the device's fused operations, and
//! the exact slope that automatic differentiation would have found in many more passes.
//!
//! Every tensor keeps the strategy of the graph it joins: burn refuses to mix graphs that keep their
//! activations with graphs that compute them again.

use burn::tensor::Tensor;

/// An untracked value as a constant of the graph that `like` belongs to. `[..] -> [..]`
pub(crate) fn constant<const D: usize, const E: usize>(
    value: Tensor<D>,
    like: &Tensor<E>,
) -> Tensor<D> {
    let value = Tensor::from_inner(value);
    #[cfg(feature = "train")]
    if let Some(strategy) = like.gradient_checkpointing_strategy() {
        return value.with_gradient_checkpointing_strategy(strategy);
    }
    #[cfg(not(feature = "train"))]
    let _ = like;
    value
}

/// A tracked tensor with this untracked value and the gradient of the tracked `linear`.
/// `[..], [..] -> [..]`
pub(crate) fn with_gradient_of<const D: usize>(value: Tensor<D>, linear: Tensor<D>) -> Tensor<D> {
    let offset = constant(value - linear.clone().without_autodiff(), &linear);
    linear + offset
}
