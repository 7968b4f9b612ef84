//! How a bundle becomes a policy: its hashes are checked, and what the collector needs of it is taken out.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use kudos_schema::{Part, PolicyManifest, hexadecimal, read_manifest};
use kudos_tokenizer::Tokenizer;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::database::bundles::Publication;
use crate::database::{Database, DatabaseError};

/// Bytes at the beginning of a bundle that hold its whole manifest.
const HEAD: u64 = (1 << 20) + 16;
const TOKENIZER: &str = "tokenizer.json";
/// A tokenizer file is not longer.
const MAX_TOKENIZER_BYTES: u64 = 64 << 20;

/// A bundle that is what it says.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Where it lies.
    pub(crate) file: PathBuf,
    /// SHA-256 of all of it.
    pub(crate) sha256: String,
    /// Its manifest.
    pub(crate) manifest: PolicyManifest,
    /// Its `tokenizer.json`.
    tokenizer: String,
}

/// Why a bundle cannot be published.
#[derive(Debug, Error)]
pub enum PublishError {
    /// It cannot be read.
    #[error("the bundle cannot be read ({0}): check the file and its permissions")]
    File(#[from] std::io::Error),
    /// It is none.
    #[error("{0}")]
    Container(#[from] kudos_schema::ContainerError),
    /// A part is damaged or not there.
    #[error("part {0} of the bundle is damaged or missing: export it again")]
    Part(String),
    /// Its tokenizer cannot be read.
    #[error("the tokenizer of the bundle cannot be read ({0}): export it again")]
    Tokenizer(#[from] kudos_tokenizer::TokenizerError),
    /// It holds no policy of its own.
    #[error(
        "the bundle is an adapter of {0}: a collector asks of whole policies, export it without --alone"
    )]
    Adapter(String),
    /// It has no name.
    #[error("the bundle's manifest has no name: export it with one")]
    Nameless,
    /// Another hash than was said.
    #[error(
        "the bundle's SHA-256 is {0}: send it to /v1/policies/{0}, or send the bundle that was meant"
    )]
    OtherHash(String),
    /// The database does not work.
    #[error("{0}")]
    Database(#[from] DatabaseError),
}

/// Reads and checks a bundle. It blocks.
///
/// # Errors
/// It is no bundle, or damaged.
pub(crate) fn read_bundle(path: &Path) -> Result<Bundle, PublishError> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let sha256 = hash(&mut file)?;
    let mut head = Vec::new();
    file.rewind()?;
    (&mut file).take(HEAD).read_to_end(&mut head)?;
    let manifest = read_manifest(&head)?;
    if let Some(base) = manifest.base() {
        return Err(PublishError::Adapter(base.to_owned()));
    }
    if manifest.name.is_empty() {
        return Err(PublishError::Nameless);
    }
    let mut end = 16;
    for part in &manifest.parts {
        let damaged = || PublishError::Part(part.name.clone());
        let last = part.offset.checked_add(part.bytes).filter(|last| *last <= length);
        if part.offset < end || last.is_none() {
            return Err(damaged());
        }
        end = part.offset + part.bytes;
        file.seek(SeekFrom::Start(part.offset))?;
        if hash(&mut (&mut file).take(part.bytes))? != part.sha256 {
            return Err(damaged());
        }
    }
    let missing = || PublishError::Part(TOKENIZER.to_owned());
    let part = manifest.parts.iter().find(|part| part.name == TOKENIZER).ok_or_else(missing)?;
    let tokenizer = read_text(&mut file, part).map_err(|_| missing())?;
    Tokenizer::from_json(&tokenizer)?;
    Ok(Bundle { file: path.to_owned(), sha256, manifest, tokenizer })
}

/// Keeps a bundle in the database; whether it is new there.
pub(crate) async fn publish(database: &Database, bundle: &Bundle) -> Result<bool, PublishError> {
    let manifest = serde_json::to_string(&bundle.manifest).map_err(DatabaseError::from)?;
    let publication = Publication {
        sha256: &bundle.sha256,
        name: &bundle.manifest.name,
        manifest: &manifest,
        tokenizer: &bundle.tokenizer,
        file: &bundle.file,
    };
    Ok(database.publish(&publication).await?)
}

fn read_text(file: &mut File, part: &Part) -> std::io::Result<String> {
    file.seek(SeekFrom::Start(part.offset))?;
    let mut text = String::new();
    file.take(part.bytes.min(MAX_TOKENIZER_BYTES)).read_to_string(&mut text)?;
    Ok(text)
}

fn hash(reader: &mut impl Read) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        let length = reader.read(&mut piece)?;
        if length == 0 {
            return Ok(hexadecimal(&hash.finalize()));
        }
        hash.update(&piece[..length]);
    }
}
