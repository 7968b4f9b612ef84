//! Weights in several safetensors files, as the one file that they are parts of.
//!
//! Their heads become one head, in which what each file holds begins where that of the file before ended; what lies
//! behind it is fetched from the file that has it.

use std::collections::BTreeSet;
use std::sync::Arc;

use safetensors::tensor::{Metadata, TensorInfo};

use super::CheckpointError;
use super::source::{LENGTH, head};
use super::stored::{Pieces, Stored, Weights};

/// One of the files.
#[derive(Debug)]
pub struct Shard {
    file: Pieces,
    /// What it says of its tensors.
    head: Metadata,
    /// Where they begin.
    start: usize,
}

impl Shard {
    /// Reads what the file says of its tensors.
    ///
    /// # Errors
    /// If it is damaged, or cannot be fetched.
    pub fn open(file: Pieces) -> Result<Self, CheckpointError> {
        let (length, head) = head(Stored::Pieces(&file))?;
        Ok(Self { file, head, start: LENGTH + length })
    }
}

/// All files as one.
///
/// # Errors
/// If two hold the same tensor.
pub fn join_shards(shards: Vec<Shard>) -> Result<Weights, CheckpointError> {
    let (mut tensors, mut names, mut place) = (Vec::new(), BTreeSet::new(), 0);
    for shard in &shards {
        for name in shard.head.offset_keys() {
            let info: &TensorInfo = shard.head.info(&name).expect("a name of this head");
            let (begin, end) = info.data_offsets;
            let moved = TensorInfo { data_offsets: (place + begin, place + end), ..info.clone() };
            if !names.insert(name.clone()) {
                let what = format!("`{name}` is in another file, too");
                return Err(CheckpointError::Container(what));
            }
            tensors.push((name, moved));
        }
        place += shard.head.data_len();
    }
    let head = Metadata::new(None, tensors).expect("files that are sound lie behind each other");
    let head = serde_json::to_vec(&head).expect("a head is JSON");
    let head = [&(head.len() as u64).to_le_bytes()[..], &head].concat();
    let size = head.len() + place;
    let fetch = move |from: usize, length: usize| fetched(&head, &shards, (from, length));
    Ok(Weights::Pieces(Pieces { size, fetch: Arc::new(fetch) }))
}

/// `length` bytes from `from` on, of a head and what lies behind it.
fn fetched(
    head: &[u8],
    shards: &[Shard],
    (from, length): (usize, usize),
) -> Result<Vec<u8>, String> {
    let end = from + length;
    let mut bytes = head[from.min(head.len())..end.min(head.len())].to_vec();
    let mut place = head.len();
    for Shard { file, head, start } in shards {
        let until = place + head.data_len();
        let (first, last) = (from.max(place), end.min(until));
        if first < last {
            bytes.extend((file.fetch)(start + first - place, last - first)?);
        }
        place = until;
    }
    Ok(bytes)
}
