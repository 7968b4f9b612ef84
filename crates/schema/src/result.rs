//! What a run, an evaluation or a scoring reports.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A mean with its 95 % bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean over items.
    pub mean: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// `result.json`: what a training run achieved on unseen items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Version of this record.
    pub version: u32,
    /// The task's name.
    pub task: String,
    /// The held-out metric's name.
    pub metric: String,
    /// Number of held-out items.
    pub n: usize,
    /// The metric before the run.
    pub before: Estimate,
    /// The metric after the run.
    pub after: Estimate,
    /// After minus before, item by item.
    pub difference: Estimate,
    /// KL divergence of the result from the start, in nats a completion, on held-out prompts; none where no
    /// completion of theirs fits the context.
    pub kl_nats: Option<f64>,
    /// Optimizer steps.
    pub steps: usize,
    /// Wall-clock seconds of the whole run.
    pub seconds: f64,
    /// Completion tokens learned from.
    pub tokens: u64,
    /// The run's seed.
    pub seed: u64,
    /// The device, in words.
    pub device: String,
    /// SHA-256 of the resulting `model.safetensors`.
    pub model_sha256: String,
    /// Bytes in which frozen projections were held while the rest learned; none where everything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_bytes: Option<u64>,
}

/// `trainer eval --json`: one policy on one task or dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalResult {
    /// Version of this record.
    pub version: u32,
    /// The task's name.
    pub task: String,
    /// The metric's name; none where texts were read and nothing was written.
    pub metric: Option<String>,
    /// Number of items.
    pub n: usize,
    /// The metric.
    pub score: Option<Estimate>,
    /// Mean negative log-likelihood of the references, or of the texts behind their first token, in nats a
    /// token.
    pub nll_nats: f64,
    /// Exponential of `nll_nats`.
    pub perplexity: f64,
    /// Mean completion length in tokens; none where nothing was generated.
    pub mean_length: Option<f64>,
    /// What the best of k completions is expected to earn by the reward that chose, for k from 1 on; empty
    /// where one was drawn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected_best: Vec<f64>,
    /// The seed of the draws.
    pub seed: u64,
    /// The device, in words.
    pub device: String,
    /// SHA-256 of the policy's `model.safetensors`.
    pub model_sha256: String,
}

/// `trainer score --json`: a text metric of a corpus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreResult {
    /// The metric's name.
    pub metric: String,
    /// The corpus score, on the metric's own scale.
    pub score: f64,
    /// Parts of the score, named as the reference implementation names them.
    pub parts: BTreeMap<String, f64>,
    /// Every convention used, in one line.
    pub signature: String,
}

/// `trainer compress --json`: a policy before and after it was made smaller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompressResult {
    /// Version of this record.
    pub version: u32,
    /// Divergence from the original on held-out texts, in nats a token; where tokens were left out, of the original that may
    /// say no others, and that one's from the original.
    pub kl_nats: f64,
    /// Held-out tokens.
    pub tokens: usize,
    /// The original, as a bundle.
    pub before: Size,
    /// What became of it.
    pub after: Size,
    /// Where it was measured.
    pub device: String,
    /// SHA-256 of the new bundle.
    pub sha256: String,
}

/// How large, how good and how fast a policy is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// Of the bundle.
    pub bytes: u64,
    /// Number of parameters.
    pub parameters: u64,
    /// Negative log-likelihood of held-out texts, in nats a token.
    pub nll_nats: f64,
    /// Its exponential.
    pub perplexity: f64,
    /// What greedy completions of held-out prompts are judged by; none where texts have no prompts.
    pub metric: Option<String>,
    /// Its mean.
    pub reward: Option<f64>,
    /// Of a batch of greedy completions.
    pub tokens_per_second: Option<f64>,
}

/// `trainer reward`: how well a reward model foretells held-out verdicts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RewardResult {
    /// Version of this record.
    pub version: u32,
    /// Held-out verdicts.
    pub n: usize,
    /// Of these, verdicts that are neither a tie nor the middle of a scale.
    pub decided: usize,
    /// Share of these that were foretold; none without any.
    pub accuracy: Option<Estimate>,
    /// Mean cross-entropy in nats; ln 2 is that of knowing nothing.
    pub log_loss: f64,
    /// Mean squared distance of the probability from what was said.
    pub brier: f64,
    /// Mean distance of foretold and said over bins, by their size.
    pub calibration_error: f64,
    /// The bins.
    pub bins: Vec<CalibrationBin>,
    /// Pearson's correlation of scores and grades of single texts; none where there are too few.
    pub pearson: Option<f64>,
    /// Models that the reward is the mean of.
    pub members: usize,
    /// Optimizer steps of each.
    pub steps: usize,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// The run's seed.
    pub seed: u64,
    /// The device, in words.
    pub device: String,
}

/// Verdicts of which much the same was foretold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Mean probability foretold.
    pub foretold: f64,
    /// Mean of what was said.
    pub said: f64,
    /// Verdicts, pairs once in either order.
    pub n: usize,
}
