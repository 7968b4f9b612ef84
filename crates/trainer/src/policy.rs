//! Policies on the disk: a Hugging Face folder, a bundle or a GGUF file.

mod shards;

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kudos_core::bundle::{self, BundleError, Unpacked};
use kudos_core::gguf::is_gguf;
use kudos_core::model::hugging_face::{Pieces, Stored, StoredAs, Weights, write_weights_to};
pub use kudos_core::policy::{Example, Policy, PolicyError, PolicyFiles};
use pollster::block_on;
use thiserror::Error;

use crate::store::FillError;

/// The bundle that ships with the program.
pub const EMBEDDED: &[u8] = include_bytes!("../../../policies/base.kudos");

/// The file of a folder that holds its weights.
const WEIGHTS: &str = "model.safetensors";

/// The file in which transformers 5 keeps a chat template.
const TEMPLATE: &str = "chat_template.jinja";

/// Why the files of a policy cannot be read.
#[derive(Debug, Error)]
pub enum ReadPolicyError {
    /// A file cannot be read.
    #[error(
        "{}: {source}; a policy is a bundle, a GGUF file or a folder with config.json, model.safetensors or its index, tokenizer.json and tokenizer_config.json",
        path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Weights in several files are damaged, or their index is.
    #[error("{}: {what}", path.display())]
    Shards {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file is no sound bundle.
    #[error("{}: {source}", path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BundleError,
    },
    /// The file is no usable GGUF file.
    #[error("{}: {source}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: PolicyError,
    },
}

/// Reads a folder, or a bundle or GGUF file where `path` is a file.
///
/// # Errors
/// If a file is missing, not text where it must be, or no sound bundle or GGUF file.
pub fn read(path: &Path) -> Result<PolicyFiles, ReadPolicyError> {
    if path.is_file() {
        let weights = open(path)?;
        if begins_as_gguf(path)? {
            let gguf = |source| ReadPolicyError::Gguf { path: path.to_owned(), source };
            return PolicyFiles::from_gguf(weights).map_err(gguf);
        }
        return Ok(read_bundle(path)?.files);
    }
    let text = |name: &str| {
        let path = path.join(name);
        std::fs::read_to_string(&path).map_err(|source| at(&path, source))
    };
    let (config, tokenizer_config) = (text("config.json")?, text("tokenizer_config.json")?);
    let template = path.join(TEMPLATE).exists().then(|| text(TEMPLATE)).transpose()?;
    Ok(PolicyFiles {
        config,
        weights: weights(path)?,
        tokenizer: text("tokenizer.json")?,
        tokenizer_config: match template {
            None => tokenizer_config,
            Some(template) => with_template(&tokenizer_config, &template),
        },
    })
}

/// A `tokenizer_config.json` with the template that stood in a file of its own; what is no JSON stays as it is, for the
/// reader of it to refuse.
fn with_template(tokenizer_config: &str, template: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(tokenizer_config) {
        Ok(mut config) if config.is_object() => {
            config["chat_template"] = template.into();
            config.to_string()
        }
        Ok(_) | Err(_) => tokenizer_config.to_owned(),
    }
}

/// Takes the bundle at `path` apart.
///
/// # Errors
/// If it cannot be read or is no sound bundle.
pub fn read_bundle(path: &Path) -> Result<Unpacked, ReadPolicyError> {
    unpack(path, &open(path)?)
}

/// The weights of a folder, in one file or, where there is no such file, in several.
///
/// # Errors
/// If they cannot be read.
pub fn weights(folder: &Path) -> Result<Weights, ReadPolicyError> {
    let one = folder.join(WEIGHTS);
    match !one.exists() && folder.join(shards::INDEX).exists() {
        true => shards::read(folder),
        false => open(&one),
    }
}

/// The weights in a file, which stay there until they are asked for.
fn open(path: &Path) -> Result<Weights, ReadPolicyError> {
    Ok(Weights::Pieces(pieces(path)?))
}

fn pieces(path: &Path) -> Result<Pieces, ReadPolicyError> {
    let failed = |source| at(path, source);
    let mut file = File::open(path).map_err(failed)?;
    let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
    let size = usize::try_from(size).map_err(|error| failed(std::io::Error::other(error)))?;
    let (file, label) = (Mutex::new(file), path.display().to_string());
    let fetch = move |at: usize, length: usize| {
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = vec![0; length];
        let read = file.seek(SeekFrom::Start(at as u64)).and_then(|_| file.read_exact(&mut bytes));
        read.map(|()| bytes).map_err(|error| format!("{label}: {error}"))
    };
    Ok(Pieces { size, fetch: Arc::new(fetch) })
}

fn begins_as_gguf(path: &Path) -> Result<bool, ReadPolicyError> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4).read_to_end(&mut head));
    read.map_err(|source| at(path, source))?;
    Ok(is_gguf(&head))
}

/// The bytes of a file.
///
/// # Errors
/// If it cannot be read.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, ReadPolicyError> {
    std::fs::read(path).map_err(|source| at(path, source))
}

/// Takes what the bundle at `path` holds apart.
///
/// # Errors
/// If it is no sound bundle.
pub fn unpack<'a>(path: &Path, held: impl Into<Stored<'a>>) -> Result<Unpacked, ReadPolicyError> {
    let checked = bundle::unpack(held).and_then(|unpacked| {
        unpacked.check_template()?;
        Ok(unpacked)
    });
    checked.map_err(|source| ReadPolicyError::Bundle { path: path.to_owned(), source })
}

fn at(path: &Path, source: std::io::Error) -> ReadPolicyError {
    ReadPolicyError::Read { path: path.to_owned(), source }
}

/// The policy that ships with the program.
pub fn embedded() -> PolicyFiles {
    embedded_bundle().files
}

/// That policy with what it says of itself.
pub fn embedded_bundle() -> Unpacked {
    bundle::unpack(EMBEDDED).expect("the bundle in the program is sound")
}

/// Writes the files into an existing folder.
///
/// # Errors
/// What the system says.
pub fn write(files: &PolicyFiles, folder: &Path) -> Result<(), FillError> {
    let weights = files.weights.bytes().map_err(std::io::Error::other)?;
    std::fs::write(folder.join(WEIGHTS), weights)?;
    write_beside(files, folder)
}

/// Writes a policy into an existing folder, a tensor at a time: at no time are all its bytes in memory.
///
/// # Errors
/// A failing device, what the system says.
pub fn save(policy: &Policy, stored_as: StoredAs, folder: &Path) -> Result<(), FillError> {
    let path = folder.join(WEIGHTS);
    let mut file = BufWriter::new(File::create(&path)?);
    block_on(write_weights_to(&policy.model, stored_as, &mut file))?;
    file.flush()?;
    write_beside(&policy.around(open(&path)?, stored_as)?, folder)
}

/// All but the weights.
fn write_beside(files: &PolicyFiles, folder: &Path) -> Result<(), FillError> {
    std::fs::write(folder.join("config.json"), &files.config)?;
    std::fs::write(folder.join("tokenizer.json"), &files.tokenizer)?;
    Ok(std::fs::write(folder.join("tokenizer_config.json"), &files.tokenizer_config)?)
}
