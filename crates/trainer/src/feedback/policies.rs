//! The policies at hand: the shipped one, and those whose bundles were named.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Device;
use kudos_core::bundle::{self, BundleError, Unpacked, UnpackedAdapter, sha256};

use crate::policy::{self, Policy};
use crate::usage::usage;

/// Policies by the hash of their bundles, put on the CPU when they are first asked for.
#[derive(Debug)]
pub(super) struct Policies {
    bundles: BTreeMap<String, Bundle>,
    loaded: BTreeMap<String, Policy>,
}

/// What a bundle holds.
#[derive(Debug)]
enum Bundle {
    Policy(Unpacked),
    Adapter(UnpackedAdapter),
}

impl Policies {
    /// Reads the bundles.
    ///
    /// # Errors
    /// Usage errors that name the file.
    pub(super) fn read(bundles: &[PathBuf]) -> Result<Self> {
        let mut read = BTreeMap::new();
        read.insert(sha256(policy::EMBEDDED), Bundle::Policy(policy::embedded_bundle()));
        for path in bundles {
            if path.is_dir() {
                let path = path.display();
                return Err(usage(format!(
                    "--bundle {path} is a folder: pack it with `trainer export`"
                )));
            }
            let named = |error: &dyn Display| usage(format!("--bundle {error}"));
            let bytes = policy::read_bytes(path).map_err(|error| named(&error))?;
            let bundle = match bundle::unpack_adapter(&bytes) {
                Ok(Some(adapter)) => Bundle::Adapter(adapter),
                Ok(None) | Err(_) => {
                    let unpacked = policy::unpack(path, &bytes);
                    Bundle::Policy(unpacked.map_err(|error| named(&error))?)
                }
            };
            read.insert(sha256(&bytes), bundle);
        }
        Ok(Self { bundles: read, loaded: BTreeMap::new() })
    }

    /// The policy whose bundle has this hash, if it is at hand.
    ///
    /// # Errors
    /// Usage errors: the bundle holds no policy that can be used, or an adapter of one that is not at hand.
    pub(super) fn get(&mut self, sha256: &str) -> Result<Option<&Policy>> {
        if !self.loaded.contains_key(sha256) {
            let Some(bundle) = self.bundles.get(sha256) else { return Ok(None) };
            let (base, adapter) = match bundle {
                Bundle::Policy(policy) => (policy, None),
                Bundle::Adapter(upper) => match self.bundles.get(&upper.base) {
                    Some(Bundle::Policy(base)) => (base, Some(&upper.adapter)),
                    Some(Bundle::Adapter(_)) | None => {
                        let error = BundleError::Base(upper.base.clone());
                        return Err(usage(format!("bundle {sha256}: {error} as --bundle")));
                    }
                },
            };
            let policy = base.load_adapted(adapter, &Device::flex());
            let policy = policy.map_err(|error| usage(format!("bundle {sha256}: {error}")))?;
            self.loaded.insert(sha256.to_owned(), policy);
        }
        Ok(self.loaded.get(sha256))
    }
}
