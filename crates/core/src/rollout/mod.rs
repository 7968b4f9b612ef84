//! From prompts to completions: the coins, the distribution drawn from, the decoding loop.
//!
//! Leaves out: rewards and learning. What is produced is plain data on the host.

mod coins;
mod generate;
mod sampling;

pub use coins::Coins;
pub use generate::{GenerateError, Generation, Rollout, StopTokens, generate};
pub use sampling::{Drawn, distribution, draw, log_probs, penalize};
