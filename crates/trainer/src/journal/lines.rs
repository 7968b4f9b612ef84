//! A file that grows by whole lines and can be cut back to an earlier length.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::JournalError;
use crate::store::StoreError;

/// A file that grows by whole lines.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    pub(super) file: File,
    bytes: u64,
}

impl Lines {
    /// Opens a file, made where it is missing, and cuts it to its first `bytes`.
    ///
    /// # Errors
    /// No line ends there.
    pub(super) fn open(path: PathBuf, bytes: u64) -> Result<Self, JournalError> {
        let refused = |source| StoreError::at("open", &path, source);
        let mut options = File::options();
        options.create(true).truncate(false).read(true).write(true);
        let mut file = options.open(&path).map_err(refused)?;
        let found = file.metadata().map_err(refused)?.len();
        if found < bytes || !ends_a_line(&mut file, bytes).map_err(refused)? {
            return Err(JournalError::DoesNotFit { path, expected: bytes, found });
        }
        let mut lines = Self { path, file, bytes };
        lines.cut().map_err(|source| StoreError::at("cut", &lines.path, source))?;
        Ok(lines)
    }

    /// Adds whole lines, all or nothing.
    ///
    /// # Errors
    /// The disk is full or the system refuses.
    pub(super) fn append(&mut self, text: &str) -> Result<(), StoreError> {
        if let Err(source) = self.file.write_all(text.as_bytes()) {
            // The write is the error to report; half a line would be cut when resuming, too.
            let _ = self.cut();
            return Err(StoreError::at("write", &self.path, source));
        }
        self.bytes += text.len() as u64;
        Ok(())
    }

    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.bytes)?;
        self.file.seek(SeekFrom::Start(self.bytes)).map(|_| ())
    }

    /// Brings all lines to the disk: their length in bytes.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn sync(&mut self) -> Result<u64, StoreError> {
        self.file.sync_all().map_err(|source| StoreError::at("write", &self.path, source))?;
        Ok(self.bytes)
    }
}

fn ends_a_line(file: &mut File, bytes: u64) -> io::Result<bool> {
    let Some(last) = bytes.checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    file.seek(SeekFrom::Start(last))?;
    file.read_exact(&mut byte)?;
    Ok(byte == *b"\n")
}
