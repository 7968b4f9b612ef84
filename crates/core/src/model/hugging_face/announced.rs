//! Safetensors bytes that announce tensors before these leave the device: one copy of a policy in memory on its way to
//! the disk, instead of two.

use std::borrow::Cow;

use safetensors::tensor::{Dtype, View};

use super::CheckpointError;

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
pub(super) fn announced<'a>(
    tensors: impl Iterator<Item = (&'a str, (Dtype, Vec<usize>))>,
) -> Result<Vec<u8>, CheckpointError> {
    let views = tensors.map(|(name, tensor)| (name, Announced(tensor)));
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize(views, Some(metadata))
        .map_err(|error| CheckpointError::Container(error.to_string()))
}
