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
    /// KL divergence of the result from the start, in nats a completion, on held-out prompts.
    pub kl_nats: f64,
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
}

/// `trainer eval --json`: one policy on one task or dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalResult {
    /// Version of this record.
    pub version: u32,
    /// The task's name.
    pub task: String,
    /// The metric's name.
    pub metric: String,
    /// Number of items.
    pub n: usize,
    /// The metric.
    pub score: Estimate,
    /// Mean negative log-likelihood of the reference in nats a token.
    pub nll_nats: f64,
    /// Exponential of `nll_nats`.
    pub perplexity: f64,
    /// Mean completion length in tokens; none where nothing was generated.
    pub mean_length: Option<f64>,
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
