//! The policies as requests need them: the list, the bundles on this machine's disk, the tokenizers in memory.
//!
//! The database is the truth, since other collectors publish there too; what is here is thrown away at will.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kudos_schema::PolicyManifest;
use kudos_tokenizer::Tokenizer;
use tokio::fs;

use crate::database::{Database, DatabaseError, Result};

/// How long a list is believed, in milliseconds: what another collector published is seen then.
const LIST_MS: i64 = 2_000;
/// Tokenizers in memory at once.
const MOST_TOKENIZERS: usize = 16;

/// The policies.
#[derive(Debug)]
pub(crate) struct Shelf {
    database: Database,
    folder: PathBuf,
    list: Mutex<Option<(i64, Arc<Vec<Listed>>)>>,
    known: Mutex<HashMap<String, Arc<Known>>>,
    /// Held while a bundle comes out of the database, so that it comes once.
    fetching: tokio::sync::Mutex<()>,
}

/// A policy of the list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listed {
    /// SHA-256 of the bundle.
    pub(crate) sha256: String,
    /// Length of the bundle.
    pub(crate) bytes: u64,
    /// Its manifest.
    pub(crate) manifest: PolicyManifest,
    /// Whether visitors no longer get it.
    pub(crate) retired: bool,
}

/// What ratings of a policy are checked with.
#[derive(Debug)]
pub(crate) struct Known {
    /// The policy's name.
    pub(crate) name: String,
    /// Ids in its vocabulary.
    pub(crate) vocab_size: usize,
    /// Longest sequence in tokens.
    pub(crate) context_length: usize,
    /// Pixels along one side of the pictures that it looks at, if it has eyes.
    pub(crate) image_size: Option<usize>,
    /// Its tokenizer.
    pub(crate) tokenizer: Tokenizer,
}

impl Shelf {
    /// A shelf whose bundles lie in `folder`.
    pub(crate) fn new(database: Database, folder: PathBuf) -> Self {
        Self {
            database,
            folder,
            list: Mutex::default(),
            known: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    /// Every policy, the newest first.
    pub(crate) async fn list(&self, now_ms: i64) -> Result<Arc<Vec<Listed>>> {
        if let Some((read_ms, list)) = &*self.list.lock().unwrap_or_else(PoisonError::into_inner)
            && (0..LIST_MS).contains(&(now_ms - read_ms))
        {
            return Ok(list.clone());
        }
        let mut list = Vec::new();
        for policy in self.database.policies().await?.into_iter().rev() {
            list.push(Listed {
                manifest: serde_json::from_str(&policy.manifest)?,
                sha256: policy.sha256,
                bytes: policy.bytes.unsigned_abs(),
                retired: policy.retired,
            });
        }
        let list = Arc::new(list);
        let read = Some((now_ms, list.clone()));
        *self.list.lock().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(list)
    }

    /// Policies that visitors get, the newest first.
    pub(crate) async fn published(&self, now_ms: i64) -> Result<Vec<Listed>> {
        let list = self.list(now_ms).await?;
        Ok(list.iter().filter(|policy| !policy.retired).cloned().collect())
    }

    /// Forgets the list, since it was changed here.
    pub(crate) fn changed(&self) {
        *self.list.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What ratings of a policy are checked with; none if it was never published.
    pub(crate) async fn known(&self, sha256: &str) -> Result<Option<Arc<Known>>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(sha256).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let Some((manifest, tokenizer)) = self.database.tokenizer(sha256).await? else {
            return Ok(None);
        };
        let manifest: PolicyManifest = serde_json::from_str(&manifest)?;
        // It could be read when it was published.
        let tokenizer = Tokenizer::from_json(&tokenizer)
            .map_err(|error| DatabaseError::Misuse(error.to_string()))?;
        let known = Arc::new(Known {
            name: manifest.name,
            vocab_size: manifest.vocab_size,
            context_length: manifest.context_length,
            image_size: manifest.image_size,
            tokenizer,
        });
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_TOKENIZERS {
            all.clear();
        }
        all.insert(sha256.to_owned(), known.clone());
        Ok(Some(known))
    }

    /// The bundle of a policy as a file on this machine.
    pub(crate) async fn bundle(&self, sha256: &str) -> Result<PathBuf> {
        let path = self.folder.join(format!("{sha256}.kudos"));
        if is_there(&path).await {
            return Ok(path);
        }
        let _fetching = self.fetching.lock().await;
        if is_there(&path).await {
            return Ok(path);
        }
        let coming = self.folder.join(format!("{sha256}.coming"));
        let mut file = fs::File::create(&coming).await.map_err(sqlx::Error::Io)?;
        self.database.write_bundle(sha256, &mut file).await?;
        fs::rename(&coming, &path).await.map_err(sqlx::Error::Io)?;
        Ok(path)
    }

    /// Where bundles lie on this machine.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

async fn is_there(path: &Path) -> bool {
    fs::try_exists(path).await.unwrap_or(false)
}
