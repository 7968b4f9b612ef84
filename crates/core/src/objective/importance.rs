//! Importance weights: what completions of an older policy say of the current one.
//!
//! Measures: how much likelier the current policy is to write a completion than the one that wrote it.
//! Formula: `w = p(y) / b(y)`, p the current policy's full softmax at the temperature of the draw, b the
//! distribution the token was really drawn from; by token, by product over the completion, or by the
//! product's geometric mean.
//! Where top-k, top-p or min-p cut the support of b, the expectation of `w (r - c) grad log p` over
//! b is the gradient of `E_p[(r - c) 1(b could have written y)]`: completions outside of the support count
//! as earning just the baseline c. The log-probability under the *full* softmax of the older policy in
//! place of b would make every weight too large by the probability that was cut off, token by token.
//! Misleads when: the effective share is small, since then a few completions decide; by token and by
//! geometric mean the estimate is biased, which is what its lower variance costs.
//! Reference: Precup et al. 2000 (per-decision weights); Espeholt et al. 2018 (truncation); Zheng et al. 2025
//! (GSPO, geometric mean); Kish 1965 (effective sample size).

use serde::{Deserialize, Serialize};

/// How completions of another policy are weighed, and when they are left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Importance {
    /// What a ratio is taken of.
    pub level: RatioLevel,
    /// What happens to large ratios.
    pub bound: RatioBound,
    /// A completion is too stale if the mean distance of its tokens' log-probabilities is above this.
    pub max_drift_nats: f64,
    /// A batch teaches nothing if fewer of its completions count effectively, as a share.
    pub min_effective_share: f64,
}

/// What a ratio is taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RatioLevel {
    /// Each token by itself.
    Token,
    /// The completion: the product over its tokens. Unbiased.
    Sequence,
    /// The completion: the geometric mean over its tokens.
    SequenceMean,
}

/// What happens to large ratios.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RatioBound {
    /// Nothing. Unbiased, of any variance.
    None,
    /// Ratios above this become this.
    Truncate(f64),
    /// Ratios above this, or below its inverse, become 0.
    Mask(f64),
}

/// Completions weighed.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighed {
    /// Factor of each token's advantage; 0 where the completion is left out.
    pub factors: Vec<Vec<f32>>,
    /// Whether each completion is near enough to the current policy to be learned from.
    pub included: Vec<bool>,
    /// What is worth reporting.
    pub report: ImportanceReport,
}

/// What the weights of a batch show.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ImportanceReport {
    /// The smallest ratio of an included completion or token, before the bound.
    pub ratio_min: f64,
    /// Their mean; far from 1, the data say little of the current policy.
    pub ratio_mean: f64,
    /// The largest.
    pub ratio_max: f64,
    /// `(sum w)^2 / (n sum w^2)` after the bound: the share of completions (or tokens) that count; 0
    /// where none is included.
    pub effective_share: f64,
    /// Divergence of the behavior from the current policy, estimated from all completions, in nats each.
    pub kl_nats: f64,
    /// Completions left out as too stale.
    pub stale: usize,
}

impl Default for Importance {
    fn default() -> Self {
        Self {
            level: RatioLevel::Sequence,
            bound: RatioBound::Truncate(5.0),
            max_drift_nats: 1.0,
            min_effective_share: 0.1,
        }
    }
}

impl Importance {
    /// Weighs completions whose tokens have these log-probabilities under the current policy (full
    /// softmax) and under the distribution they were drawn from.
    ///
    /// # Panics
    /// If the two differ in shape.
    pub fn weigh(&self, current: &[Vec<f32>], behavior: &[Vec<f32>]) -> Weighed {
        assert_eq!(current.len(), behavior.len(), "one entry a completion");
        let differences: Vec<Vec<f64>> =
            current.iter().zip(behavior).map(|(p, b)| differences(p, b)).collect();
        let included: Vec<bool> =
            differences.iter().map(|row| drift(row) <= self.max_drift_nats).collect();
        let ratios = differences.iter().map(|row| self.level.ratios(row));
        let ratios: Vec<Vec<f64>> = ratios.collect();
        let factors = ratios.iter().zip(&included).map(|(row, included)| {
            let factor =
                |ratio: &f64| if *included { self.bound.apply(*ratio) as f32 } else { 0.0 };
            row.iter().map(factor).collect()
        });
        let factors: Vec<Vec<f32>> = factors.collect();
        let report = self.report(&differences, &ratios, &included);
        Weighed { factors, included, report }
    }

    fn report(
        &self,
        differences: &[Vec<f64>],
        ratios: &[Vec<f64>],
        included: &[bool],
    ) -> ImportanceReport {
        let rows =
            ratios.iter().zip(included).filter(|(row, included)| **included && !row.is_empty());
        let counted: Vec<f64> = match self.level {
            RatioLevel::Token => rows.flat_map(|(row, _)| row.iter().copied()).collect(),
            // All tokens of a completion have its ratio.
            RatioLevel::Sequence | RatioLevel::SequenceMean => {
                rows.map(|(row, _)| row[0]).collect()
            }
        };
        let bounded: Vec<f64> = counted.iter().map(|ratio| self.bound.apply(*ratio)).collect();
        let sums = differences.iter().map(|row| -row.iter().sum::<f64>());
        ImportanceReport {
            ratio_min: counted.iter().copied().reduce(f64::min).unwrap_or(0.0),
            ratio_mean: mean(&counted),
            ratio_max: counted.iter().copied().reduce(f64::max).unwrap_or(0.0),
            effective_share: effective_share(&bounded),
            kl_nats: mean(&sums.collect::<Vec<_>>()),
            stale: included.iter().filter(|included| !**included).count(),
        }
    }
}

impl RatioLevel {
    /// The ratio that each token is weighed with.
    fn ratios(self, differences: &[f64]) -> Vec<f64> {
        let whole = |exponent: f64| vec![exponent.exp(); differences.len()];
        let sum: f64 = differences.iter().sum();
        match self {
            Self::Token => differences.iter().map(|difference| difference.exp()).collect(),
            Self::Sequence => whole(sum),
            Self::SequenceMean => whole(sum / differences.len().max(1) as f64),
        }
    }
}

impl RatioBound {
    fn apply(self, ratio: f64) -> f64 {
        match self {
            Self::None => ratio,
            Self::Truncate(most) => ratio.min(most),
            Self::Mask(most) => {
                if ratio > most || ratio < most.recip() {
                    0.0
                } else {
                    ratio
                }
            }
        }
    }
}

/// Kish's effective sample size as a share of the sample; 0 without weight.
pub fn effective_share(weights: &[f64]) -> f64 {
    let (sum, squares) =
        weights.iter().fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
    if squares > 0.0 { sum * sum / (squares * weights.len() as f64) } else { 0.0 }
}

/// log p - log b of each token.
fn differences(current: &[f32], behavior: &[f32]) -> Vec<f64> {
    assert_eq!(current.len(), behavior.len(), "one log-probability a token");
    current.iter().zip(behavior).map(|(p, b)| f64::from(*p) - f64::from(*b)).collect()
}

fn drift(differences: &[f64]) -> f64 {
    mean(&differences.iter().map(|difference| difference.abs()).collect::<Vec<_>>())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
#[path = "importance_tests.rs"]
mod tests;
