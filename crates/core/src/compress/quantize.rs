//! Matrices in 8 or 4 bits a number, as `model::hugging_face::packed` reads them.
//!
//! Symmetric: whole numbers with a sign times a scale, so that zero stays zero. Affine: whole numbers times a scale, and
//! a minimum, so that the whole range is used where it lies to one side. In 8 bits a block's range is kept; in 4 bits
//! of some narrower ranges the one is taken whose squared error is least, each number weighed by how loud its input is.
//! Vectors (gains, biases) stay f32, and matrices whose rows are no whole blocks become f16.
//! Source: Lin et al. 2024 (AWQ) for weighing by activations; Q8_0, Q4_0 and Q4_1 of ggml for the blocks.

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

/// The range itself.
const WHOLE: [f32; 1] = [1.0];

/// How matrices are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// 2 bytes a number.
    F16,
    /// Symmetric, 17/16 bytes a number.
    Int8,
    /// 9/8 bytes a number.
    Int8Affine,
    /// Affine, 5/8 bytes a number.
    Int4,
    /// 9/16 bytes a number.
    Int4Symmetric,
}

impl Packing {
    /// Whether nothing is rounded but to a number of floating point, or zero stays zero and has whole bytes.
    pub fn may_be_sparse(self) -> bool {
        matches!(self, Self::F16 | Self::Int8)
    }

    /// What whole numbers a block may have; none in f16.
    fn grid(self) -> Option<Grid> {
        match self {
            Self::F16 => None,
            Self::Int8 => Some(INT8),
            Self::Int8Affine => Some(Grid { least: 0.0, most: 255.0, ranges: &WHOLE }),
            Self::Int4 => Some(INT4),
            Self::Int4Symmetric => Some(Grid { least: -7.0, most: 7.0, ranges: &RANGES }),
        }
    }
}

/// The whole numbers that a block may have; symmetric where they have a sign.
#[derive(Clone, Copy)]
struct Grid {
    least: f32,
    most: f32,
    /// Shares of the range that are tried.
    ranges: &'static [f32],
}

const INT8: Grid = Grid { least: -127.0, most: 127.0, ranges: &WHOLE };
const INT4: Grid = Grid { least: 0.0, most: 15.0, ranges: &RANGES };

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
/// If some are to be left out of what may not be sparse.
pub fn pack_sparse<'a>(
    (config, weights): (&TransformerConfig, impl Into<Stored<'a>>),
    storage: Storage,
    loudness: Option<&Loudness>,
) -> Result<Vec<u8>, CheckpointError> {
    let Storage { packing, sparsity } = storage;
    assert!(sparsity == 0.0 || packing.may_be_sparse(), "no zeros to leave out");
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
    let Some(grid) = packing.grid().filter(|_| width.is_multiple_of(BLOCK)) else {
        return vec![Written { name, dtype: Dtype::F16, shape, bytes: halves(values) }];
    };
    let (mut scales, mut minima, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for (block, loud) in blocks {
        let (scale, minimum) = grid.range(block, loud);
        scales.push(scale);
        minima.push(minimum);
        numbers.extend(grid.numbers(block, (scale, minimum)));
    }
    let mut parts = vec![beside(SCALE, &scales)];
    if !grid.is_symmetric() {
        parts.push(beside(MINIMUM, &minima));
    }
    let (mut shape, mut bytes) = (shape, numbers);
    if grid.most <= 15.0 {
        *shape.last_mut().expect("a matrix has columns") /= 2;
        bytes = bytes.chunks_exact(2).map(|two| (two[0] & 15) | (two[1] << 4)).collect();
    }
    let dtype = if grid.is_symmetric() { Dtype::I8 } else { Dtype::U8 };
    parts.insert(0, Written { name, dtype, shape, bytes });
    parts
}

impl Grid {
    fn is_symmetric(&self) -> bool {
        self.least < 0.0
    }

    /// Scale and minimum of a block, as half precision holds them.
    fn range(&self, block: &[f32], loud: &[f32]) -> (f32, f32) {
        let least = block.iter().copied().fold(f32::INFINITY, f32::min);
        let greatest = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let of_share = |share: f32| {
            if self.is_symmetric() {
                return (in_half(share * greatest.max(-least) / self.most), 0.0);
            }
            let (middle, range) = (0.5 * (least + greatest), share * (greatest - least));
            (in_half(range / self.most), in_half(middle - 0.5 * range))
        };
        let error = |(scale, minimum): (f32, f32)| {
            let errors = block.iter().zip(loud).map(|(value, loud)| {
                let rounded = self.whole(*value, (scale, minimum)) * scale + minimum;
                loud * (value - rounded) * (value - rounded)
            });
            errors.sum::<f32>()
        };
        let tried = self.ranges.iter().map(|share| of_share(*share));
        let tried = tried.map(|range| (error(range), range));
        let best = tried.reduce(|best, next| if next.0 < best.0 { next } else { best });
        best.expect("some range is tried").1
    }

    /// The whole numbers of a block, those with a sign in two's complement.
    fn numbers(&self, block: &[f32], range: (f32, f32)) -> Vec<u8> {
        block.iter().map(|value| self.whole(*value, range) as i16 as u8).collect()
    }

    fn whole(&self, value: f32, (scale, minimum): (f32, f32)) -> f32 {
        whole((value - minimum) / scale, self.least, self.most)
    }
}

/// Scale and whole numbers of a block in 8 bits, in two's complement.
pub(crate) fn eight_bits(block: &[f32]) -> (f32, Vec<u8>) {
    let range = INT8.range(block, &[1.0; BLOCK]);
    (range.0, INT8.numbers(block, range))
}

/// Scale, minimum and whole numbers of a block in 4 bits.
pub(crate) fn four_bits(block: &[f32], loud: &[f32]) -> (f32, f32, Vec<u8>) {
    let range = INT4.range(block, loud);
    (range.0, range.1, INT4.numbers(block, range))
}

fn whole(value: f32, least: f32, most: f32) -> f32 {
    // A block of equal numbers has scale 0 and any q.
    if value.is_nan() { 0.0 } else { value.round().clamp(least, most) }
}

fn in_half(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

fn halves(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()
}
