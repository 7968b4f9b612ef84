//! Policies that are programs: what learned ones are measured against, and what they learn from.
//!
//! Reference: Abdulhai et al. 2023 (LMRL-Gym), appendix; greedy information gain guesses the word that leaves
//! the least expected entropy, among those that may be the hidden one.

use std::collections::BTreeMap;

use rand::Rng;

use super::maze::{Maze, Move, best_move};
use super::wordle::Wordle;
use super::words::{Marks, Words};
use super::{Game, below};

/// How a program plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Any word of the list, or any move.
    Uniform,
    /// Any word that fits what was revealed.
    Consistent,
    /// The paper's data: two times in three any word of the list, else any that fits.
    Data,
    /// The word that fits and leaves the least entropy; of several any.
    InformationGain,
    /// The shortest way.
    Optimum,
}

/// A program with what it remembers of positions that it has met.
#[derive(Debug, Clone)]
pub struct Scripted {
    script: Script,
    /// By the words that fit: those to guess.
    best: BTreeMap<Vec<usize>, Vec<usize>>,
}

impl Script {
    /// Every program.
    pub const ALL: [Self; 5] =
        [Self::Uniform, Self::Consistent, Self::Data, Self::InformationGain, Self::Optimum];

    /// As in commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Consistent => "consistent",
            Self::Data => "data",
            Self::InformationGain => "information-gain",
            Self::Optimum => "optimum",
        }
    }
}

impl Scripted {
    /// A program that has not played yet.
    pub fn new(script: Script) -> Self {
        Self { script, best: BTreeMap::new() }
    }

    /// What it does; none where the program does not know the game.
    pub fn choose(&mut self, game: &Game, coins: &mut impl Rng) -> Option<String> {
        match game {
            Game::Wordle(game) => {
                self.guess(game, coins).map(|word| Wordle::spell(game.words().word(word)))
            }
            Game::Maze(maze) => self.step(maze, coins).map(|step| step.text().to_owned()),
        }
    }

    fn guess(&mut self, game: &Wordle, coins: &mut impl Rng) -> Option<usize> {
        let any = |coins: &mut _| below(coins, game.words().count());
        let fitting = |coins: &mut _| game.consistent()[below(coins, game.consistent().len())];
        match self.script {
            Script::Uniform => Some(any(coins)),
            Script::Consistent => Some(fitting(coins)),
            Script::Data => Some(if below(coins, 3) == 0 { fitting(coins) } else { any(coins) }),
            Script::InformationGain => {
                let fit = game.consistent();
                if !self.best.contains_key(fit) {
                    self.best.insert(fit.to_vec(), least_entropy(game.words(), fit));
                }
                let best = &self.best[fit];
                Some(best[below(coins, best.len())])
            }
            Script::Optimum => None,
        }
    }

    fn step(&self, maze: &Maze, coins: &mut impl Rng) -> Option<Move> {
        match self.script {
            Script::Uniform => Some(Move::ALL[below(coins, Move::ALL.len())]),
            Script::Optimum => best_move(maze.place()),
            Script::Consistent | Script::Data | Script::InformationGain => None,
        }
    }
}

/// Of the words that fit, those that leave the least expected entropy, sums compared as exact as f64 allows.
fn least_entropy(words: &Words, fit: &[usize]) -> Vec<usize> {
    let mut best: (f64, Vec<usize>) = (f64::INFINITY, Vec::new());
    for guess in fit {
        let mut counts: BTreeMap<Marks, usize> = BTreeMap::new();
        fit.iter().for_each(|hidden| *counts.entry(words.marks(*guess, *hidden)).or_default() += 1);
        let mut counts: Vec<usize> = counts.into_values().collect();
        // In one order, so that equal partitions have equal sums.
        counts.sort_unstable();
        let left: f64 = counts.iter().map(|count| *count as f64 * (*count as f64).ln()).sum();
        if left < best.0 {
            best = (left, vec![*guess]);
        } else if left == best.0 {
            best.1.push(*guess);
        }
    }
    best.1
}
