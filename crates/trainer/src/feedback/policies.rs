//! The policies at hand: the shipped one, and those whose bundles were named.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Device;
use kudos_core::bundle::sha256;

use crate::policy::{self, Policy, PolicyFiles, ReadPolicyError};
use crate::usage::usage;

/// Policies by the hash of their bundles, put on the CPU when they are first asked for.
#[derive(Debug)]
pub(super) struct Policies {
    files: BTreeMap<String, PolicyFiles>,
    loaded: BTreeMap<String, Policy>,
}

impl Policies {
    /// Reads the bundles.
    ///
    /// # Errors
    /// Usage errors that name the file.
    pub(super) fn read(bundles: &[PathBuf]) -> Result<Self> {
        let mut files = BTreeMap::new();
        files.insert(sha256(policy::EMBEDDED), policy::embedded());
        for path in bundles {
            if path.is_dir() {
                let path = path.display();
                return Err(usage(format!(
                    "--bundle {path} is a folder: pack it with `trainer export`"
                )));
            }
            let named = |error: ReadPolicyError| usage(format!("--bundle {error}"));
            let bytes = policy::read_bytes(path).map_err(named)?;
            let unpacked = policy::unpack(path, &bytes).map_err(named)?;
            files.insert(sha256(&bytes), unpacked.files);
        }
        Ok(Self { files, loaded: BTreeMap::new() })
    }

    /// The policy whose bundle has this hash, if it is at hand.
    ///
    /// # Errors
    /// Usage errors: the bundle holds no policy that can be used.
    pub(super) fn get(&mut self, sha256: &str) -> Result<Option<&Policy>> {
        if let Some(files) = self.files.remove(sha256) {
            let policy = files.load(&Device::flex());
            let policy = policy.map_err(|error| usage(format!("bundle {sha256}: {error}")))?;
            self.loaded.insert(sha256.to_owned(), policy);
        }
        Ok(self.loaded.get(sha256))
    }
}
