//! `model.safetensors` of a model, with a family's own tensor names.
//!
//! The file says what is in it before the first tensor has left the device, so that one copy of a policy, or none, is in
//! memory on its way to the disk.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use burn::module::Module;
use burn::tensor::Tensor;
#[cfg(feature = "train")]
use safetensors::tensor::TensorView;
use safetensors::tensor::{Dtype, View};
use serde::{Deserialize, Serialize};

use super::CheckpointError;
use super::source::HostTensor;
#[cfg(feature = "train")]
use super::stored::Stored;
use super::tables::{Entry, entries};
#[cfg(feature = "train")]
use super::weights::each_stored;
use super::weights::{shapes, transpose};
use crate::model::Transformer;
#[cfg(feature = "train")]
use crate::model::TransformerConfig;
use crate::model::parameters::each;

/// Numbers that become bytes together.
const AT_ONCE: usize = 1 << 16;

/// The number type of stored weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredAs {
    /// 4 bytes a weight, exact.
    F32,
    /// 2 bytes a weight, rounded to 11 bits.
    F16,
}

impl StoredAs {
    /// What PyTorch and `config.json` call it.
    pub fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
        }
    }

    fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
        }
    }

    fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16 => values
                .iter()
                .flat_map(|value| burn::tensor::f16::from_f32(*value).to_le_bytes())
                .collect(),
        }
    }
}

/// Writes a model as safetensors bytes.
///
/// # Errors
/// If the device does not return the weights.
pub async fn write_weights(
    model: &Transformer,
    stored_as: StoredAs,
) -> Result<Vec<u8>, CheckpointError> {
    write_module(model, entries(model.config()), stored_as).await
}

/// [`write_weights`] to where it is to be kept, a tensor at a time: at no time are all bytes in memory.
///
/// # Errors
/// If the device does not return the weights, or the bytes are not taken.
#[cfg(feature = "train")]
pub async fn write_weights_to(
    model: &Transformer,
    stored_as: StoredAs,
    sink: &mut impl Write,
) -> Result<(), CheckpointError> {
    let begin = |head: Vec<u8>| sink.write_all(&head).map(|()| sink);
    write_tensors(model, (entries(model.config()), stored_as), begin).await.map(drop)
}

/// [`write_weights`] of any module that a table describes.
pub(super) async fn write_module(
    model: &impl Module,
    entries: Vec<Entry>,
    stored_as: StoredAs,
) -> Result<Vec<u8>, CheckpointError> {
    write_tensors(model, (entries, stored_as), Ok).await
}

/// Writes tensors to what `begin` makes of the bytes before the first, which have room for all.
async fn write_tensors<S: Write>(
    model: &impl Module,
    (mut entries, stored_as): (Vec<Entry>, StoredAs),
    begin: impl FnOnce(Vec<u8>) -> io::Result<S>,
) -> Result<S, CheckpointError> {
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    let shapes = shapes(model);
    let shape = |part: &String| shapes[part].as_slice();
    let mut sink = begin(announced(entries.iter().map(|entry| {
        let shape = entry.shape(entry.parts.iter().map(shape));
        (entry.name.as_str(), (stored_as.dtype(), shape))
    }))?)?;
    // One stored tensor at a time leaves the device, in the order of the file.
    for entry in entries {
        let mut on_device = parts_of(model, &entry);
        let mut parts = Vec::with_capacity(entry.parts.len());
        for part in &entry.parts {
            let (tensor, shape) =
                on_device.remove(part).expect("the table names each parameter once");
            let data = tensor.into_data_async().await;
            let data = data.map_err(|error| CheckpointError::Device(format!("{error:?}")))?;
            let values = data.convert::<f32>().try_into_vec().expect("converted to f32");
            parts.push(HostTensor { shape, values });
        }
        let joined = join(parts);
        let tensor = if entry.transposed { transpose(&joined) } else { joined };
        for values in tensor.values.chunks(AT_ONCE) {
            sink.write_all(&stored_as.bytes(values))?;
        }
    }
    Ok(sink)
}

/// The weights of a GGUF file as safetensors bytes.
///
/// # Errors
/// If the file is damaged, or tensors are missing or of a kind that is not known.
#[cfg(feature = "train")]
pub fn as_safetensors(
    config: &TransformerConfig,
    stored: Stored<'_>,
    stored_as: StoredAs,
) -> Result<Vec<u8>, CheckpointError> {
    let mut converted = Vec::new();
    each_stored(config, stored, |tensor| {
        converted.push((tensor.name, tensor.shape, stored_as.bytes(&tensor.values)));
    })?;
    container(converted, stored_as)
}

/// Tensors by name, with shapes and bytes, as safetensors bytes.
#[cfg(feature = "train")]
fn container(
    stored: Vec<(String, Vec<usize>, Vec<u8>)>,
    stored_as: StoredAs,
) -> Result<Vec<u8>, CheckpointError> {
    let views = stored.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(stored_as.dtype(), shape.clone(), bytes);
        let view = view.expect("bytes fit the shape");
        (name.as_str(), view)
    });
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize(views, Some(metadata))
        .map_err(|error| CheckpointError::Container(error.to_string()))
}

/// A tensor whose bytes come behind those that announce it.
struct Announced((Dtype, Vec<usize>));

impl View for Announced {
    fn dtype(&self) -> Dtype {
        self.0.0
    }

    fn shape(&self) -> &[usize] {
        &self.0.1
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&[])
    }

    fn data_len(&self) -> usize {
        self.0.1.iter().product::<usize>() * self.0.0.bitsize() / 8
    }
}

/// The bytes before the first tensor, with room for all. Tensors follow in the order of their names, which are of one
/// number type.
fn announced<'a>(
    tensors: impl Iterator<Item = (&'a str, (Dtype, Vec<usize>))>,
) -> Result<Vec<u8>, CheckpointError> {
    let views = tensors.map(|(name, tensor)| (name, Announced(tensor)));
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize(views, Some(metadata))
        .map_err(|error| CheckpointError::Container(error.to_string()))
}

/// Sets parameters side by side along the last dimension.
fn join(mut parts: Vec<HostTensor>) -> HostTensor {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let widths: Vec<usize> = parts.iter().map(|part| part.shape[part.shape.len() - 1]).collect();
    let rows = parts[0].values.len() / widths[0];
    let mut values = Vec::with_capacity(rows * widths.iter().sum::<usize>());
    for row in 0..rows {
        for (part, width) in parts.iter().zip(&widths) {
            values.extend_from_slice(&part.values[row * width..(row + 1) * width]);
        }
    }
    let mut shape = parts[0].shape.clone();
    *shape.last_mut().expect("parameters have a dimension") = widths.iter().sum();
    HostTensor { shape, values }
}

/// The parameters of one stored tensor by name, with their shapes, still on the device.
fn parts_of(model: &impl Module, entry: &Entry) -> BTreeMap<String, (Tensor<1>, Vec<usize>)> {
    let mut parts = BTreeMap::new();
    each(model, |name, parameter| {
        if entry.parts.contains(&name) {
            parts.insert(name, (parameter.flat(), parameter.shape()));
        }
    });
    parts
}
