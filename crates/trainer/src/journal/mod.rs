//! What a run writes down as it goes, one JSON object a line.
//!
//! `metrics.jsonl` and `samples.jsonl` hold nothing but what follows from recipe, seed and device:
//! a run that is interrupted and resumed leaves the same bytes as an unbroken one. What the clock
//! says goes to `timing.jsonl`. A checkpoint keeps a [`Mark`]; resuming cuts the files back to it.
//! Numbers are written in the shortest form that reads back as the same f64.

mod lines;
mod metrics;
mod tensorboard;

use std::path::{Path, PathBuf};

use kudos_schema::EndReason;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::store::StoreError;
use lines::Lines;
use metrics::line;
pub use metrics::{MetricsRow, read_metrics, series};
pub use tensorboard::{EventWriter, host_name};

/// The name of the file of metrics in a run's directory.
pub const METRICS: &str = "metrics.jsonl";
/// The name of the file of samples in a run's directory.
pub const SAMPLES: &str = "samples.jsonl";
/// The name of the file of timings in a run's directory.
pub const TIMING: &str = "timing.jsonl";

/// A line that cannot be written or read.
#[derive(Debug, Error)]
pub enum JournalError {
    /// JSON has no such number.
    #[error(
        "{name} is {value} at step {step}, which JSON cannot hold: stop the run there instead of \
         writing it down"
    )]
    NotFinite {
        /// The step.
        step: u64,
        /// The metric.
        name: String,
        /// Its value.
        value: f64,
    },
    /// One object cannot hold a name twice.
    #[error("{name} is given twice at step {step}: give each metric a name of its own")]
    RepeatedName {
        /// The step.
        step: u64,
        /// The metric.
        name: String,
    },
    /// The file is not the one that the checkpoint belongs to.
    #[error(
        "{} does not fit the checkpoint, which expects a line to end at byte {expected} of its \
         {found}: restore the file, or start anew in another --output-dir",
        path.display()
    )]
    DoesNotFit {
        /// The file.
        path: PathBuf,
        /// The byte at which the checkpoint's lines end.
        expected: u64,
        /// The file's length in bytes.
        found: u64,
    },
    /// A line is not what this module writes.
    #[error("{} line {line} is not a line of metrics", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Why not.
        source: serde_json::Error,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far the journal reached: the length of each file in bytes. The default is an empty journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// Of `metrics.jsonl`.
    pub metrics_bytes: u64,
    /// Of `samples.jsonl`.
    pub samples_bytes: u64,
    /// Of `timing.jsonl`.
    pub timing_bytes: u64,
}

/// One line of `samples.jsonl`: what the policy wrote and what it got for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleRow {
    /// The optimizer step.
    pub step: u64,
    /// The prompt as text.
    pub prompt: String,
    /// The completion as text.
    pub completion: String,
    /// What the data says, if it says anything.
    pub reference: Option<String>,
    /// None where no reward applies.
    pub reward: Option<f64>,
    /// Why the completion ended.
    pub end_reason: EndReason,
}

/// The open files of a running run.
#[derive(Debug)]
pub struct Journal {
    metrics: Lines,
    samples: Lines,
    timing: Lines,
}

impl Journal {
    /// Opens the journal of a run's directory, cut back to `mark`; `Mark::default()` starts one.
    ///
    /// # Errors
    /// A file is shorter than the mark says, or not written by lines up to there.
    pub fn open(folder: &Path, mark: &Mark) -> Result<Self, JournalError> {
        Ok(Self {
            metrics: Lines::open(folder.join(METRICS), mark.metrics_bytes)?,
            samples: Lines::open(folder.join(SAMPLES), mark.samples_bytes)?,
            timing: Lines::open(folder.join(TIMING), mark.timing_bytes)?,
        })
    }

    /// Writes the metrics of a step, in the order given.
    ///
    /// # Errors
    /// A value is not finite, a name is given twice, or the disk is full: nothing is written.
    pub fn metrics<N: AsRef<str>>(
        &mut self,
        step: u64,
        values: &[(N, f64)],
    ) -> Result<(), JournalError> {
        Ok(self.metrics.append(&line(step, values)?)?)
    }

    /// Writes what the clock says of a step: seconds, tokens a second.
    ///
    /// # Errors
    /// As of [`Journal::metrics`].
    pub fn timing<N: AsRef<str>>(
        &mut self,
        step: u64,
        values: &[(N, f64)],
    ) -> Result<(), JournalError> {
        Ok(self.timing.append(&line(step, values)?)?)
    }

    /// Writes a sample.
    ///
    /// # Errors
    /// The reward is not finite or the disk is full: nothing is written.
    pub fn sample(&mut self, row: &SampleRow) -> Result<(), JournalError> {
        if let Some(value) = row.reward.filter(|reward| !reward.is_finite()) {
            return Err(JournalError::NotFinite { step: row.step, name: "reward".into(), value });
        }
        let text = serde_json::to_string(row).expect("a row of texts and finite numbers is JSON");
        Ok(self.samples.append(&(text + "\n"))?)
    }

    /// Brings all lines to the disk and says how far they reach: to keep in a checkpoint.
    ///
    /// # Errors
    /// The system refuses.
    pub fn mark(&mut self) -> Result<Mark, JournalError> {
        Ok(Mark {
            metrics_bytes: self.metrics.sync()?,
            samples_bytes: self.samples.sync()?,
            timing_bytes: self.timing.sync()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    fn row(step: u64) -> SampleRow {
        SampleRow {
            step,
            prompt: "Who?\n".into(),
            completion: "\"Ada\" \u{1F600}".into(),
            reference: None,
            reward: Some(step as f64 / 3.0),
            end_reason: EndReason::Stop,
        }
    }

    fn write(journal: &mut Journal, steps: std::ops::Range<u64>) {
        for step in steps {
            journal.metrics(step, &[("reward", 1.0 / (step + 1) as f64), ("kl", -0.0)]).unwrap();
            journal.sample(&row(step)).unwrap();
            journal.timing(step, &[("step_time", 0.5)]).unwrap();
        }
    }

    fn bytes(folder: &Path) -> [Vec<u8>; 3] {
        [METRICS, SAMPLES, TIMING].map(|name| fs::read(folder.join(name)).unwrap())
    }

    #[test]
    fn a_resumed_journal_has_the_bytes_of_an_unbroken_one_wherever_it_was_cut() {
        let unbroken = tempfile::tempdir().unwrap();
        write(&mut Journal::open(unbroken.path(), &Mark::default()).unwrap(), 0..6);
        // Killed in step 4 after each possible number of bytes written since the checkpoint.
        let full = bytes(unbroken.path());
        for torn in 0..200 {
            let folder = tempfile::tempdir().unwrap();
            let mut journal = Journal::open(folder.path(), &Mark::default()).unwrap();
            write(&mut journal, 0..3);
            let mark = journal.mark().unwrap();
            for (name, full) in [METRICS, SAMPLES, TIMING].iter().zip(&full) {
                let path = folder.path().join(name);
                let reached = (fs::metadata(&path).unwrap().len() as usize + torn).min(full.len());
                fs::write(path, &full[..reached]).unwrap();
            }
            write(&mut Journal::open(folder.path(), &mark).unwrap(), 3..6);
            assert_eq!(bytes(folder.path()), full, "{torn}");
        }
    }

    #[test]
    fn what_json_cannot_hold_is_refused_and_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path(), &Mark::default()).unwrap();
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let refused = journal.metrics(7, &[("reward", 1.0), ("kl", value)]).unwrap_err();
            assert!(refused.to_string().starts_with("kl is"), "{refused}");
            let refused = journal.sample(&SampleRow { reward: Some(value), ..row(7) });
            assert!(matches!(refused, Err(JournalError::NotFinite { step: 7, .. })));
        }
        for names in [["kl", "kl"], ["kl", "step"]] {
            let refused = journal.metrics(7, &names.map(|name| (name, 1.0)));
            assert!(matches!(refused, Err(JournalError::RepeatedName { .. })));
        }
        assert_eq!(journal.mark().unwrap(), Mark::default());
    }

    #[test]
    fn a_journal_that_is_not_the_checkpoints_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path(), &Mark::default()).unwrap();
        write(&mut journal, 0..2);
        let mark = journal.mark().unwrap();
        for metrics_bytes in [mark.metrics_bytes - 1, mark.metrics_bytes + 1] {
            let refused = Journal::open(folder.path(), &Mark { metrics_bytes, ..mark });
            assert!(matches!(refused, Err(JournalError::DoesNotFit { .. })), "{metrics_bytes}");
        }
        Journal::open(folder.path(), &mark).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path(), &Mark::default()).unwrap();
        journal.metrics.file = File::options().write(true).open("/dev/full").unwrap();
        let refused = journal.metrics(1, &[("kl", 0.5)]).unwrap_err();
        assert!(matches!(refused, JournalError::Store(StoreError::DiskFull { .. })), "{refused:?}");
    }
}
