//! What a reward model is fitted to: choices between two completions, and grades of one.
//!
//! Measures: how likely people's verdicts are if a completion of score s beats one of score t with
//! probability `1 / (1 + exp(t - s))` and is good with probability `1 / (1 + exp(-s))`.
//! Formula: cross-entropy of a share q: pairs `-q log s(d) - (1 - q) log s(-d)`, d the difference less
//! the margin in favor of the chosen; grades the same with d the score. A tie is q = 1/2, stars are
//! q = (stars - 1) / 4. Mean over verdicts, weighted.
//! Misleads when: all that is compared is equally bad; differences say nothing of the level.
//! Reference: Bradley and Terry 1952; Ouyang et al. 2022; Touvron et al. 2023 (margin).

use serde::{Deserialize, Serialize};

use super::linear::{Linearized, log_sigmoid, sigmoid};

/// How verdicts are taken.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardFit {
    /// How much better, in nats, the chosen of two has to be than the other.
    pub margin: f64,
    /// Share of the verdicts that are taken to be the wrong way round.
    pub label_smoothing: f64,
}

/// A verdict on completions, which are named by their places.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum VerdictOn {
    /// Of two, how often the first is the better one: 1, 0, or 1/2 for a tie.
    Pair {
        /// One place.
        first: usize,
        /// The other place.
        second: usize,
        /// From 0 to 1.
        share: f64,
    },
    /// How good one is.
    Grade {
        /// Its place.
        place: usize,
        /// From 0 to 1.
        share: f64,
    },
}

/// A verdict with how much it counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighted {
    /// What was said.
    pub verdict: VerdictOn,
    /// 1 is usual.
    pub weight: f64,
}

impl RewardFit {
    /// The loss of verdicts on completions of these scores, with its slopes by the scores.
    pub fn linearize(&self, scores: &[f64], verdicts: &[Weighted]) -> Linearized {
        let total: f64 = verdicts.iter().map(|one| one.weight).sum();
        let mut linearized = Linearized { loss: 0.0, slopes: vec![0.0; scores.len()] };
        for Weighted { verdict, weight } in verdicts {
            let part = if total > 0.0 { weight / total } else { 0.0 };
            let share = self.smooth(verdict.share());
            let difference = verdict.difference(scores, self.margin);
            let slope = part * (sigmoid(difference) - share);
            linearized.loss -=
                part * (share * log_sigmoid(difference) + (1.0 - share) * log_sigmoid(-difference));
            match *verdict {
                VerdictOn::Pair { first, second, .. } => {
                    linearized.slopes[first] += slope;
                    linearized.slopes[second] -= slope;
                }
                VerdictOn::Grade { place, .. } => linearized.slopes[place] += slope,
            }
        }
        linearized
    }

    fn smooth(&self, share: f64) -> f64 {
        share * (1.0 - self.label_smoothing) + (1.0 - share) * self.label_smoothing
    }
}

impl VerdictOn {
    fn share(self) -> f64 {
        match self {
            Self::Pair { share, .. } | Self::Grade { share, .. } => share,
        }
    }

    /// What the model says of it: the probability's logit, less the margin.
    fn difference(self, scores: &[f64], margin: f64) -> f64 {
        match self {
            Self::Pair { first, second, share } => {
                scores[first] - scores[second] - margin * (2.0 * share - 1.0)
            }
            Self::Grade { place, .. } => scores[place],
        }
    }

    /// How likely the model finds the first, or a good grade.
    pub fn probability(self, scores: &[f64]) -> f64 {
        sigmoid(self.difference(scores, 0.0))
    }
}
