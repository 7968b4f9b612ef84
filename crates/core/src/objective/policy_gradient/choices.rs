//! What a policy gradient is made of: one closed set of choices for each part.

use serde::{Deserialize, Serialize};

use super::super::{RatioBound, RatioLevel};

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
    /// The mean of the group, the completion itself included (GRPO).
    GroupMean,
    /// The mean of the other completions of the same prompt.
    LeaveOneOut,
    /// What the greedy completion of the same prompt earned (ReMax).
    Greedy,
    /// What a critic expected at each token, by generalized advantage estimation.
    Value {
        /// Factor of what comes a token later.
        gamma: f64,
        /// Share of the estimates over more than one token.
        lam: f64,
    },
}

/// What a reward minus its baseline is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Nothing.
    None,
    /// The standard deviation of the rewards in the group.
    Group(Deviation),
    /// The standard deviation of the rewards in the batch.
    Batch(Deviation),
    /// The standard deviation of the advantages of all tokens, whose mean is taken off, too.
    Whiten(Deviation),
}

/// How a standard deviation is taken, and how it is kept from being zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviation {
    /// What the squares are divided by.
    pub ddof: Ddof,
    /// What keeps a division by zero away.
    pub guard: Guard,
}

/// What the sum of n squares is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ddof {
    /// By n.
    Population,
    /// By n - 1: torch's `std`.
    Sample,
}

/// What keeps a division by zero away.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// Added to the standard deviation.
    Deviation(f64),
    /// Added to the variance.
    Variance(f64),
    /// The variance is at least this.
    Floor(f64),
}

/// What carries the gradient.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surrogate {
    /// `A log p`: the score-function estimator, for completions of the current policy.
    ScoreFunction,
    /// `r A`, r being the ratio to the policy that drew.
    Ratio {
        /// What a ratio is taken of.
        level: RatioLevel,
    },
    /// `min(r A, clip(r, 1 - low, 1 + high) A)`.
    Clip(Clip),
    /// `sg(clip(r, floor, ceiling)) A log p`: every token keeps its gradient (CISPO).
    DetachedRatio {
        /// Ratios below it weigh as much; 0 bounds nothing.
        #[serde(default)]
        floor: f64,
        /// Ratios above it weigh as much.
        ceiling: f64,
    },
}

/// How a ratio is clipped.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clip {
    /// What a ratio is taken of: each token, or the completion by its geometric mean (GSPO).
    pub level: RatioLevel,
    /// How far below 1 the ratio may go.
    pub low: f64,
    /// How far above 1 it may go.
    pub high: f64,
    /// Where the advantage is negative, the objective is at least this many times it (dual clip).
    pub dual: Dual,
}

/// Whether large ratios of what was worse than expected are bounded (Ye et al. 2020).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dual {
    /// No.
    Off,
    /// Yes, by this ratio, which is above 1.
    At(f64),
}

/// Where the divergence from the frozen reference is paid, with `d = log p - log p_ref`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlPlacement {
    /// Nowhere; no reference is needed.
    None,
    /// In the reward, by k1 = d, summed over the completion.
    RewardK1,
    /// In the reward of each token, by k1 = d: a token answers for itself and for what follows.
    TokenRewardK1,
    /// In the loss, by k2 = d^2 / 2, whose gradient is that of the reverse KL.
    LossK2,
    /// In the loss, by k3 = exp(-d) - 1 + d, never negative.
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

/// What a nat of entropy earns.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntropyBonus {
    /// Always the same.
    Fixed(f64),
    /// Raised while the entropy is below a target, lowered and not paid above (He et al. 2025).
    Adaptive {
        /// Wanted entropy, in nats a token.
        target: f64,
        /// What a step adds or takes off.
        step: f64,
        /// It is never above this, nor below 0.
        most: f64,
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
    /// Learned from, and the longer any completion is, the less it earns: nothing is taken off up to
    /// `longest - buffer` tokens, 1 at `longest`, in a straight line between (DAPO).
    Shape {
        /// Tokens of the longest completion; 0 is `max_completion_length`.
        longest: usize,
        /// Tokens before it in which the reward falls; 0 is a fifth of it.
        buffer: usize,
    },
}

/// What happens to groups whose completions all earned the same, and so say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlatGroups {
    /// They stay, and count in what the loss is divided by.
    Keep,
    /// They are left out.
    Drop,
    /// They are left out, and other prompts are drawn in their place (DAPO).
    Resample {
        /// How often in a step, at most.
        attempts: usize,
    },
}

/// Which completions of a prompt are learned from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// All, by their advantages.
    All,
    /// This many that earned most, imitated: each has an advantage of 1 (RAFT). Of equals the first.
    Best(usize),
    /// Those that earned at least this, imitated, too (ReST).
    AtLeast(f64),
}

/// What is done about completions drawn from another distribution than the policy's own: an older
/// policy, another number type, a cut of the sampling.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// Nothing.
    None,
    /// Advantages are multiplied with `p(y) / b(y)`.
    Importance {
        /// What a ratio is taken of.
        level: RatioLevel,
        /// What happens to large ratios.
        bound: RatioBound,
    },
}

impl Kept {
    /// Whether what is kept is imitated, whatever it earned.
    pub fn imitates(self) -> bool {
        match self {
            Self::All => false,
            Self::Best(_) | Self::AtLeast(_) => true,
        }
    }

    /// Whether each completion is kept, for groups of `group` completions a prompt.
    pub(super) fn of(self, rewards: &[f64], group: usize) -> Vec<bool> {
        match self {
            Self::All => vec![true; rewards.len()],
            Self::AtLeast(least) => rewards.iter().map(|reward| *reward >= least).collect(),
            Self::Best(count) => {
                let of_group = |rewards: &[f64]| {
                    let mut order: Vec<usize> = (0..rewards.len()).collect();
                    order.sort_by(|a, b| rewards[*b].total_cmp(&rewards[*a]));
                    let mut kept = vec![false; rewards.len()];
                    order.into_iter().take(count).for_each(|place| kept[place] = true);
                    kept
                };
                rewards.chunks(group).flat_map(of_group).collect()
            }
        }
    }
}

impl Deviation {
    /// As GRPO's first implementation has it: n - 1, and 1e-4 on top.
    pub const GRPO: Self = Self { ddof: Ddof::Sample, guard: Guard::Deviation(1e-4) };

    /// Of all tokens together: n, and a variance of at least 1e-8.
    pub const WHITEN: Self = Self { ddof: Ddof::Population, guard: Guard::Floor(1e-8) };
}

impl Default for Clip {
    fn default() -> Self {
        Self { level: RatioLevel::Token, low: 0.2, high: 0.2, dual: Dual::Off }
    }
}

impl Baseline {
    /// Whether completions of one prompt are compared with each other.
    pub fn compares_a_group(self) -> bool {
        match self {
            Self::GroupMean | Self::LeaveOneOut => true,
            Self::None
            | Self::RunningMean { .. }
            | Self::BatchMean
            | Self::Greedy
            | Self::Value { .. } => false,
        }
    }
}
