//! The bundle: one file that holds a policy, and the catalog that lists bundles.
//!
//! Layout: the eight bytes `KUDOSBDL`, the version and the manifest's length as little-endian u32, the
//! manifest as JSON, then the parts, each at a multiple of 64 bytes from the start of the file, so that
//! a part can be fetched by range and its numbers are aligned. A part is a file of a Hugging Face
//! folder. What the parts mean is the core's business; here they are bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Sampling, Turns};

/// The bundle version that this code reads and writes.
pub const BUNDLE_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"KUDOSBDL";
/// Bytes before the manifest.
const HEAD: usize = 16;
const ALIGNMENT: usize = 64;
/// No manifest is longer; a longer one is damage or malice.
const MAX_MANIFEST_BYTES: usize = 1 << 20;
/// Bytes from the start of a bundle in which its manifest ends.
pub const MAX_HEAD_BYTES: usize = HEAD + MAX_MANIFEST_BYTES;

/// What a bundle says of its policy.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyManifest {
    /// The policy's name.
    pub name: String,
    /// One sentence for people.
    pub summary: String,
    /// Tasks that it was taught, by name.
    pub tasks: Vec<String>,
    /// Licence of the weights, as SPDX names it.
    pub license: String,
    /// How it was made: the recipe's TOML, or words.
    pub recipe: String,
    /// Family and sizes in words, for people.
    pub architecture: String,
    /// Number of parameters.
    pub parameters: u64,
    /// Longest sequence in tokens.
    pub context_length: usize,
    /// Number of tokens in the vocabulary.
    pub vocab_size: usize,
    /// Number type of the stored weights: `f32`, `f16`, `int8` or `int4`.
    pub stored_as: String,
    /// Bytes of keys and values of one token in f32.
    pub cache_bytes_per_token: u64,
    /// The chat template, as data.
    pub turns: Turns,
    /// How it is meant to be sampled.
    pub sampling: Sampling,
    /// Prompts to try, by task.
    pub prompts: BTreeMap<String, Vec<String>>,
    /// Pixels along one side of the pictures that it looks at, if it has eyes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    /// What it is laid upon, where it holds an adapter and no weights of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapts: Option<Adapts>,
    /// The files.
    pub parts: Vec<Part>,
}

/// How a low-rank adapter becomes part of a policy: `W + scale B A`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapts {
    /// SHA-256 of the bundle whose policy it adapts, in lower-case hexadecimal digits.
    pub base: String,
    /// What every product of its matrices is multiplied by.
    pub scale: f32,
}

/// One file in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// File name.
    pub name: String,
    /// Where it begins, in bytes from the start of the bundle.
    pub offset: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256 in lower-case hexadecimal digits.
    pub sha256: String,
}

/// A bundle that was read, its parts as slices.
#[derive(Debug)]
pub struct Container<'a> {
    /// The manifest.
    pub manifest: PolicyManifest,
    bytes: &'a [u8],
}

/// `policies/catalog.json`: what a page can load.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// Where ratings are posted; none = they stay with the visitor.
    #[serde(default)]
    pub collector: Option<String>,
    /// The policies, the preferred one first.
    pub policies: Vec<CatalogEntry>,
}

/// One bundle of a catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogEntry {
    /// Address, relative to the catalog.
    pub file: String,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of the bundle in lower-case hexadecimal digits.
    pub sha256: String,
    /// Its manifest.
    pub manifest: PolicyManifest,
}

/// Why bytes are no bundle.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ContainerError {
    /// Another kind of file.
    #[error("this is no policy bundle: choose a file made by `trainer export`")]
    Foreign,
    /// A later format.
    #[error("bundle version {found} is not {BUNDLE_VERSION}: update the page or this program")]
    Version {
        /// What it says.
        found: u32,
    },
    /// The manifest cannot be read.
    #[error("the manifest of the bundle is damaged ({0}): fetch it again")]
    Manifest(String),
    /// The file ends too early, or a part lies elsewhere than it may.
    #[error("part {part} of the bundle is not where the manifest says: fetch it again")]
    Misplaced {
        /// The part's name.
        part: String,
    },
    /// A part is not there.
    #[error("the bundle has no {part}: export it again")]
    Missing {
        /// The part's name.
        part: &'static str,
    },
}

impl PolicyManifest {
    /// SHA-256 of the bundle that it is laid upon, if it is an adapter's.
    pub fn base(&self) -> Option<&str> {
        self.adapts.as_ref().map(|adapts| &*adapts.base)
    }

    /// Checks that every part lies within a bundle of `size` bytes, one behind the other.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check_places(&self, size: u64) -> Result<(), ContainerError> {
        let mut end = HEAD as u64;
        for part in &self.parts {
            let fits = part.offset.checked_add(part.bytes).is_some_and(|end| end <= size);
            if part.offset < end || !fits {
                return Err(ContainerError::Misplaced { part: part.name.clone() });
            }
            end = part.offset + part.bytes;
        }
        Ok(())
    }

    /// The part called `name`.
    ///
    /// # Errors
    /// If there is none.
    pub fn part(&self, name: &'static str) -> Result<&Part, ContainerError> {
        let part = self.parts.iter().find(|part| part.name == name);
        part.ok_or(ContainerError::Missing { part: name })
    }
}

impl<'a> Container<'a> {
    /// Reads the head and checks that every part lies within `bytes`. Hashes are the caller's to check.
    ///
    /// # Errors
    /// The bytes are no bundle, of another version, cut off, or their parts overlap.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ContainerError> {
        let manifest = read_manifest(bytes)?;
        manifest.check_places(bytes.len() as u64)?;
        Ok(Self { manifest, bytes })
    }

    /// The part called `name`.
    ///
    /// # Errors
    /// If there is none.
    pub fn part(&self, name: &'static str) -> Result<(&Part, &'a [u8]), ContainerError> {
        let part = self.manifest.part(name)?;
        let begin = part.offset as usize;
        Ok((part, &self.bytes[begin..begin + part.bytes as usize]))
    }
}

impl Catalog {
    /// Whether it lists a bundle of that hash.
    pub fn entry(&self, sha256: &str) -> Option<&CatalogEntry> {
        self.policies.iter().find(|entry| entry.sha256 == sha256)
    }
}

/// The manifest at the beginning of a bundle, of which `bytes` need not be all.
///
/// # Errors
/// The bytes are no bundle, of another version, or end before the manifest does.
pub fn read_manifest(bytes: &[u8]) -> Result<PolicyManifest, ContainerError> {
    let number = |at: usize| {
        let four = bytes[at..at + 4].try_into().expect("a slice of four bytes");
        u32::from_le_bytes(four)
    };
    if bytes.len() < HEAD || !bytes.starts_with(MAGIC) {
        return Err(ContainerError::Foreign);
    }
    if number(8) != BUNDLE_VERSION {
        return Err(ContainerError::Version { found: number(8) });
    }
    let length = number(12) as usize;
    let text = bytes.get(HEAD..HEAD + length.min(MAX_MANIFEST_BYTES + 1));
    let text = text.filter(|text| text.len() == length);
    let text = text.ok_or_else(|| ContainerError::Manifest("it is cut off".to_owned()))?;
    let text = std::str::from_utf8(text).map_err(|e| ContainerError::Manifest(e.to_string()))?;
    serde_json::from_str(text).map_err(|error| ContainerError::Manifest(error.to_string()))
}

/// A bundle of `files`: name, SHA-256 and bytes of each. The parts of `manifest` are replaced.
pub fn pack_bundle(mut manifest: PolicyManifest, files: &[(&str, String, &[u8])]) -> Vec<u8> {
    let part = |offset: usize, (name, sha256, bytes): &(&str, String, &[u8])| Part {
        name: (*name).to_owned(),
        offset: offset as u64,
        bytes: bytes.len() as u64,
        sha256: sha256.clone(),
    };
    // Offsets stand in the manifest and depend on its length: place the parts as if it ended at `end`,
    // and move `end` on until the manifest fits before them.
    let mut end = HEAD;
    let text = loop {
        let mut offset = end.next_multiple_of(ALIGNMENT);
        manifest.parts.clear();
        for file in files {
            manifest.parts.push(part(offset, file));
            offset = (offset + file.2.len()).next_multiple_of(ALIGNMENT);
        }
        let text = serde_json::to_vec(&manifest).expect("strings and numbers are JSON");
        if HEAD + text.len() <= end {
            break text;
        }
        end = (HEAD + text.len()).next_multiple_of(ALIGNMENT);
    };
    let mut bytes = MAGIC.to_vec();
    bytes.extend(BUNDLE_VERSION.to_le_bytes());
    bytes.extend(u32::try_from(text.len()).expect("a manifest is short").to_le_bytes());
    bytes.extend(text);
    for (part, (_, _, content)) in manifest.parts.iter().zip(files) {
        bytes.resize(part.offset as usize, 0);
        bytes.extend(*content);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed() -> Vec<u8> {
        let manifest = PolicyManifest { name: "tiny".into(), ..PolicyManifest::default() };
        let files = [("a", "1".repeat(64), &b"first"[..]), ("b", "2".repeat(64), &b"second"[..])];
        pack_bundle(manifest, &files)
    }

    #[test]
    fn parts_come_back_aligned_and_whole() {
        let bytes = packed();
        let container = Container::read(&bytes).unwrap();
        assert_eq!(container.manifest.name, "tiny");
        for (name, content) in [("a", &b"first"[..]), ("b", b"second")] {
            let (part, found) = container.part(name).unwrap();
            assert_eq!(found, content);
            assert_eq!(part.offset % ALIGNMENT as u64, 0);
        }
        assert_eq!(container.part("c").unwrap_err(), ContainerError::Missing { part: "c" });
    }

    #[test]
    fn a_bundle_cut_off_anywhere_is_refused() {
        let bytes = packed();
        for length in 0..bytes.len() {
            assert!(Container::read(&bytes[..length]).is_err(), "{length} of {}", bytes.len());
        }
    }

    #[test]
    fn foreign_and_later_files_are_named() {
        assert_eq!(Container::read(b"GGUF and more of it").unwrap_err(), ContainerError::Foreign);
        let mut later = packed();
        later[8] = 9;
        assert_eq!(Container::read(&later).unwrap_err(), ContainerError::Version { found: 9 });
        let mut long = packed();
        long[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(Container::read(&long), Err(ContainerError::Manifest(_))));
    }

    #[test]
    fn parts_that_overlap_or_overflow_are_refused() {
        let text = String::from_utf8_lossy(&packed()).into_owned();
        let offset = |text: &str, to: &str| {
            let from = text.find("\"offset\":").unwrap() + 9;
            let end = from + text[from..].find(',').unwrap();
            let old = &text[from..end];
            let new = format!("{to:>width$}", width = old.len());
            text.replacen(old, &new, 1).into_bytes()
        };
        assert!(matches!(
            Container::read(&offset(&text, "0")),
            Err(ContainerError::Misplaced { .. })
        ));
        assert!(matches!(
            Container::read(&offset(&text, "999")),
            Err(ContainerError::Misplaced { .. })
        ));
    }
}
