//! Files that are either as they were or complete, whatever kills the writer.
//!
//! A file or folder is filled under a hidden sibling name, synced to the disk and only then renamed
//! into place. What this leaves out: what the files mean. Source: the rename of POSIX is atomic
//! within a file system; the sync before it is needed for the contents, the one after it for the
//! name (`man 2 fsync`).

mod checkpoints;
mod run_directory;

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use checkpoints::{Checkpoint, CheckpointError, Checkpoints};
pub(crate) use run_directory::RECIPE;
pub use run_directory::{RunDirectory, RunDirectoryError};

/// What a closure that fills a folder may fail with.
pub type FillError = Box<dyn Error + Send + Sync>;

/// A file or folder that could not be written or read; the place keeps what it held before.
#[derive(Debug, Error)]
pub enum StoreError {
    /// No space is left.
    #[error(
        "the disk is full: {} was not written; free some space, then continue with --resume",
        path.display()
    )]
    DiskFull {
        /// What was to be written.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried: a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The closure that fills a folder failed.
    #[error("cannot fill {}", path.display())]
    Fill {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: FillError,
    },
}

impl StoreError {
    /// The error of trying to `action` the `path`.
    pub(crate) fn at(action: &'static str, path: &Path, source: io::Error) -> Self {
        match is_full(&source) {
            true => Self::DiskFull { path: path.to_owned(), source },
            false => Self::File { action, path: path.to_owned(), source },
        }
    }

    /// The error of a closure that was to fill `path`: a full disk at the bottom of the chain is
    /// reported as such, whatever is wrapped around it.
    fn filling(path: &Path, source: FillError) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(source.as_ref());
        while let Some(error) = cause {
            if error.downcast_ref::<io::Error>().is_some_and(is_full) {
                let source = io::ErrorKind::StorageFull.into();
                return Self::DiskFull { path: path.to_owned(), source };
            }
            cause = error.source();
        }
        Self::Fill { path: path.to_owned(), source }
    }
}

/// Whether the system says that no space is left.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Writes a file, replacing what was there, all or nothing.
///
/// # Errors
/// The disk is full or the system refuses; then the old contents are still there.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let partial = sibling(path, PARTIAL);
    fill_file(&partial, bytes).and_then(|()| commit(&partial, path)).map_err(|source| {
        // The first error is the one to report; a leftover is swept by the next run.
        let _ = fs::remove_file(&partial);
        StoreError::at("write", path, source)
    })
}

/// Writes a folder, replacing what was there, all or nothing: `fill` gets the hidden sibling to
/// write into.
///
/// # Errors
/// `fill` fails, the disk is full or the system refuses; then the old contents are still there, at
/// the latest after [`sweep`].
pub fn write_folder(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), FillError>,
) -> Result<(), StoreError> {
    let partial = sibling(path, PARTIAL);
    let written = stage_folder(path, &partial, fill)
        .and_then(|()| swap(&partial, path).map_err(|error| StoreError::at("write", path, error)));
    if written.is_err() {
        let _ = remove(&partial);
    }
    written
}

/// Reads a text file.
///
/// # Errors
/// The file is not there, not readable or not UTF-8.
pub fn read_text(path: &Path) -> Result<String, StoreError> {
    fs::read_to_string(path).map_err(|source| StoreError::at("read", path, source))
}

/// Removes a folder such that a kill on the way does not leave half of it under its name.
///
/// # Errors
/// The system refuses.
pub fn remove_folder(path: &Path) -> Result<(), StoreError> {
    let removed = sibling(path, REMOVED);
    remove(&removed)
        .and_then(|()| fs::rename(path, &removed))
        .and_then(|()| sync_folder(parent(path)))
        .and_then(|()| remove(&removed))
        .map_err(|source| StoreError::at("remove", path, source))
}

/// Clears what killed writers left in `folder`, and puts back what one had moved aside.
///
/// # Errors
/// The system refuses.
pub fn sweep(folder: &Path) -> Result<(), StoreError> {
    for name in names(folder)? {
        let Some((kept, ending)) = leftover(&name) else { continue };
        let (leftover, kept) = (folder.join(&name), folder.join(kept));
        let swept = match ending == REPLACED && !kept.exists() {
            true => fs::rename(&leftover, &kept),
            false => remove(&leftover),
        };
        swept.map_err(|source| StoreError::at("clear", &leftover, source))?;
    }
    Ok(())
}

/// The names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, StoreError> {
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    };
    read().map_err(|source| StoreError::at("read", folder, source))
}

const PARTIAL: &str = "partial";
const REPLACED: &str = "replaced";
const REMOVED: &str = "removed";

/// Whether a name is one that only an unfinished writer leaves behind: the name it was for, and why.
fn leftover(name: &str) -> Option<(&str, &str)> {
    let (kept, ending) = name.strip_prefix('.')?.rsplit_once('.')?;
    [PARTIAL, REPLACED, REMOVED].contains(&ending).then_some((kept, ending))
}

fn sibling(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().expect("a path to write to ends in a name"));
    name.push(".");
    name.push(ending);
    path.with_file_name(name)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    }
}

fn fill_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn commit(partial: &Path, path: &Path) -> io::Result<()> {
    fs::rename(partial, path)?;
    sync_folder(parent(path))
}

fn stage_folder(
    path: &Path,
    partial: &Path,
    fill: impl FnOnce(&Path) -> Result<(), FillError>,
) -> Result<(), StoreError> {
    let refused = |source| StoreError::at("write", path, source);
    remove(partial).and_then(|()| fs::create_dir_all(partial)).map_err(refused)?;
    fill(partial).map_err(|source| StoreError::filling(path, source))?;
    sync_tree(partial).map_err(refused)
}

/// Puts a complete folder into its place. A folder cannot be renamed onto one that holds files, so
/// the old one steps aside; `sweep` brings it back after a kill between the two renames.
fn swap(partial: &Path, path: &Path) -> io::Result<()> {
    if !path.exists() {
        return commit(partial, path);
    }
    let replaced = sibling(path, REPLACED);
    remove(&replaced)?;
    fs::rename(path, &replaced)?;
    if let Err(error) = commit(partial, path) {
        fs::rename(&replaced, path)?;
        return Err(error);
    }
    remove(&replaced)
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => sync_tree(&path)?,
            // Windows syncs only through a handle that may write.
            false => File::options().write(true).open(&path)?.sync_all()?,
        }
    }
    sync_folder(folder)
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Windows has no handle of a folder to sync; its renames are journaled.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_writer_killed_before_the_rename_leaves_the_old_file() {
        let folder = folder();
        let path = folder.path().join("state.json");
        write_file(&path, b"old").unwrap();
        fill_file(&sibling(&path, PARTIAL), b"ne").unwrap();
        sweep(folder.path()).unwrap();
        assert_eq!(read_text(&path).unwrap(), "old");
        assert_eq!(names(folder.path()).unwrap(), ["state.json"]);
        write_file(&path, b"new").unwrap();
        assert_eq!(read_text(&path).unwrap(), "new");
    }

    #[test]
    fn a_folder_killed_at_any_step_is_the_old_or_the_new_one_after_a_sweep() {
        let check = |kill_after: usize, expected: &str| {
            let folder = folder();
            let path = folder.path().join("model");
            let fill = |text: &'static str| {
                move |folder: &Path| Ok(fs::write(folder.join("weights"), text)?)
            };
            write_folder(&path, fill("old")).unwrap();
            let (partial, replaced) = (sibling(&path, PARTIAL), sibling(&path, REPLACED));
            // The steps of `write_folder`, up to where the kill comes.
            let steps: [&dyn Fn(); 4] = [
                &|| stage_folder(&path, &partial, fill("new")).unwrap(),
                &|| fs::rename(&path, &replaced).unwrap(),
                &|| fs::rename(&partial, &path).unwrap(),
                &|| remove(&replaced).unwrap(),
            ];
            steps[..kill_after].iter().for_each(|step| step());
            sweep(folder.path()).unwrap();
            assert_eq!(read_text(&path.join("weights")).unwrap(), expected, "{kill_after}");
            assert_eq!(names(folder.path()).unwrap(), ["model"], "{kill_after}");
        };
        [(0, "old"), (1, "old"), (2, "old"), (3, "new"), (4, "new")]
            .into_iter()
            .for_each(|(kill_after, expected)| check(kill_after, expected));
    }

    #[test]
    fn a_closure_that_fails_leaves_the_old_folder_and_nothing_else() {
        let folder = folder();
        let path = folder.path().join("model");
        write_folder(&path, |folder| Ok(fs::write(folder.join("weights"), "old")?)).unwrap();
        let failed = write_folder(&path, |folder| {
            fs::write(folder.join("weights"), "ne")?;
            Err("the device went away".into())
        });
        assert!(matches!(failed, Err(StoreError::Fill { .. })));
        assert_eq!(read_text(&path.join("weights")).unwrap(), "old");
        assert_eq!(names(folder.path()).unwrap(), ["model"]);
    }

    #[test]
    fn a_full_disk_below_any_wrapping_is_named_as_such() {
        let folder = folder();
        let path = folder.path().join("model");
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let wrapped = || StoreError::File { action: "write", path: "x".into(), source: full() };
        for error in [FillError::from(full()), FillError::from(wrapped())] {
            let failed = write_folder(&path, |_| Err(error)).unwrap_err();
            assert!(matches!(failed, StoreError::DiskFull { .. }), "{failed:?}");
            assert!(failed.to_string().contains("free some space"));
            assert_eq!(names(folder.path()).unwrap().len(), 0);
        }
    }

    /// `/dev/full` answers every write as a full disk does.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_write_that_meets_a_full_disk_leaves_the_old_file_and_nothing_else() {
        let folder = folder();
        let path = folder.path().join("state.json");
        write_file(&path, b"old").unwrap();
        std::os::unix::fs::symlink("/dev/full", sibling(&path, PARTIAL)).unwrap();
        assert!(matches!(write_file(&path, b"new"), Err(StoreError::DiskFull { .. })));
        assert_eq!(read_text(&path).unwrap(), "old");
        assert_eq!(names(folder.path()).unwrap(), ["state.json"]);
    }
}
