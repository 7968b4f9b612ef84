//! Matrices in 8 or 4 bits a number, as `model::hugging_face::packed` reads them.
//!
//! Vectors (gains, biases) stay f32, and matrices whose rows are no whole blocks become f16.

use burn::tensor::f16;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use super::blocks::{Grid, INT4, INT4_SYMMETRIC, INT8, INT8_AFFINE, Inputs, rounded};
use super::calibration::{EMBEDDING, Feedbacks, Moments};
use super::feedback::Feedback;
use super::sparse::{is_thinned, leave_out, thin};
use crate::model::TransformerConfig;
use crate::model::hugging_face::packed::{BLOCK, MINIMUM, SCALE};
use crate::model::hugging_face::{CheckpointError, Stored, StoredTensor, each_stored};

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

    /// Whether numbers are rounded to whole ones, block by block.
    pub fn has_blocks(self) -> bool {
        self.grid().is_some()
    }

    /// What whole numbers a block may have; none in f16.
    fn grid(self) -> Option<Grid> {
        match self {
            Self::F16 => None,
            Self::Int8 => Some(INT8),
            Self::Int8Affine => Some(INT8_AFFINE),
            Self::Int4 => Some(INT4),
            Self::Int4Symmetric => Some(INT4_SYMMETRIC),
        }
    }
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
///
/// # Panics
/// If the moments are those of another policy.
pub fn pack<'a>(
    policy: (&TransformerConfig, impl Into<Stored<'a>>),
    packing: Packing,
    moments: Option<&Moments>,
) -> Result<Vec<u8>, CheckpointError> {
    pack_sparse(policy, Storage { packing, sparsity: 0.0 }, moments)
}

/// [`pack`] without the smallest numbers of each projection, which become zeros that are not stored.
///
/// # Errors
/// If the weights are damaged, or do not belong to `config`.
///
/// # Panics
/// If some are to be left out of what may not be sparse, or the moments are those of another policy.
pub fn pack_sparse<'a>(
    (config, weights): (&TransformerConfig, impl Into<Stored<'a>>),
    storage: Storage,
    moments: Option<&Moments>,
) -> Result<Vec<u8>, CheckpointError> {
    let Storage { packing, sparsity } = storage;
    assert!(sparsity == 0.0 || packing.may_be_sparse(), "no zeros to leave out");
    let mut feedbacks = Feedbacks::of_moments(moments);
    let mut stored = Vec::new();
    each_stored(config, weights.into(), |mut tensor| {
        let kept = is_thinned(&tensor, sparsity).then(|| thin(&mut tensor.values, sparsity));
        let grid = packing.grid().filter(|_| is_whole_blocks(&tensor.shape));
        // Zeros have to stay zeros.
        let inputs = match kept.is_none() && grid.is_some() {
            true => feedbacks.of(&tensor.parts[0]).map(|feedback| inputs(&tensor, feedback)),
            false => None,
        };
        let mut written = matrix(tensor.name, (tensor.shape, tensor.values), grid, inputs);
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

/// Whether it is a matrix whose rows are cut into blocks.
fn is_whole_blocks(shape: &[usize]) -> bool {
    shape.len() > 1 && shape[shape.len() - 1].is_multiple_of(BLOCK)
}

/// Where the numbers of a matrix meet its inputs.
fn inputs<'a>(tensor: &StoredTensor, feedback: &'a Feedback) -> Inputs<'a> {
    let along_rows = tensor.transposed || tensor.parts[0] == EMBEDDING;
    let count = if along_rows { tensor.shape[tensor.shape.len() - 1] } else { tensor.shape[0] };
    assert_eq!(feedback.costs.len(), count, "{}: moments of another policy", tensor.name);
    match along_rows {
        true => Inputs::AlongRows(feedback),
        false => Inputs::AlongColumns(feedback),
    }
}

/// A tensor with what stands beside it.
fn matrix(
    name: String,
    (shape, values): (Vec<usize>, Vec<f32>),
    grid: Option<Grid>,
    inputs: Option<Inputs<'_>>,
) -> Vec<Written> {
    let width = shape[shape.len() - 1];
    if shape.len() < 2 {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        return vec![Written { name, dtype: Dtype::F32, shape, bytes }];
    }
    let beside = |part: &str, numbers: &[f32]| {
        let mut shape = shape.clone();
        *shape.last_mut().expect("a matrix has columns") /= BLOCK;
        Written { name: format!("{name}{part}"), dtype: Dtype::F16, shape, bytes: halves(numbers) }
    };
    let Some(grid) = grid else {
        return vec![Written { name, dtype: Dtype::F16, shape, bytes: halves(&values) }];
    };
    let blocks = rounded(values, width, grid, inputs);
    let mut parts = vec![beside(SCALE, &blocks.scales)];
    if !grid.is_symmetric() {
        parts.push(beside(MINIMUM, &blocks.minima));
    }
    let (mut shape, mut bytes) = (shape, blocks.numbers);
    if grid.most <= 15.0 {
        *shape.last_mut().expect("a matrix has columns") /= 2;
        bytes = bytes.chunks_exact(2).map(|two| (two[0] & 15) | (two[1] << 4)).collect();
    }
    let dtype = if grid.is_symmetric() { Dtype::I8 } else { Dtype::U8 };
    parts.insert(0, Written { name, dtype, shape, bytes });
    parts
}

fn halves(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()
}
