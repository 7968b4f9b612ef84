//! What a collector has, in numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Estimate;

/// `GET /v1/stats`: what the collector has, in numbers that name nobody.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectorStats {
    /// Version of this record.
    pub version: u32,
    /// When it was counted, RFC 3339 in UTC.
    pub counted: String,
    /// Ratings kept, those of quarantined raters too.
    pub ratings: u64,
    /// Different raters.
    pub raters: u64,
    /// Ratings of quarantined raters, which exports leave out.
    pub quarantined: u64,
    /// Ratings with a reported text that nobody has looked at yet, which exports leave out.
    pub waiting: u64,
    /// Ratings erased at a rater's request, by a moderator, or because they were old.
    pub erased: u64,
    /// Ratings by kind of verdict.
    pub verdicts: BTreeMap<String, u64>,
    /// Ratings by task.
    pub tasks: BTreeMap<String, u64>,
    /// Ratings by why they were asked for; `none` where nobody asked.
    pub asked: BTreeMap<String, u64>,
    /// Every policy that was rated or is published, the newest first.
    pub policies: Vec<PolicyTally>,
    /// What was said where two policies met.
    pub meetings: Vec<Meeting>,
    /// What the trainer found when it computed the log-probabilities again.
    pub checks: CheckCounts,
    /// Ratings that were refused when they came, by cause.
    pub refused: BTreeMap<String, u64>,
}

/// What was said of one policy; ratings of quarantined raters are left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTally {
    /// Its name.
    pub name: String,
    /// SHA-256 of its bundle.
    pub sha256: String,
    /// Whether it is no longer given to visitors.
    pub retired: bool,
    /// Ratings with a sample of it.
    pub ratings: u64,
    /// Thumbs up.
    pub thumbs_up: u64,
    /// Thumbs down.
    pub thumbs_down: u64,
    /// Ratings by number of stars, from one to five.
    pub stars: [u64; 5],
    /// Texts that were edited.
    pub edits: u64,
    /// Meetings with another policy that it won.
    pub wins: u64,
    /// Meetings that it lost.
    pub losses: u64,
    /// Meetings without a winner: ties, and both bad.
    pub ties: u64,
    /// Bradley-Terry strength in logits, with a 95 % interval; none if it met nobody.
    #[serde(default)]
    pub strength: Option<Estimate>,
}

/// What was said where two policies, or two settings of one policy, met.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meeting {
    /// SHA-256 of one bundle, of two the smaller.
    pub first: String,
    /// SHA-256 of the other.
    pub second: String,
    /// How the first was sampled, in short.
    pub first_sampling: String,
    /// How the second was sampled, in short.
    pub second_sampling: String,
    /// The first is better.
    pub first_wins: u64,
    /// The second is better.
    pub second_wins: u64,
    /// Equally good.
    pub ties: u64,
    /// Neither is acceptable.
    pub both_bad: u64,
}

/// What the trainer found, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckCounts {
    /// Ratings that are true to their policy.
    pub passed: u64,
    /// Ratings that are not, by cause.
    pub failed: BTreeMap<String, u64>,
    /// Ratings of which something could not be checked, by cause.
    pub unchecked: BTreeMap<String, u64>,
}
