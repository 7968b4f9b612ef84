//! What the page and the collector say to each other beside ratings.

use serde::{Deserialize, Serialize};

use crate::{PolicyId, RatedPrompt, Sample, Sampling};

/// The most ratings of one post.
pub const MAX_BATCH: usize = 100;

/// The answer to posted ratings: one entry each, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// What became of each rating.
    pub results: Vec<Received>,
}

/// What became of one rating.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Received {
    /// Its id, or nothing where it had none that can be read.
    pub id: String,
    /// Whether it is stored.
    pub status: ReceivedStatus,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether a rating is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceivedStatus {
    /// It is, durably.
    Accepted,
    /// It was before: an answer was lost on the way.
    Duplicate,
    /// It is not, and sending it again will not change that.
    Refused,
}

/// What to show next: one or two completions of a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// UUID version 7; the rating names it.
    pub id: String,
    /// Why it is asked.
    pub reason: AskedReason,
    /// The task's name.
    pub task: String,
    /// What the policies are given; without tokens unless `samples` are there.
    pub prompt: RatedPrompt,
    /// Who writes: one, or two that meet. The page draws their places.
    pub arms: Vec<Arm>,
    /// Texts to show instead of writing some, one an arm: of gold and repeated items.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
}

/// A policy with the settings it writes with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// The policy.
    pub policy: PolicyId,
    /// How its completion is drawn.
    pub sampling: Sampling,
}

/// Which query a rating answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedQuery {
    /// Its id.
    pub id: String,
    /// Why it was asked.
    pub reason: AskedReason,
}

/// Why something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskedReason {
    /// Drawn uniformly: what estimates may rest on without correction.
    Random,
    /// The reward models disagree about it.
    Uncertain,
    /// Little of its kind was rated.
    Coverage,
    /// What was rated of it is old.
    Stale,
    /// The right answer is known: it tests the rater.
    Gold,
    /// The same rater was shown it before.
    Repeat,
}
