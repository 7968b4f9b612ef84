//! Learns the merges of a byte-pair encoding.
//!
//! The trainer inside `tokenizers` walks hash maps with a random seed and spreads over threads, so
//! that ties may fall differently in each process, and core knows no threads. Here every order is
//! total: the most frequent pair wins, among equals the one with the smallest ids, so that the same
//! words give the same merges everywhere.
//!
//! Source: Sennrich, Haddow and Birch 2016, "Neural machine translation of rare words with subword
//! units", algorithm 1.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

/// A pair is merged only if it occurs at least this often: a merge seen once would memorize, not
/// generalize.
const MIN_COUNT: i64 = 2;

/// Two adjacent pieces.
type Pair = (u32, u32);

/// One distinct word as pieces, with how often the corpus has it.
struct Word {
    pieces: Vec<u32>,
    count: i64,
}

/// Where a pair occurs.
#[derive(Default)]
struct Occurrences {
    count: i64,
    /// Indices of words that have, or once had, the pair.
    words: BTreeSet<usize>,
}

/// A vocabulary that grows by merging.
pub(crate) struct Merges {
    /// Text of each id.
    pub(crate) vocabulary: Vec<String>,
    /// The merges in the order learned, as texts.
    pub(crate) merges: Vec<(String, String)>,
    ids: HashMap<String, u32>,
    words: Vec<Word>,
    pairs: HashMap<Pair, Occurrences>,
    queue: BinaryHeap<(i64, Reverse<Pair>)>,
}

impl Merges {
    /// Starts from `vocabulary`, which holds every character of `words` as an entry of its own.
    pub(crate) fn new(vocabulary: Vec<String>, words: &BTreeMap<String, i64>) -> Self {
        let ids = (0..).zip(&vocabulary).map(|(id, text)| (text.clone(), id)).collect();
        let mut this = Self {
            vocabulary,
            merges: Vec::new(),
            ids,
            words: Vec::new(),
            pairs: HashMap::new(),
            queue: BinaryHeap::new(),
        };
        for (text, &count) in words {
            let pieces = text.chars().map(|letter| this.ids[letter.to_string().as_str()]).collect();
            this.words.push(Word { pieces, count });
        }
        let mut touched = BTreeSet::new();
        for index in 0..this.words.len() {
            this.tally(index, 1, &mut touched);
        }
        this.enqueue(&touched);
        this
    }

    /// Merges until the vocabulary has `size` entries or no pair is frequent enough.
    pub(crate) fn grow(&mut self, size: usize) {
        while self.vocabulary.len() < size {
            let Some((count, Reverse(pair))) = self.queue.pop() else { return };
            if self.pairs[&pair].count != count {
                // From before the count changed; the fresh entry is in the queue too.
                continue;
            }
            if count < MIN_COUNT {
                return;
            }
            self.merge(pair);
        }
    }

    /// Replaces `pair` by one piece in every word.
    fn merge(&mut self, pair: Pair) {
        let left = self.vocabulary[pair.0 as usize].clone();
        let right = self.vocabulary[pair.1 as usize].clone();
        let text = format!("{left}{right}");
        self.merges.push((left, right));
        // "abc" can be reached as "ab" + "c" and as "a" + "bc": both merges lead to the same entry.
        let merged = *self.ids.entry(text.clone()).or_insert_with(|| {
            self.vocabulary.push(text);
            u32::try_from(self.vocabulary.len() - 1)
                .expect("a vocabulary has fewer than 2^32 entries")
        });
        let indices = self
            .pairs
            .get_mut(&pair)
            .map(|found| std::mem::take(&mut found.words))
            .unwrap_or_default();
        let mut touched = BTreeSet::new();
        for index in indices {
            self.tally(index, -1, &mut touched);
            let pieces = replace(&self.words[index].pieces, pair, merged);
            self.words[index].pieces = pieces;
            self.tally(index, 1, &mut touched);
        }
        self.enqueue(&touched);
    }

    /// Adds `sign` times the word's pairs to the counts.
    fn tally(&mut self, index: usize, sign: i64, touched: &mut BTreeSet<Pair>) {
        let word = &self.words[index];
        for window in word.pieces.windows(2) {
            let pair = (window[0], window[1]);
            let found = self.pairs.entry(pair).or_default();
            found.count += sign * word.count;
            if sign > 0 {
                found.words.insert(index);
            }
            touched.insert(pair);
        }
    }

    fn enqueue(&mut self, touched: &BTreeSet<Pair>) {
        for &pair in touched {
            let count = self.pairs[&pair].count;
            if count >= MIN_COUNT {
                self.queue.push((count, Reverse(pair)));
            }
        }
    }
}

/// The pieces with each occurrence of `pair`, from the left, replaced by `merged`.
fn replace(pieces: &[u32], pair: Pair, merged: u32) -> Vec<u32> {
    let mut replaced = Vec::with_capacity(pieces.len());
    let mut position = 0;
    while position < pieces.len() {
        if pieces[position] == pair.0 && pieces.get(position + 1) == Some(&pair.1) {
            replaced.push(merged);
            position += 2;
        } else {
            replaced.push(pieces[position]);
            position += 1;
        }
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn letters() -> Vec<String> {
        "abcdefghijklmnopqrstuvwxyz".chars().map(String::from).collect()
    }

    fn learn(words: &BTreeMap<String, i64>, n_merges: usize) -> Vec<(String, String)> {
        let mut merges = Merges::new(letters(), words);
        merges.grow(26 + n_merges);
        merges.merges
    }

    /// Algorithm 1 of the paper, recounting everything at each step.
    fn recounting(words: &BTreeMap<String, i64>, size: usize) -> Vec<(String, String)> {
        let mut split: Vec<(Vec<String>, i64)> = words
            .iter()
            .map(|(text, &count)| (text.chars().map(String::from).collect(), count))
            .collect();
        let mut order = letters();
        let mut merges = Vec::new();
        while order.len() < size {
            let mut counts: BTreeMap<(usize, usize), i64> = BTreeMap::new();
            let id = |text: &String| order.iter().position(|known| known == text).unwrap();
            for (pieces, count) in &split {
                for window in pieces.windows(2) {
                    *counts.entry((id(&window[0]), id(&window[1]))).or_default() += count;
                }
            }
            let best = counts.iter().max_by_key(|&(&pair, &count)| (count, Reverse(pair)));
            let Some((&(left, right), _)) = best.filter(|&(_, &count)| count >= MIN_COUNT) else {
                break;
            };
            let (left, right) = (order[left].clone(), order[right].clone());
            let text = format!("{left}{right}");
            for (pieces, _) in &mut split {
                let mut next: Vec<String> = Vec::new();
                let mut rest = pieces.as_slice();
                while let Some((first, tail)) = rest.split_first() {
                    let joins = *first == left && tail.first() == Some(&right);
                    next.push(if joins { text.clone() } else { first.clone() });
                    rest = if joins { &tail[1..] } else { tail };
                }
                *pieces = next;
            }
            if !order.contains(&text) {
                order.push(text);
            }
            merges.push((left, right));
        }
        merges
    }

    #[test]
    fn merges_of_the_papers_example_are_those_by_hand() {
        // The dictionary of Sennrich et al. 2016, figure 1: low, lowest, newer, wider (without the
        // end mark).
        let words = [("low", 5), ("lowest", 2), ("newer", 6), ("wider", 3)];
        let words = words.map(|(text, count)| (text.to_owned(), count)).into();
        // er 9; then lo = we = 7 where ids decide: (l, o) < (w, e)? w = 22, l = 11; then (lo, w).
        let expected = [("e", "r"), ("l", "o"), ("lo", "w")];
        assert_eq!(learn(&words, 3), expected.map(|(l, r)| (l.to_owned(), r.to_owned())));
    }

    proptest! {
        #[test]
        fn incremental_counts_give_the_merges_of_a_full_recount(
            words in prop::collection::btree_map("[a-d]{1,9}", 1_i64..6, 1..25),
            n_merges in 1_usize..40,
        ) {
            prop_assert_eq!(learn(&words, n_merges), recounting(&words, 26 + n_merges));
        }
    }
}
