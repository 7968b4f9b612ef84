//! `trainer feedback import`: exported ratings, checked and appended to a file.
//!
//! A rating that is wrong is refused with a reason. One that cannot be checked, for want of its policy,
//! is kept and counted. Of several with one id the first stays.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Result;
use kudos_core::bundle::sha256;
use kudos_schema::{Check, CheckOutcome, ImportReport, Rating, UncheckedCause};

use super::check::{Checked, check, is_cpu};
use super::lines::{Line, Refused, lines_of, read};
use super::policies::Policies;
use super::table;
use crate::args::ImportArgs;
use crate::output;
use crate::store::write_file;
use crate::usage::usage;

/// Version of [`ImportReport`].
const VERSION: u32 = 1;

/// Reads, checks, appends and reports.
///
/// # Errors
/// Usage errors: a file cannot be read, or no line of any is a rating; or the output cannot be written.
pub(super) fn run(args: &ImportArgs) -> Result<()> {
    let lines = read(&args.files)?;
    let mut import = Import::open(&args.output, &args.bundles)?;
    for line in lines {
        import.take_line(line)?;
    }
    let report = import.write()?;
    output::result(&match args.json {
        true => serde_json::to_string(&report)?,
        false => table::import(&report),
    });
    if report.lines > 0 && report.accepted + report.duplicates == 0 {
        return Err(usage(format!(
            "no line could be accepted, {} was not changed: give JSON Lines that the page exported as ratings",
            report.output
        )));
    }
    Ok(())
}

/// An import under way.
pub(super) struct Import {
    policies: Policies,
    collection: Collection,
    report: ImportReport,
    output: PathBuf,
    is_changed: bool,
}

/// What became of a line.
pub(super) struct Taken {
    /// The rating's id, if it is one.
    pub(super) id: Option<String>,
    /// What was found, if it was not there before.
    pub(super) check: Option<Check>,
}

/// What is accepted so far.
struct Collection {
    /// The content of the output.
    bytes: Vec<u8>,
    /// The hash of each rating in it, by id.
    hashes: BTreeMap<String, String>,
}

impl Import {
    /// Reads what is there, and the policies.
    ///
    /// # Errors
    /// Usage errors that name the file.
    pub(super) fn open(output: &Path, bundles: &[PathBuf]) -> Result<Self> {
        Ok(Self {
            policies: Policies::read(bundles)?,
            collection: Collection::read(output)?,
            report: ImportReport {
                version: VERSION,
                output: output.display().to_string(),
                ..ImportReport::default()
            },
            output: output.to_owned(),
            is_changed: false,
        })
    }

    /// Writes what was accepted, and says what became of all lines.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(super) fn write(self) -> Result<ImportReport> {
        if self.is_changed {
            write_file(&self.output, &self.collection.bytes)?;
        }
        Ok(self.report)
    }

    /// Takes the ratings of these ids out again; how many there were.
    pub(super) fn erase(&mut self, ids: &[String]) -> usize {
        let erased = self.collection.erase(ids);
        self.is_changed |= erased > 0;
        erased
    }

    /// Checks a line and keeps it if it is sound and new.
    ///
    /// # Errors
    /// Usage errors: a bundle holds no policy that can be used.
    pub(super) fn take_line(&mut self, line: Line) -> Result<Taken> {
        self.report.lines += 1;
        let id = line.rating.as_ref().ok().map(|rating| rating.id.clone());
        let checked = match &line.rating {
            Err(refused) => Err(refused.clone()),
            Ok(rating) if self.is_duplicate(rating) => return Ok(Taken { id, check: None }),
            Ok(rating) => self.against_policy(rating)?,
        };
        let found = |outcome, cause: Option<&str>| {
            id.clone().map(|id| Check { rating: id, outcome, cause: cause.map(str::to_owned) })
        };
        let check = match (checked, line.rating) {
            (Ok(unchecked), Ok(rating)) => {
                self.accept(&rating, unchecked);
                match unchecked {
                    None => found(CheckOutcome::Pass, None),
                    Some(cause) => found(CheckOutcome::Unchecked, Some(cause.name())),
                }
            }
            (Err(refused), _) | (_, Err(refused)) => {
                let check = found(CheckOutcome::Fail, Some(refused.cause.name()));
                *self.report.refused.entry(refused.cause).or_default() += 1;
                self.report.refusals.push(refused.at(&line.file, line.number));
                check
            }
        };
        Ok(Taken { id, check })
    }

    fn is_duplicate(&mut self, rating: &Rating) -> bool {
        let Some(first) = self.collection.hashes.get(&rating.id) else { return false };
        self.report.duplicates += 1;
        self.report.differing_duplicates += usize::from(*first != hash(&text(rating)));
        true
    }

    /// What could not be checked, if anything; the inner error is a refusal.
    fn against_policy(
        &mut self,
        rating: &Rating,
    ) -> Result<Result<Option<UncheckedCause>, Refused>> {
        let mut unchecked = None;
        let places: Vec<usize> = (0..rating.samples.len()).collect();
        let parts = if rating.rival.is_some() { places.chunks(1) } else { places.chunks(2) };
        for places in parts {
            let id = rating.policy_of(places[0]);
            let Some(policy) = self.policies.get(&id.sha256)? else {
                unchecked = unchecked.or(Some(UncheckedCause::Policy));
                continue;
            };
            if id.adapter.is_some() {
                unchecked = unchecked.or(Some(UncheckedCause::Adapter));
                continue;
            }
            match check(rating, places, policy) {
                Err(refused) => return Ok(Err(refused)),
                Ok(found) => {
                    let device = if is_cpu(&rating.backend) { "cpu" } else { "other" };
                    let drift = self.report.drift.entry(device.to_owned()).or_default();
                    drift.add(&found.differences);
                    if found.checked == Checked::PromptAsItIs {
                        unchecked = unchecked.or(Some(UncheckedCause::Prompt));
                    }
                }
            }
        }
        Ok(Ok(unchecked))
    }

    fn accept(&mut self, rating: &Rating, unchecked: Option<UncheckedCause>) {
        self.report.accepted += 1;
        self.is_changed = true;
        match unchecked {
            None => self.report.verified += 1,
            Some(cause) => *self.report.unchecked.entry(cause).or_default() += 1,
        }
        self.collection.append(rating);
    }
}

impl Collection {
    /// What an earlier import left; nothing if there is no such file.
    ///
    /// # Errors
    /// Usage errors: the file cannot be read, or holds something else than ratings.
    fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
            return Err(usage(format!("--output {name}: {} is no folder", parent.display())));
        }
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(usage(format!("--output {name}: {error}"))),
        };
        let mut hashes = BTreeMap::new();
        for line in lines_of(path, &bytes) {
            let rating = line.rating.map_err(|refused| {
                let (number, reason) = (line.number, refused.reason);
                usage(format!("--output {name}, line {number}: {reason}; choose another file"))
            })?;
            hashes.entry(rating.id.clone()).or_insert_with(|| hash(&text(&rating)));
        }
        Ok(Self { bytes, hashes })
    }

    fn erase(&mut self, ids: &[String]) -> usize {
        let known = ids.iter().filter(|id| self.hashes.remove(*id).is_some()).count();
        if known > 0 {
            let gone = |line: &[u8]| {
                let id = serde_json::from_slice::<serde_json::Value>(line);
                id.is_ok_and(|rating| ids.iter().any(|id| rating["id"] == **id))
            };
            let lines = self.bytes.split_inclusive(|byte| *byte == b'\n');
            self.bytes = lines.filter(|line| !gone(line)).flatten().copied().collect();
        }
        known
    }

    fn append(&mut self, rating: &Rating) {
        let text = text(rating);
        if self.bytes.last().is_some_and(|last| *last != b'\n') {
            self.bytes.push(b'\n');
        }
        self.bytes.extend(text.as_bytes());
        self.bytes.push(b'\n');
        self.hashes.insert(rating.id.clone(), hash(&text));
    }
}

fn text(rating: &Rating) -> String {
    serde_json::to_string(rating).expect("strings and numbers are JSON")
}

fn hash(text: &str) -> String {
    sha256(text.as_bytes())
}
