//! Policy gradient: raise the log-probability of what was better than expected.
//!
//! Measures: the expected reward of completions drawn from the policy, through its gradient.
//! Formula: `-sum_t w_t F_t + beta sum_t w_t kl_t - c sum_t w_t H_t`, w from the aggregation, and F from
//! the surrogate: `A log p`; `r A`; `min(r A, clip(r, 1 - low, 1 + high) A)`, at least `dual A` where
//! `A < 0`; or `sg(clip(r, floor, ceiling)) A log p`. r is the ratio to the policy that drew, of the token or of the
//! completion. A is the reward minus a baseline, divided by a scale; or 1 for what is kept to be imitated, which
//! makes it maximum likelihood of the policy's own best completions.
//! Misleads when: the loss is read as progress. On policy its value says nothing, and is 0 where
//! advantages sum to 0; only its gradient does. Watch the reward. Stale or cut rollouts: ratios rest on few tokens,
//! those of completions on few completions (`ratio/frac_above_100`, `sampling/importance_sampling_ratio/max`).
//! Groups without signal teach nothing, and kept they thin out what the others teach (`frac_reward_zero_std`). A
//! clipped ratio has no gradient: at a high `clip_ratio` a step did little, whatever its loss. Before the value head
//! has learned, advantages are rewards and its noise, and with lam below 1 it judges itself (`explained_variance` near 0
//! or below). What is imitated becomes likelier whatever it earned, and entropy falls.
//! Reference: Williams 1992; Ahmadian et al. 2024 for the leave-one-out baseline; Shao et al. 2024 (GRPO);
//! Liu et al. 2025 (Dr. GRPO); Yu et al. 2025 (DAPO); Hu 2025 (REINFORCE++); Li et al. 2023 (ReMax);
//! Zheng et al. 2025 (GSPO); MiniMax 2025 (CISPO); Schulman et al. 2016 and 2017 (GAE, PPO); Mnih et al.
//! 2016 (A2C); Dong et al. 2023 (RAFT); Gulcehre et al. 2023 (ReST); Ye et al. 2020 (dual clip); Schulman 2020, "Approximating KL divergence" for k1, k2, k3;
//! Ziegler et al. 2019 for the adaptive coefficient; He et al. 2025 for the adaptive entropy bonus.

mod advantages;
mod choices;
mod presets;
mod state;
mod stated;
mod surrogate;
#[cfg(test)]
mod tests;

pub use advantages::{flat_groups, generalized_advantages};
pub use choices::{
    Baseline, Clip, Correction, Ddof, Deviation, Dual, EntropyBonus, FlatGroups, Guard, Kept,
    KlCoefficient, KlPlacement, Scale, Surrogate, Truncated,
};
pub use presets::{Algorithm, Compat};
pub use state::{Coefficients, PolicyGradientState};

use kudos_schema::{EndReason, Sampling};
use serde::{Deserialize, Serialize};

use super::{Aggregation, Experience, Importance, ImportanceReport, Objective};
use crate::rollout::Rollout;
use advantages::{mean, to_go};
use stated::Stated;

/// REINFORCE and its relatives as one choice of each part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stated")]
pub struct PolicyGradient {
    /// What a reward is compared with.
    pub baseline: Baseline,
    /// What the difference is divided by.
    pub scale: Scale,
    /// What carries the gradient.
    pub surrogate: Surrogate,
    /// Where the divergence from the reference is paid.
    pub kl_placement: KlPlacement,
    /// What a nat of it costs.
    pub kl_coefficient: KlCoefficient,
    /// What a nat of entropy earns.
    pub entropy_bonus: EntropyBonus,
    /// How tokens are averaged.
    pub aggregation: Aggregation,
    /// What happens to completions without an end token.
    pub truncated: Truncated,
    /// What happens to groups without signal.
    pub flat_groups: FlatGroups,
    /// Which completions of a prompt are learned from.
    pub kept: Kept,
    /// What is done about completions of another distribution.
    pub correction: Correction,
    /// The temperature the completions were drawn at.
    pub temperature: f64,
}

/// What a step collected. Vectors have one entry a completion where nothing else is said.
#[derive(Debug, Clone, Copy)]
pub struct Collected<'a> {
    /// The completions; the `group` of a prompt are neighbors.
    pub rollout: &'a Rollout,
    /// What each earned.
    pub rewards: &'a [f32],
    /// Completions a prompt.
    pub group: usize,
    /// Log-probability of each token under the reference, in nats.
    pub reference: &'a [Vec<f32>],
    /// Log-probability of each token under the policy as it was when the step began, in nats.
    pub old: &'a [Vec<f32>],
    /// What the greedy completion of each prompt earned; for [`Baseline::Greedy`].
    pub greedy: &'a [f32],
    /// What a critic expected at each token; for [`Baseline::Value`].
    pub values: &'a [Vec<f32>],
}

/// A rollout turned into experience, with what is worth reporting.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// One entry a completion.
    pub experiences: Vec<Experience>,
    /// Whether each completion is learned from.
    pub included: Vec<bool>,
    /// What each token turned out to be worth, for a critic to learn; empty without one.
    pub returns: Vec<Vec<f32>>,
    /// Mean over completions of the summed k1, in nats; 0 without a reference.
    pub kl_nats: f64,
    /// Share of prompts whose completions all earned the same.
    pub frac_reward_zero_std: f64,
    /// What the correction's ratios showed.
    pub importance: Option<ImportanceReport>,
}

impl<'a> Collected<'a> {
    /// On-policy completions without reference, critic or greedy completions.
    pub fn new(rollout: &'a Rollout, rewards: &'a [f32], group: usize) -> Self {
        let (reference, old) = (&rollout.logprobs_full[..], &rollout.logprobs_full[..]);
        Self { rollout, rewards, group, reference, old, greedy: &[], values: &[] }
    }
}

impl Default for PolicyGradient {
    fn default() -> Self {
        Self::reinforce()
    }
}

impl PolicyGradient {
    /// Whether log-probabilities of a reference are used at all.
    pub fn needs_reference(&self) -> bool {
        self.kl_placement != KlPlacement::None
    }

    /// Whether a critic says what to expect at each token.
    pub fn needs_values(&self) -> bool {
        matches!(self.baseline, Baseline::Value { .. })
    }

    /// With the temperature and the lengths of the sampling, where these were left open.
    pub fn drawn_by(mut self, sampling: &Sampling) -> Self {
        self.temperature = sampling.temperature;
        if self.aggregation == Aggregation::Constant(0) {
            self.aggregation = Aggregation::Constant(sampling.max_completion_length);
        }
        if let Truncated::Shape { longest, buffer } = self.truncated {
            let longest = if longest == 0 { sampling.max_completion_length } else { longest };
            let buffer = if buffer == 0 { (longest / 5).max(1) } else { buffer };
            self.truncated = Truncated::Shape { longest, buffer };
        }
        self
    }

    /// Turns what was collected into experience; moves the state on.
    ///
    /// # Panics
    /// If the numbers of completions differ or are no multiple of the group, or a baseline lacks what it
    /// compares with.
    pub fn prepare(&self, collected: &Collected<'_>, state: &mut PolicyGradientState) -> Prepared {
        let Collected { rollout, rewards, group, old, reference, .. } = *collected;
        let count = rollout.completions.len();
        let counts = [rewards.len(), old.len(), reference.len()];
        assert_eq!(counts, [count; 3], "one entry a completion");
        assert!(group > 0 && count.is_multiple_of(group), "whole groups of {group}");
        let kl: Vec<Vec<f64>> = old.iter().zip(reference).map(|(p, r)| k1(p, r)).collect();
        let shaped = self.shaped(collected, &kl, state.beta);
        let mut advantages = self.of_tokens(collected, (&shaped, &kl), state);
        let returns = returns(&advantages, collected.values);
        self.scale.of_tokens(&mut advantages);
        let importance = self.correct(collected, &mut advantages);
        let sums: Vec<f64> = kl.iter().map(|row| row.iter().sum()).collect();
        let kl_nats = if self.needs_reference() { mean(&sums) } else { 0.0 };
        self.steer(kl_nats, count, state);
        let flat = flat_groups(rewards, group);
        let kept = self.kept.of(&shaped, group);
        let included = self.included(rollout, (&flat, &kept), group);
        Prepared {
            experiences: self.experiences(collected, &advantages, &included),
            included,
            returns,
            kl_nats,
            frac_reward_zero_std: flat.iter().filter(|flat| **flat).count() as f64
                / flat.len().max(1) as f64,
            importance,
        }
    }

    /// What each completion earned, length and divergence paid for.
    fn shaped(&self, collected: &Collected<'_>, kl: &[Vec<f64>], beta: f64) -> Vec<f64> {
        let in_reward = self.kl_placement == KlPlacement::RewardK1;
        let rows = collected.rewards.iter().zip(kl).zip(&collected.rollout.completions);
        rows.map(|((reward, kl), completion)| {
            let paid = if in_reward { beta * kl.iter().sum::<f64>() } else { 0.0 };
            f64::from(*reward) - paid - self.truncated.penalty(completion.len())
        })
        .collect()
    }

    /// The advantage of each token, but for whitening.
    fn of_tokens(
        &self,
        collected: &Collected<'_>,
        (shaped, kl): (&[f64], &[Vec<f64>]),
        state: &mut PolicyGradientState,
    ) -> Vec<Vec<f64>> {
        let Collected { group, greedy, values, .. } = *collected;
        let cost = if self.kl_placement == KlPlacement::TokenRewardK1 { state.beta } else { 0.0 };
        let paid = |row: &Vec<f64>| row.iter().map(|kl| -cost * kl).collect::<Vec<f64>>();
        if let Baseline::Value { gamma, lam } = self.baseline {
            assert_eq!(values.len(), shaped.len(), "a critic's values of each completion");
            let rows = kl.iter().zip(shaped).zip(values);
            return rows
                .map(|((kl, reward), values)| {
                    let mut rewards = paid(kl);
                    if let Some(last) = rewards.last_mut() {
                        *last += reward;
                    }
                    generalized_advantages(&rewards, values, gamma, lam)
                })
                .collect();
        }
        let mut of_completions = match self.kept {
            Kept::All => self.baseline.advantages(shaped, (group, greedy), state),
            Kept::Best(_) | Kept::AtLeast(_) => vec![1.0; shaped.len()],
        };
        assert_eq!(of_completions.len(), shaped.len(), "a greedy reward for each prompt");
        self.scale.of_completions(&mut of_completions, shaped, group);
        let rows = kl.iter().zip(of_completions);
        rows.map(|(kl, advantage)| {
            to_go(&paid(kl)).into_iter().map(|paid| paid + advantage).collect()
        })
        .collect()
    }

    /// Multiplies advantages with the ratio to the distribution that was drawn from.
    fn correct(
        &self,
        collected: &Collected<'_>,
        advantages: &mut [Vec<f64>],
    ) -> Option<ImportanceReport> {
        let Correction::Importance { level, bound } = self.correction else { return None };
        let everything =
            Importance { level, bound, max_drift_nats: f64::INFINITY, min_effective_share: 0.0 };
        let weighed = everything.weigh(collected.old, &collected.rollout.logprobs_drawn);
        let tokens = advantages.iter_mut().flatten().zip(weighed.factors.iter().flatten());
        tokens.for_each(|(advantage, factor)| *advantage *= f64::from(*factor));
        Some(weighed.report)
    }

    /// Which completions are learned from.
    fn included(
        &self,
        rollout: &Rollout,
        (flat, kept): (&[bool], &[bool]),
        group: usize,
    ) -> Vec<bool> {
        let drops = match self.flat_groups {
            FlatGroups::Keep => false,
            FlatGroups::Drop | FlatGroups::Resample { .. } => true,
        };
        let rows = rollout.end_reasons.iter().enumerate();
        rows.map(|(row, reason)| {
            let ended = self.truncated != Truncated::Mask || *reason == EndReason::Stop;
            ended && kept[row] && !(drops && flat[row / group])
        })
        .collect()
    }

    fn experiences(
        &self,
        collected: &Collected<'_>,
        advantages: &[Vec<f64>],
        included: &[bool],
    ) -> Vec<Experience> {
        let Collected { rollout, reference, old, .. } = *collected;
        let rows = rollout.prompts.iter().zip(&rollout.completions);
        let numbers = advantages.iter().zip(old.iter().zip(reference));
        let experiences =
            rows.zip(numbers).map(|((prompt, completion), (advantages, (old, reference)))| {
                Experience {
                    prompt: prompt.clone(),
                    completion: completion.clone(),
                    weights: Vec::new(),
                    advantages: advantages.iter().map(|advantage| *advantage as f32).collect(),
                    reference: reference.clone(),
                    old: old.clone(),
                }
            });
        let mut experiences: Vec<Experience> = experiences.collect();
        self.share_out(&mut experiences, included);
        experiences
    }

    /// Gives each token its share in the loss of a batch that consists of these completions: of a whole
    /// step, or of one of its mini-batches.
    pub fn share_out(&self, experiences: &mut [Experience], included: &[bool]) {
        let lengths: Vec<usize> = experiences.iter().map(|one| one.completion.len()).collect();
        let weights = self.aggregation.weights(&lengths, included);
        experiences.iter_mut().zip(weights).for_each(|(one, weights)| one.weights = weights);
    }

    /// The objective at one step: the choices with the current coefficients.
    pub fn at(&self, now: Coefficients) -> impl Objective + '_ {
        surrogate::AtStep { choices: self, now }
    }
}

impl Truncated {
    /// What a completion of this many tokens loses.
    fn penalty(self, tokens: usize) -> f64 {
        match self {
            Self::Learn | Self::Mask => 0.0,
            Self::Shape { longest, buffer } => {
                let free = longest.saturating_sub(buffer);
                (tokens.saturating_sub(free) as f64 / buffer.max(1) as f64).min(1.0)
            }
        }
    }
}

/// log p - log p_ref of each token, in nats.
fn k1(log_probs: &[f32], reference: &[f32]) -> Vec<f64> {
    log_probs.iter().zip(reference).map(|(p, r)| f64::from(*p) - f64::from(*r)).collect()
}

/// Advantage and value of each token together; empty without values.
fn returns(advantages: &[Vec<f64>], values: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let rows = advantages.iter().zip(values);
    rows.map(|(advantages, values)| {
        let tokens = advantages.iter().zip(values);
        tokens.map(|(advantage, value)| (advantage + f64::from(*value)) as f32).collect()
    })
    .collect()
}
