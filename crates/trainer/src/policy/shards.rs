//! Weights in several files, as the one safetensors file that they are parts of.
//!
//! `model.safetensors.index.json` names the file of every tensor. The heads of the files become one head, in which what
//! each file holds begins where that of the file before ended; what lies behind it is fetched from the file that has it.

use std::collections::BTreeSet;
use std::path::{Component, Path};
use std::sync::Arc;

use kudos_core::model::hugging_face::{Pieces, Weights};
use serde_json::{Map, Value};

use super::{ReadPolicyError, at, pieces};

/// The file that lists weights in several files.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Bytes of the number that a file begins with: the length of its head.
const LENGTH: usize = 8;

/// Most bytes of a head, as the safetensors format has it.
const MOST: usize = 100_000_000;

/// A file behind its head.
struct Shard {
    file: Pieces,
    /// Where in it what it holds begins.
    from: usize,
    /// Where that begins in all that the files hold.
    place: usize,
}

impl Shard {
    fn size(&self) -> usize {
        self.file.size - self.from
    }
}

/// The weights of a folder that has an index.
///
/// # Errors
/// If the index or a head is damaged, or a file cannot be read.
pub(super) fn join(folder: &Path) -> Result<Weights, ReadPolicyError> {
    let index = folder.join(INDEX);
    let refused = |what: String| ReadPolicyError::Shards { path: index.clone(), what };
    let text = std::fs::read_to_string(&index).map_err(|source| at(&index, source))?;
    let (mut tensors, mut shards, mut place) = (Map::new(), Vec::new(), 0);
    for name in names(&text).map_err(refused)? {
        let path = folder.join(&name);
        let shard = opened(pieces(&path)?, place, &mut tensors);
        let shard = shard.map_err(|what| ReadPolicyError::Shards { path: path.clone(), what })?;
        place += shard.size();
        shards.push(shard);
    }
    let head = Value::Object(tensors).to_string().into_bytes();
    let head = [&(head.len() as u64).to_le_bytes()[..], &head].concat();
    let size = head.len() + place;
    let fetch = move |from: usize, length: usize| fetched(&head, &shards, from, length);
    Ok(Weights::Pieces(Pieces { size, fetch: Arc::new(fetch) }))
}

/// The files of an index, each once.
fn names(index: &str) -> Result<BTreeSet<String>, String> {
    let damaged = |error: serde_json::Error| format!("it is damaged ({error}): fetch it again");
    let index: Value = serde_json::from_str(index).map_err(damaged)?;
    let map = index["weight_map"].as_object().filter(|map| !map.is_empty());
    let map = map.ok_or("it has no `weight_map`: fetch it again")?;
    let plain = |name: &&str| {
        let mut parts = Path::new(name).components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
    };
    let file = |(tensor, file): (&String, &Value)| {
        let name = file.as_str().filter(plain);
        name.map(str::to_owned).ok_or_else(|| format!("`{tensor}` is in {file}: no file name"))
    };
    map.iter().map(file).collect()
}

/// A file whose tensors are added to those of the files before it.
fn opened(file: Pieces, place: usize, tensors: &mut Map<String, Value>) -> Result<Shard, String> {
    let early = || "it ends early: fetch it again".to_owned();
    let piece = |from: usize, length: usize| match file.size {
        size if from + length > size => Err(early()),
        _ => (file.fetch)(from, length),
    };
    let length = piece(0, LENGTH)?.try_into().expect("eight bytes");
    let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MOST {
        return Err("its head is too long: fetch it again".to_owned());
    }
    let head = piece(LENGTH, length)?;
    let damaged =
        |error: serde_json::Error| format!("its head is damaged ({error}): fetch it again");
    let head: Map<String, Value> = serde_json::from_slice(&head).map_err(damaged)?;
    let size = (file.size - LENGTH - length) as u64;
    for (name, mut tensor) in head {
        if name == "__metadata__" {
            continue;
        }
        let ends = tensor.get_mut("data_offsets").and_then(Value::as_array_mut);
        for end in ends.into_iter().flatten() {
            let within = end.as_u64().filter(|end| *end <= size).ok_or_else(early)?;
            *end = (place as u64 + within).into();
        }
        if tensors.insert(name.clone(), tensor).is_some() {
            return Err(format!("`{name}` is in another file, too: save the model anew"));
        }
    }
    Ok(Shard { file, from: LENGTH + length, place })
}

/// Bytes of the joined file, of which there are as many.
fn fetched(head: &[u8], shards: &[Shard], from: usize, length: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(length);
    let of_head = from.min(head.len())..(from + length).min(head.len());
    bytes.extend_from_slice(&head[of_head]);
    for shard in shards {
        let at = (from + bytes.len()).saturating_sub(head.len());
        let ends = shard.place + shard.size();
        if bytes.len() < length && (shard.place..ends).contains(&at) {
            let count = (length - bytes.len()).min(ends - at);
            bytes.extend((shard.file.fetch)(shard.from + at - shard.place, count)?);
        }
    }
    Ok(bytes)
}
