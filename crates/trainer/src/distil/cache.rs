//! What a teacher said, kept on the disk so that it says it once.
//!
//! A folder for each kind of question, named by a hash of the teacher and all settings; in it
//! `about.json`, which says them in words, and a file for each piece of data that was asked about, named
//! by a hash of the data. A file is written whole or not at all: an interrupted teacher goes on where it
//! was, and where data is added, only that is asked.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kudos_core::bundle::sha256;
use serde_json::Value;

use crate::store::write_file;

/// The file that says what a folder answers.
const ABOUT: &str = "about.json";

/// Answers of teachers.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    found: Cell<usize>,
    asked: Cell<usize>,
}

/// Answers to one kind of question.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    cache: &'a Cache,
    folder: PathBuf,
}

impl Cache {
    /// The cache in a folder, which need not be there.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), found: Cell::new(0), asked: Cell::new(0) }
    }

    /// Answers that were there, and answers that the teacher was asked for.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.found.get(), self.asked.get())
    }

    /// The answers to the kind of question that `about` states in full.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub(super) fn answer(&self, about: &Value) -> Result<Parts<'_>> {
        let text = serde_json::to_string_pretty(about)? + "\n";
        let folder = self.folder.join(&sha256(text.as_bytes())[..16]);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the cache {}", folder.display()))?;
        if !folder.join(ABOUT).is_file() {
            write_file(&folder.join(ABOUT), text.as_bytes())?;
        }
        Ok(Parts { cache: self, folder })
    }
}

impl Parts<'_> {
    /// What is said of `data`, as it was kept, or as `ask` says it now.
    ///
    /// # Errors
    /// What `ask` reports, a full disk, a file that cannot be read.
    pub(super) fn part(
        &self,
        data: &[u8],
        ask: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        let path = self.folder.join(&sha256(data)[..16]);
        if path.is_file() {
            self.cache.found.set(self.cache.found.get() + 1);
            return fs::read(&path).with_context(|| format!("cannot read {}", path.display()));
        }
        let bytes = ask()?;
        self.cache.asked.set(self.cache.asked.get() + 1);
        write_file(&path, &bytes)?;
        Ok(bytes)
    }

    /// The folder, for errors.
    pub(super) fn place(&self) -> String {
        self.folder.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ask(cache: &Cache, about: &Value, says: &str) -> String {
        let parts = cache.answer(about).unwrap();
        String::from_utf8(parts.part(b"data", || Ok(says.into())).unwrap()).unwrap()
    }

    #[test]
    fn a_question_is_asked_once_and_another_one_anew() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        assert_eq!(ask(&cache, &json!({"top_k": 4}), "first"), "first");
        assert_eq!(ask(&cache, &json!({"top_k": 4}), "second"), "first");
        assert_eq!(ask(&cache, &json!({"top_k": 5}), "third"), "third");
        assert_eq!(cache.counts(), (1, 2));
        let later = Cache::new(folder.path());
        let parts = later.answer(&json!({"top_k": 5})).unwrap();
        assert_eq!(parts.part(b"data", || panic!("it was asked before")).unwrap(), b"third");
    }

    #[test]
    fn a_teacher_that_fails_leaves_no_answer() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let parts = cache.answer(&json!({})).unwrap();
        assert!(parts.part(b"data", || anyhow::bail!("out of memory")).is_err());
        assert_eq!(parts.part(b"data", || Ok(vec![1])).unwrap(), [1]);
        assert_eq!(parts.part(b"more", || Ok(vec![2])).unwrap(), [2]);
    }
}
