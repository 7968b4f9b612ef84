//! Quantized matrices of a safetensors file: blocks of numbers in a row share a scale.
//!
//! Formula: `x = scale q` with q that have a sign (type I8), from -127 to 127 or from -7 to 7; or
//! `x = scale q + minimum` with q that have none (type U8), from 0 to 255 or from 0 to 15. The smaller ones stand two in a
//! byte, the first in the low half, of four bits each. Scales and minima are F16 and stand beside the matrix as
//! `NAME.scale` and `NAME.minimum`, one for each block of [`BLOCK`] numbers: how many there are says whether a byte
//! holds one number or two. A file says by these types, names and shapes alone what it holds.
//!
//! A sparse matrix is a row of the numbers that are not zero, beside `NAME.mask` of type U8 with a bit for each number
//! of the matrix, the first in the lowest: set where one is stored. A byte or more a number, and no minimum.
//!
//! Written by `compress`. Source: the formats Q8_0, Q4_0 and Q4_1 of ggml, with parts apart.

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

/// A stored tensor in f32, packed or not; `bytes_of` are those of another tensor, of type F16.
pub(super) fn tensor(
    name: &str,
    view: &TensorView<'_>,
    bytes_of: impl Fn(String) -> Result<Vec<u8>, CheckpointError>,
) -> Result<HostTensor, CheckpointError> {
    let mut shape = view.shape().to_vec();
    let signed = view.dtype() == Dtype::I8;
    if !signed && view.dtype() != Dtype::U8 {
        return Ok(HostTensor { shape, values: numbers(name, view)? });
    }
    let beside = |part: &str| {
        let name = format!("{name}{part}");
        Ok::<_, CheckpointError>((halves(&bytes_of(name.clone())?), name))
    };
    let (scales, name_of_scales) = beside(SCALE)?;
    let count = scales.len() * BLOCK;
    let per_byte = count.checked_div(view.data().len()).unwrap_or(1);
    if let Some(width) = shape.last_mut() {
        *width *= per_byte;
    }
    // Rows are whole blocks, or blocks would reach over their ends.
    let whole = shape.last().is_some_and(|width| width % BLOCK == 0);
    if !whole || !matches!(per_byte, 1 | 2) || per_byte * view.data().len() != count {
        return Err(CheckpointError::Packed(name_of_scales));
    }
    let minima = match signed {
        true => vec![0.0; scales.len()],
        false => {
            let (minima, name) = beside(MINIMUM)?;
            (minima.len() == scales.len()).then_some(minima).ok_or(CheckpointError::Packed(name))?
        }
    };
    // Not by `collect`, which would not know the length and grow to up to twice of it.
    let mut values = Vec::with_capacity(count);
    let blocks = view.data().chunks_exact(BLOCK / per_byte).zip(scales.iter().zip(&minima));
    for (bytes, (scale, minimum)) in blocks {
        let number = |q: f32| q * scale + minimum;
        let halves = || bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]);
        match (signed, per_byte) {
            (true, 1) => values.extend(bytes.iter().map(|byte| number(f32::from(*byte as i8)))),
            (true, _) => values.extend(halves().map(|q| number(f32::from((q << 4) as i8 >> 4)))),
            (false, 1) => values.extend(bytes.iter().map(|byte| number(f32::from(*byte)))),
            (false, _) => values.extend(halves().map(|q| number(f32::from(q)))),
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
