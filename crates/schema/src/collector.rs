//! What the page and the collector say to each other beside ratings.

mod administration;
mod statistics;

use serde::{Deserialize, Serialize};

use crate::{PolicyId, RatedPrompt, Sample, Sampling};

pub use administration::{
    Check, CheckOutcome, CheckReceipt, CheckReport, Gold, PoolItem, PoolPrompt, PoolReceipt,
    PromptUncertainty, QuerySettings, RaterList, RaterTally,
};
pub use statistics::{CheckCounts, CollectorStats, Meeting, PolicyTally};

/// The most ratings of one post.
pub const MAX_BATCH: usize = 100;
/// The header of an export that holds the cursor to go on from once all of it has come.
pub const CURSOR_HEADER: &str = "kudos-cursor";
/// How `GET /v1/queries` names the rater: the header `authorization` holds this word, a space and their own id. The id is a
/// secret; addresses are logged on the way, and so are other headers, but not this one.
pub const RATER_SCHEME: &str = "Rater";

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

/// `GET /v1/policies`: what visitors are given, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyList {
    /// The policies.
    pub policies: Vec<PublishedPolicy>,
}

/// A policy that the collector knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedPolicy {
    /// Its name.
    pub name: String,
    /// SHA-256 of its bundle.
    pub sha256: String,
    /// Length of its bundle.
    pub bytes: u64,
    /// One sentence for people.
    pub summary: String,
    /// Tasks that it was taught.
    pub tasks: Vec<String>,
    /// Whether it is no longer given to visitors; ratings of it are still taken.
    pub retired: bool,
}

/// `POST /v1/erase`: a rater takes back everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EraseRequest {
    /// The deletion code: the rater's id as the page made it. Neither the database nor an export has it.
    pub code: String,
}

/// How many ratings were erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erased {
    /// Ratings.
    pub erased: u64,
}

/// A line of `GET /v1/erasures`: whoever exported this rating must delete it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// The rating's id.
    pub rating: String,
    /// Its place in the order of erasures and ratings, for `since=`.
    pub cursor: u64,
}
