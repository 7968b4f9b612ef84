//! Checkpoints of runs over games: the files of a run's own, how far it was, and the policy as a folder to use.
//!
//! What `session` does for recipes of the other verbs, without their looks, events and live line.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use kudos_core::model::hugging_face::StoredAs;
use serde::{Deserialize, Serialize};

use crate::journal::{Journal, Mark};
use crate::output;
use crate::policy::{self, Policy};
use crate::store::{Checkpoints, RunDirectory};
use crate::usage::usage;

/// The file that says how far a run was.
const STATE: &str = "state.json";

/// Checkpoints that stay.
const KEEP: NonZeroUsize = NonZeroUsize::new(2).expect("not 0");

/// Where a run is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Steps or rounds that are done.
    pub(crate) done: usize,
    /// Wall-clock seconds until then.
    seconds: f64,
    /// Lines that were written until then.
    mark: Mark,
}

/// A checkpoint to go on from.
#[derive(Debug)]
pub(crate) struct Kept {
    folder: PathBuf,
}

impl Kept {
    /// A file of the checkpoint.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn file(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.folder.join(name);
        fs::read(&path).with_context(|| format!("the checkpoint {}", path.display()))
    }
}

/// The folder of a run with its checkpoints.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) directory: RunDirectory,
    pub(crate) journal: Journal,
    pub(crate) progress: Progress,
    checkpoints: Checkpoints,
    every: usize,
    begun: Instant,
}

impl Keeper {
    /// Claims the folder of a new run, or takes up what is there, with its last checkpoint if it has one. `every` so many
    /// steps or rounds there is one; 0 = only where a run is stopped.
    ///
    /// # Errors
    /// A folder that holds something else, a damaged checkpoint.
    pub(crate) fn open(
        (folder, resume): (&Path, bool),
        recipe: &str,
        every: usize,
    ) -> Result<(Self, Option<Kept>)> {
        let opened = match resume {
            true => RunDirectory::resume(folder, recipe),
            false => RunDirectory::start(folder, recipe),
        };
        let directory = opened.map_err(|error| usage(error.to_string()))?;
        let checkpoints = Checkpoints::open(&directory.path().join("checkpoints"), KEEP)?;
        let latest = if resume { checkpoints.latest()? } else { None };
        let kept = latest.map(|checkpoint| Kept { folder: checkpoint.path });
        let progress = match &kept {
            None => Progress::default(),
            Some(kept) => serde_json::from_slice(&kept.file(STATE)?)
                .with_context(|| format!("{}/{STATE}", kept.folder.display()))?,
        };
        let journal = Journal::open(directory.path(), &progress.mark)?;
        let begun = Instant::now();
        Ok((Self { directory, journal, progress, checkpoints, every, begun }, kept))
    }

    /// Seconds of the run so far, earlier parts included.
    pub(crate) fn seconds(&self) -> f64 {
        self.progress.seconds + self.begun.elapsed().as_secs_f64()
    }

    /// Whether a checkpoint is due.
    pub(crate) fn due(&self) -> bool {
        self.every > 0 && self.progress.done.is_multiple_of(self.every)
    }

    /// Writes a checkpoint of files by name, and of the policy.
    ///
    /// # Errors
    /// A failing device, a full disk.
    pub(crate) fn save(
        &mut self,
        policy: &Policy,
        files: &[(&'static str, Vec<u8>)],
    ) -> Result<()> {
        let (seconds, mark) = (self.seconds(), self.journal.mark()?);
        let state = serde_json::to_string_pretty(&Progress { seconds, mark, ..self.progress })?;
        self.checkpoints.save(self.progress.done as u64, None, |folder| {
            for (name, bytes) in files {
                fs::write(folder.join(name), bytes)?;
            }
            fs::write(folder.join(STATE), state + "\n")?;
            let model = folder.join("model");
            fs::create_dir(&model)?;
            policy::save(policy, StoredAs::F32, &model)
        })?;
        Ok(())
    }

    /// Says how a stopped run goes on.
    pub(crate) fn stopped(&self) {
        let (path, done) = (self.directory.path().display(), self.progress.done);
        output::note(&format!(
            "saved; continue with --resume --output-dir {path}, or take {path}/checkpoints/step-{done:06}/model"
        ));
    }
}
