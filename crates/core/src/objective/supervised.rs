//! Supervised learning: the negative log-likelihood of given completions.
//!
//! Measures: how surprised the policy is by the references.
//! Formula: `-sum_t w_t log p(y_t | x, y_<t)`, w from the aggregation.
//! Misleads when: references are noisy, since every token of them counts as right.
//! Reference: the maximum-likelihood principle; completion-only loss as in Ouyang et al. 2022.

use burn::tensor::Tensor;

use super::{Aggregation, EntropyUse, Experience, Objective, Scores, Scoring, TokenBatch};

/// Maximum likelihood of completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supervised {
    /// How tokens are averaged.
    pub aggregation: Aggregation,
}

impl Supervised {
    /// A batch of prompts with the completions to imitate.
    pub fn experiences(&self, pairs: &[(Vec<u32>, Vec<u32>)]) -> Vec<Experience> {
        let lengths: Vec<usize> = pairs.iter().map(|(_, completion)| completion.len()).collect();
        let weights = self.aggregation.weights(&lengths, &vec![true; pairs.len()]);
        pairs
            .iter()
            .zip(weights)
            .map(|((prompt, completion), weights)| Experience {
                prompt: prompt.clone(),
                completion: completion.clone(),
                advantages: vec![1.0; completion.len()],
                reference: vec![0.0; completion.len()],
                old: vec![0.0; completion.len()],
                weights,
            })
            .collect()
    }
}

impl Objective for Supervised {
    fn scoring(&self) -> Scoring {
        Scoring { temperature: 1.0, entropy: EntropyUse::Skip }
    }

    fn loss(&self, scores: &Scores, batch: &TokenBatch) -> Tensor<1> {
        (scores.log_probs.clone() * batch.weights.clone()).sum().neg()
    }
}
