//! From prompts to completions: the coins, the distribution drawn from, the decoding loop.
//!
//! Leaves out: rewards and learning. What is produced is plain data on the host.

mod alternatives;
mod coins;
mod generate;
#[cfg(feature = "train")]
mod mixture;
mod prefill;
mod sampling;
#[cfg(feature = "train")]
mod trajectory;
#[cfg(feature = "train")]
mod valued;
#[cfg(feature = "train")]
mod whole;

pub use alternatives::{NextToken, next_token};
pub use coins::Coins;
pub use generate::{
    GenerateError, Generation, Rollout, StopTokens, Watch, generate, generate_watched,
};
#[cfg(feature = "train")]
pub use mixture::{Mixture, generate_mixed};
pub use sampling::{Drawn, distribution, draw, log_probs, penalize};
#[cfg(feature = "train")]
pub use trajectory::{Trajectory, Transcript, trajectories};
#[cfg(feature = "train")]
pub use valued::{Decoding, choose};
