//! Ratings in files, a line each: what is one, and why another line is none.

use std::path::{Path, PathBuf};

use anyhow::Result;
use kudos_schema::{RATING_VERSION, Rating, RatingError, Refusal, RefusalCause};
use serde_json::Value;
use serde_json::error::Category;

use crate::usage::usage;

/// What is wrong with a rating.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refused {
    pub(crate) cause: RefusalCause,
    /// In words.
    pub(crate) reason: String,
}

/// A line that holds something.
#[derive(Debug)]
pub(crate) struct Line {
    /// The file as it was named.
    pub(crate) file: String,
    /// From 1.
    pub(crate) number: usize,
    /// The rating, sound but for what only its policy can tell.
    pub(crate) rating: Result<Rating, Refused>,
}

impl Refused {
    pub(crate) fn new(cause: RefusalCause, reason: impl Into<String>) -> Self {
        Self { cause, reason: reason.into() }
    }

    /// With the line that it is about.
    pub(crate) fn at(self, file: &str, line: usize) -> Refusal {
        Refusal { file: file.to_owned(), line, cause: self.cause, reason: self.reason }
    }
}

/// The lines of all files, in order.
///
/// # Errors
/// Usage errors that name the file.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for path in paths {
        let bytes = std::fs::read(path).map_err(|error| {
            usage(format!("{}: {error}; give a file that the page exported", path.display()))
        })?;
        lines.extend(lines_of(path, &bytes));
    }
    Ok(lines)
}

/// The lines of one file that hold something.
pub(crate) fn lines_of(path: &Path, bytes: &[u8]) -> impl Iterator<Item = Line> {
    let file = path.display().to_string();
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    let filled = lines.filter(|(_, line)| !line.is_empty());
    filled.map(move |(index, line)| Line {
        file: file.clone(),
        number: index + 1,
        rating: parse(line),
    })
}

/// A single line of something that is no file.
pub(crate) fn parse_line(from: &str, line: &[u8]) -> Line {
    Line { file: from.to_owned(), number: 0, rating: parse(line.trim_ascii()) }
}

fn parse(line: &[u8]) -> Result<Rating, Refused> {
    let rating: Rating = serde_json::from_slice(line).map_err(|error| match error.classify() {
        Category::Data => no_record(line, &error),
        Category::Io | Category::Syntax | Category::Eof => {
            Refused::new(RefusalCause::Json, format!("not JSON: {error}"))
        }
    })?;
    rating.validate().map_err(|error| Refused::new(RefusalCause::Value, error.to_string()))?;
    Ok(rating)
}

/// Another version explains every strange field.
fn no_record(line: &[u8], error: &serde_json::Error) -> Refused {
    let parts: Value = serde_json::from_slice(line).unwrap_or_default();
    let found = parts["version"].as_u64().and_then(|version| u32::try_from(version).ok());
    match found.filter(|version| *version != RATING_VERSION) {
        Some(found) => {
            Refused::new(RefusalCause::Value, RatingError::Version { found }.to_string())
        }
        None => Refused::new(RefusalCause::Record, format!("not a rating: {error}")),
    }
}
