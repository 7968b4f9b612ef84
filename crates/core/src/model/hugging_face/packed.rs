//! Quantized matrices of a safetensors file: blocks of numbers in a row share a scale.
//!
//! Formula: `x = scale q` with whole q from -127 to 127, one byte each (type I8); or
//! `x = scale q + minimum` with q from 0 to 15, two a byte, the first in the low half (type U8). Scales and
//! minima are F16 and stand beside the matrix as `NAME.scale` and `NAME.minimum`, one for each block of
//! [`BLOCK`] numbers. A file says by these types and names alone what it holds.
//!
//! A sparse matrix is a row of the numbers that are not zero, beside `NAME.mask` of type U8 with a bit for each number
//! of the matrix, the first in the lowest: set where one is stored. Not in 4 bits, which have no zero.
//!
//! Written by `compress`. Source: the formats Q8_0 and Q4_1 of ggml, with parts apart.

use burn::tensor::f16;
use safetensors::tensor::{Dtype, TensorView};

use super::CheckpointError;
use super::source::{HostTensor, numbers};

/// Numbers that share a scale.
pub(crate) const BLOCK: usize = 32;
/// What is added to a matrix' name for its scales.
pub(crate) const SCALE: &str = ".scale";
/// What is added to a matrix' name for its minima.
pub(crate) const MINIMUM: &str = ".minimum";

/// What is added to a matrix' name for the places of its numbers.
pub(crate) const MASK: &str = ".mask";

/// The stored numbers of a sparse matrix in their places, zeros between, `size` bytes each.
pub(super) fn spread(numbers: &[u8], mask: &[u8], size: usize) -> Option<Vec<u8>> {
    if size == 0 {
        return None;
    }
    let mut numbers = numbers.chunks_exact(size);
    let mut bytes = vec![0; mask.len() * 8 * size];
    for (place, bytes) in bytes.chunks_exact_mut(size).enumerate() {
        if mask[place / 8] >> (place % 8) & 1 == 1 {
            bytes.copy_from_slice(numbers.next()?);
        }
    }
    numbers.next().is_none().then_some(bytes)
}

/// A stored tensor in f32, packed or not; `bytes_of` are those of another tensor.
pub(super) fn tensor(
    name: &str,
    view: &TensorView<'_>,
    bytes_of: impl Fn(String) -> Result<Vec<u8>, CheckpointError>,
) -> Result<HostTensor, CheckpointError> {
    let mut shape = view.shape().to_vec();
    let per_byte = if view.dtype() == Dtype::I8 {
        1
    } else if view.dtype() == Dtype::U8 {
        2
    } else {
        return Ok(HostTensor { shape, values: numbers(name, view)? });
    };
    if let Some(width) = shape.last_mut() {
        *width *= per_byte;
    }
    let count = view.data().len() * per_byte;
    let beside = |part: &str| {
        let name = format!("{name}{part}");
        let numbers = halves(&bytes_of(name.clone())?);
        // Rows are whole blocks, or blocks would reach over their ends.
        let fits = numbers.len() * BLOCK == count && shape.last().is_some_and(|w| w % BLOCK == 0);
        fits.then_some(numbers).ok_or(CheckpointError::Packed(name))
    };
    let scales = beside(SCALE)?;
    let blocks = view.data().chunks_exact(BLOCK / per_byte).zip(&scales);
    // Not by `collect`, which would not know the length and grow to up to twice of it.
    let mut values = Vec::with_capacity(count);
    if per_byte == 1 {
        for (bytes, scale) in blocks {
            values.extend(bytes.iter().map(|byte| f32::from(*byte as i8) * scale));
        }
    } else {
        for ((bytes, scale), minimum) in blocks.zip(&beside(MINIMUM)?) {
            let halves = bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]);
            values.extend(halves.map(|q| f32::from(q) * scale + minimum));
        }
    }
    Ok(HostTensor { shape, values })
}

/// The name of the matrix that a tensor stands beside, if its name says so.
pub(super) fn beside(name: &str) -> Option<&str> {
    [SCALE, MINIMUM, MASK].into_iter().find_map(|part| name.strip_suffix(part))
}

fn halves(bytes: &[u8]) -> Vec<f32> {
    let pairs = bytes.chunks_exact(2);
    pairs.map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect()
}
