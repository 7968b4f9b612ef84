//! What the operator of a collector, or the trainer in their name, says to it.

use serde::{Deserialize, Serialize};

use crate::{Message, PolicyId, Sample, Verdict};

/// `POST /v1/checks`: what the trainer found when it read the ratings of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckReport {
    /// One entry a rating; a later one takes the place of an earlier.
    pub checks: Vec<Check>,
}

/// What was found of one rating.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The rating's id.
    pub rating: String,
    /// Whether it is true to its policy.
    pub outcome: CheckOutcome,
    /// Why not, or what could not be checked: a name such as `logprobs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// Whether a rating is true to the policy that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// It is.
    Pass,
    /// It is not.
    Fail,
    /// Something could not be checked.
    Unchecked,
}

/// The answer to a posted [`CheckReport`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckReceipt {
    /// Entries stored.
    pub stored: u64,
    /// Entries about ratings that the collector does not have.
    pub unknown: u64,
}

/// A line of `PUT /v1/queries/pool`: a prompt to ask about, or an item whose answer is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolItem {
    /// The task's name.
    pub task: String,
    /// What policies are given.
    pub prompt: PoolPrompt,
    /// How far the reward models disagree about it, in any unit; more is asked sooner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncertainty: Option<f64>,
    /// Makes it a gold item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gold: Option<Gold>,
}

/// What policies are given, by people's text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolPrompt {
    /// The conversation; empty where plain text is continued.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Message>,
    /// Plain text to continue.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// All of it as tokens; gold items need them, since they come with samples.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub token_ids: Vec<u32>,
}

/// Samples with the verdict that a careful rater gives. The answer never leaves the collector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gold {
    /// Who wrote the samples: one, or two.
    pub policies: Vec<PolicyId>,
    /// One sample, or two.
    pub samples: Vec<Sample>,
    /// The right answer; a pair's places are those of `samples`.
    pub answer: Verdict,
}

/// A line of `PUT /v1/queries/uncertainty`: how far the reward models disagree about a prompt of the pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptUncertainty {
    /// The task's name.
    pub task: String,
    /// The prompt, as in the pool.
    pub prompt: PoolPrompt,
    /// The disagreement.
    pub uncertainty: f64,
}

/// `PUT /v1/queries/settings`: which share of queries is asked for which reason.
///
/// What these shares leave of 1 goes to uncertain, coverage and stale in the proportion of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuerySettings {
    /// Share of prompts and policies drawn uniformly.
    pub random: f64,
    /// Share of items whose answer is known.
    pub gold: f64,
    /// Share of items that the same rater was shown before.
    pub repeat: f64,
    /// Weight of prompts about which reward models disagree.
    pub uncertain: f64,
    /// Weight of prompts that were rated least.
    pub coverage: f64,
    /// Weight of prompts that were not rated for the longest time.
    pub stale: f64,
}

impl Default for QuerySettings {
    fn default() -> Self {
        Self { random: 0.2, gold: 0.05, repeat: 0.05, uncertain: 0.5, coverage: 0.3, stale: 0.2 }
    }
}

/// The answer to `PUT /v1/queries/pool` and `PUT /v1/queries/uncertainty`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolReceipt {
    /// Prompts in the pool, or changed.
    pub prompts: u64,
    /// Gold items in the pool.
    pub gold: u64,
    /// Lines about prompts that are not in the pool.
    pub unknown: u64,
}

/// `GET /v1/raters`: raters by their pseudonyms, as exports have them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RaterList {
    /// The raters, those with the most ratings first.
    pub raters: Vec<RaterTally>,
}

/// What one rater did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RaterTally {
    /// The pseudonym.
    pub rater: String,
    /// Ratings kept.
    pub ratings: u64,
    /// Whether exports leave them out.
    pub quarantined: bool,
    /// Gold items answered.
    pub gold: u64,
    /// Of these, answered rightly.
    pub gold_right: u64,
    /// Items answered a second time.
    pub repeats: u64,
    /// Of these, answered as the first time.
    pub repeats_same: u64,
    /// Ratings that failed the trainer's check.
    pub failed: u64,
}
