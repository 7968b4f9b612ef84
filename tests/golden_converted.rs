//! What `trainer convert` writes, against what transformers computed of the same bytes (`tests/golden/converted.py`).

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use kudos_core::bundle::sha256;
use kudos_core::model::hugging_face::StoredAs;
use kudos_core::model::{PaddingSide, Tokens};
use kudos_core::policy::PolicyFiles;
use serde::Deserialize;

const SOURCES: [&str; 3] = ["gguf/llama", "gguf/gpt2", "qwen2/model"];
const KINDS: [StoredAs; 2] = [StoredAs::F32, StoredAs::F16];

/// What transformers made of a folder.
#[derive(Deserialize)]
struct Expected {
    /// SHA-256 of each file that it read.
    files: BTreeMap<String, String>,
    /// `[1, T, V]`
    logits: Vec<Vec<Vec<f32>>>,
    text_ids: Vec<u32>,
    text_round_trip: String,
}

#[derive(Deserialize)]
struct Golden {
    ids: Vec<u32>,
    text: String,
    folders: BTreeMap<String, Expected>,
}

fn name(source: &str, stored_as: StoredAs) -> String {
    format!("{}-{}", source.replace('/', "-"), stored_as.torch_name())
}

fn converted(source: &str, stored_as: StoredAs) -> PolicyFiles {
    // Tests start in the folder of their package.
    let bytes = std::fs::read(format!("golden/{source}.gguf")).unwrap();
    PolicyFiles::from_gguf(bytes).unwrap().converted(stored_as).unwrap()
}

/// The files of a folder by name.
fn folder(files: &PolicyFiles) -> [(&'static str, Vec<u8>); 4] {
    [
        ("config.json", files.config.clone().into_bytes()),
        ("model.safetensors", files.weights.bytes().unwrap().into_owned()),
        ("tokenizer.json", files.tokenizer.clone().into_bytes()),
        ("tokenizer_config.json", files.tokenizer_config.clone().into_bytes()),
    ]
}

/// Not a test of its own: writes what `converted.py` reads, where `KUDOS_WRITE_CONVERTED` names a folder.
#[test]
fn converted_folders_are_written_where_they_are_asked_for() {
    let Some(out) = std::env::var_os("KUDOS_WRITE_CONVERTED") else { return };
    for (source, stored_as) in SOURCES.iter().flat_map(|one| KINDS.map(|kind| (one, kind))) {
        let place = Path::new(&out).join(name(source, stored_as));
        std::fs::create_dir_all(&place).unwrap();
        for (name, bytes) in folder(&converted(source, stored_as)) {
            std::fs::write(place.join(name), bytes).unwrap();
        }
    }
}

#[test]
fn transformers_reads_these_bytes_and_gives_these_logits() {
    let golden: Golden =
        serde_json::from_str(&std::fs::read_to_string("golden/converted.json").unwrap()).unwrap();
    for (source, stored_as) in SOURCES.iter().flat_map(|one| KINDS.map(|kind| (one, kind))) {
        let name = name(source, stored_as);
        let (files, theirs) = (converted(source, stored_as), &golden.folders[&name]);
        for (file, bytes) in folder(&files) {
            assert_eq!(sha256(&bytes), theirs.files[file], "{name}/{file} is not what was read");
        }
        let policy = files.load(&Device::flex()).unwrap();
        let tokens = Tokens::new(&[&golden.ids], PaddingSide::Right, &Device::flex());
        let logits = policy.model.forward(&tokens).into_data().try_to_vec::<f32>().unwrap();
        let expected: Vec<f32> = theirs.logits.iter().flatten().flatten().copied().collect();
        assert_eq!(logits.len(), expected.len());
        let off = logits.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-4, "{name}: {off}");
        assert_eq!(policy.tokenizer.encode(&golden.text), theirs.text_ids, "{name}");
        assert_eq!(policy.tokenizer.decode(&theirs.text_ids), theirs.text_round_trip, "{name}");
    }
}
