//! Weights in several files, which `model.safetensors.index.json` names tensor by tensor.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use kudos_core::model::hugging_face::{CheckpointError, Shard, Weights, join_shards};
use serde_json::Value;

use super::{ReadPolicyError, at, pieces};

/// The file that lists weights in several files.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// The weights of a folder that has an index.
///
/// # Errors
/// If the index or a file is damaged, or cannot be read.
pub(super) fn read(folder: &Path) -> Result<Weights, ReadPolicyError> {
    let index = folder.join(INDEX);
    let refused = |path: &Path, what| ReadPolicyError::Shards { path: path.to_owned(), what };
    let text = std::fs::read_to_string(&index).map_err(|source| at(&index, source))?;
    let names = names(&text).map_err(|what| refused(&index, what))?;
    let open = |name: &String| {
        let path = folder.join(name);
        Shard::open(pieces(&path)?).map_err(|error| refused(&path, in_words(error)))
    };
    let shards = names.iter().map(open).collect::<Result<_, _>>()?;
    join_shards(shards).map_err(|error| refused(&index, in_words(error)))
}

/// What is wrong, without the name of the one file that is not there.
fn in_words(error: CheckpointError) -> String {
    if let CheckpointError::Container(what) = error {
        return format!("{what}: download or save the model again");
    }
    error.to_string()
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
