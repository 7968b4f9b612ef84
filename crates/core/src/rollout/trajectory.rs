//! Games as tokens to learn from: what was read, what was chosen, what it earned.
//!
//! A trajectory is an [`Experience`] whose weights are 0 at tokens that the game said. Where a policy reads all of a
//! game, the game is one trajectory; where it reads only the end of it, every turn is one, and knows what was read
//! next. A reward belongs to the last token of its action.

use serde::{Deserialize, Serialize};

use crate::objective::Experience;
use crate::task::game::{Episode, Kind};
use crate::text::tokenizer::Tokenizer;

/// Tokens read and chosen, with what they earned. Vectors have the completion's length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trajectory {
    /// Prompt, then chosen tokens and what the game said between; a token was chosen where its weight is above 0.
    pub experience: Experience,
    /// What each token earned.
    pub rewards: Vec<f32>,
    /// Discounted sum of what was earned from each chosen token to the end of the game; 0 elsewhere.
    pub returns: Vec<f32>,
    /// What the policy read next, where the game went on after the last token; empty = it was over.
    pub after: Vec<u32>,
}

impl Trajectory {
    /// Which tokens were chosen.
    pub fn chosen(&self) -> impl Iterator<Item = bool> {
        self.experience.weights.iter().map(|weight| *weight > 0.0)
    }

    /// How many tokens were chosen.
    pub fn count(&self) -> usize {
        self.chosen().filter(|chosen| *chosen).count()
    }
}

/// A game in tokens: what was said before each turn, what was done, what it earned.
#[derive(Debug, Clone, PartialEq)]
pub struct Transcript {
    /// Which game.
    pub game: Kind,
    /// What the game said before each turn.
    pub said: Vec<Vec<u32>>,
    /// What the policy did.
    pub actions: Vec<Vec<u32>>,
    /// What each action earned.
    pub rewards: Vec<f64>,
}

impl Transcript {
    /// A game of which nothing was said yet.
    pub fn new(game: Kind) -> Self {
        Self { game, said: Vec::new(), actions: Vec::new(), rewards: Vec::new() }
    }

    /// A game as a tokenizer reads it, text by text.
    pub fn of(episode: &Episode, tokenizer: &Tokenizer) -> Self {
        let turns = || episode.turns.iter();
        Self {
            game: episode.game,
            said: turns().map(|turn| tokenizer.encode(&turn.said)).collect(),
            actions: turns().map(|turn| tokenizer.encode(&turn.action)).collect(),
            rewards: turns().map(|turn| turn.reward).collect(),
        }
    }

    /// What the policy reads before the turn number `turn`.
    ///
    /// # Panics
    /// If the game has not said what comes before it.
    pub fn read(&self, turn: usize) -> Vec<u32> {
        let before = self.said[..turn].iter().zip(&self.actions);
        let mut texts: Vec<&Vec<u32>> = before.flat_map(|(said, did)| [said, did]).collect();
        texts.push(&self.said[turn]);
        let first = self.game.window().map_or(0, |most| texts.len().saturating_sub(most));
        texts.split_off(first).into_iter().flatten().copied().collect()
    }

    /// Whether the last turn won.
    fn won(&self) -> bool {
        self.rewards.last().is_some_and(|reward| *reward == 0.0)
    }
}

/// A game as trajectories, every chosen token with weight 1. `gamma` discounts from one action to the next.
///
/// The last turn of a maze that ran out of moves is left out: that it ended says nothing of the place.
pub fn trajectories(transcript: &Transcript, gamma: f64) -> Vec<Trajectory> {
    let actions = &transcript.actions;
    if actions.is_empty() || actions.iter().any(Vec::is_empty) {
        return Vec::new();
    }
    let returns = returns(transcript, gamma);
    let mut turns: Vec<Trajectory> =
        (0..actions.len()).map(|turn| one_turn(transcript, turn)).collect();
    for (turn, returns) in turns.iter_mut().zip(returns) {
        turn.returns = returns;
    }
    if transcript.game.window().is_none() {
        return turns.into_iter().reduce(joined).into_iter().collect();
    }
    for turn in 1..turns.len() {
        turns[turn - 1].after = turns[turn].experience.prompt.clone();
    }
    if !transcript.won() {
        turns.pop();
    }
    turns
}

/// One turn by itself, without returns.
fn one_turn(transcript: &Transcript, turn: usize) -> Trajectory {
    let action = &transcript.actions[turn];
    let prompt = match transcript.game.window() {
        // What was said before stands in the turns before.
        None => transcript.said[turn].clone(),
        Some(_) => transcript.read(turn),
    };
    let mut rewards = vec![0.0; action.len()];
    rewards[action.len() - 1] = transcript.rewards[turn] as f32;
    Trajectory {
        experience: Experience {
            prompt,
            completion: action.clone(),
            weights: vec![1.0; action.len()],
            advantages: vec![0.0; action.len()],
            reference: vec![0.0; action.len()],
            old: vec![0.0; action.len()],
        },
        rewards,
        returns: Vec::new(),
        after: Vec::new(),
    }
}

/// Discounted sums of rewards from each token of each action.
fn returns(transcript: &Transcript, gamma: f64) -> Vec<Vec<f32>> {
    let mut sum = 0.0;
    let turns = transcript.rewards.iter().zip(&transcript.actions);
    let backwards = turns.rev().map(|(reward, action)| {
        sum = reward + gamma * sum;
        vec![sum as f32; action.len()]
    });
    let mut all: Vec<Vec<f32>> = backwards.collect();
    all.reverse();
    all
}

/// Two parts of one game, where what was said before the second is none of the policy's choice.
fn joined(mut first: Trajectory, second: Trajectory) -> Trajectory {
    let said = second.experience.prompt;
    let zeros = vec![0.0; said.len()];
    let parts = [
        (&mut first.experience.weights, second.experience.weights),
        (&mut first.experience.advantages, second.experience.advantages),
        (&mut first.experience.reference, second.experience.reference),
        (&mut first.experience.old, second.experience.old),
        (&mut first.rewards, second.rewards),
        (&mut first.returns, second.returns),
    ];
    for (numbers, more) in parts {
        numbers.extend(&zeros);
        numbers.extend(more);
    }
    first.experience.completion.extend(said);
    first.experience.completion.extend(second.experience.completion);
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::game::Played;

    fn episode(game: Kind, rewards: &[f64]) -> Episode {
        let turn = |reward: &f64| Played {
            said: "abc\n".to_owned(),
            action: "xy\n".to_owned(),
            reward: *reward,
        };
        Episode { game, turns: rewards.iter().map(turn).collect() }
    }

    fn bytes() -> Tokenizer {
        Tokenizer::train(["a"], 0)
            .unwrap_or_else(|_| Tokenizer::train(["a"], 300).expect("bytes and special tokens fit"))
    }

    #[test]
    fn a_game_that_is_read_whole_is_one_trajectory() {
        let all = trajectories(
            &Transcript::of(&episode(Kind::Wordle, &[-1.0, -1.0, 0.0]), &bytes()),
            0.5,
        );
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((one.experience.prompt.len(), one.experience.completion.len()), (4, 17));
        let chosen: Vec<usize> = one
            .chosen()
            .enumerate()
            .filter(|(_, chosen)| *chosen)
            .map(|(place, _)| place)
            .collect();
        assert_eq!(chosen, [0, 1, 2, 7, 8, 9, 14, 15, 16]);
        // Rewards at the third, sixth and ninth chosen token.
        let at = |place: usize| one.returns[place];
        assert_eq!([at(7), at(9)], [-1.0, -1.0]);
        assert_eq!([at(0), at(2)], [-1.5, -1.5]);
        assert_eq!([at(14), at(16)], [0.0, 0.0]);
        assert!(one.after.is_empty());
    }

    #[test]
    fn a_game_of_which_the_end_is_read_is_a_trajectory_a_turn() {
        let won =
            trajectories(&Transcript::of(&episode(Kind::Maze, &[-1.0, -1.0, 0.0]), &bytes()), 1.0);
        assert_eq!(won.len(), 3);
        assert!(won[..2].iter().all(|one| one.after == won[0].experience.prompt));
        assert!(won[2].after.is_empty());
        let lost =
            trajectories(&Transcript::of(&episode(Kind::Maze, &[-1.0, -1.0, -1.0]), &bytes()), 1.0);
        assert_eq!(lost.len(), 2);
        assert_eq!((lost[0].returns[0], lost[1].returns[0]), (-3.0, -2.0));
        assert!(!lost[1].after.is_empty());
    }

    #[test]
    fn a_transcript_is_read_as_far_as_its_game_lets_it() {
        for game in Kind::ALL {
            let one = episode(game, &[-1.0; 25]);
            let transcript = Transcript::of(&one, &bytes());
            for turn in [0, 3, 24] {
                let texts = one.read(turn, &one.turns[turn].said).concat();
                assert_eq!(transcript.read(turn), bytes().encode(&texts), "{game:?}");
            }
        }
    }
}
