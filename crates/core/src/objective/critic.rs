//! What a critic learns: how much each token turned out to be worth.
//!
//! Measures: how far the critic's expectation V at each token is from the return R, the advantage and the expectation
//! when the completion was collected.
//! Formula: `sum_t w_t max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2) / 2`, w from the aggregation; without a clip
//! `sum_t w_t (V - R)^2 / 2`. Explained variance: `1 - var(R - V_old) / (var(R) + 1e-5)`.
//! Range: 0 and more; the explained variance up to 1, 0 for a critic that says the same of everything.
//! Misleads when: lam is below 1. Returns are then made of the critic's own expectations, and a critic explains itself. It
//! also falls with the spread of rewards, whether the critic learned or not.
//! Reference: Schulman et al. 2016 and 2017; the clip is OpenAI's baselines', as in verl, whose guard the explained variance
//! has.

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::Experience;
use crate::first_order::{constant, with_gradient_of};

/// Keeps the explained variance finite where all returns are the same; verl's.
const SPREAD_GUARD: f64 = 1e-5;

/// Whether an update may carry the critic far from what it said when the step began.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueClip {
    /// Yes.
    Off,
    /// Farther than this, nothing is gained.
    At(f64),
}

/// One completion with what a critic should say of it. Vectors have the completion's length.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The prompt.
    pub prompt: Vec<u32>,
    /// The tokens chosen after it.
    pub completion: Vec<u32>,
    /// Share of each token in the loss of the whole batch.
    pub weights: Vec<f32>,
    /// What the critic said when the completion was collected.
    pub old: Vec<f32>,
    /// What each token turned out to be worth.
    pub returns: Vec<f32>,
}

/// The per-token numbers of a micro-batch on the device.
#[derive(Debug, Clone)]
pub struct JudgementBatch {
    /// Share in the loss. `[N]`
    pub weights: Tensor<1>,
    /// What the critic said. `[N]`
    pub old: Tensor<1>,
    /// What it should say. `[N]`
    pub returns: Tensor<1>,
}

/// The loss of a critic with what its clip held.
#[derive(Debug, Clone)]
pub struct CriticLoss {
    /// What is minimized. `[1]`
    pub loss: Tensor<1>,
    /// Tokens held by the clip, and tokens; those without weight do not count. `[2]`
    pub held: Tensor<1>,
}

impl Judgement {
    /// Of a completion with its shares, what was said of it and what it turned out to be worth.
    pub fn of(experience: &Experience, old: &[f32], returns: &[f32]) -> Self {
        Self {
            prompt: experience.prompt.clone(),
            completion: experience.completion.clone(),
            weights: experience.weights.clone(),
            old: old.to_vec(),
            returns: returns.to_vec(),
        }
    }
}

impl JudgementBatch {
    /// Uploads the numbers of `judgements`, one after the other.
    pub fn new(judgements: &[Judgement], device: &Device) -> Self {
        let upload = |part: fn(&Judgement) -> &Vec<f32>| {
            let values: Vec<f32> = judgements.iter().flat_map(part).copied().collect();
            let length = values.len();
            Tensor::from_data(TensorData::new(values, [length]), device)
        };
        Self {
            weights: upload(|one| &one.weights),
            old: upload(|one| &one.old),
            returns: upload(|one| &one.returns),
        }
    }
}

impl ValueClip {
    /// The micro-batch's part of the loss; parts add up to the loss of the batch. The value is computed
    /// untracked, and its exact slope tracked. `[N], [N] -> [1]`
    pub fn loss(self, values: &Tensor<1>, batch: &JudgementBatch) -> CriticLoss {
        let fixed = |tensor: &Tensor<1>| tensor.clone().without_autodiff();
        let (weights, returns, old) =
            (fixed(&batch.weights), fixed(&batch.returns), fixed(&batch.old));
        let miss = fixed(values) - returns.clone();
        let mut error = miss.clone() * miss.clone();
        let mut slope = miss;
        let counted = weights.clone().abs().greater_elem(0.0).float();
        let mut held = counted.zeros_like();
        if let Self::At(most) = self {
            let moved = (fixed(values) - old.clone()).clamp(-most, most);
            let near = old + moved - returns;
            let near = near.clone() * near;
            let is_held = near.clone().greater(error.clone());
            error = error.mask_where(is_held.clone(), near);
            // Beyond the clip the larger error is that of a constant.
            slope = slope.mask_fill(is_held.clone(), 0.0);
            held = is_held.float();
        }
        let loss = (error * weights.clone()).sum().mul_scalar(0.5);
        let held = Tensor::cat(vec![(held * counted.clone()).sum(), counted.sum()], 0);
        if !values.is_autodiff() {
            return CriticLoss { loss, held };
        }
        let slope = constant(slope * weights, values);
        CriticLoss { loss: with_gradient_of(loss, (values.clone() * slope).sum()), held }
    }
}

/// Share of the spread of returns that a critic foresaw.
///
/// # Panics
/// If there is not one return a value.
pub fn explained_variance(values: &[f32], returns: &[f32]) -> f64 {
    assert_eq!(values.len(), returns.len(), "one return a value");
    let missed = returns.iter().zip(values).map(|(r, v)| f64::from(*r) - f64::from(*v)).collect();
    let earned = returns.iter().map(|r| f64::from(*r)).collect();
    1.0 - variance(missed) / (variance(earned) + SPREAD_GUARD)
}

/// With n - 1 below, as torch has it; 0 for fewer than two.
fn variance(values: Vec<f64>) -> f64 {
    let count = values.len() as f64;
    let center = values.iter().sum::<f64>() / count.max(1.0);
    values.iter().map(|value| (value - center).powi(2)).sum::<f64>() / (count - 1.0).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_critic_that_knows_explains_everything_and_one_that_says_the_same_nothing() {
        let returns = [0.0f32, 1.0, 4.0, -2.0];
        assert_eq!(explained_variance(&returns, &returns), 1.0);
        assert!(explained_variance(&[0.7; 4], &returns).abs() < 1e-5);
        assert!(explained_variance(&[0.0, -1.0, -4.0, 2.0], &returns) < -2.9);
        // Nothing is to be explained where all earn the same.
        assert_eq!(explained_variance(&[0.5; 3], &[1.0; 3]), 1.0);
        assert_eq!(explained_variance(&[], &[]), 1.0);
    }
}
