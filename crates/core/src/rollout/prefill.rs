//! Reading prompts before decoding: those that several completions share are read once.

use burn::tensor::Tensor;

use crate::model::{Cache, PaddingSide, Tokens, Transformer, distinct, indices};

/// A cache that holds `prompts` and has room for so many more tokens, and the hidden states of their last ones.
/// `-> [B, 1, D]`
pub(super) fn prefill(
    model: &Transformer,
    prompts: &[Vec<u32>],
    room: usize,
) -> (Cache, Tensor<3>) {
    let device = model.device();
    let all = prompts.iter().map(Vec::as_slice);
    // What is decoded on plain slices is one sequence for itself.
    let (rows, of) = match model.decodes_on_host() {
        true => (all.collect(), (0..prompts.len()).collect()),
        false => distinct(all),
    };
    let tokens = Tokens::new(&rows, PaddingSide::Left, &device);
    let [count, time] = tokens.ids.dims();
    let mut cache = Cache::new(model, count, time + room);
    let hidden = model.hidden_cached(&tokens, &mut cache).narrow(1, time - 1, 1);
    if count == prompts.len() {
        return (cache, hidden);
    }
    let of = indices(of, &device);
    cache.select(&of);
    (cache, hidden.select(0, of))
}
