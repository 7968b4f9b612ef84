//! `trainer feedback stats`: what people said, in numbers.
//!
//! Leaves out whether ratings are true to their policy: it counts what is a rating, so give it what
//! `import` kept.

use std::collections::BTreeSet;

use anyhow::Result;
use kudos_core::feedback::tally;
use kudos_schema::{Estimate, FeedbackStats, Rating, Refusal};

use super::lines::read;
use super::table;
use crate::args::StatsArgs;
use crate::batches::{Purpose, coins};
use crate::usage::usage;
use crate::{bootstrap, output};

/// The seed of the bootstrap: the same ratings give the same intervals.
const SEED: u64 = 1;

/// Reads, counts and prints.
///
/// # Errors
/// Usage errors: a file cannot be read, or no line of any is a rating.
pub(super) fn run(args: &StatsArgs) -> Result<()> {
    let (mut ratings, mut refusals): (Vec<Rating>, Vec<Refusal>) = (Vec::new(), Vec::new());
    let (mut ids, mut duplicates) = (BTreeSet::new(), 0);
    for line in read(&args.files)? {
        match line.rating {
            Ok(rating) if ids.insert(rating.id.clone()) => ratings.push(rating),
            Ok(_) => duplicates += 1,
            Err(refused) => refusals.push(refused.at(&line.file, line.number)),
        }
    }
    table::refusals(&refusals).iter().for_each(|line| output::note(line));
    if ratings.is_empty() {
        return Err(usage("there is no rating to count: give JSON Lines that the page exported"));
    }
    let stats = FeedbackStats {
        refused: refusals.len(),
        duplicates,
        ..tally(&ratings, &mut |values| mean(values))
    };
    output::result(&match args.json {
        true => serde_json::to_string(&stats)?,
        false => table::stats(&stats),
    });
    Ok(())
}

fn mean(values: &[f64]) -> Estimate {
    bootstrap::mean(values, &mut coins(SEED, Purpose::Bootstrap, 0))
        .expect("stars and shares are finite, and there is one")
}
