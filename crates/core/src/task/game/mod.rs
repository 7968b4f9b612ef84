//! Games that a policy plays in text, turn by turn.
//!
//! A game is a plain state machine: it says something, the policy acts, it answers with a reward. Its coins are an
//! argument, so that many games can be played side by side and none depends on the others. What a
//! policy reads before it acts are an [`Episode`]'s texts: all that was said, or only the end of it.

pub mod maze;
pub mod scripted;
pub mod wordle;
pub mod words;

use std::sync::Arc;

use rand::Rng;
use serde::{Deserialize, Serialize};

use maze::{Maze, Sight};
use wordle::Wordle;
use words::Words;

/// Which game is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Wordle; the policy reads the whole game.
    Wordle,
    /// The maze, seen in full; the policy reads where it stands.
    Maze,
    /// The maze, of which only walls are seen; the policy reads the last 40 texts, its own among them.
    PartialMaze,
}

/// A game in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Game {
    /// Guess a word.
    Wordle(Wordle),
    /// Find the way.
    Maze(Maze),
}

/// How a game answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// In words, with the end of the line.
    pub said: String,
    /// 0 on a win, less otherwise.
    pub reward: f64,
    /// Whether the game is over.
    pub done: bool,
}

/// One turn of a game that was played.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Played {
    /// What the game said before it.
    pub said: String,
    /// What the policy did.
    pub action: String,
    /// What it earned.
    pub reward: f64,
}

/// A game that was played.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Episode {
    /// Which game.
    pub game: Kind,
    /// From the first to the last.
    pub turns: Vec<Played>,
}

impl Kind {
    /// Every game.
    pub const ALL: [Self; 3] = [Self::Wordle, Self::Maze, Self::PartialMaze];

    /// The last texts that a policy reads; none = all.
    pub fn window(self) -> Option<usize> {
        match self {
            Self::Wordle => None,
            Self::Maze => Some(1),
            Self::PartialMaze => Some(40),
        }
    }

    /// As in commands and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wordle => "wordle",
            Self::Maze => "maze",
            Self::PartialMaze => "partial-maze",
        }
    }

    /// The game number `index`: every start of a maze in turn.
    pub fn start(self, index: usize, words: &Arc<Words>) -> Game {
        let maze = |sight| {
            let starts = maze::starts();
            Game::Maze(Maze::new(starts[index % starts.len()], sight))
        };
        match self {
            Self::Wordle => Game::Wordle(Wordle::new(Arc::clone(words))),
            Self::Maze => maze(Sight::Full),
            Self::PartialMaze => maze(Sight::Walls),
        }
    }
}

impl Game {
    /// What is said before the first turn.
    pub fn opening(&self) -> String {
        match self {
            Self::Wordle(_) => wordle::OPENING.to_owned(),
            Self::Maze(maze) => maze.observe(),
        }
    }

    /// Answers an action.
    ///
    /// # Panics
    /// If the game is over.
    pub fn act(&mut self, action: &str, coins: &mut impl Rng) -> Turn {
        match self {
            Self::Wordle(wordle) => wordle.act(action, coins),
            Self::Maze(maze) => maze.act(action),
        }
    }
}

impl Episode {
    /// Sum of the rewards.
    pub fn total(&self) -> f64 {
        self.turns.iter().map(|turn| turn.reward).sum()
    }

    /// Whether the last turn won.
    pub fn won(&self) -> bool {
        self.turns.last().is_some_and(|turn| turn.reward == 0.0)
    }

    /// What the policy reads before the turn number `turn`, for which the game has said `said`, text by text.
    ///
    /// # Panics
    /// If fewer turns were played.
    pub fn read<'a>(&'a self, turn: usize, said: &'a str) -> Vec<&'a str> {
        let before = self.turns[..turn].iter();
        let mut texts: Vec<&str> =
            before.flat_map(|turn| [turn.said.as_str(), turn.action.as_str()]).collect();
        texts.push(said);
        let first = self.game.window().map_or(0, |most| texts.len().saturating_sub(most));
        texts.split_off(first)
    }
}

/// Plays a game to its end by a function of the game.
pub fn play<R: Rng>(
    (kind, mut game): (Kind, Game),
    coins: &mut R,
    mut choose: impl FnMut(&Game, &mut R) -> String,
) -> Episode {
    let mut episode = Episode { game: kind, turns: Vec::new() };
    let mut said = game.opening();
    loop {
        let action = choose(&game, coins);
        let turn = game.act(&action, coins);
        let before = std::mem::replace(&mut said, turn.said);
        episode.turns.push(Played { said: before, action, reward: turn.reward });
        if turn.done {
            return episode;
        }
    }
}

/// A uniformly drawn number below `count`, the same on every platform; its bias is below 2e-6 for lists of
/// thousands.
pub(super) fn below(coins: &mut impl Rng, count: usize) -> usize {
    ((u64::from(coins.next_u32()) * count as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episode(game: Kind, turns: usize) -> Episode {
        let turn = |index: usize| Played {
            said: format!("s{index} "),
            action: format!("a{index} "),
            reward: -1.0,
        };
        Episode { game, turns: (0..turns).map(turn).collect() }
    }

    #[test]
    fn a_policy_reads_as_much_as_its_game_lets_it() {
        let read = |kind, turn| episode(kind, 30).read(turn, "now").concat();
        assert_eq!(read(Kind::Wordle, 2), "s0 a0 s1 a1 now");
        assert_eq!(read(Kind::Maze, 2), "now");
        assert_eq!(read(Kind::PartialMaze, 1), "s0 a0 now");
        let late = read(Kind::PartialMaze, 30);
        assert_eq!(late.split(' ').count(), 40);
        assert!(late.starts_with("a10 s11 ") && late.ends_with("a29 now"), "{late}");
    }

    #[test]
    fn an_episode_survives_its_line_of_json() {
        let one = episode(Kind::PartialMaze, 2);
        let line = serde_json::to_string(&one).unwrap();
        assert!(line.starts_with("{\"game\":\"partial-maze\""), "{line}");
        assert_eq!(serde_json::from_str::<Episode>(&line).unwrap(), one);
        assert_eq!((one.total(), one.won()), (-2.0, false));
    }
}
