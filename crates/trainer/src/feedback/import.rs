//! `trainer feedback import`: exported ratings, checked and appended to a file.
//!
//! A rating that is wrong is refused with a reason. One that cannot be checked, for want of its policy,
//! is kept and counted. Of several with one id the first stays.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Result;
use kudos_core::bundle::sha256;
use kudos_schema::{ImportReport, Rating, UncheckedCause};

use super::check::{Checked, check};
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
    let mut import = Import {
        policies: Policies::read(&args.bundles)?,
        collection: Collection::read(&args.output)?,
        report: ImportReport {
            version: VERSION,
            output: args.output.display().to_string(),
            lines: lines.len(),
            ..ImportReport::default()
        },
    };
    for line in lines {
        import.take(line)?;
    }
    let Import { collection, report, .. } = import;
    if report.accepted > 0 {
        write_file(&args.output, &collection.bytes)?;
    }
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
struct Import {
    policies: Policies,
    collection: Collection,
    report: ImportReport,
}

/// What is accepted so far.
struct Collection {
    /// The content of the output.
    bytes: Vec<u8>,
    /// The hash of each rating in it, by id.
    hashes: BTreeMap<String, String>,
}

impl Import {
    fn take(&mut self, line: Line) -> Result<()> {
        let checked = match &line.rating {
            Err(refused) => Err(refused.clone()),
            Ok(rating) if self.is_duplicate(rating) => return Ok(()),
            Ok(rating) => self.against_policy(rating)?,
        };
        match (checked, line.rating) {
            (Ok(unchecked), Ok(rating)) => self.accept(&rating, unchecked),
            (Err(refused), _) | (_, Err(refused)) => {
                *self.report.refused.entry(refused.cause).or_default() += 1;
                self.report.refusals.push(refused.at(&line.file, line.number));
            }
        }
        Ok(())
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
                Ok(Checked::Wholly) => {}
                Ok(Checked::PromptAsItIs) => {
                    unchecked = unchecked.or(Some(UncheckedCause::Prompt));
                }
            }
        }
        Ok(Ok(unchecked))
    }

    fn accept(&mut self, rating: &Rating, unchecked: Option<UncheckedCause>) {
        self.report.accepted += 1;
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
