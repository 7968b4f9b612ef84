//! The table `[distil]`: who teaches, and what of it is learned.

use std::path::PathBuf;

use kudos_core::objective::Distil;
use serde::{Deserialize, Serialize};

/// Who teaches, and what of it is learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistilRecipe {
    /// Folder, bundle or GGUF file of the teacher.
    pub teacher: Option<PathBuf>,
    /// Folder for what the teacher says, which runs may share; `cache` in the output directory if left out.
    pub cache: Option<PathBuf>,
    /// What is learned.
    pub level: Level,
    /// Said to the teacher at `sequence` after each prompt, in place of a system message, and not to the student,
    /// which so learns to write as if it had been told (prompt distillation; Askell et al. 2021, section 2).
    pub instruction: String,
    /// How student and teacher are compared at `token` and `on_policy`.
    pub divergence: Distil,
    /// How many of the teacher's likeliest tokens are kept for each token; the others count as one.
    pub top_k: usize,
    /// Share of the steps at `on_policy` whose completions the student draws.
    pub on_policy_share: f64,
    /// Share of the teacher's completions that is learned at `sequence`, the highest rewards first.
    pub best_share: f64,
    /// Completions of the teacher that earn less are left out at `sequence`.
    pub min_reward: Option<f64>,
    /// Completions of the teacher that were cut off are left out at `sequence`.
    pub cut_off: CutOff,
}

/// What is learned of a teacher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Its distribution at each token of the data. Both have one tokenizer.
    Token,
    /// What it writes to the prompts of the data. Tokenizers may differ.
    Sequence,
    /// Its distribution at each token that the student writes, on a share of the steps; as `token` on
    /// the others.
    OnPolicy,
}

/// What becomes of completions that reached the longest length before their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutOff {
    /// They are learned, without an end.
    Keep,
    /// They are left out.
    Drop,
}

impl Level {
    /// Whether the student reads the teacher's tokens.
    pub fn shares_tokens(self) -> bool {
        match self {
            Self::Token | Self::OnPolicy => true,
            Self::Sequence => false,
        }
    }
}

impl Default for DistilRecipe {
    fn default() -> Self {
        Self {
            teacher: None,
            cache: None,
            level: Level::Token,
            instruction: String::new(),
            divergence: Distil::default(),
            top_k: 32,
            on_policy_share: 0.5,
            best_share: 1.0,
            min_reward: None,
            cut_off: CutOff::Keep,
        }
    }
}
