//! The table `[feedback]`: what people said, and how it is learned from.

use std::path::PathBuf;

use kudos_core::objective::{Importance, Preference, RewardFit, Unpaired};
use serde::{Deserialize, Serialize};

/// What people said, and how it is learned from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeedbackRecipe {
    /// Ratings, as `feedback import` and `feedback pull` keep them.
    pub ratings: Vec<PathBuf>,
    /// How much each rater counts, as `feedback raters` writes it; without it all count the same.
    pub raters: Option<PathBuf>,
    /// How completions of another policy are weighed in `off-policy`.
    pub importance: Importance,
    /// The loss of `dpo`.
    pub preference: Preference,
    /// The loss of `kto`.
    pub kto: Unpaired,
    /// The loss of `reward`.
    pub reward: RewardFit,
    /// What of a reward model learns.
    pub trunk: TrunkUse,
    /// Models of `reward`, each from verdicts drawn anew: what they disagree about is uncertain.
    pub members: usize,
}

/// What of a reward model learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrunkUse {
    /// The trunk and the head.
    Tuned,
    /// The head alone: the trunk reads each text once, so that steps cost nothing and members share it.
    Frozen,
}

impl Default for FeedbackRecipe {
    fn default() -> Self {
        Self {
            ratings: Vec::new(),
            raters: None,
            importance: Importance::default(),
            preference: Preference::default(),
            kto: Unpaired::default(),
            reward: RewardFit::default(),
            trunk: TrunkUse::Tuned,
            members: 1,
        }
    }
}
