//! Quantized matrices of a safetensors file: blocks of numbers in a row share a scale.
//!
//! Formula: `x = scale q` with whole q from -127 to 127, one byte each (type I8); or
//! `x = scale q + minimum` with q from 0 to 15, two a byte, the first in the low half (type U8). Scales and
//! minima are F16 and stand beside the matrix as `NAME.scale` and `NAME.minimum`, one for each block of
//! [`BLOCK`] numbers. A file says by these types and names alone what it holds.
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
    name.strip_suffix(SCALE).or_else(|| name.strip_suffix(MINIMUM))
}

fn halves(bytes: &[u8]) -> Vec<f32> {
    let pairs = bytes.chunks_exact(2);
    pairs.map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect()
}
