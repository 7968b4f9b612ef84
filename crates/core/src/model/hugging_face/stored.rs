//! Stored weights: bytes in memory, or pieces of what lies elsewhere, fetched when they are asked for.
//!
//! Whoever knows files gives the function that fetches; so a model is read with one stored tensor at a time
//! beside it.

use std::borrow::Cow;
#[cfg(feature = "train")]
use std::sync::Arc;

use kudos_schema::hexadecimal;
use sha2::{Digest, Sha256};

use super::CheckpointError;

/// What is hashed at once.
const STRIDE: usize = 1 << 20;

/// The stored weights of a policy.
#[derive(Debug, Clone)]
pub enum Weights {
    /// All of them, in memory.
    Bytes(Vec<u8>),
    /// Where they can be had.
    #[cfg(feature = "train")]
    Pieces(Pieces),
}

/// Weights that lie elsewhere.
#[cfg(feature = "train")]
#[derive(Clone)]
pub struct Pieces {
    /// Bytes in all.
    pub size: usize,
    /// Fetches as many bytes as the second argument says, from the first one on; what is wrong, in words.
    pub fetch: Arc<Fetch>,
}

/// Fetches bytes from a place on.
#[cfg(feature = "train")]
pub type Fetch = dyn Fn(usize, usize) -> Result<Vec<u8>, String> + Send + Sync;

#[cfg(feature = "train")]
impl std::fmt::Debug for Pieces {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pieces").field("size", &self.size).finish_non_exhaustive()
    }
}

impl From<Vec<u8>> for Weights {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl Weights {
    /// All bytes.
    ///
    /// # Errors
    /// If they cannot be fetched.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, CheckpointError> {
        let stored = Stored::from(self);
        stored.piece(0, stored.size())
    }

    /// SHA-256 in hexadecimal digits, without all bytes in memory.
    ///
    /// # Errors
    /// If they cannot be fetched.
    pub fn sha256(&self) -> Result<String, CheckpointError> {
        let (stored, mut hash) = (Stored::from(self), Sha256::new());
        for at in (0..stored.size()).step_by(STRIDE) {
            hash.update(stored.piece(at, STRIDE.min(stored.size() - at))?);
        }
        Ok(hexadecimal(&hash.finalize()))
    }
}

/// Stored weights that are being read.
#[derive(Debug, Clone, Copy)]
pub enum Stored<'a> {
    /// All of them, in memory.
    Bytes(&'a [u8]),
    /// Where they can be had.
    #[cfg(feature = "train")]
    Pieces(&'a Pieces),
}

impl<'a> From<&'a Weights> for Stored<'a> {
    fn from(weights: &'a Weights) -> Self {
        match weights {
            Weights::Bytes(bytes) => Self::Bytes(bytes),
            #[cfg(feature = "train")]
            Weights::Pieces(pieces) => Self::Pieces(pieces),
        }
    }
}

impl<'a> From<&'a [u8]> for Stored<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Stored<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> Stored<'a> {
    /// Bytes in all.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            #[cfg(feature = "train")]
            Self::Pieces(pieces) => pieces.size,
        }
    }

    /// `length` bytes from `at` on.
    ///
    /// # Errors
    /// If there are not that many, or they cannot be fetched.
    pub(crate) fn piece(self, at: usize, length: usize) -> Result<Cow<'a, [u8]>, CheckpointError> {
        let end = self.end(at, length)?;
        match self {
            Self::Bytes(bytes) => Ok(Cow::Borrowed(&bytes[at..end])),
            #[cfg(feature = "train")]
            Self::Pieces(pieces) => {
                let fetched = (pieces.fetch)(at, end - at).map_err(CheckpointError::Fetch)?;
                Ok(Cow::Owned(fetched))
            }
        }
    }

    /// Where `length` bytes from `at` on end.
    fn end(self, at: usize, length: usize) -> Result<usize, CheckpointError> {
        let end = at.checked_add(length).filter(|end| *end <= self.size());
        end.ok_or_else(|| CheckpointError::Container("it ends early".to_owned()))
    }

    /// Those bytes by themselves; where they lie elsewhere, they stay there.
    ///
    /// # Errors
    /// As [`Self::piece`].
    pub(crate) fn within(self, at: usize, length: usize) -> Result<Weights, CheckpointError> {
        match self {
            Self::Bytes(_) => Ok(self.piece(at, length)?.into_owned().into()),
            #[cfg(feature = "train")]
            Self::Pieces(Pieces { fetch, .. }) => {
                self.end(at, length)?;
                let fetch = Arc::clone(fetch);
                let fetch = move |from, count| fetch(at + from, count);
                Ok(Weights::Pieces(Pieces { size: length, fetch: Arc::new(fetch) }))
            }
        }
    }
}
