//! Magnitude sparsity in storage: the smallest weights of each projection become zeros, and zeros are not stored.
//!
//! Formula: of n weights the `floor(sparsity n)` of least magnitude go, the first in the file where magnitudes are
//! equal. A bit a weight says which are left (`model::hugging_face::packed`). Embeddings and the output head stay
//! whole: each of their rows is one token.
//! Misleads when a file is wanted for speed: it is spread out when it is read, and computes as before.
//! Source: Han et al. 2015, "Learning both weights and connections for efficient neural networks".

use safetensors::tensor::Dtype;

use super::quantize::Written;
use crate::model::hugging_face::StoredTensor;
use crate::model::hugging_face::packed::MASK;

/// Whether a tensor loses weights: a projection's matrix whose rows are whole bytes of bits.
pub(super) fn is_thinned(tensor: &StoredTensor, sparsity: f64) -> bool {
    let [_, width] = tensor.shape.as_slice() else { return false };
    sparsity > 0.0 && width.is_multiple_of(8) && tensor.parts[0].starts_with("blocks.")
}

/// Sets the smallest values to zero and says which are left.
pub(super) fn thin(values: &mut [f32], sparsity: f64) -> Vec<bool> {
    let count = (sparsity * values.len() as f64) as usize;
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|one, other| values[*one].abs().total_cmp(&values[*other].abs()));
    let mut kept = vec![true; values.len()];
    for place in &order[..count] {
        values[*place] = 0.0;
        kept[*place] = false;
    }
    kept
}

/// Takes the zeros out of a matrix and gives the bits that say where.
pub(super) fn leave_out(matrix: &mut Written, kept: &[bool]) -> Written {
    let size = matrix.bytes.len() / kept.len();
    let numbers = matrix.bytes.chunks_exact(size).zip(kept).filter(|(_, kept)| **kept);
    let bytes: Vec<u8> = numbers.flat_map(|(number, _)| number).copied().collect();
    let bits = |eight: &[bool]| {
        eight.iter().enumerate().fold(0, |byte, (bit, kept)| byte | u8::from(*kept) << bit)
    };
    let mut shape = std::mem::replace(&mut matrix.shape, vec![bytes.len() / size]);
    matrix.bytes = bytes;
    *shape.last_mut().expect("a matrix has columns") /= 8;
    let mask = kept.chunks_exact(8).map(bits).collect();
    Written { name: format!("{}{MASK}", matrix.name), dtype: Dtype::U8, shape, bytes: mask }
}
