//! Counting the n-grams that texts share, over words or characters alike.
//!
//! Symbols are numbers: a character's code point, or a word's number in a [`Vocabulary`]. An n-gram
//! is numbered by its first n-1 symbols' number and its last symbol, so that each order costs one
//! look-up of a 64-bit key a position, whatever the order; an n-gram that the texts do not share is
//! not grown further, for no longer one that begins with it can be shared.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

type Hashing = BuildHasherDefault<Mix>;

/// Numbers words in the order in which they are first seen.
#[derive(Debug, Default)]
pub struct Vocabulary<'a> {
    numbers: HashMap<&'a str, u32, Hashing>,
}

impl<'a> Vocabulary<'a> {
    /// An empty vocabulary with room for this many words.
    pub fn with_capacity(n_words: usize) -> Self {
        Self { numbers: HashMap::with_capacity_and_hasher(n_words, Hashing::default()) }
    }

    /// The numbers of `words`; equal words get equal numbers, also across calls.
    pub fn encode(&mut self, words: impl IntoIterator<Item = &'a str>) -> Vec<u32> {
        words.into_iter().map(|word| self.number(word)).collect()
    }

    /// How many words have a number.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether no word has a number.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    fn number(&mut self, word: &'a str) -> u32 {
        let next = number(self.numbers.len());
        *self.numbers.entry(word).or_insert(next)
    }
}

/// How many n-grams of order `order` a text of `length` symbols has.
pub fn total(length: usize, order: usize) -> usize {
    (length + 1).saturating_sub(order)
}

/// Counts shared n-grams; keeps its memory from one text to the next.
#[derive(Debug, Default)]
pub struct Overlap {
    /// Number of each n-gram of the hypothesis that the current order looks at.
    numbers: HashMap<u64, u32, Hashing>,
    /// By that number.
    counts: Vec<Counts>,
    /// For each position of the hypothesis, the number of the n-gram that begins there, or `DEAD`.
    hypothesis: Vec<u32>,
    /// The same for each reference.
    references: Vec<Vec<u32>>,
}

/// How often one n-gram occurs.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    hypothesis: u32,
    /// In the reference at hand.
    reference: u32,
    /// Most often in any reference.
    clip: u32,
}

/// Stands for an n-gram that is not shared.
const DEAD: u32 = u32::MAX;

impl Overlap {
    /// Adds to `matches[n - 1]`, for each order n, how many n-grams of the hypothesis are found in
    /// the references, each at most as often as in the reference that has it most often.
    // Papineni et al. 2002, section 2.1.1: modified n-gram precision, the numerator.
    pub fn add_matches(
        &mut self,
        hypothesis: &[u32],
        references: &[Vec<u32>],
        matches: &mut [u64],
    ) {
        self.begin(hypothesis, references);
        for (matched, order) in matches.iter_mut().zip(1..=hypothesis.len()) {
            self.number_hypothesis(hypothesis, order);
            for (index, reference) in references.iter().enumerate() {
                self.count_reference(index, reference, order);
            }
            let shared = self.settle();
            if shared == 0 {
                return;
            }
            *matched += shared;
        }
    }

    fn begin(&mut self, hypothesis: &[u32], references: &[Vec<u32>]) {
        self.numbers.clear();
        self.numbers.reserve(hypothesis.len());
        self.hypothesis.clear();
        self.hypothesis.resize(hypothesis.len(), 0);
        self.references.resize(references.len(), Vec::new());
        for (starts, reference) in self.references.iter_mut().zip(references) {
            starts.clear();
            starts.resize(reference.len(), 0);
        }
    }

    fn number_hypothesis(&mut self, symbols: &[u32], order: usize) {
        self.numbers.clear();
        self.counts.clear();
        self.hypothesis.truncate(total(symbols.len(), order));
        for (start, &last) in self.hypothesis.iter_mut().zip(&symbols[order - 1..]) {
            if *start == DEAD {
                continue;
            }
            let next = number(self.counts.len());
            *start = *self.numbers.entry(key(*start, last)).or_insert(next);
            if *start == next {
                self.counts.push(Counts::default());
            }
            self.counts[*start as usize].hypothesis += 1;
        }
    }

    fn count_reference(&mut self, index: usize, symbols: &[u32], order: usize) {
        let starts = &mut self.references[index];
        starts.truncate(total(symbols.len(), order));
        for (start, &last) in starts.iter_mut().zip(symbols.iter().skip(order - 1)) {
            if *start == DEAD {
                continue;
            }
            *start = self.numbers.get(&key(*start, last)).copied().unwrap_or(DEAD);
            if *start != DEAD {
                self.counts[*start as usize].reference += 1;
            }
        }
        for counts in &mut self.counts {
            counts.clip = counts.clip.max(counts.reference);
            counts.reference = 0;
        }
    }

    /// The clipped matches of this order; what no reference has is dead from here on.
    fn settle(&mut self) -> u64 {
        for start in &mut self.hypothesis {
            if *start != DEAD && self.counts[*start as usize].clip == 0 {
                *start = DEAD;
            }
        }
        self.counts.iter().map(|counts| u64::from(counts.hypothesis.min(counts.clip))).sum()
    }
}

fn key(prefix: u32, last: u32) -> u64 {
    u64::from(prefix) << 32 | u64::from(last)
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("a text has fewer than 2^32 symbols")
}

/// A fast hash for short keys; the tables hold one text's n-grams, so that clashes cost little.
#[derive(Clone, Copy, Debug, Default)]
struct Mix(u64);

impl Mix {
    fn add(&mut self, value: u64) {
        // An odd constant near 2^64 over the golden ratio: Knuth's multiplicative hashing.
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.add(u64::from_le_bytes(chunk.try_into().expect("a chunk has eight bytes")));
        }
        let rest = chunks.remainder().iter().fold(0, |rest, &byte| rest << 8 | u64::from(byte));
        self.add(rest);
    }

    fn write_u8(&mut self, value: u8) {
        self.add(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }

    fn finish(&self) -> u64 {
        // The table takes its index from the low bits, which a product mixes least.
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn count(symbols: &[u32], ngram: &[u32]) -> usize {
        symbols.windows(ngram.len()).filter(|window| *window == ngram).count()
    }

    /// Straight from the definition.
    fn matches_by_definition(hypothesis: &[u32], references: &[Vec<u32>], order: usize) -> u64 {
        let mut ngrams: Vec<&[u32]> = hypothesis.windows(order).collect();
        ngrams.sort_unstable();
        ngrams.dedup();
        let clipped = ngrams.into_iter().map(|ngram| {
            let clip = references.iter().map(|reference| count(reference, ngram)).max();
            count(hypothesis, ngram).min(clip.unwrap_or(0))
        });
        clipped.sum::<usize>() as u64
    }

    #[test]
    fn matches_are_clipped_by_the_reference_that_has_most() {
        // Papineni et al. 2002: "the the the the the the the" matches twice.
        let mut vocabulary = Vocabulary::default();
        let mut encode = |text: &'static str| vocabulary.encode(text.split(' '));
        let hypothesis = encode("the the the the the the the");
        let references = [encode("the cat is on the mat"), encode("there is a cat on the mat")];
        let mut matches = [0; 2];
        Overlap::default().add_matches(&hypothesis, &references, &mut matches);
        assert_eq!(matches, [2, 0]);
    }

    proptest! {
        #[test]
        fn matches_equal_their_definition_with_a_used_counter(
            texts in vec((vec(0_u32..4, 0..14), vec(vec(0_u32..4, 0..14), 0..4)), 1..4),
        ) {
            let mut overlap = Overlap::default();
            for (hypothesis, references) in &texts {
                let mut matches = [0; 5];
                overlap.add_matches(hypothesis, references, &mut matches);
                for (index, &matched) in matches.iter().enumerate() {
                    let expected = matches_by_definition(hypothesis, references, index + 1);
                    prop_assert_eq!(matched, expected);
                }
            }
        }

        #[test]
        fn equal_words_have_equal_numbers(words in vec("[a-c]{0,20}", 0..20)) {
            let mut vocabulary = Vocabulary::default();
            let numbers = vocabulary.encode(words.iter().map(String::as_str));
            for (word, number) in words.iter().zip(&numbers) {
                for (other, other_number) in words.iter().zip(&numbers) {
                    prop_assert_eq!(word == other, number == other_number);
                }
            }
        }
    }
}
