//! The one normalizer rule: how the losses of tokens become the loss of a batch.
//!
//! A completion that is left out counts as absent everywhere but in `Constant`.
//! Source: Liu et al. 2025 (Dr. GRPO) compares the three.

use serde::{Deserialize, Serialize};

/// What a token's loss is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// By the number of tokens in the batch: every token counts the same.
    TokenMean,
    /// By its completion's length and the number of completions: every completion counts the same.
    SequenceMean,
    /// By this many tokens for each completion of the batch: no length bias at all.
    Constant(usize),
}

impl Aggregation {
    /// The share of each token, for completions of these lengths; `included` tells which count.
    pub fn weights(self, lengths: &[usize], included: &[bool]) -> Vec<Vec<f32>> {
        let counted = || lengths.iter().zip(included).filter(|(_, included)| **included);
        let tokens: usize = counted().map(|(length, _)| length).sum();
        let sequences = counted().filter(|(length, _)| **length > 0).count();
        let share = |length: usize| match self {
            Self::TokenMean => 1.0 / tokens as f64,
            Self::SequenceMean => 1.0 / (sequences * length) as f64,
            Self::Constant(tokens) => 1.0 / (tokens * lengths.len()) as f64,
        };
        let rows = lengths.iter().zip(included);
        rows.map(|(&length, &included)| {
            vec![if included && length > 0 { share(length) as f32 } else { 0.0 }; length]
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(weights: &[Vec<f32>]) -> f32 {
        weights.iter().flatten().sum()
    }

    #[test]
    fn means_share_out_one_whole() {
        for aggregation in [Aggregation::TokenMean, Aggregation::SequenceMean] {
            for included in [[true, true, true], [true, false, true]] {
                let weights = aggregation.weights(&[2, 5, 3], &included);
                assert!((total(&weights) - 1.0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn hand_arithmetic() {
        let all = [true, true];
        assert_eq!(Aggregation::TokenMean.weights(&[1, 3], &all)[1][0], 0.25);
        assert_eq!(Aggregation::SequenceMean.weights(&[1, 4], &all)[1][0], 0.125);
        assert_eq!(Aggregation::Constant(8).weights(&[1, 4], &all)[1][0], 0.0625);
        assert_eq!(Aggregation::TokenMean.weights(&[1, 3], &[true, false])[1], [0.0; 3]);
    }

    #[test]
    fn nothing_included_weighs_nothing() {
        assert_eq!(total(&Aggregation::TokenMean.weights(&[2, 3], &[false, false])), 0.0);
        assert_eq!(total(&Aggregation::SequenceMean.weights(&[0, 0], &[true, true])), 0.0);
    }
}
