//! The policies at hand: the shipped one, and those whose bundles were named.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Device;
use kudos_core::bundle::Unpacked;

use crate::policy::{self, Policy, PolicyFiles};
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
        let mut add = |bundle: Unpacked| files.insert(bundle.sha256, bundle.files);
        add(policy::embedded_bundle());
        for path in bundles {
            if path.is_dir() {
                let path = path.display();
                return Err(usage(format!(
                    "--bundle {path} is a folder: pack it with `trainer export`"
                )));
            }
            add(policy::read_bundle(path).map_err(|error| usage(format!("--bundle {error}")))?);
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
