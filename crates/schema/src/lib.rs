//! Records that cross a boundary: what one program writes and another, or a person, reads.
//!
//! Plain data with serde, no burn: whoever only stores or shows records need not compile a tensor
//! library. Field names are stable; a change of meaning gets a new version.

mod result;
mod sample;

pub use result::{Estimate, EvalResult, RunResult, ScoreResult};
pub use sample::{EndReason, Sample, Sampling, SamplingError};
