//! The table `[self_play]`: against whom a policy plays, and what a game teaches.
//!
//! The loss of pairs and what a nat of divergence costs are `[feedback.preference]`'s.

use kudos_core::objective::Verdicts;
use serde::{Deserialize, Serialize};

/// Against whom a policy plays, and what a game teaches.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelfPlayRecipe {
    /// The game.
    pub method: SelfPlay,
    /// How two rewards become a preference, in `nash_md`.
    pub verdicts: Verdicts,
}

/// The game.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelfPlay {
    /// Two completions of the policy's own, the one with the higher reward chosen (online DPO).
    OnlineDpo(Pairing),
    /// The reference of the data is chosen over what the policy wrote an iteration ago, which is also what the loss
    /// compares with (SPIN).
    Spin {
        /// Steps between two iterations, at each of which the opponent becomes the policy.
        iteration_steps: usize,
    },
    /// Contests against a geometric mixture of the policy and its start (Nash-MD).
    NashMd {
        /// Share of the start in the opponent, from 0 to 1.
        mixture: f64,
    },
}

/// Which two of a prompt's completions make a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// The one that earned most and the one that earned least.
    #[default]
    BestAndWorst,
    /// The first and the second, the third and the fourth, ...
    AsDrawn,
}

impl Default for SelfPlay {
    fn default() -> Self {
        Self::OnlineDpo(Pairing::default())
    }
}

impl SelfPlay {
    /// Whether rewards decide what is learned.
    pub fn needs_rewards(self) -> bool {
        match self {
            Self::OnlineDpo(_) | Self::NashMd { .. } => true,
            Self::Spin { .. } => false,
        }
    }
}

impl Pairing {
    /// Places of the chosen and the rejected completion of each pair, for groups of `group` completions a prompt;
    /// of what earned the same nothing is learned.
    pub fn pairs(self, rewards: &[f32], group: usize) -> Vec<[usize; 2]> {
        let one = |places: &[usize]| {
            let by = |a: &&usize, b: &&usize| rewards[**a].total_cmp(&rewards[**b]);
            let (best, worst) = (places.iter().rev().max_by(by)?, places.iter().min_by(by)?);
            (rewards[*best] > rewards[*worst]).then_some([*best, *worst])
        };
        let places: Vec<usize> = (0..rewards.len()).collect();
        let of_group = |places: &[usize]| -> Vec<[usize; 2]> {
            match self {
                Self::BestAndWorst => one(places).into_iter().collect(),
                Self::AsDrawn => places.chunks_exact(2).filter_map(one).collect(),
            }
        };
        places.chunks(group).flat_map(of_group).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_of_one_prompt_and_the_chosen_earned_more() {
        let rewards = [0.5, 2.0, -1.0, 2.0, 1.0, 1.0, 1.0, 1.0];
        assert_eq!(Pairing::BestAndWorst.pairs(&rewards, 4), [[1, 2]]);
        assert_eq!(Pairing::AsDrawn.pairs(&rewards, 4), [[1, 0], [3, 2]]);
        assert_eq!(Pairing::BestAndWorst.pairs(&rewards, 8), [[1, 2]]);
        assert_eq!(Pairing::BestAndWorst.pairs(&rewards[3..], 5), [[0, 1]]);
    }
}
