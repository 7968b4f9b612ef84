//! Losses of whole completions, linearized on the host.
//!
//! A preference loss couples completions that may fall into different micro-batches. Its slope by each
//! completion's log-probability is a number, though, which one untracked pass over the batch gives: the
//! gradient is then that of a weighted sum of log-probabilities, exactly, whatever the micro-batches.
//! The price is that pass, about a quarter of a step. Dropout is off in it.

use burn::tensor::Tensor;

use super::{EntropyUse, Experience, Objective, Scores, Scoring, TokenBatch};

/// A loss with its slopes, fixed on the host for a whole batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Linearized {
    /// The loss of the batch.
    pub loss: f64,
    /// Its derivative by the log-probability, or the score, of each completion.
    pub slopes: Vec<f64>,
}

/// A weighted sum of log-probabilities: what a linearized loss is minimized through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Linear {
    /// Divides the logits.
    pub temperature: f64,
}

impl Linear {
    /// Completions with the slope of the loss by each one's log-probability.
    pub fn experiences(pairs: &[(&[u32], &[u32])], slopes: &[f64]) -> Vec<Experience> {
        let rows = pairs.iter().zip(slopes);
        rows.map(|((prompt, completion), slope)| Experience {
            prompt: prompt.to_vec(),
            completion: completion.to_vec(),
            weights: vec![1.0; completion.len()],
            advantages: vec![-*slope as f32; completion.len()],
            reference: vec![0.0; completion.len()],
            old: vec![0.0; completion.len()],
        })
        .collect()
    }
}

impl Objective for Linear {
    fn scoring(&self) -> Scoring {
        Scoring { temperature: self.temperature, entropy: EntropyUse::Skip }
    }

    fn loss(&self, scores: &Scores, batch: &TokenBatch) -> Tensor<1> {
        (scores.log_probs.clone() * batch.advantages.clone() * batch.weights.clone()).sum().neg()
    }
}

/// log(1 / (1 + e^-x)), without overflow.
pub(super) fn log_sigmoid(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// 1 / (1 + e^-x).
pub(super) fn sigmoid(x: f64) -> f64 {
    log_sigmoid(x).exp()
}
