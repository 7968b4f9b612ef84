//! Matrices in 8 or 4 bits a number, as `model::hugging_face::packed` reads them.
//!
//! Int8 is symmetric: a block's largest number becomes 127. Int4 has a scale and a minimum; of some narrower
//! ranges the one is taken whose squared error is least, each number weighed by how loud its input is.
//! Vectors (gains, biases) stay f32, and matrices whose rows are no whole blocks become f16.
//! Source: Lin et al. 2024 (AWQ) for weighing by activations; Q8_0 and Q4_1 of ggml for the blocks.

use burn::tensor::f16;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use super::calibration::Loudness;
use super::sparse::{is_thinned, leave_out, thin};
use crate::model::TransformerConfig;
use crate::model::hugging_face::packed::{BLOCK, MINIMUM, SCALE};
use crate::model::hugging_face::{CheckpointError, Stored, each_stored};

/// Shares of a block's range that are tried in 4 bits.
const RANGES: [f32; 8] = [1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.75, 0.7];

/// How matrices are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// 2 bytes a number.
    F16,
    /// 17/16 bytes a number.
    Int8,
    /// 5/8 bytes a number.
    Int4,
}

/// How matrices are stored, and how many of their numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Storage {
    /// The numbers themselves.
    pub packing: Packing,
    /// Share of the numbers of each projection that is left out: the smallest. 0 to below 1
    pub sparsity: f64,
}

/// A tensor as it goes into the file.
pub(super) struct Written {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

/// The weights of a policy (safetensors, packed or not, or GGUF) with matrices packed.
///
/// # Errors
/// If they are damaged, or do not belong to `config`.
pub fn pack<'a>(
    policy: (&TransformerConfig, impl Into<Stored<'a>>),
    packing: Packing,
    loudness: Option<&Loudness>,
) -> Result<Vec<u8>, CheckpointError> {
    pack_sparse(policy, Storage { packing, sparsity: 0.0 }, loudness)
}

/// [`pack`] without the smallest numbers of each projection, which become zeros that are not stored.
///
/// # Errors
/// If the weights are damaged, or do not belong to `config`.
///
/// # Panics
/// If some are to be left out in 4 bits, which have no zero.
pub fn pack_sparse<'a>(
    (config, weights): (&TransformerConfig, impl Into<Stored<'a>>),
    storage: Storage,
    loudness: Option<&Loudness>,
) -> Result<Vec<u8>, CheckpointError> {
    let Storage { packing, sparsity } = storage;
    assert!(sparsity == 0.0 || packing != Packing::Int4, "4 bits have no zero");
    let mut stored = Vec::new();
    each_stored(config, weights.into(), |mut tensor| {
        let loud = loudness.and_then(|loudness| loudness.of(&tensor.parts[0]));
        let loud = loud.filter(|_| tensor.transposed);
        let kept = is_thinned(&tensor, sparsity).then(|| thin(&mut tensor.values, sparsity));
        let mut written = matrix(tensor.name, (tensor.shape, &tensor.values), packing, loud);
        if let Some(kept) = kept {
            let mask = leave_out(&mut written[0], &kept);
            written.push(mask);
        }
        stored.extend(written);
    })?;
    let views = stored.iter().map(|one| {
        let view = TensorView::new(one.dtype, one.shape.clone(), &one.bytes);
        (one.name.as_str(), view.expect("bytes fit the shape"))
    });
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize(views, Some(metadata))
        .map_err(|error| CheckpointError::Container(error.to_string()))
}

/// A tensor with what stands beside it.
fn matrix(
    name: String,
    (shape, values): (Vec<usize>, &[f32]),
    packing: Packing,
    loud: Option<&[f32]>,
) -> Vec<Written> {
    let width = shape[shape.len() - 1];
    if shape.len() < 2 {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        return vec![Written { name, dtype: Dtype::F32, shape, bytes }];
    }
    let loud = loud.map_or_else(|| vec![1.0; width], <[f32]>::to_vec);
    let blocks = values.chunks_exact(BLOCK).zip(loud.chunks_exact(BLOCK).cycle());
    let beside = |part: &str, numbers: &[f32]| {
        let mut shape = shape.clone();
        *shape.last_mut().expect("a matrix has columns") /= BLOCK;
        Written { name: format!("{name}{part}"), dtype: Dtype::F16, shape, bytes: halves(numbers) }
    };
    match packing {
        _ if !width.is_multiple_of(BLOCK) => {
            vec![Written { name, dtype: Dtype::F16, shape, bytes: halves(values) }]
        }
        Packing::F16 => vec![Written { name, dtype: Dtype::F16, shape, bytes: halves(values) }],
        Packing::Int8 => {
            let (mut scales, mut bytes) = (Vec::new(), Vec::new());
            for (block, _) in blocks {
                let (scale, numbers) = eight_bits(block);
                scales.push(scale);
                bytes.extend(numbers);
            }
            let scales = beside(SCALE, &scales);
            vec![Written { name, dtype: Dtype::I8, shape, bytes }, scales]
        }
        Packing::Int4 => {
            let (mut scales, mut minima, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
            for (block, loud) in blocks {
                let (scale, minimum, numbers) = four_bits(block, loud);
                scales.push(scale);
                minima.push(minimum);
                bytes.extend(numbers.chunks_exact(2).map(|two| two[0] | (two[1] << 4)));
            }
            let parts = [beside(SCALE, &scales), beside(MINIMUM, &minima)];
            let mut shape = shape;
            *shape.last_mut().expect("a matrix has columns") /= 2;
            let [scales, minima] = parts;
            vec![Written { name, dtype: Dtype::U8, shape, bytes }, scales, minima]
        }
    }
}

/// Scale and whole numbers of a block in 8 bits, in two's complement.
pub(crate) fn eight_bits(block: &[f32]) -> (f32, Vec<u8>) {
    let scale = in_half(greatest(block) / 127.0);
    let number = |value: &f32| whole(value / scale, -127.0, 127.0) as i8 as u8;
    (scale, block.iter().map(number).collect())
}

/// Scale, minimum and whole numbers of a block in 4 bits.
pub(crate) fn four_bits(block: &[f32], loud: &[f32]) -> (f32, f32, Vec<u8>) {
    let (scale, minimum) = best_range(block, loud);
    let number = |value: &f32| whole((value - minimum) / scale, 0.0, 15.0) as u8;
    (scale, minimum, block.iter().map(number).collect())
}

/// Scale and minimum of a block in 4 bits, as half precision holds them.
fn best_range(block: &[f32], loud: &[f32]) -> (f32, f32) {
    let least = block.iter().copied().fold(f32::INFINITY, f32::min);
    let greatest = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let tried = RANGES.map(|share| {
        let middle = 0.5 * (least + greatest);
        let minimum = in_half(middle - 0.5 * share * (greatest - least));
        let scale = in_half(share * (greatest - least) / 15.0);
        let error = |(value, loud): (&f32, &f32)| {
            let rounded = whole((value - minimum) / scale, 0.0, 15.0) * scale + minimum;
            loud * (value - rounded) * (value - rounded)
        };
        (block.iter().zip(loud).map(error).sum::<f32>(), scale, minimum)
    });
    let best = tried.into_iter().reduce(|best, next| if next.0 < best.0 { next } else { best });
    best.map(|(_, scale, minimum)| (scale, minimum)).expect("some range is tried")
}

fn whole(value: f32, least: f32, most: f32) -> f32 {
    // A block of equal numbers has scale 0 and any q.
    if value.is_nan() { 0.0 } else { value.round().clamp(least, most) }
}

fn greatest(block: &[f32]) -> f32 {
    block.iter().fold(0.0, |most, value| most.max(value.abs()))
}

fn in_half(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

fn halves(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()
}
