//! A low-rank adapter that becomes part of stored matrices while they are read: all that a reader of
//! policies needs, the page's too.
//!
//! Formula: `W + scale B A`, in f32, under the names of PEFT's `adapter_model.safetensors`. What sets the scale
//! and which adapters have this form is the affair of `tuning`.
//! Source: Hu et al. 2021.

use burn::tensor::Device;

use super::source::{Container, HostTensor};
use super::stored::Stored;
use super::tables::{Entry, entries};
use super::weights::read_module;
use super::{CheckpointError, Weights};
use crate::model::{Transformer, TransformerConfig};

/// A low-rank adapter as bytes.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// `adapter_model.safetensors`
    pub weights: Vec<u8>,
    /// What every product of its matrices is multiplied by.
    pub scale: f32,
}

/// The matrices of an adapter.
pub(super) struct Sums<'a> {
    file: Container<'a>,
    scale: f32,
}

/// Reads a model with an adapter in its weights.
///
/// # Errors
/// As [`read_weights`](super::read_weights), of both files; or a matrix of the adapter does not fit.
pub fn read_adapted(
    config: &TransformerConfig,
    (stored, adapter): (&Weights, &Adapter),
    device: &Device,
) -> Result<Transformer, CheckpointError> {
    let file = Container::open(Stored::from(&adapter.weights))?;
    let sums = Sums { file, scale: adapter.scale };
    let model = Transformer::zeroed(config, device);
    read_module(model, entries(config), (stored.into(), Some(&sums)))
}

impl Sums<'_> {
    /// Adds what the adapter has for a stored tensor, if it has something.
    pub(super) fn add_to(
        &self,
        entry: &Entry,
        tensor: &mut HostTensor,
    ) -> Result<(), CheckpointError> {
        let module = entry.name.strip_suffix(".weight").unwrap_or_default();
        let name = |part: &str| format!("base_model.model.{module}.lora_{part}.weight");
        let (first, second) = (name("A"), name("B"));
        if self.file.head().info(&first).is_none() {
            return Ok(());
        }
        let (a, b) = (self.file.tensor(&first, &first)?, self.file.tensor(&second, &second)?);
        let (rows, columns) = (tensor.shape[0], tensor.values.len() / tensor.shape[0]);
        let (inputs, outputs) = if entry.transposed { (columns, rows) } else { (rows, columns) };
        let rank = a.shape.first().copied().unwrap_or(0);
        for (found, expected, name) in
            [(a.shape, [rank, inputs], first), (b.shape, [outputs, rank], second)]
        {
            if found != expected {
                return Err(CheckpointError::Shape { name, found, expected: expected.to_vec() });
            }
        }
        for (place, value) in tensor.values.iter_mut().enumerate() {
            let (row, column) = (place / columns, place % columns);
            let (input, output) = if entry.transposed { (column, row) } else { (row, column) };
            let b = &b.values[output * rank..][..rank];
            let sum = b.iter().enumerate().map(|(k, b)| b * a.values[k * inputs + input]);
            *value += self.scale * sum.sum::<f32>();
        }
        Ok(())
    }
}
