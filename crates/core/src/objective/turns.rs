//! Games of several turns as experience: what each chosen token was worth, from the rewards of a whole game.
//!
//! Measures: how much better each token turned out than a critic expected.
//! Formula: with a game's chosen tokens t in order, rewards r at the last token of an action, V what the critic
//! expected before each: `A_t = d_t + g_t l_t A_{t+1}`, `d_t = r_t + g_t V_{t+1} - V_t`. g and l are gamma and lam at the
//! last token of an action and 1 within one, so that both count actions, however many tokens these have. After the last token
//! V is 0 where the game was over, and the critic's where it was broken off. A critic's aim is `A_t + V_t`.
//! Advantages are whitened over the tokens of a round: less their mean, over their standard deviation (ddof 0).
//! Range: any number.
//! Misleads when: the critic is new. Until it knows the level of returns, its errors are the advantages: let it learn first.
//! Reference: Schulman et al. 2016 (GAE) and 2017 (PPO); Abdulhai et al. 2023 (LMRL-Gym) for games over tokens.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::policy_gradient::Deviation;
use super::{Experience, Judgement};
use crate::rollout::Trajectory;

/// How what was earned is shared out among the tokens before it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Credit {
    /// Factor of what comes an action later.
    pub gamma: f64,
    /// Share of the estimates over more than one action.
    pub lam: f64,
}

/// The chosen tokens of a game in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GameLine {
    /// What each earned.
    pub rewards: Vec<f32>,
    /// What a critic expected before each.
    pub values: Vec<f32>,
    /// Whether each is the last of its action.
    pub ends: Vec<bool>,
    /// What a critic expected after the last, where the game was broken off; 0 where it was over.
    pub after: f32,
}

/// A trajectory of one's own with what a policy and a critic said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Lived {
    /// What was read and chosen; a token was chosen where its weight is above 0.
    pub trajectory: Trajectory,
    /// What a critic expected before each token. As long as the completion.
    pub values: Vec<f32>,
    /// What it expected of what was read after the last token; 0 where nothing was.
    pub after: f32,
    /// What each chosen token turned out to be worth; 0 elsewhere. As long as the completion.
    pub returns: Vec<f32>,
}

impl Default for Credit {
    fn default() -> Self {
        Self { gamma: 0.99, lam: 0.95 }
    }
}

impl Credit {
    /// The advantage of each chosen token of a game.
    ///
    /// # Panics
    /// If there is not one value and one end a reward.
    pub fn advantages(self, line: &GameLine) -> Vec<f64> {
        let lengths = [line.values.len(), line.ends.len()];
        assert_eq!(lengths, [line.rewards.len(); 2], "a value and an end for each token");
        let mut advantages = vec![0.0; line.rewards.len()];
        let (mut next, mut later) = (f64::from(line.after), 0.0);
        for place in (0..advantages.len()).rev() {
            let (gamma, lam) = if line.ends[place] { (self.gamma, self.lam) } else { (1.0, 1.0) };
            let value = f64::from(line.values[place]);
            later = f64::from(line.rewards[place]) + gamma * next - value + gamma * lam * later;
            next = value;
            advantages[place] = later;
        }
        advantages
    }

    /// Fills in advantages and returns of a game, whose trajectories these are in order.
    pub fn share_out(self, game: &mut [Lived]) {
        let advantages = self.advantages(&line(game));
        let mut advantages = advantages.into_iter();
        for one in game {
            for place in chosen(&one.trajectory) {
                let advantage = advantages.next().expect("a line has every chosen token");
                one.trajectory.experience.advantages[place] = advantage as f32;
                one.returns[place] = (advantage + f64::from(one.values[place])) as f32;
            }
        }
    }
}

/// The tokens of a game's trajectories as one line.
fn line(game: &[Lived]) -> GameLine {
    let mut line =
        GameLine { after: game.last().map_or(0.0, |one| one.after), ..GameLine::default() };
    for one in game {
        let places = chosen(&one.trajectory);
        for (index, place) in places.iter().enumerate() {
            line.rewards.push(one.trajectory.rewards[*place]);
            line.values.push(one.values[*place]);
            line.ends.push(places.get(index + 1) != Some(&(place + 1)));
        }
    }
    line
}

/// Places of the chosen tokens.
fn chosen(trajectory: &Trajectory) -> Vec<usize> {
    let places = trajectory.chosen().enumerate().filter(|(_, chosen)| *chosen);
    places.map(|(place, _)| place).collect()
}

/// Whitens the advantages of chosen tokens over all games of a round.
pub fn whiten(lived: &mut [Lived]) {
    let each = |one: &Lived| -> Vec<f64> {
        let own = &one.trajectory.experience.advantages;
        chosen(&one.trajectory).into_iter().map(|place| f64::from(own[place])).collect()
    };
    let all: Vec<f64> = lived.iter().flat_map(each).collect();
    let center = all.iter().sum::<f64>() / all.len().max(1) as f64;
    let divisor = Deviation::WHITEN.divisor(&all);
    for one in lived {
        for place in chosen(&one.trajectory) {
            let advantage = &mut one.trajectory.experience.advantages[place];
            *advantage = ((f64::from(*advantage) - center) / divisor) as f32;
        }
    }
}

/// A mini-batch, ready to be learned from by a policy and its critic.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MiniBatch {
    /// For the policy, with weights that sum to 1.
    pub experiences: Vec<Experience>,
    /// For the critic, likewise.
    pub judgements: Vec<Judgement>,
}

/// What was read and chosen alike, summed up over all times that it was met.
#[derive(Debug, Clone)]
struct Met<'a> {
    one: &'a Lived,
    /// Weights and weighted advantages of each token, of those not below 0 and those below.
    sides: [Vec<(f64, f64)>; 2],
    /// Weights and weighted returns.
    returns: Vec<(f64, f64)>,
}

impl MiniBatch {
    /// Of the trajectories of a mini-batch, every chosen token with the same share. What was read and chosen alike, which
    /// one policy and one critic think the same of, is learned once, with the same gradient: the surrogate of PPO is linear in
    /// advantages of one sign, and a critic's loss without a clip has its minimum at the mean of the returns.
    pub fn of(lived: &[&Lived]) -> Self {
        let tokens = lived.iter().map(|one| one.trajectory.count()).sum::<usize>();
        let share = 1.0 / tokens.max(1) as f64;
        let mut places = BTreeMap::new();
        let mut all: Vec<Met<'_>> = Vec::new();
        for one in lived {
            let own = &one.trajectory.experience;
            let place = *places.entry((&own.prompt, &own.completion)).or_insert(all.len());
            if place == all.len() {
                all.push(Met::new(one));
            }
            all[place].add(one, share);
        }
        let mut batch = Self::default();
        all.iter().for_each(|met| met.put_into(&mut batch));
        batch
    }
}

impl<'a> Met<'a> {
    fn new(one: &'a Lived) -> Self {
        let none = vec![(0.0, 0.0); one.values.len()];
        Self { one, sides: [none.clone(), none.clone()], returns: none }
    }

    fn add(&mut self, one: &Lived, share: f64) {
        for place in chosen(&one.trajectory) {
            let advantage = f64::from(one.trajectory.experience.advantages[place]);
            let add = |(weight, sum): &mut (f64, f64), value: f64| {
                *weight += share;
                *sum += share * value;
            };
            add(&mut self.sides[usize::from(advantage < 0.0)][place], advantage);
            add(&mut self.returns[place], f64::from(one.returns[place]));
        }
    }

    fn put_into(&self, batch: &mut MiniBatch) {
        let own = &self.one.trajectory.experience;
        let experience = |side: &[(f64, f64)]| Experience {
            weights: weights(side),
            advantages: means(side),
            ..own.clone()
        };
        let [above, below] = &self.sides;
        let both = above.iter().zip(below).any(|(above, below)| above.0 > 0.0 && below.0 > 0.0);
        if both {
            batch.experiences.extend([experience(above), experience(below)]);
        } else {
            let sums =
                above.iter().zip(below).map(|(one, other)| (one.0 + other.0, one.1 + other.1));
            batch.experiences.push(experience(&sums.collect::<Vec<_>>()));
        }
        batch.judgements.push(Judgement {
            prompt: own.prompt.clone(),
            completion: own.completion.clone(),
            weights: weights(&self.returns),
            old: self.one.values.clone(),
            returns: means(&self.returns),
        });
    }
}

fn weights(sums: &[(f64, f64)]) -> Vec<f32> {
    sums.iter().map(|(weight, _)| *weight as f32).collect()
}

/// Weighted means; 0 where nothing has weight.
fn means(sums: &[(f64, f64)]) -> Vec<f32> {
    let mean = |(weight, sum): &(f64, f64)| if *weight > 0.0 { (sum / weight) as f32 } else { 0.0 };
    sums.iter().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(rewards: &[f32], values: &[f32], ends: &[bool]) -> GameLine {
        GameLine {
            rewards: rewards.to_vec(),
            values: values.to_vec(),
            ends: ends.to_vec(),
            after: 0.0,
        }
    }

    fn lived(prompt: u32, advantages: &[f32], returns: f32) -> Lived {
        let count = advantages.len();
        Lived {
            trajectory: Trajectory {
                experience: Experience {
                    prompt: vec![prompt],
                    completion: vec![1; count],
                    weights: vec![1.0; count],
                    advantages: advantages.to_vec(),
                    reference: vec![0.0; count],
                    old: vec![-0.5; count],
                },
                rewards: vec![0.0; count],
                returns: vec![0.0; count],
                after: Vec::new(),
            },
            values: vec![0.0; count],
            after: 0.0,
            returns: vec![returns; count],
        }
    }

    #[test]
    fn without_a_critic_and_at_lam_1_tokens_of_an_action_share_what_is_still_earned() {
        let credit = Credit { gamma: 0.5, lam: 1.0 };
        let ends = [false, true, true, false, true];
        let of = credit.advantages(&line(&[0.0, -1.0, -1.0, 0.0, 2.0], &[0.0; 5], &ends));
        assert_eq!(of, [-1.0, -1.0, 0.0, 2.0, 2.0]);
    }

    #[test]
    fn a_critic_that_knows_is_not_surprised() {
        let credit = Credit { gamma: 0.5, lam: 0.7 };
        let ends = [false, true, false, true];
        let of = credit.advantages(&line(&[0.0, -1.0, 0.0, 2.0], &[0.0, 0.0, 2.0, 2.0], &ends));
        assert_eq!(of, [0.0; 4]);
    }

    #[test]
    fn a_game_that_is_broken_off_is_worth_what_is_expected_of_the_rest() {
        let credit = Credit { gamma: 0.5, lam: 1.0 };
        let broken = GameLine { after: 4.0, ..line(&[-1.0], &[0.0], &[true]) };
        assert_eq!(credit.advantages(&broken), [1.0]);
    }

    #[test]
    fn what_was_met_twice_is_one_row_a_sign() {
        let all =
            [lived(1, &[1.0, -1.0], 2.0), lived(1, &[3.0, -2.0], 4.0), lived(2, &[1.0, -1.0], 0.0)];
        let batch = MiniBatch::of(&all.iter().collect::<Vec<_>>());
        assert_eq!((batch.experiences.len(), batch.judgements.len()), (2, 2));
        let first = &batch.experiences[0];
        assert_eq!(
            (first.advantages.as_slice(), first.old.as_slice()),
            (&[2.0, -1.5][..], &[-0.5; 2][..])
        );
        assert_eq!(batch.judgements[0].returns, [3.0, 3.0]);
        let mixed = [lived(1, &[1.0, 1.0], 2.0), lived(1, &[3.0, -2.0], 4.0)];
        let batch = MiniBatch::of(&mixed.iter().collect::<Vec<_>>());
        let weights: Vec<&[f32]> =
            batch.experiences.iter().map(|one| one.weights.as_slice()).collect();
        assert_eq!(weights, [&[0.5, 0.25][..], &[0.0, 0.25]]);
        let advantages: Vec<&[f32]> =
            batch.experiences.iter().map(|one| one.advantages.as_slice()).collect();
        assert_eq!(advantages, [&[2.0, 1.0][..], &[0.0, -2.0]]);
    }

    #[test]
    fn whitened_advantages_have_mean_0_and_deviation_1() {
        let mut all = [lived(1, &[1.0, 3.0], 0.0), lived(2, &[5.0, 7.0], 0.0)];
        all[1].trajectory.experience.weights[1] = 0.0;
        whiten(&mut all);
        let found = |one: &Lived| one.trajectory.experience.advantages.clone();
        let end = 2.0 / (8.0f32 / 3.0).sqrt();
        // What was not chosen stays as it was.
        for (found, expected) in [(found(&all[0]), [-end, 0.0]), (found(&all[1]), [end, 7.0])] {
            let apart = found.iter().zip(expected).map(|(one, other)| (one - other).abs());
            assert!(apart.fold(0.0, f32::max) < 1e-6, "{found:?}");
        }
    }
}
