//! The directory of one run: claimed once, held by one process at a time.
//!
//! `recipe.toml` marks it as a run's. A lock that the system drops with the process keeps a second
//! trainer out, also after `kill -9`.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{StoreError, leftover, names, read_text, sweep, write_file};

/// The resolved recipe, whose presence says that the directory is a run's.
pub(crate) const RECIPE: &str = "recipe.toml";
const LOCK: &str = ".lock";

/// A directory that cannot be taken for this run.
#[derive(Debug, Error)]
pub enum RunDirectoryError {
    /// Another run lives here.
    #[error(
        "{} already holds a run: continue it with --resume, or choose another --output-dir",
        path.display()
    )]
    HoldsRun {
        /// The directory.
        path: PathBuf,
    },
    /// Something else lives here.
    #[error(
        "{} holds other files (such as {found}): choose an empty or a new --output-dir",
        path.display()
    )]
    HoldsOtherFiles {
        /// The directory.
        path: PathBuf,
        /// One of the files.
        found: String,
    },
    /// There is nothing to resume.
    #[error("{} holds no run: leave out --resume to start one there", path.display())]
    HoldsNoRun {
        /// The directory.
        path: PathBuf,
    },
    /// The run was started with other choices.
    #[error(
        "{} holds a run with another recipe (there: `{there}`, now: `{now}`): resume without \
         --config and overriding flags, or choose another --output-dir",
        path.display()
    )]
    OtherRecipe {
        /// The directory.
        path: PathBuf,
        /// The first line that differs, as stored.
        there: String,
        /// The same line as asked for.
        now: String,
    },
    /// Another process is writing here.
    #[error(
        "{} is in use by another trainer: wait for it or stop it, or choose another --output-dir",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The directory of one run, locked as long as this value lives.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    _lock: File,
}

impl RunDirectory {
    /// Claims a new or empty directory for a run with this resolved `recipe`.
    ///
    /// # Errors
    /// The directory holds anything, or is in use; it is left as it was.
    pub fn start(path: &Path, recipe: &str) -> Result<Self, RunDirectoryError> {
        let refused = |source| StoreError::at("create", path, source);
        fs::create_dir_all(path).map_err(refused)?;
        check_free(path)?;
        let lock = lock(path)?;
        // Again, now that nobody else can be writing the recipe.
        check_free(path)?;
        sweep(path)?;
        write_file(&path.join(RECIPE), recipe.as_bytes())?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Takes up the run in a directory, and clears what its killed writer left half done.
    ///
    /// `recipe` is written only where the run was killed before it had written its own.
    ///
    /// # Errors
    /// The directory holds no run, a run with another recipe, or is in use.
    pub fn resume(path: &Path, recipe: &str) -> Result<Self, RunDirectoryError> {
        let unborn = path.join(LOCK).exists() && check_free(path).is_ok();
        if !unborn && !path.join(RECIPE).is_file() {
            return Err(RunDirectoryError::HoldsNoRun { path: path.to_owned() });
        }
        let lock = lock(path)?;
        sweep(path)?;
        if path.join(RECIPE).is_file() {
            same_recipe(path, &read_text(&path.join(RECIPE))?, recipe)?;
        } else {
            write_file(&path.join(RECIPE), recipe.as_bytes())?;
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The recipe that the run was started with.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn recipe(&self) -> Result<String, StoreError> {
        read_text(&self.path.join(RECIPE))
    }

    /// Writes a file of the run, all or nothing.
    ///
    /// # Errors
    /// The disk is full or the system refuses; then the old contents are still there.
    pub fn write(&self, name: &str, contents: &str) -> Result<(), StoreError> {
        write_file(&self.path.join(name), contents.as_bytes())
    }
}

/// Refuses a directory that holds more than what a run killed at its birth leaves.
fn check_free(path: &Path) -> Result<(), RunDirectoryError> {
    let path_owned = || path.to_owned();
    let at_birth =
        |name: &str| name == LOCK || leftover(name).is_some_and(|(kept, _)| kept == RECIPE);
    let found: Vec<String> = names(path)?.into_iter().filter(|name| !at_birth(name)).collect();
    match found.first() {
        None => Ok(()),
        Some(_) if found.iter().any(|name| name == RECIPE) => {
            Err(RunDirectoryError::HoldsRun { path: path_owned() })
        }
        Some(name) => {
            Err(RunDirectoryError::HoldsOtherFiles { path: path_owned(), found: name.clone() })
        }
    }
}

fn lock(path: &Path) -> Result<File, RunDirectoryError> {
    let file_path = path.join(LOCK);
    let refused = |source| StoreError::at("lock", &file_path, source);
    let options = File::options().create(true).truncate(false).write(true).open(&file_path);
    let file = options.map_err(refused)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RunDirectoryError::InUse { path: path.to_owned() }),
        // Some network file systems know no locks; there, one trainer a directory is up to the user.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(refused(error).into()),
    }
}

/// Refuses to go on with other choices than the run was started with.
fn same_recipe(path: &Path, there: &str, now: &str) -> Result<(), RunDirectoryError> {
    if there == now {
        return Ok(());
    }
    let mut lines = there.lines().zip(now.lines());
    let (there, now) = lines.find(|(there, now)| there != now).unwrap_or(("", ""));
    Err(RunDirectoryError::OtherRecipe {
        path: path.to_owned(),
        there: there.to_owned(),
        now: now.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_holds_one_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs/first");
        let run = RunDirectory::start(&path, "seed = 1\n").unwrap();
        run.write("result.json", "{}").unwrap();
        drop(run);
        let refused = RunDirectory::start(&path, "seed = 2\n").unwrap_err();
        assert!(matches!(refused, RunDirectoryError::HoldsRun { .. }));
        let message = refused.to_string();
        assert!(message.contains("--resume") && message.contains("--output-dir"), "{message}");
        assert_eq!(read_text(&path.join(RECIPE)).unwrap(), "seed = 1\n");
        let other = RunDirectory::resume(&path, "seed = 2\n").unwrap_err().to_string();
        assert!(other.contains("seed = 1") && other.contains("seed = 2"), "{other}");
        let run = RunDirectory::resume(&path, "seed = 1\n").unwrap();
        assert_eq!(run.recipe().unwrap(), "seed = 1\n");
    }

    #[test]
    fn a_directory_of_other_files_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "").unwrap();
        let refused = RunDirectory::start(folder.path(), "").unwrap_err();
        assert!(refused.to_string().contains("thesis.tex"), "{refused}");
        assert!(matches!(
            RunDirectory::resume(folder.path(), ""),
            Err(RunDirectoryError::HoldsNoRun { .. })
        ));
        assert_eq!(names(folder.path()).unwrap(), ["thesis.tex"]);
    }

    #[test]
    fn a_missing_directory_is_not_resumed_and_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("typo");
        assert!(matches!(
            RunDirectory::resume(&path, ""),
            Err(RunDirectoryError::HoldsNoRun { .. })
        ));
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_is_held_by_one_trainer_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::start(folder.path(), "").unwrap();
        let second = RunDirectory::resume(folder.path(), "");
        assert!(matches!(second, Err(RunDirectoryError::InUse { .. })));
        drop(run);
        RunDirectory::resume(folder.path(), "").unwrap();
    }

    #[test]
    fn a_run_killed_before_its_recipe_was_written_can_be_started_and_resumed() {
        type Open = fn(&Path, &str) -> Result<RunDirectory, RunDirectoryError>;
        for open in [RunDirectory::start as Open, RunDirectory::resume as Open] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(LOCK), "").unwrap();
            fs::write(folder.path().join(".recipe.toml.partial"), "se").unwrap();
            let run = open(folder.path(), "seed = 1\n").unwrap();
            assert_eq!(run.recipe().unwrap(), "seed = 1\n");
            assert_eq!(names(folder.path()).unwrap(), [LOCK, RECIPE]);
        }
    }
}
