//! KTO: learning from completions that are just good or bad.
//!
//! Measures: whether the log-ratio to the reference lies on the right side of a common point z.
//! Formula: with `l = log p(y) - log r(y)`: good `1 - s(b (l - z))`, bad `1 - s(b (z - l))`, mean over
//! completions, weighted; z is the mean of `log p(y') - log r(y')` over completions y' of *other* prompts,
//! at least 0, and is not differentiated.
//! Misleads when: a batch has only one kind; z from few completions is noisy.
//! Reference: Ethayarajh et al. 2024.

use serde::{Deserialize, Serialize};

use super::linear::{Linearized, sigmoid};

/// KTO.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Unpaired {
    /// How dear it is to leave the reference.
    pub beta: f64,
    /// Factor of good completions.
    pub desirable_weight: f64,
    /// Factor of bad completions.
    pub undesirable_weight: f64,
}

/// A completion somebody judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// `log p - log r`, summed over tokens, in nats.
    pub log_ratio: f64,
    /// What was said of it.
    pub label: Label,
    /// How much it counts, 1 being usual.
    pub weight: f64,
}

/// Good or bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// Wanted.
    Good,
    /// Not wanted.
    Bad,
}

impl Default for Unpaired {
    fn default() -> Self {
        Self { beta: 0.1, desirable_weight: 1.0, undesirable_weight: 1.0 }
    }
}

impl Unpaired {
    /// The loss of a batch with its slopes; `others` are log-ratios of completions set behind prompts
    /// that are not theirs.
    pub fn linearize(&self, batch: &[Judged], others: &[f64]) -> Linearized {
        let center = others.iter().sum::<f64>() / others.len().max(1) as f64;
        let center = center.max(0.0);
        let total: f64 = batch.iter().map(|one| one.weight).sum();
        let mut linearized = Linearized::default();
        for one in batch {
            let (sign, factor) = match one.label {
                Label::Good => (1.0, self.desirable_weight),
                Label::Bad => (-1.0, self.undesirable_weight),
            };
            let share = if total > 0.0 { factor * one.weight / total } else { 0.0 };
            let value = sigmoid(sign * self.beta * (one.log_ratio - center));
            linearized.loss += share * (1.0 - value);
            linearized.slopes.push(-share * sign * self.beta * value * (1.0 - value));
        }
        linearized
    }
}
