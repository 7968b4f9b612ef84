//! `trainer feedback`: what people said of a policy, checked, collected and counted.
//!
//! `import` takes exports of the page and keeps what is a rating and true to its policy; `stats` counts.
//! Leaves out: learning from it.

mod check;
mod import;
pub(crate) mod lines;
mod policies;
mod recompute;
mod stats;
mod table;

use anyhow::Result;

use crate::args::FeedbackVerb;

/// Does what was asked.
///
/// # Errors
/// Usage errors, or a file that cannot be written.
pub fn run(verb: &FeedbackVerb) -> Result<()> {
    match verb {
        FeedbackVerb::Import(args) => import::run(args),
        FeedbackVerb::Stats(args) => stats::run(args),
    }
}
