//! The built page: its files, read once at the start.
//!
//! Only what was read can be asked for, so no path leads out of the folder. What compresses well is compressed once.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use kudos_schema::hexadecimal;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Kinds of files, by the ends of their names.
const TYPES: &[(&str, &str)] = &[
    ("css", "text/css; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("kudos", BUNDLE_TYPE),
    ("mjs", "text/javascript; charset=utf-8"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("webmanifest", "application/manifest+json"),
];
/// Bundles: bytes of no kind that browsers know.
pub(crate) const BUNDLE_TYPE: &str = "application/octet-stream";
/// Files shorter than this are sent as they are.
const SHORT: usize = 1024;

/// The files of the page.
#[derive(Debug)]
pub(crate) struct Site {
    files: HashMap<String, Asset>,
    /// Folder of the bundles that came with the page.
    pub(crate) policies: PathBuf,
}

/// A file of the page.
#[derive(Debug, Clone)]
pub(crate) struct Asset {
    /// Its `Content-Type`.
    pub(crate) kind: &'static str,
    /// Its bytes.
    pub(crate) bytes: Bytes,
    /// Its bytes compressed, where that is worth it.
    pub(crate) gzip: Option<Bytes>,
    /// Its `ETag`.
    pub(crate) tag: String,
}

/// Why the page cannot be served.
#[derive(Debug, Error)]
pub enum SiteError {
    /// A file cannot be read.
    #[error("{file} cannot be read: {error}")]
    File {
        /// The file.
        file: String,
        /// What is wrong.
        error: std::io::Error,
    },
    /// It is no page.
    #[error(
        "{0} has no index.html: build the page with `trunk build --release`, or name its folder with --site"
    )]
    NoPage(String),
}

impl Site {
    /// Reads the page in `folder`, but its bundles and their catalog.
    pub(crate) fn read(folder: &Path) -> Result<Self, SiteError> {
        let mut files = HashMap::new();
        if !folder.join("index.html").is_file() {
            return Err(SiteError::NoPage(folder.display().to_string()));
        }
        read_folder(folder, "", &mut files)?;
        Ok(Self { files, policies: folder.join("policies") })
    }

    /// The file at a path without a slash before it.
    pub(crate) fn get(&self, path: &str) -> Option<&Asset> {
        self.files.get(if path.is_empty() { "index.html" } else { path })
    }
}

impl Asset {
    fn new(name: &str, bytes: Vec<u8>) -> Self {
        let kind = kind_of(name);
        let tag = format!("\"{}\"", &hexadecimal(&Sha256::digest(&bytes))[..32]);
        let gzip =
            Some(&bytes).filter(|bytes| bytes.len() >= SHORT && !kind.starts_with("image/p"));
        let gzip = gzip.map(|bytes| compressed(bytes)).filter(|gzip| gzip.len() < bytes.len());
        Self { kind, gzip: gzip.map(Bytes::from), bytes: bytes.into(), tag }
    }
}

/// The `Content-Type` of a file with this name.
fn kind_of(name: &str) -> &'static str {
    let end = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    TYPES.iter().find(|(known, _)| *known == end).map_or(BUNDLE_TYPE, |(_, kind)| kind)
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

fn read_folder(
    folder: &Path,
    prefix: &str,
    files: &mut HashMap<String, Asset>,
) -> Result<(), SiteError> {
    let wrong = |path: &Path| {
        let file = path.display().to_string();
        move |error| SiteError::File { file, error }
    };
    for entry in fs::read_dir(folder).map_err(wrong(folder))? {
        let path = entry.map_err(wrong(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let address = format!("{prefix}{name}");
        if path.is_dir() {
            read_folder(&path, &format!("{address}/"), files)?;
        } else if !address.ends_with(".kudos") && address != "policies/catalog.json" {
            let bytes = fs::read(&path).map_err(wrong(&path))?;
            files.insert(address, Asset::new(&name, bytes));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_file_that_a_page_has_is_known() {
        let check = |name: &str, kind: &str| assert_eq!(kind_of(name), kind);
        check("engine-cpu_bg.wasm", "application/wasm");
        check("a/b.JS", "text/javascript; charset=utf-8");
        check("manifest.webmanifest", "application/manifest+json");
        check("no-ending", BUNDLE_TYPE);
    }

    #[test]
    fn a_folder_without_a_page_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = Site::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("trunk build"), "{error}");
    }
}
