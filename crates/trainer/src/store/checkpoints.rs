//! The checkpoints of a run: the last few and the best.
//!
//! Each is a folder `step-000123` that appears complete or not at all. What this leaves out: what a
//! checkpoint contains, but for `checkpoint.json`, which names its step and score.

use std::cmp::Reverse;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{FillError, StoreError, names, read_text, remove_folder, sweep, write_folder};

const RECORD: &str = "checkpoint.json";

/// A checkpoint that cannot be written or read.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The folder is there, its record is not, or is not ours.
    #[error("{} is truncated or not a checkpoint of this trainer: delete it to continue from an earlier one", path.display())]
    Damaged {
        /// The checkpoint.
        path: PathBuf,
    },
    /// A score that cannot be compared.
    #[error(
        "the score of step {step} is {score}: only a finite number tells which checkpoint is best"
    )]
    ScoreNotFinite {
        /// The step.
        step: u64,
        /// The score.
        score: f64,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A complete checkpoint on the disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Optimizer steps done.
    pub step: u64,
    /// Higher is better; none where it was not measured.
    pub score: Option<f64>,
    /// Its folder.
    pub path: PathBuf,
}

/// What `checkpoint.json` holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    step: u64,
    score: Option<f64>,
}

/// The checkpoints of one run.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    keep_last: NonZeroUsize,
}

impl Checkpoints {
    /// Opens the folder of a run's checkpoints, made where it is missing, and finishes what a killed
    /// writer left: half a checkpoint goes, and so do those beyond the last `keep_last` and the best.
    ///
    /// # Errors
    /// A folder cannot be read, or a checkpoint in it is damaged.
    pub fn open(folder: &Path, keep_last: NonZeroUsize) -> Result<Self, CheckpointError> {
        fs::create_dir_all(folder).map_err(|source| StoreError::at("create", folder, source))?;
        sweep(folder)?;
        let checkpoints = Self { folder: folder.to_owned(), keep_last };
        checkpoints.prune()?;
        Ok(checkpoints)
    }

    /// Writes the checkpoint of `step` from what `fill` puts into the folder it is given, then
    /// removes those that are neither among the last nor the best.
    ///
    /// # Errors
    /// `fill` fails or the disk is full; then no trace of the checkpoint remains.
    pub fn save(
        &self,
        step: u64,
        score: Option<f64>,
        fill: impl FnOnce(&Path) -> Result<(), FillError>,
    ) -> Result<Checkpoint, CheckpointError> {
        if let Some(score) = score.filter(|score| !score.is_finite()) {
            return Err(CheckpointError::ScoreNotFinite { step, score });
        }
        let path = self.folder.join(format!("step-{step:06}"));
        write_folder(&path, |folder| {
            fill(folder)?;
            let record = serde_json::to_string(&Record { step, score })?;
            Ok(fs::write(folder.join(RECORD), record + "\n")?)
        })?;
        self.prune()?;
        Ok(Checkpoint { step, score, path })
    }

    /// All checkpoints, by step.
    ///
    /// # Errors
    /// A folder cannot be read, or a checkpoint in it is damaged.
    pub fn all(&self) -> Result<Vec<Checkpoint>, CheckpointError> {
        let mut all = Vec::new();
        for name in names(&self.folder)? {
            if let Some(step) = step_of(&name) {
                all.push(read(&self.folder.join(&name), step)?);
            }
        }
        all.sort_by_key(|checkpoint| checkpoint.step);
        Ok(all)
    }

    /// The checkpoint to resume from: the one with the most steps.
    ///
    /// # Errors
    /// A folder cannot be read, or a checkpoint in it is damaged.
    pub fn latest(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        Ok(self.all()?.pop())
    }

    /// The checkpoint with the highest score; the earliest of several.
    ///
    /// # Errors
    /// A folder cannot be read, or a checkpoint in it is damaged.
    pub fn best(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        Ok(best(&self.all()?).cloned())
    }

    fn prune(&self) -> Result<(), CheckpointError> {
        let all = self.all()?;
        let best = best(&all).map(|checkpoint| checkpoint.step);
        let (old, _) = all.split_at(all.len().saturating_sub(self.keep_last.get()));
        for checkpoint in old.iter().filter(|checkpoint| Some(checkpoint.step) != best) {
            remove_folder(&checkpoint.path)?;
        }
        Ok(())
    }
}

fn best(all: &[Checkpoint]) -> Option<&Checkpoint> {
    let scored = all.iter().filter_map(|checkpoint| Some((checkpoint.score?, checkpoint)));
    let order = |(score, checkpoint): &(f64, &Checkpoint)| (*score, Reverse(checkpoint.step));
    scored
        .max_by(|left, right| {
            let (left, right) = (order(left), order(right));
            left.0.total_cmp(&right.0).then(left.1.cmp(&right.1))
        })
        .map(|(_, checkpoint)| checkpoint)
}

fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix("step-")?.parse().ok()
}

fn read(path: &Path, step: u64) -> Result<Checkpoint, CheckpointError> {
    let damaged = || CheckpointError::Damaged { path: path.to_owned() };
    let record = read_text(&path.join(RECORD)).map_err(|_| damaged())?;
    match serde_json::from_str::<Record>(&record) {
        Ok(record) if record.step == step => {
            Ok(Checkpoint { step, score: record.score, path: path.to_owned() })
        }
        Ok(_) | Err(_) => Err(damaged()),
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::process::Command;

    use super::*;

    fn open(folder: &Path) -> Checkpoints {
        Checkpoints::open(folder, NonZeroUsize::new(2).unwrap()).unwrap()
    }

    /// Two files that must agree.
    fn pair(step: u64) -> impl FnOnce(&Path) -> Result<(), FillError> {
        move |folder| {
            fs::create_dir(folder.join("model"))?;
            fs::write(folder.join("model/weights"), step.to_le_bytes().repeat(4096))?;
            Ok(fs::write(folder.join("state"), step.to_string())?)
        }
    }

    fn steps(checkpoints: &Checkpoints) -> Vec<u64> {
        checkpoints.all().unwrap().iter().map(|checkpoint| checkpoint.step).collect()
    }

    #[test]
    fn the_last_few_and_the_best_are_kept() {
        let check = |scores: &[Option<f64>], kept: &[u64]| {
            let folder = tempfile::tempdir().unwrap();
            let checkpoints = open(folder.path());
            for (index, score) in scores.iter().enumerate() {
                checkpoints.save(index as u64, *score, pair(index as u64)).unwrap();
            }
            assert_eq!(steps(&checkpoints), kept, "{scores:?}");
        };
        check(&[], &[]);
        check(&[None; 5], &[3, 4]);
        check(&[Some(0.1), Some(0.9), Some(0.2), Some(0.3), Some(0.4)], &[1, 3, 4]);
        check(&[Some(0.5), Some(0.5), Some(0.5), Some(0.5)], &[0, 2, 3]);
        check(&[None, Some(-1.0), None, None, None], &[1, 3, 4]);
        check(&[Some(0.1), Some(0.2), Some(0.3)], &[1, 2]);
    }

    #[test]
    fn steps_are_ordered_as_numbers_beyond_six_digits() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = open(folder.path());
        checkpoints.save(1_000_000, None, pair(1_000_000)).unwrap();
        let latest = checkpoints.save(999_999, None, pair(999_999)).unwrap();
        assert!(latest.path.ends_with("step-999999"));
        assert_eq!(checkpoints.latest().unwrap().unwrap().step, 1_000_000);
    }

    #[test]
    fn the_record_survives_a_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let saved = open(folder.path()).save(123, Some(0.1 + 0.2), pair(123)).unwrap();
        assert!(saved.path.ends_with("step-000123"));
        assert_eq!(open(folder.path()).latest().unwrap(), Some(saved.clone()));
        assert_eq!(open(folder.path()).best().unwrap(), Some(saved));
    }

    #[test]
    fn a_score_that_is_no_number_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = open(folder.path()).save(3, Some(f64::NAN), pair(3));
        assert!(matches!(refused, Err(CheckpointError::ScoreNotFinite { step: 3, .. })));
        assert_eq!(names(folder.path()).unwrap().len(), 0);
    }

    #[test]
    fn a_damaged_checkpoint_is_named() {
        let check = |name: &str, record: Option<&str>| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            if let Some(record) = record {
                fs::write(path.join(RECORD), record).unwrap();
            }
            let error = Checkpoints::open(folder.path(), NonZeroUsize::MIN).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        };
        check("step-000007", None);
        check("step-000007", Some(r#"{"step":7,"sco"#));
        check("step-000007", Some(r#"{"step":8,"score":null}"#));
        check("step-000007", Some(r#"{"step":7,"score":null,"trainer":"another"}"#));
    }

    const WRITE_HERE: &str = "KUDOS_TEST_WRITE_CHECKPOINTS_HERE";

    /// Not a test of its own but the process that the next test kills.
    #[test]
    fn write_checkpoints_until_killed() {
        let Some(folder) = env::var_os(WRITE_HERE) else { return };
        let checkpoints = open(Path::new(&folder));
        let first = checkpoints.latest().unwrap().map_or(0, |latest| latest.step + 1);
        for step in first.. {
            checkpoints.save(step, Some(-(step as f64)), pair(step)).unwrap();
        }
    }

    #[test]
    fn a_writer_killed_at_any_moment_leaves_only_complete_checkpoints() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = 0;
        for round in 0..10 {
            let mut writer = Command::new(env::current_exe().unwrap())
                .args(["--exact", &format!("{}::write_checkpoints_until_killed", path_of_tests())])
                .env(WRITE_HERE, folder.path())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            let beyond = |seen: u64| {
                let names = fs::read_dir(folder.path()).unwrap();
                names
                    .filter_map(|name| step_of(name.unwrap().file_name().to_str()?))
                    .any(|step| step > seen)
            };
            while !beyond(seen + 1 + round) {
                assert!(writer.try_wait().unwrap().is_none(), "the writer failed");
            }
            writer.kill().unwrap();
            writer.wait().unwrap();
            let checkpoints = open(folder.path());
            let latest = checkpoints.latest().unwrap().unwrap();
            assert!(latest.step > seen);
            seen = latest.step;
            assert_eq!(steps(&checkpoints), [0, seen - 1, seen]);
            assert_eq!(names(folder.path()).unwrap().len(), 3);
            for Checkpoint { step, path, .. } in checkpoints.all().unwrap() {
                let weights = fs::read(path.join("model/weights")).unwrap();
                assert_eq!(weights, step.to_le_bytes().repeat(4096));
                assert_eq!(read_text(&path.join("state")).unwrap(), step.to_string());
            }
        }
    }

    /// The path of this module as the test runner names it: without the crate.
    fn path_of_tests() -> &'static str {
        module_path!().split_once("::").unwrap().1
    }
}
