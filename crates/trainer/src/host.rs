//! Decoding one completion at a time with weights in 8 bits, on the host's own slices.
//!
//! A single sequence reads every weight once a token, so memory decides its speed: a quarter of the bytes. Products
//! of large matrices are shared by the threads at hand.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{DType, Tensor};
use kudos_core::model::{HostMatrix, HostNumbers, HostView, Transformer};
use kudos_rows::Packed;
use pollster::block_on;

/// Numbers of a matrix from which on threads share a product: less takes no longer than waking them.
const SHARED: usize = 1 << 18;

/// A tensor's numbers, copied.
#[derive(Debug)]
struct Copied(Vec<f32>);

/// A matrix in 8 bits.
#[derive(Debug)]
struct InEightBits(Packed);

/// The model, which decodes single sequences with its weights rounded to 8 bits (32 of a column share a factor;
/// what is computed with them is f32). Its own weights stay beside them; they must stay as they are.
pub(crate) fn in_eight_bits(model: Transformer) -> Transformer {
    let numbers = |tensor| Some(Arc::new(Copied(copied(tensor)?)) as _);
    let matrix = |weight: Tensor<2>| {
        let height = weight.dims()[0];
        Some(Arc::new(InEightBits(Packed::new(&copied(weight.transpose())?, height))) as _)
    };
    model.with_host_memory(HostView { numbers, matrix })
}

fn copied(tensor: Tensor<2>) -> Option<Vec<f32>> {
    let data = block_on(tensor.cast(DType::F32).into_data_async()).ok()?;
    data.try_to_vec().ok()
}

impl HostNumbers for Copied {
    fn numbers(&self) -> &[f32] {
        &self.0
    }
}

impl HostMatrix for InEightBits {
    fn times(&self, row: &[f32]) -> Vec<f32> {
        let columns = self.0.n_columns();
        let threads = if row.len() * columns < SHARED { 1 } else { rayon::current_num_threads() };
        shared(&self.0, row, (0..columns, threads))
    }
}

/// The product with some columns, by so many threads.
fn shared(packed: &Packed, row: &[f32], (columns, threads): (Range<usize>, usize)) -> Vec<f32> {
    if threads == 1 {
        return packed.times(row, columns);
    }
    let first = columns.start + columns.len() * (threads / 2) / threads;
    let (mut left, right) = rayon::join(
        || shared(packed, row, (columns.start..first, threads / 2)),
        || shared(packed, row, (first..columns.end, threads - threads / 2)),
    );
    left.extend(right);
    left
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use burn::tensor::activation::log_softmax;
    use kudos_core::model::{Cache, PaddingSide, Tokens};

    use super::*;
    use crate::evaluate::policy_files;

    /// Log-probabilities of the token after each of a text.
    fn read(model: &Transformer, ids: &[u32]) -> Vec<f32> {
        let tokens = Tokens::new(&[ids], PaddingSide::Left, &model.device());
        let hidden = model.hidden_cached(&tokens, &mut Cache::new(model, 1, ids.len()));
        let logits = log_softmax(model.logits(hidden), 2);
        block_on(logits.into_data_async()).unwrap().try_to_vec().unwrap()
    }

    #[test]
    fn in_eight_bits_the_shipped_policy_thinks_nearly_the_same() {
        let policy = policy_files(None).unwrap().load(&Device::flex()).unwrap();
        let ids = policy.tokenizer.encode("The town was founded in 1825 by a family of farmers.");
        let stored = read(&policy.model, &ids);
        let rounded = read(&in_eight_bits(policy.model.clone()), &ids);
        let vocabulary = policy.config().vocab_size;
        let rows = stored.chunks(vocabulary).zip(rounded.chunks(vocabulary));
        let divergences = rows.map(|(one, other)| -> f32 {
            one.iter().zip(other).map(|(p, q)| p.exp() * (p - q)).sum()
        });
        let divergences: Vec<f32> = divergences.collect();
        assert_eq!(divergences.len(), ids.len());
        let mean = divergences.iter().sum::<f32>() / ids.len() as f32;
        assert!(stored != rounded && mean.abs() < 1e-3, "{mean} nats a token");
    }

    #[test]
    fn threads_share_a_product_without_changing_it() {
        let columns: Vec<f32> = (0..33 * 70).map(|at| (at % 29) as f32 - 14.0).collect();
        let row: Vec<f32> = (0..33).map(|at| (at % 7) as f32 - 3.0).collect();
        let packed = Packed::new(&columns, 33);
        for threads in 2..6 {
            assert_eq!(shared(&packed, &row, (0..70, threads)), packed.times(&row, 0..70));
        }
    }
}
