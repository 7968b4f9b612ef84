//! Nash-MD: a game of two completions, in which being preferred is all that counts.
//!
//! Measures: how often a completion of the policy is preferred to one of an opponent, who is a mixture of
//! the policy and the reference, less what it costs to leave the reference.
//! Formula: with P the probability of being preferred and d = log p(y) - log r(y): the mean over contests of
//! `b d - (P - 1/2)`, whose gradient by what the policy writes is that of
//! `sg(b d - (P - 1/2)) log p(y)`. The opponent and P are not differentiated.
//! Range: P from 0 to 1; the loss is 0 where the policy is the reference and plays against itself.
//! Misleads when: it is read as progress: between equals half of all contests are won, however good both are.
//! Watch the reward, and what is preferred to the start.
//! Reference: Munos et al. 2023, "Nash learning from human feedback": the game is regularized, so it has one
//! equilibrium, also where preferences go in circles and no reward can explain them. TRL's former `NashMDTrainer`
//! weighs each token's log-probability by its own part of d alone; here every token answers for the whole
//! completion, which is the gradient of the expectation.

use serde::{Deserialize, Serialize};

use super::Side;
use super::linear::{Linearized, sigmoid};

/// One completion of the policy against one of the opponent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contest {
    /// The policy's completion.
    pub side: Side,
    /// How probably it is preferred to the opponent's.
    pub wins: f64,
}

/// How two rewards become a preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdicts {
    /// The higher reward wins; equals win half.
    #[default]
    Higher,
    /// With the probability of Bradley and Terry: a sigmoid of the difference, as a reward model means it.
    BradleyTerry,
}

impl Verdicts {
    /// How probably a completion is preferred to another, from what both earned.
    pub fn wins(self, reward: f64, other: f64) -> f64 {
        match self {
            Self::Higher if reward == other => 0.5,
            Self::Higher => f64::from(u8::from(reward > other)),
            Self::BradleyTerry => sigmoid(reward - other),
        }
    }
}

/// The loss of a batch of contests, with its slope by each log-probability of the policy's completion; `beta` is
/// what a nat of divergence from the reference costs.
pub fn nash_md(contests: &[Contest], beta: f64) -> Linearized {
    let share = 1.0 / contests.len().max(1) as f64;
    let slopes = contests.iter().map(|contest| {
        let divergence = contest.side.policy - contest.side.reference;
        share * (beta * divergence - (contest.wins - 0.5))
    });
    let slopes: Vec<f64> = slopes.collect();
    Linearized { loss: slopes.iter().sum(), slopes }
}
