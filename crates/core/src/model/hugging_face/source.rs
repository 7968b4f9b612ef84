//! Where tensors are read from: safetensors bytes, or a GGUF file.

use std::collections::BTreeSet;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::tables::{Entry, implied};
use super::{CheckpointError, packed};
#[cfg(feature = "train")]
use crate::gguf::{Gguf, Numbers, is_gguf};

/// Stored tensors by name.
pub(super) enum Source<'a> {
    Safetensors(SafeTensors<'a>),
    #[cfg(feature = "train")]
    Gguf(Gguf<'a>),
}

/// A parameter's values on the host.
#[derive(Clone)]
pub(super) struct HostTensor {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

impl<'a> Source<'a> {
    /// Looks at what kind of file it is.
    ///
    /// # Errors
    /// If the bytes are damaged.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, CheckpointError> {
        #[cfg(feature = "train")]
        if is_gguf(bytes) {
            return Ok(Self::Gguf(Gguf::read(bytes)?));
        }
        let file = SafeTensors::deserialize(bytes);
        file.map(Self::Safetensors).map_err(|error| CheckpointError::Container(error.to_string()))
    }

    /// A tensor in f32, as the family's own files have it; zeros of this shape where a family has none.
    ///
    /// # Errors
    /// If it is missing, damaged or of a number type that is not read.
    pub(super) fn tensor(
        &self,
        entry: &Entry,
        shape: &[usize],
    ) -> Result<HostTensor, CheckpointError> {
        match self.stored(entry)? {
            Some(tensor) => Ok(tensor),
            None if entry.zero_if_missing => {
                let values = vec![0.0; shape.iter().product()];
                Ok(HostTensor { shape: shape.to_vec(), values })
            }
            None => Err(CheckpointError::Missing(entry.name.clone())),
        }
    }

    fn stored(&self, entry: &Entry) -> Result<Option<HostTensor>, CheckpointError> {
        match self {
            Self::Safetensors(file) => {
                let view = entry.names().iter().find_map(|name| file.tensor(name).ok());
                view.map(|view| packed::tensor(file, &entry.name, &view)).transpose()
            }
            #[cfg(feature = "train")]
            Self::Gguf(file) => {
                let numbers = file.named(&entry.name)?;
                let tensor = |Numbers { shape, values }| HostTensor { shape, values };
                Ok(numbers.map(tensor))
            }
        }
    }

    /// Refuses a tensor that the model has no place for.
    ///
    /// # Errors
    /// The tensor's name.
    pub(super) fn only(&self, entries: &[Entry]) -> Result<(), CheckpointError> {
        let foreign = match self {
            Self::Safetensors(file) => {
                let known: BTreeSet<String> = entries.iter().flat_map(Entry::names).collect();
                let names = file.names();
                let is_known = |name: &str| known.contains(packed::beside(name).unwrap_or(name));
                let foreign = names.into_iter().find(|name| !is_known(name) && !implied(name));
                foreign.map(str::to_owned)
            }
            #[cfg(feature = "train")]
            Self::Gguf(file) => {
                let mut known = BTreeSet::new();
                for entry in entries {
                    known.extend(file.stored_name(&entry.name)?);
                }
                file.names().find(|name| !known.contains(*name)).map(str::to_owned)
            }
        };
        foreign.map_or(Ok(()), |name| Err(CheckpointError::Foreign(name)))
    }
}

/// The values of a stored tensor, whatever its number type.
pub(crate) fn numbers(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>, CheckpointError> {
    let bytes = view.data();
    let halves = |decode: fn([u8; 2]) -> f32| {
        bytes.chunks_exact(2).map(|pair| decode([pair[0], pair[1]])).collect()
    };
    if view.dtype() == Dtype::F32 {
        let words = bytes.chunks_exact(4);
        Ok(words.map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect())
    } else if view.dtype() == Dtype::F16 {
        Ok(halves(|pair| burn::tensor::f16::from_le_bytes(pair).to_f32()))
    } else if view.dtype() == Dtype::BF16 {
        Ok(halves(|pair| burn::tensor::bf16::from_le_bytes(pair).to_f32()))
    } else {
        let dtype = format!("{:?}", view.dtype());
        Err(CheckpointError::Number { name: name.to_owned(), dtype })
    }
}
