//! The loss of a micro-batch: what carries the gradient, and what divergence costs.
//!
//! Everything of a ratio but the log-probability itself is fixed: the value is computed untracked, and
//! the gradient is its exact slope by each token's log-probability. A ratio of a whole completion couples
//! its tokens, which are always in one micro-batch.

use burn::tensor::{IndexingUpdateOp, Tensor};

use super::{Clip, Coefficients, Dual, KlPlacement, PolicyGradient, Surrogate};
use crate::first_order::with_gradient_of;
use crate::objective::{EntropyUse, Objective, RatioLevel, Scores, Scoring, TokenBatch};

/// The logarithm of a ratio is kept within this, so that `exp` stays finite in f32; beyond, a ratio
/// has no gradient.
const MOST_LOG_RATIO: f32 = 20.0;

/// A ratio above it has left what was drawn, whether or not something holds it.
const FAR: f64 = 100.0;

/// A policy gradient whose coefficients are settled for a step.
pub(super) struct AtStep<'a> {
    pub(super) choices: &'a PolicyGradient,
    pub(super) now: Coefficients,
}

/// A part of the objective, without its weights. All of shape `[N]`.
struct Part {
    value: Tensor<1>,
    /// The slope of the weighted sum of the values by each token's log-probability.
    slope: Tensor<1>,
}

impl Objective for AtStep<'_> {
    fn scoring(&self) -> Scoring {
        let learned = self.now.entropy_bonus != 0.0;
        Scoring {
            temperature: self.choices.temperature,
            entropy: if learned { EntropyUse::Learn } else { EntropyUse::Measure },
        }
    }

    fn loss(&self, scores: &Scores, batch: &TokenBatch) -> Tensor<1> {
        let weights = batch.weights.clone();
        let mut loss = self.choices.surrogate.gain(scores, batch).neg();
        if let Some(kl) = self.divergence(scores, batch) {
            loss = loss + (kl * weights.clone()).sum().mul_scalar(self.now.beta);
        }
        if let (true, Some(entropy)) = (self.now.entropy_bonus != 0.0, &scores.entropy) {
            loss = loss - (entropy.clone() * weights).sum().mul_scalar(self.now.entropy_bonus);
        }
        loss
    }

    fn clipping(&self, scores: &Scores, batch: &TokenBatch) -> Option<Tensor<1>> {
        self.choices.surrogate.clipping(scores, batch)
    }
}

impl AtStep<'_> {
    /// What each token pays in the loss. `[N], [N] -> [N]`
    fn divergence(&self, scores: &Scores, batch: &TokenBatch) -> Option<Tensor<1>> {
        let ratio = batch.reference.clone() - scores.log_probs.clone();
        let bounded = || ratio.clone().clamp(-MOST_LOG_RATIO, MOST_LOG_RATIO);
        match self.choices.kl_placement {
            KlPlacement::None | KlPlacement::RewardK1 | KlPlacement::TokenRewardK1 => None,
            KlPlacement::LossK2 => Some(ratio.clone() * ratio.mul_scalar(0.5)),
            KlPlacement::LossK3 => Some(bounded().exp() - bounded().add_scalar(1.0)),
        }
    }
}

impl Surrogate {
    /// The weighted sum over tokens, to be made large. `[N], [N] -> [1]`
    fn gain(self, scores: &Scores, batch: &TokenBatch) -> Tensor<1> {
        let log_probs = scores.log_probs.clone();
        let part = match self {
            Self::ScoreFunction => {
                return (log_probs * batch.advantages.clone() * batch.weights.clone()).sum();
            }
            Self::Ratio { level } => unclipped(level, scores, batch),
            Self::Clip(clip) => clip.part(scores, batch),
            Self::DetachedRatio { floor, ceiling } => {
                let ratio = ratios(RatioLevel::Token, scores, batch);
                let slope = ratio.clamp(floor, ceiling) * fixed(&batch.advantages);
                let value = slope.clone() * fixed(&log_probs);
                Part { value, slope: slope * fixed(&batch.weights) }
            }
        };
        let value = (part.value * fixed(&batch.weights)).sum();
        let slope = crate::first_order::constant(part.slope, &log_probs);
        with_gradient_of(value, (log_probs * slope).sum())
    }

    /// As [`Objective::clipping`] says. `[N], [N] -> [5]`
    fn clipping(self, scores: &Scores, batch: &TokenBatch) -> Option<Tensor<1>> {
        let (level, least, most) = match self {
            Self::ScoreFunction => return None,
            Self::Ratio { level } => (level, 0.0, f64::INFINITY),
            Self::Clip(clip) => (clip.level, 1.0 - clip.low, 1.0 + clip.high),
            Self::DetachedRatio { floor, ceiling } => (RatioLevel::Token, floor, ceiling),
        };
        let ratio = ratios(level, scores, batch);
        let advantages = fixed(&batch.advantages);
        let counted = fixed(&batch.weights).abs().greater_elem(0.0).float();
        let low = ratio.clone().lower_elem(least).float();
        let low = low * advantages.clone().lower_elem(0.0).float();
        let high = ratio.clone().greater_elem(most.min(f64::from(f32::MAX))).float();
        let high = high * advantages.greater_elem(0.0).float();
        let far = ratio.greater_elem(FAR).float();
        let moved = fixed(&batch.old) - fixed(&scores.log_probs);
        let sums = [low, high, moved, far].map(|part| (part * counted.clone()).sum());
        let [low, high, moved, far] = sums;
        Some(Tensor::cat(vec![low, high, moved, far, counted.sum()], 0))
    }
}

impl Clip {
    fn part(self, scores: &Scores, batch: &TokenBatch) -> Part {
        let advantages = fixed(&batch.advantages);
        let ratio = ratios(self.level, scores, batch);
        let plain = ratio.clone() * advantages.clone();
        let held = ratio.clone().clamp(1.0 - self.low, 1.0 + self.high) * advantages.clone();
        let is_held = held.clone().lower(plain.clone());
        let mut value = plain.clone().mask_where(is_held.clone(), held);
        let mut slope = plain.mask_fill(is_held, 0.0);
        if let Dual::At(most) = self.dual {
            let least = advantages.clone().mul_scalar(most);
            let bounded = value.clone().lower(least.clone()).float();
            let bounded = bounded * advantages.lower_elem(0.0).float();
            let bounded = bounded.greater_elem(0.5);
            value = value.mask_where(bounded.clone(), least);
            slope = slope.mask_fill(bounded, 0.0);
        }
        let slope = within_bounds(self.level, slope, scores, batch);
        Part { value, slope: coupled(self.level, slope * fixed(&batch.weights), batch) }
    }
}

fn unclipped(level: RatioLevel, scores: &Scores, batch: &TokenBatch) -> Part {
    let value = ratios(level, scores, batch) * fixed(&batch.advantages);
    let slope = within_bounds(level, value.clone(), scores, batch) * fixed(&batch.weights);
    Part { value, slope: coupled(level, slope, batch) }
}

/// The ratio of the current policy to the one that drew, by token, untracked. `[N], [N] -> [N]`
fn ratios(level: RatioLevel, scores: &Scores, batch: &TokenBatch) -> Tensor<1> {
    log_ratios(level, scores, batch).clamp(-MOST_LOG_RATIO, MOST_LOG_RATIO).exp()
}

fn log_ratios(level: RatioLevel, scores: &Scores, batch: &TokenBatch) -> Tensor<1> {
    let by_token = fixed(&scores.log_probs) - fixed(&batch.old);
    match level {
        RatioLevel::Token => by_token,
        RatioLevel::Sequence => over_completions(by_token, batch),
        RatioLevel::SequenceMean => over_completions(by_token / fixed(&batch.lengths), batch),
    }
}

/// Slopes of ratios that are held by the bound of `exp` are 0. `[N] -> [N]`
fn within_bounds(
    level: RatioLevel,
    slope: Tensor<1>,
    scores: &Scores,
    batch: &TokenBatch,
) -> Tensor<1> {
    let beyond = log_ratios(level, scores, batch).abs().greater_elem(MOST_LOG_RATIO);
    slope.mask_fill(beyond, 0.0)
}

/// Slopes by the logarithm of a ratio become slopes by each token's log-probability. `[N] -> [N]`
fn coupled(level: RatioLevel, slope: Tensor<1>, batch: &TokenBatch) -> Tensor<1> {
    match level {
        RatioLevel::Token => slope,
        RatioLevel::Sequence => over_completions(slope, batch),
        RatioLevel::SequenceMean => over_completions(slope / fixed(&batch.lengths), batch),
    }
}

/// Each token's completion's sum. `[N] -> [N]`
fn over_completions(values: Tensor<1>, batch: &TokenBatch) -> Tensor<1> {
    let places = batch.places.clone().without_autodiff();
    let sums = Tensor::<1>::zeros([batch.completions], &values.device());
    sums.select_assign(0, places.clone(), values, IndexingUpdateOp::Add).select(0, places)
}

fn fixed(values: &Tensor<1>) -> Tensor<1> {
    values.clone().without_autodiff()
}
