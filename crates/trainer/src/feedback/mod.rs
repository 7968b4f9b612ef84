//! `trainer feedback`: what people said of a policy, checked, collected and counted.
//!
//! `import` takes exports of the page, `pull` those of a collector; both keep what is a rating and true to
//! its policy. `stats` counts, `evaluate` judges another policy by it, `raters` and `influence` judge who
//! said it. Leaves out: learning from it.

mod check;
mod counterfactual;
mod import;
mod influence;
pub(crate) mod lines;
mod policies;
mod pull;
mod raters;
mod recompute;
mod stats;
mod table;

use anyhow::Result;

use crate::args::FeedbackVerb;
use crate::reward_model;

/// Does what was asked.
///
/// # Errors
/// Usage errors, or a file that cannot be written.
pub fn run(verb: &FeedbackVerb) -> Result<()> {
    match verb {
        FeedbackVerb::Import(args) => import::run(args),
        FeedbackVerb::Stats(args) => stats::run(args),
        FeedbackVerb::Evaluate(args) => counterfactual::run(args),
        FeedbackVerb::Raters(args) => raters::run(args),
        FeedbackVerb::Pull(args) => pull::run(args),
        FeedbackVerb::Influence(args) => influence::run(args),
        FeedbackVerb::Uncertainty(args) => reward_model::uncertainty(args),
    }
}
