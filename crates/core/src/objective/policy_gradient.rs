//! Policy gradient: raise the log-probability of what was better than expected.
//!
//! Measures: the expected reward of completions drawn from the policy, through its gradient.
//! Formula: `-sum_t w_t A_t log p(y_t) + beta sum_t w_t kl_t - c sum_t w_t H_t`; A from the rewards
//! minus a baseline, w from the aggregation.
//! Misleads when: the loss is read as progress. On policy its value says nothing, only its gradient
//! does; watch the reward.
//! Reference: Williams 1992; Ahmadian et al. 2024 for the leave-one-out baseline; Schulman 2020,
//! "Approximating KL divergence" for k1, k2, k3; Ziegler et al. 2019 for the adaptive coefficient.

use burn::tensor::Tensor;
use kudos_schema::EndReason;
use serde::{Deserialize, Serialize};

use super::{Aggregation, EntropyUse, Experience, Objective, Scores, Scoring, TokenBatch};
use crate::rollout::Rollout;

/// REINFORCE and its relatives as one choice of each part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyGradient {
    /// What a reward is compared with.
    pub baseline: Baseline,
    /// What carries the gradient.
    pub surrogate: Surrogate,
    /// Where the divergence from the reference is paid.
    pub kl_placement: KlPlacement,
    /// What a nat of it costs.
    pub kl_coefficient: KlCoefficient,
    /// What a nat of entropy earns.
    pub entropy_bonus: f64,
    /// How tokens are averaged.
    pub aggregation: Aggregation,
    /// What happens to completions without an end token.
    pub truncated: Truncated,
    /// The temperature the completions were drawn at.
    pub temperature: f64,
}

/// What a reward is compared with; the baseline must not depend on the action (Williams 1992).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// Nothing.
    None,
    /// An exponential mean of past batches' rewards, zero before the first.
    RunningMean {
        /// Share of the past kept at each step.
        decay: f64,
    },
    /// The mean of the batch.
    BatchMean,
    /// The mean of the other completions of the same prompt.
    LeaveOneOut,
    /// The mean of the group, divided by its standard deviation (ddof 1) plus epsilon.
    GroupZScore {
        /// Added to the standard deviation.
        epsilon: f64,
    },
}

/// What carries the gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surrogate {
    /// `A log p`: the score-function estimator, for completions of the current policy.
    ScoreFunction,
}

/// Where the divergence from the frozen reference is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlPlacement {
    /// Nowhere; no reference is needed.
    None,
    /// In the reward, by k1 = log p - log p_ref, summed over the completion.
    RewardK1,
    /// In the loss, by k2 = (log p - log p_ref)^2 / 2, whose gradient is that of the reverse KL.
    LossK2,
    /// In the loss, by k3 = exp(log p_ref - log p) - 1 - (log p_ref - log p), never negative.
    LossK3,
}

/// What a nat of divergence costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlCoefficient {
    /// Always the same.
    Fixed(f64),
    /// Steered so that the divergence of a completion stays near a target (Ziegler et al. 2019).
    Adaptive {
        /// Coefficient at the start.
        initial: f64,
        /// Wanted divergence, in nats a completion.
        target: f64,
        /// Completions over which an error is corrected.
        horizon: f64,
    },
}

/// What happens to completions that reached the longest length without an end token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncated {
    /// Learned from like any other.
    Learn,
    /// Left out of the loss; they still count in baselines.
    Mask,
}

/// What the objective remembers between steps; part of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyGradientState {
    /// Mean reward of past batches.
    pub running_mean: Option<f64>,
    /// Current cost of a nat.
    pub beta: f64,
}

/// A rollout turned into experience, with what is worth reporting.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// One entry a completion.
    pub experiences: Vec<Experience>,
    /// Mean over completions of the summed k1, in nats; 0 without a reference.
    pub kl_nats: f64,
    /// Share of prompts whose completions all earned the same.
    pub frac_reward_zero_std: f64,
}

impl Default for PolicyGradient {
    fn default() -> Self {
        Self::reinforce()
    }
}

impl PolicyGradient {
    /// REINFORCE with the batch mean as baseline.
    pub fn reinforce() -> Self {
        Self {
            baseline: Baseline::BatchMean,
            surrogate: Surrogate::ScoreFunction,
            kl_placement: KlPlacement::RewardK1,
            kl_coefficient: KlCoefficient::Fixed(0.05),
            entropy_bonus: 0.0,
            aggregation: Aggregation::TokenMean,
            truncated: Truncated::Learn,
            temperature: 1.0,
        }
    }

    /// REINFORCE with the leave-one-out baseline.
    pub fn rloo() -> Self {
        Self { baseline: Baseline::LeaveOneOut, ..Self::reinforce() }
    }

    /// The state before the first step.
    pub fn initial_state(&self) -> PolicyGradientState {
        let beta = match self.kl_coefficient {
            KlCoefficient::Fixed(beta) => beta,
            KlCoefficient::Adaptive { initial, .. } => initial,
        };
        PolicyGradientState { running_mean: None, beta }
    }

    /// Whether log-probabilities of a reference are used at all.
    pub fn needs_reference(&self) -> bool {
        self.kl_placement != KlPlacement::None
    }

    /// Turns a rollout of groups of `group` completions a prompt, with a reward each and the
    /// reference's log-probabilities of each token, into experience; moves the state on.
    ///
    /// # Panics
    /// If the numbers of completions differ or are no multiple of `group`.
    pub fn prepare(
        &self,
        rollout: &Rollout,
        rewards: &[f32],
        reference: &[Vec<f32>],
        (group, state): (usize, &mut PolicyGradientState),
    ) -> Prepared {
        let count = rollout.completions.len();
        assert!(rewards.len() == count && reference.len() == count, "one entry a completion");
        assert!(group > 0 && count.is_multiple_of(group), "whole groups of {group}");
        let kl: Vec<f64> =
            rollout.logprobs_full.iter().zip(reference).map(|(p, r)| k1(p, r)).collect();
        let beta = state.beta;
        let in_reward = self.kl_placement == KlPlacement::RewardK1;
        let shaped = rewards
            .iter()
            .zip(&kl)
            .map(|(reward, kl)| f64::from(*reward) - if in_reward { beta * kl } else { 0.0 });
        let shaped: Vec<f64> = shaped.collect();
        let advantages = self.baseline.advantages(&shaped, group, state);
        let kl_nats = if self.needs_reference() { mean(&kl) } else { 0.0 };
        self.steer(kl_nats, count, state);
        Prepared {
            experiences: self.experiences(rollout, &advantages, reference),
            kl_nats,
            frac_reward_zero_std: zero_std_share(rewards, group),
        }
    }

    fn experiences(
        &self,
        rollout: &Rollout,
        advantages: &[f64],
        reference: &[Vec<f32>],
    ) -> Vec<Experience> {
        let lengths: Vec<usize> = rollout.completions.iter().map(Vec::len).collect();
        let included: Vec<bool> = rollout
            .end_reasons
            .iter()
            .map(|reason| self.truncated == Truncated::Learn || *reason == EndReason::Stop)
            .collect();
        let weights = self.aggregation.weights(&lengths, &included);
        let rows = rollout.prompts.iter().zip(&rollout.completions).zip(weights);
        rows.zip(advantages.iter().zip(reference))
            .map(|(((prompt, completion), weights), (advantage, reference))| Experience {
                prompt: prompt.clone(),
                completion: completion.clone(),
                advantages: vec![*advantage as f32; completion.len()],
                reference: reference.clone(),
                weights,
            })
            .collect()
    }

    /// Moves an adaptive coefficient towards its target.
    fn steer(&self, kl_nats: f64, completions: usize, state: &mut PolicyGradientState) {
        match self.kl_coefficient {
            KlCoefficient::Fixed(_) => {}
            KlCoefficient::Adaptive { target, horizon, .. } => {
                let error = (kl_nats / target - 1.0).clamp(-0.2, 0.2);
                state.beta *= 1.0 + error * completions as f64 / horizon;
            }
        }
    }

    /// The loss of a micro-batch with the coefficient that `prepare` used. `[N], [N] -> [1]`
    fn loss_with(&self, beta: f64, scores: &Scores, batch: &TokenBatch) -> Tensor<1> {
        let weights = batch.weights.clone();
        let log_probs = scores.log_probs.clone();
        let Surrogate::ScoreFunction = self.surrogate;
        let mut loss = (log_probs.clone() * batch.advantages.clone() * weights.clone()).sum().neg();
        let ratio = batch.reference.clone() - log_probs;
        let kl = match self.kl_placement {
            KlPlacement::None | KlPlacement::RewardK1 => None,
            KlPlacement::LossK2 => Some(ratio.clone() * ratio.mul_scalar(0.5)),
            KlPlacement::LossK3 => Some(ratio.clone().exp() - ratio.add_scalar(1.0)),
        };
        if let Some(kl) = kl {
            loss = loss + (kl * weights.clone()).sum().mul_scalar(beta);
        }
        if let (true, Some(entropy)) = (self.entropy_bonus != 0.0, &scores.entropy) {
            loss = loss - (entropy.clone() * weights).sum().mul_scalar(self.entropy_bonus);
        }
        loss
    }

    /// The objective at one step: the choices with the current coefficient.
    pub fn at(&self, beta: f64) -> impl Objective + '_ {
        AtStep { choices: self, beta }
    }
}

/// A policy gradient whose KL coefficient is settled for a step.
struct AtStep<'a> {
    choices: &'a PolicyGradient,
    beta: f64,
}

impl Objective for AtStep<'_> {
    fn scoring(&self) -> Scoring {
        let learned = self.choices.entropy_bonus != 0.0;
        Scoring {
            temperature: self.choices.temperature,
            entropy: if learned { EntropyUse::Learn } else { EntropyUse::Measure },
        }
    }

    fn loss(&self, scores: &Scores, batch: &TokenBatch) -> Tensor<1> {
        self.choices.loss_with(self.beta, scores, batch)
    }
}

impl Baseline {
    /// Reward minus baseline of each completion, for groups of `group` completions a prompt.
    pub fn advantages(
        self,
        rewards: &[f64],
        group: usize,
        state: &mut PolicyGradientState,
    ) -> Vec<f64> {
        let in_groups = |of_group: &dyn Fn(&[f64]) -> Vec<f64>| -> Vec<f64> {
            rewards.chunks(group).flat_map(of_group).collect()
        };
        match self {
            Self::None => rewards.to_vec(),
            Self::RunningMean { decay } => {
                let before = state.running_mean.unwrap_or(0.0);
                let now = mean(rewards);
                let kept =
                    state.running_mean.map_or(now, |past| decay * past + (1.0 - decay) * now);
                state.running_mean = Some(kept);
                rewards.iter().map(|reward| reward - before).collect()
            }
            Self::BatchMean => {
                let center = mean(rewards);
                rewards.iter().map(|reward| reward - center).collect()
            }
            Self::LeaveOneOut => in_groups(&|group| {
                let (sum, others) = (group.iter().sum::<f64>(), (group.len() - 1).max(1) as f64);
                group.iter().map(|reward| reward - (sum - reward) / others).collect()
            }),
            Self::GroupZScore { epsilon } => in_groups(&|group| {
                let (center, spread) = (mean(group), deviation(group));
                group.iter().map(|reward| (reward - center) / (spread + epsilon)).collect()
            }),
        }
    }
}

/// Sum over tokens of log p - log p_ref, in nats.
fn k1(log_probs: &[f32], reference: &[f32]) -> f64 {
    log_probs.iter().zip(reference).map(|(p, r)| f64::from(*p) - f64::from(*r)).sum()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Sample standard deviation (ddof 1); 0 for a single value.
fn deviation(values: &[f64]) -> f64 {
    let center = mean(values);
    let squares: f64 = values.iter().map(|value| (value - center).powi(2)).sum();
    (squares / (values.len().saturating_sub(1).max(1)) as f64).sqrt()
}

fn zero_std_share(rewards: &[f32], group: usize) -> f64 {
    let groups = rewards.chunks(group);
    let flat = groups.clone().filter(|group| group.iter().all(|reward| *reward == group[0]));
    flat.count() as f64 / groups.len().max(1) as f64
}
