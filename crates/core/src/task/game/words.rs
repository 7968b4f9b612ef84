//! The words of Wordle, and what a guess reveals of the hidden one.
//!
//! As in LMRL-Gym a letter is yellow wherever the hidden word has it somewhere else: how often it has it is not told.
//! So the words that fit all that was revealed are those that would have given the same marks.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

/// Letters of a word.
pub const LETTERS: usize = 5;

/// The longest list that is taken: marks of all pairs are kept, a byte each.
const MOST_WORDS: usize = 8192;

/// What a guess reveals: green, yellow or black at each letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marks(u8);

/// A list of words with the marks of every pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    words: Vec<String>,
    /// Of guess times hidden word, the hidden word innermost.
    marks: Vec<Marks>,
}

/// Why a list of words cannot be played with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WordsError {
    /// Something else than a word of five small letters.
    #[error("`{word}` in line {line} is no word of {LETTERS} letters from a to z: take it out")]
    NotAWord {
        /// Counted from 1.
        line: usize,
        /// What stands there.
        word: String,
    },
    /// A word stands there twice, and would be drawn twice as often.
    #[error("`{word}` stands there twice: take one out")]
    Twice {
        /// The word.
        word: String,
    },
    /// Nothing to play with.
    #[error("there is no word: give a list with a word a line")]
    Empty,
    /// More than are taken.
    #[error("there are {found} words, more than {MOST_WORDS}: give a shorter list")]
    TooMany {
        /// How many there are.
        found: usize,
    },
}

impl Marks {
    /// What `guess` reveals of `hidden`, both of five letters.
    pub fn of(guess: &str, hidden: &str) -> Self {
        let hidden = hidden.as_bytes();
        let letters = guess.bytes().enumerate();
        let digit = |(place, letter)| match hidden.get(place) {
            Some(same) if *same == letter => 2,
            _ if hidden.contains(&letter) => 1,
            _ => 0,
        };
        Self(letters.map(digit).fold(0, |number, digit| 3 * number + digit))
    }

    /// Whether every letter is green.
    pub fn all_green(self) -> bool {
        usize::from(self.0) == 3usize.pow(LETTERS as u32) - 1
    }

    /// `b y g b b`, as the policy reads it.
    pub fn text(self) -> String {
        let digits = (0..LETTERS as u32).rev().map(|place| self.0 / 3u8.pow(place) % 3);
        let letter = |digit| match digit {
            0 => "b",
            1 => "y",
            _ => "g",
        };
        digits.map(letter).collect::<Vec<_>>().join(" ")
    }
}

impl Words {
    /// The words of a list, one a line.
    ///
    /// # Errors
    /// If a line holds no word of five letters, or a word twice, or there are none or too many.
    pub fn parse(text: &str) -> Result<Self, WordsError> {
        let mut words: Vec<String> = Vec::new();
        let mut seen = BTreeSet::new();
        for (index, line) in text.lines().enumerate() {
            let word = line.trim();
            if word.is_empty() {
                continue;
            }
            if word.len() != LETTERS || !word.bytes().all(|letter| letter.is_ascii_lowercase()) {
                return Err(WordsError::NotAWord { line: index + 1, word: word.to_owned() });
            }
            if !seen.insert(word) {
                return Err(WordsError::Twice { word: word.to_owned() });
            }
            words.push(word.to_owned());
        }
        match words.len() {
            0 => Err(WordsError::Empty),
            found if found > MOST_WORDS => Err(WordsError::TooMany { found }),
            _ => Ok(Self::of(words)),
        }
    }

    /// The `most` words of five small letters that a text uses most often, in the order of the alphabet;
    /// of equally frequent ones the first in that order.
    ///
    /// # Errors
    /// If there is none, or `most` is more than are taken.
    pub fn frequent(text: &str, most: usize) -> Result<Self, WordsError> {
        if most > MOST_WORDS {
            return Err(WordsError::TooMany { found: most });
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let within = |letter: char| letter.is_alphanumeric() || letter == '\'' || letter == '-';
        for word in text.split(|letter| !within(letter)) {
            if word.len() == LETTERS && word.bytes().all(|letter| letter.is_ascii_lowercase()) {
                *counts.entry(word).or_default() += 1;
            }
        }
        let mut words: Vec<(&str, usize)> = counts.into_iter().collect();
        words.sort_by_key(|(word, count)| (std::cmp::Reverse(*count), *word));
        let mut words: Vec<String> =
            words.into_iter().take(most).map(|(word, _)| word.to_owned()).collect();
        words.sort_unstable();
        if words.is_empty() { Err(WordsError::Empty) } else { Ok(Self::of(words)) }
    }

    fn of(words: Vec<String>) -> Self {
        let pairs = words.iter().flat_map(|guess| words.iter().map(move |hidden| (guess, hidden)));
        let marks = pairs.map(|(guess, hidden)| Marks::of(guess, hidden)).collect();
        Self { words, marks }
    }

    /// How many words there are; at least one.
    pub fn count(&self) -> usize {
        self.words.len()
    }

    /// A word by its place.
    ///
    /// # Panics
    /// If there is no such place.
    pub fn word(&self, place: usize) -> &str {
        &self.words[place]
    }

    /// All words, in their order.
    pub fn all(&self) -> &[String] {
        &self.words
    }

    /// The place of a word.
    pub fn place(&self, word: &str) -> Option<usize> {
        self.words.iter().position(|known| known == word)
    }

    /// What the word at one place reveals of the word at another.
    ///
    /// # Panics
    /// If there is no such place.
    pub fn marks(&self, guess: usize, hidden: usize) -> Marks {
        self.marks[guess * self.words.len() + hidden]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_yellow_wherever_the_hidden_word_has_it_elsewhere() {
        let cases = [
            ("slate", "slate", "g g g g g"),
            ("apple", "slate", "y b b y g"),
            // One `e` is told twice: counts are not revealed.
            ("eerie", "slate", "y y b b g"),
            ("llama", "slate", "y g g b y"),
            ("crumb", "eight", "b b b b b"),
        ];
        for (guess, hidden, marks) in cases {
            assert_eq!(Marks::of(guess, hidden).text(), marks, "{guess} of {hidden}");
        }
        assert!(Marks::of("slate", "slate").all_green());
        assert!(!Marks::of("plate", "slate").all_green());
    }

    #[test]
    fn a_damaged_list_is_refused_with_its_reason() {
        let refused = |text: &str| Words::parse(text).unwrap_err().to_string();
        assert!(refused("slate\nSlate\n").contains("`Slate` in line 2"));
        assert!(refused("slate\ntoolong\n").contains("line 2"));
        assert!(refused("slate\n\nslate\n").contains("twice"));
        assert!(refused("\n").contains("no word"));
        assert_eq!(Words::parse("crane\r\n slate \n").unwrap().all(), ["crane", "slate"]);
    }

    #[test]
    fn the_most_frequent_words_of_a_text_are_its_list() {
        let text = "About about house-boat don't about house, crane; water water house Water2 x1";
        assert_eq!(Words::frequent(text, 2).unwrap().all(), ["about", "house"]);
        assert_eq!(Words::frequent(text, 9).unwrap().all(), ["about", "crane", "house", "water"]);
        assert!(Words::frequent("no", 9).is_err());
    }
}
