//! The algorithms by name, as we do them and as libraries do.
//!
//! `docs/objectives.md` has a row for each, with the reason of each default.

use serde::{Deserialize, Serialize};

use super::{
    Baseline, Clip, Correction, Ddof, Deviation, Dual, EntropyBonus, FlatGroups, Guard, Kept,
    KlCoefficient, KlPlacement, PolicyGradient, Scale, Surrogate, Truncated,
};
use crate::objective::{Aggregation, RatioLevel};

/// An algorithm by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// [`PolicyGradient::reinforce`]
    Reinforce,
    /// [`PolicyGradient::rloo`]
    Rloo,
    /// [`PolicyGradient::grpo`]
    Grpo,
    /// [`PolicyGradient::dr_grpo`]
    DrGrpo,
    /// [`PolicyGradient::dapo`]
    Dapo,
    /// [`PolicyGradient::reinforce_plus_plus`]
    ReinforcePlusPlus,
    /// [`PolicyGradient::reinforce_plus_plus_baseline`]
    ReinforcePlusPlusBaseline,
    /// [`PolicyGradient::remax`]
    Remax,
    /// [`PolicyGradient::gspo`]
    Gspo,
    /// [`PolicyGradient::cispo`]
    Cispo,
    /// [`PolicyGradient::ppo`]
    Ppo,
    /// [`PolicyGradient::a2c`]
    A2c,
    /// [`PolicyGradient::raft`]
    Raft,
}

/// A library whose conventions are taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compat {
    /// Hugging Face TRL 1.16.
    Trl,
    /// verl at b178a3c (January 2026), its `core_algos.py`.
    Verl,
    /// OpenRLHF at 3c3be62 (August 2026), its `experience_maker.py` and `loss.py`.
    OpenRlhf,
}

/// The clip of GRPO and PPO.
const CLIP: Surrogate =
    Surrogate::Clip(Clip { level: RatioLevel::Token, low: 0.2, high: 0.2, dual: Dual::Off });

impl PolicyGradient {
    /// REINFORCE with the batch mean as baseline.
    pub fn reinforce() -> Self {
        Self {
            baseline: Baseline::BatchMean,
            scale: Scale::None,
            surrogate: Surrogate::ScoreFunction,
            kl_placement: KlPlacement::RewardK1,
            kl_coefficient: KlCoefficient::Fixed(0.05),
            entropy_bonus: EntropyBonus::Fixed(0.0),
            aggregation: Aggregation::TokenMean,
            truncated: Truncated::Learn,
            flat_groups: FlatGroups::Keep,
            kept: Kept::All,
            correction: Correction::None,
            temperature: 1.0,
        }
    }

    /// REINFORCE with the leave-one-out baseline.
    pub fn rloo() -> Self {
        Self { baseline: Baseline::LeaveOneOut, ..Self::reinforce() }
    }

    /// Group relative policy optimization as in its paper: rewards as z-scores of their group, every
    /// completion counting the same, k3 in the loss.
    pub fn grpo() -> Self {
        Self {
            baseline: Baseline::GroupMean,
            scale: Scale::Group(Deviation::GRPO),
            surrogate: CLIP,
            kl_placement: KlPlacement::LossK3,
            kl_coefficient: KlCoefficient::Fixed(0.04),
            aggregation: Aggregation::SequenceMean,
            ..Self::reinforce()
        }
    }

    /// GRPO without its two biases: no division by the deviation, none by the completion's length; no KL.
    pub fn dr_grpo() -> Self {
        Self {
            scale: Scale::None,
            kl_placement: KlPlacement::None,
            aggregation: Aggregation::Constant(0),
            ..Self::grpo()
        }
    }

    /// GRPO with token mean, a higher upper clip, a soft punishment of length, and groups without signal
    /// drawn anew; no KL.
    pub fn dapo() -> Self {
        Self {
            surrogate: Surrogate::Clip(Clip { high: 0.28, ..Clip::default() }),
            kl_placement: KlPlacement::None,
            aggregation: Aggregation::TokenMean,
            truncated: Truncated::Shape { longest: 0, buffer: 0 },
            flat_groups: FlatGroups::Resample { attempts: 3 },
            ..Self::grpo()
        }
    }

    /// REINFORCE++: no baseline, the divergence paid token by token, advantages of all tokens whitened.
    pub fn reinforce_plus_plus() -> Self {
        Self {
            baseline: Baseline::None,
            scale: Scale::Whiten(Deviation::WHITEN),
            surrogate: CLIP,
            kl_placement: KlPlacement::TokenRewardK1,
            kl_coefficient: KlCoefficient::Fixed(0.01),
            ..Self::reinforce()
        }
    }

    /// REINFORCE++ with the group's mean as baseline and k2 in the loss.
    pub fn reinforce_plus_plus_baseline() -> Self {
        Self {
            baseline: Baseline::GroupMean,
            kl_placement: KlPlacement::LossK2,
            ..Self::reinforce_plus_plus()
        }
    }

    /// ReMax: REINFORCE with the reward of the greedy completion as baseline.
    pub fn remax() -> Self {
        Self {
            baseline: Baseline::Greedy,
            kl_placement: KlPlacement::TokenRewardK1,
            kl_coefficient: KlCoefficient::Fixed(0.01),
            ..Self::reinforce()
        }
    }

    /// GSPO: GRPO whose ratio is the geometric mean over the completion, with the paper's narrow clip.
    pub fn gspo() -> Self {
        Self {
            surrogate: Surrogate::Clip(Clip {
                level: RatioLevel::SequenceMean,
                low: 3e-4,
                high: 4e-4,
                dual: Dual::Off,
            }),
            kl_placement: KlPlacement::None,
            ..Self::grpo()
        }
    }

    /// CISPO: GRPO whose ratios are bounded weights, so that no token loses its gradient.
    pub fn cispo() -> Self {
        Self {
            surrogate: Surrogate::DetachedRatio { floor: 0.0, ceiling: 5.0 },
            kl_placement: KlPlacement::None,
            aggregation: Aggregation::TokenMean,
            ..Self::grpo()
        }
    }

    /// PPO with a critic: GAE, whitened, the divergence paid token by token and steered.
    pub fn ppo() -> Self {
        Self {
            baseline: Baseline::Value { gamma: 1.0, lam: 0.95 },
            kl_coefficient: KlCoefficient::Adaptive {
                initial: 0.05,
                target: 6.0,
                horizon: 10_000.0,
            },
            ..Self::reinforce_plus_plus()
        }
    }

    /// Advantage actor-critic: the critic's baseline without ratios.
    pub fn a2c() -> Self {
        Self {
            baseline: Baseline::Value { gamma: 1.0, lam: 1.0 },
            kl_placement: KlPlacement::TokenRewardK1,
            kl_coefficient: KlCoefficient::Fixed(0.01),
            ..Self::reinforce()
        }
    }

    /// RAFT, or rejection-sampling fine-tuning: the best completion of each prompt is imitated.
    pub fn raft() -> Self {
        Self {
            baseline: Baseline::None,
            kl_placement: KlPlacement::None,
            kept: Kept::Best(1),
            ..Self::reinforce()
        }
    }
}

impl Algorithm {
    /// With our defaults.
    pub fn ours(self) -> PolicyGradient {
        match self {
            Self::Reinforce => PolicyGradient::reinforce(),
            Self::Rloo => PolicyGradient::rloo(),
            Self::Grpo => PolicyGradient::grpo(),
            Self::DrGrpo => PolicyGradient::dr_grpo(),
            Self::Dapo => PolicyGradient::dapo(),
            Self::ReinforcePlusPlus => PolicyGradient::reinforce_plus_plus(),
            Self::ReinforcePlusPlusBaseline => PolicyGradient::reinforce_plus_plus_baseline(),
            Self::Remax => PolicyGradient::remax(),
            Self::Gspo => PolicyGradient::gspo(),
            Self::Cispo => PolicyGradient::cispo(),
            Self::Ppo => PolicyGradient::ppo(),
            Self::A2c => PolicyGradient::a2c(),
            Self::Raft => PolicyGradient::raft(),
        }
    }

    /// With the defaults of a library.
    ///
    /// # Errors
    /// The library has no such algorithm.
    pub fn of(self, compat: Compat) -> Result<PolicyGradient, String> {
        let found = match compat {
            Compat::Trl => self.of_trl(),
            Compat::Verl => self.of_verl(),
            Compat::OpenRlhf => self.of_open_rlhf(),
        };
        found.ok_or_else(|| {
            let (compat, algorithm) = (written(compat), written(self));
            format!("{compat} has no {algorithm}: leave compat out, or take another algorithm")
        })
    }

    fn of_trl(self) -> Option<PolicyGradient> {
        let ours = self.ours();
        Some(match self {
            // One ratio for the whole completion, clipped, and the mean over completions.
            Self::Rloo => PolicyGradient {
                surrogate: Surrogate::Clip(Clip { level: RatioLevel::Sequence, ..Clip::default() }),
                aggregation: Aggregation::SequenceMean,
                ..ours
            },
            // `loss_type = "dapo"` and `beta = 0.0` are the defaults of GRPOConfig.
            Self::Grpo => PolicyGradient {
                kl_placement: KlPlacement::None,
                aggregation: Aggregation::TokenMean,
                ..ours
            },
            // The loss alone: shaping and resampling are the user's there.
            Self::Dapo => PolicyGradient {
                truncated: Truncated::Learn,
                flat_groups: FlatGroups::Keep,
                ..ours
            },
            Self::DrGrpo | Self::Gspo | Self::Cispo => ours,
            Self::Reinforce
            | Self::ReinforcePlusPlus
            | Self::ReinforcePlusPlusBaseline
            | Self::Remax
            | Self::Ppo
            | Self::A2c
            | Self::Raft => return None,
        })
    }

    fn of_verl(self) -> Option<PolicyGradient> {
        let sample = |guard| Deviation { ddof: Ddof::Sample, guard };
        let group = Scale::Group(sample(Guard::Deviation(1e-6)));
        let whiten = Scale::Whiten(sample(Guard::Variance(1e-8)));
        let clip = |high| Surrogate::Clip(Clip { high, dual: Dual::At(3.0), ..Clip::default() });
        // The actor has `use_kl_loss = False`, the algorithm `use_kl_in_reward = False`.
        let base = PolicyGradient {
            surrogate: clip(0.2),
            kl_placement: KlPlacement::None,
            kl_coefficient: KlCoefficient::Fixed(0.001),
            aggregation: Aggregation::TokenMean,
            ..self.ours()
        };
        Some(match self {
            Self::Rloo | Self::Remax => base,
            Self::Grpo => PolicyGradient { scale: group, ..base },
            Self::DrGrpo => PolicyGradient { aggregation: Aggregation::Constant(0), ..base },
            Self::Dapo => PolicyGradient { scale: group, surrogate: clip(0.28), ..base },
            Self::ReinforcePlusPlus | Self::ReinforcePlusPlusBaseline => {
                PolicyGradient { scale: whiten, ..base }
            }
            Self::Gspo => PolicyGradient {
                scale: group,
                surrogate: self.ours().surrogate,
                aggregation: Aggregation::SequenceMean,
                ..base
            },
            Self::Ppo => PolicyGradient {
                baseline: Baseline::Value { gamma: 1.0, lam: 1.0 },
                scale: whiten,
                ..base
            },
            // The clip of PPO bounds the weights on both sides.
            Self::Cispo => PolicyGradient {
                scale: group,
                surrogate: Surrogate::DetachedRatio { floor: 0.8, ceiling: 1.2 },
                ..base
            },
            Self::Reinforce | Self::A2c | Self::Raft => return None,
        })
    }

    fn of_open_rlhf(self) -> Option<PolicyGradient> {
        let group = Deviation { ddof: Ddof::Sample, guard: Guard::Deviation(1e-9) };
        let base = PolicyGradient {
            surrogate: CLIP,
            kl_placement: KlPlacement::TokenRewardK1,
            kl_coefficient: KlCoefficient::Fixed(0.01),
            aggregation: Aggregation::TokenMean,
            ..self.ours()
        };
        Some(match self {
            // `algo.kl.use_loss` is off.
            Self::Rloo
            | Self::DrGrpo
            | Self::ReinforcePlusPlus
            | Self::ReinforcePlusPlusBaseline => base,
            Self::Ppo => {
                PolicyGradient { baseline: Baseline::Value { gamma: 1.0, lam: 1.0 }, ..base }
            }
            Self::Grpo => PolicyGradient { scale: Scale::Group(group), ..base },
            Self::Gspo => PolicyGradient {
                scale: Scale::Group(group),
                surrogate: self.ours().surrogate,
                aggregation: Aggregation::SequenceMean,
                ..base
            },
            Self::Reinforce | Self::Dapo | Self::Remax | Self::Cispo | Self::A2c | Self::Raft => {
                return None;
            }
        })
    }
}

/// A choice as recipes write it.
fn written(choice: impl Serialize) -> String {
    let value = serde_json::to_value(choice).expect("a choice is a word");
    value.as_str().expect("a choice is a word").to_owned()
}
