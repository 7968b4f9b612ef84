//! Where tensors are read from: safetensors, or a GGUF file.

use std::collections::BTreeSet;

use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo, TensorView};

use super::stored::Stored;
use super::tables::{Entry, implied};
use super::{CheckpointError, packed};
#[cfg(feature = "train")]
use crate::gguf::{Gguf, Numbers};

/// Bytes of the number that a file begins with: the length of its head.
pub(super) const LENGTH: usize = 8;

/// Stored tensors by name.
pub(super) enum Source<'a> {
    Safetensors(Container<'a>),
    #[cfg(feature = "train")]
    Gguf(Gguf<'a>),
}

/// A safetensors file.
pub(super) struct Container<'a> {
    stored: Stored<'a>,
    /// What it says of its tensors.
    head: Metadata,
    /// Where they begin.
    start: usize,
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
    pub(super) fn open(stored: Stored<'a>) -> Result<Self, CheckpointError> {
        #[cfg(feature = "train")]
        if Gguf::is_one(stored)? {
            return Ok(Self::Gguf(Gguf::open(stored)?));
        }
        Container::open(stored).map(Self::Safetensors)
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
                let name = entry.names().into_iter().find(|name| file.head.info(name).is_some());
                name.map(|name| file.tensor(&name, &entry.name)).transpose()
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
                let is_known = |name: &str| known.contains(packed::beside(name).unwrap_or(name));
                let mut names = file.head.offset_keys().into_iter();
                names.find(|name| !is_known(name) && !implied(name))
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

impl<'a> Container<'a> {
    /// Reads what the file says of its tensors.
    ///
    /// # Errors
    /// If it is damaged.
    pub(super) fn open(stored: Stored<'a>) -> Result<Self, CheckpointError> {
        let damaged =
            |error: safetensors::SafeTensorError| CheckpointError::Container(error.to_string());
        let (length, head) = match stored {
            Stored::Bytes(bytes) => SafeTensors::read_metadata(bytes).map_err(damaged)?,
            #[cfg(feature = "train")]
            Stored::Pieces(_) => head(stored)?,
        };
        Ok(Self { stored, head, start: LENGTH + length })
    }

    /// What it says of its tensors.
    pub(super) fn head(&self) -> &Metadata {
        &self.head
    }

    /// A tensor in f32, errors under another name.
    pub(super) fn tensor(&self, name: &str, shown: &str) -> Result<HostTensor, CheckpointError> {
        let missing = || CheckpointError::Missing(name.to_owned());
        let info = self.head.info(name).ok_or_else(missing)?;
        let (mut bytes, mut shape) = (self.bytes(name)?, info.shape.clone());
        let mask = format!("{name}{}", packed::MASK);
        if let Some(places) = self.head.info(&mask) {
            let count = |info: &TensorInfo| info.shape.iter().product::<usize>();
            let scales = self.head.info(&format!("{name}{}", packed::SCALE));
            let halved = scales.is_some_and(|one| packed::BLOCK * count(one) != 8 * count(places));
            if places.dtype != Dtype::U8 || info.dtype == Dtype::U8 || halved {
                return Err(CheckpointError::Packed(mask));
            }
            shape.clone_from(&places.shape);
            shape.iter_mut().last().into_iter().for_each(|width| *width *= 8);
            let size = info.dtype.bitsize() / 8;
            let spread = packed::spread(&bytes, &self.bytes(&mask)?, size);
            bytes = spread.ok_or(CheckpointError::Packed(mask))?.into();
        }
        let view = TensorView::new(info.dtype, shape, &bytes);
        let view = view.map_err(|error| CheckpointError::Container(error.to_string()))?;
        packed::tensor(shown, &view, |name| match self.head.info(&name) {
            Some(info) if info.dtype != Dtype::F16 => Err(CheckpointError::Packed(name)),
            _ => Ok(self.bytes(&name)?.into_owned()),
        })
    }

    fn bytes(&self, name: &str) -> Result<std::borrow::Cow<'a, [u8]>, CheckpointError> {
        let info = self.head.info(name);
        let info = info.ok_or_else(|| CheckpointError::Missing(name.to_owned()))?;
        let (begin, end) = info.data_offsets;
        self.stored.piece(self.start + begin, end - begin)
    }
}

/// The length of the head of a file whose rest lies elsewhere, and the head.
#[cfg(feature = "train")]
pub(super) fn head(stored: Stored<'_>) -> Result<(usize, Metadata), CheckpointError> {
    let damaged = |what: &str| CheckpointError::Container(what.to_owned());
    let length: [u8; LENGTH] =
        stored.piece(0, LENGTH)?.as_ref().try_into().expect("as many were asked for");
    let length = usize::try_from(u64::from_le_bytes(length));
    let length = length.ok().filter(|length| *length < stored.size());
    let length = length.ok_or_else(|| damaged("its head is too long for the file"))?;
    let head: Metadata = serde_json::from_slice(&stored.piece(LENGTH, length)?)
        .map_err(|error| damaged(&error.to_string()))?;
    if LENGTH + length + head.data_len() != stored.size() {
        return Err(damaged("it ends early, or behind its tensors"));
    }
    Ok((length, head))
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
