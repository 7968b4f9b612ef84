//! Wordle as LMRL-Gym plays it: the hidden word is drawn anew at every guess from the words that fit all that was revealed.
//!
//! A guess that does not win costs 1, also one that is no word of the list, which reveals nothing; the sixth ends the
//! game. The law of the answers is that of a word hidden at the start: a uniform prior, given what was revealed.
//! Reference: Abdulhai et al. 2023 (LMRL-Gym), section 4.

use std::sync::Arc;

use rand::Rng;

use super::{Turn, below, words::Words};

/// Guesses of a game.
pub const GUESSES: usize = 6;

/// What stands before the first guess.
pub(super) const OPENING: &str = "Wordle:\n";

/// A game in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wordle {
    words: Arc<Words>,
    /// Places of the words that fit all that was revealed, in order; never empty.
    consistent: Vec<usize>,
    guesses: usize,
}

impl Wordle {
    /// A new game.
    pub fn new(words: Arc<Words>) -> Self {
        Self { consistent: (0..words.count()).collect(), words, guesses: 0 }
    }

    /// The list that is played with.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// Places of the words that fit all that was revealed.
    pub fn consistent(&self) -> &[usize] {
        &self.consistent
    }

    /// A guess as it is written: its letters apart, with the end of the line.
    pub fn spell(word: &str) -> String {
        let letters: Vec<String> = word.chars().map(String::from).collect();
        letters.join(" ") + "\n"
    }

    /// Answers a guess.
    ///
    /// # Panics
    /// If the game is over.
    pub fn act(&mut self, text: &str, coins: &mut impl Rng) -> Turn {
        assert!(self.guesses < GUESSES, "the game is over");
        self.guesses += 1;
        let guess: String = text.split_whitespace().collect();
        let last = self.guesses == GUESSES;
        let Some(guess) = self.words.place(&guess) else {
            return Turn { said: "\n".to_owned(), reward: -1.0, done: last };
        };
        let hidden = self.consistent[below(coins, self.consistent.len())];
        let marks = self.words.marks(guess, hidden);
        let words = &self.words;
        self.consistent.retain(|word| words.marks(guess, *word) == marks);
        let won = marks.all_green();
        let reward = if won { 0.0 } else { -1.0 };
        Turn { said: marks.text() + "\n", reward, done: won || last }
    }
}
