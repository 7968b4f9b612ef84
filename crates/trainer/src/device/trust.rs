//! Outcomes of self-tests, kept on disk so that a driver is tested once.
//!
//! A test that was begun and never ended has taken its process with it: some drivers crash where
//! others report an error. So a test is noted before it runs, and one without an end counts as
//! failed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::adapters::{Adapter, SHADER_COMPILER};
use crate::self_test::{self, Outcome};
use crate::store::write_file;

/// The file of outcomes in the cache directory.
pub const RESULTS_FILE: &str = "device_self_tests.json";

/// The outcome of a device, with what the user should know of how it was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Tested {
    /// How the self-test ended.
    pub outcome: Outcome,
    /// Why the outcome could not be kept, if so.
    pub note: Option<String>,
}

/// All that decides how an adapter computes. Another driver, another test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    adapter: String,
    graphics_api: String,
    driver: String,
    driver_info: String,
    shader_compiler: String,
    kudos_version: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    key: Key,
    /// None while the test runs.
    outcome: Option<Outcome>,
}

impl Key {
    fn of(adapter: &Adapter) -> Self {
        Self {
            adapter: adapter.name.clone(),
            graphics_api: adapter.graphics_api.clone(),
            driver: adapter.driver.clone(),
            driver_info: adapter.driver_info.clone(),
            shader_compiler: SHADER_COMPILER.to_owned(),
            kudos_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// The kept outcome of `adapter`, or that of a test now.
pub fn tested(adapter: &Adapter, cache_dir: Option<&Path>) -> Tested {
    tested_by(&Key::of(adapter), cache_dir, || self_test::run(|| adapter.open()))
}

fn tested_by(key: &Key, cache_dir: Option<&Path>, test: impl FnOnce() -> Outcome) -> Tested {
    let Some(folder) = cache_dir else { return Tested { outcome: test(), note: None } };
    let path = folder.join(RESULTS_FILE);
    match read(&path).into_iter().find(|record| record.key == *key) {
        Some(Record { outcome: Some(outcome), .. }) => return Tested { outcome, note: None },
        Some(Record { outcome: None, .. }) => {
            let reason =
                format!("an earlier test never ended; delete {} to repeat", path.display());
            return Tested { outcome: Outcome::Failed { reason }, note: None };
        }
        None => {}
    }
    let kept = keep(&path, Record { key: key.clone(), outcome: None });
    let outcome = test();
    let kept = kept
        .and_then(|()| keep(&path, Record { key: key.clone(), outcome: Some(outcome.clone()) }));
    let note = kept.err().map(|error| {
        format!("the outcome of the self-test was not kept and the next run repeats it: {error}")
    });
    Tested { outcome, note }
}

/// The records of the file; none where it is missing or not ours, and then it is written anew.
fn read(path: &PathBuf) -> Vec<Record> {
    let text = fs::read_to_string(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Replaces the record with this key.
fn keep(path: &PathBuf, record: Record) -> io::Result<()> {
    let mut records = read(path);
    records.retain(|other| other.key != record.key);
    records.push(record);
    let text = serde_json::to_string_pretty(&records).expect("records are plain data");
    let folder = path.parent().expect("the file lies in the cache directory");
    fs::create_dir_all(folder)?;
    write_file(path, text.as_bytes()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSED: Outcome = Outcome::Passed { logits: 0.0, cached_logits: 1e-8, gradients: 2e-9 };

    fn key(driver_info: &str) -> Key {
        Key {
            adapter: "adapter".to_owned(),
            graphics_api: "Vulkan".to_owned(),
            driver: "driver".to_owned(),
            driver_info: driver_info.to_owned(),
            shader_compiler: "WGSL".to_owned(),
            kudos_version: "0.1.0".to_owned(),
        }
    }

    fn failed() -> Outcome {
        Outcome::Failed { reason: "it differs".to_owned() }
    }

    #[test]
    fn a_driver_is_tested_once_and_another_version_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Some(folder.path());
        let mut tests = 0;
        let mut outcome_of = |version: &str, outcome: Outcome| {
            let tested = tested_by(&key(version), cache, || {
                tests += 1;
                outcome
            });
            assert_eq!(tested.note, None);
            (tested.outcome, tests)
        };
        assert_eq!(outcome_of("1", PASSED), (PASSED, 1));
        assert_eq!(outcome_of("1", failed()), (PASSED, 1));
        assert_eq!(outcome_of("2", failed()), (failed(), 2));
        assert_eq!(outcome_of("2", PASSED), (failed(), 2));
        assert_eq!(outcome_of("1", failed()), (PASSED, 2));
    }

    #[test]
    fn a_test_that_took_its_process_with_it_counts_as_failed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(RESULTS_FILE);
        let crashed = std::panic::catch_unwind(|| {
            tested_by(&key("1"), Some(folder.path()), || panic!("the driver crashed"))
        });
        assert!(crashed.is_err());
        let tested = tested_by(&key("1"), Some(folder.path()), || PASSED);
        let Outcome::Failed { reason } = tested.outcome else { panic!("{tested:?}") };
        assert!(reason.contains(&path.display().to_string()), "{reason}");
        fs::remove_file(path).unwrap();
        assert_eq!(tested_by(&key("1"), Some(folder.path()), || PASSED).outcome, PASSED);
    }

    #[test]
    fn a_damaged_file_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(RESULTS_FILE), "[{\"adapter\":").unwrap();
        let cache = Some(folder.path());
        assert_eq!(tested_by(&key("1"), cache, || PASSED).outcome, PASSED);
        assert_eq!(tested_by(&key("1"), cache, failed).outcome, PASSED);
    }

    #[test]
    fn an_outcome_that_cannot_be_kept_is_used_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let tested = tested_by(&key("1"), Some(&file), || PASSED);
        assert_eq!(tested.outcome, PASSED);
        assert!(tested.note.unwrap().contains("was not kept"));
    }
}
