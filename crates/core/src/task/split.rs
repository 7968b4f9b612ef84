//! Deals sources into training, validation and test so that no near-duplicate crosses.
//!
//! Two texts are near-duplicates if the sets of their word 3-grams overlap by a Jaccard index of at
//! least [`NEAR_DUPLICATE`], words being lower-cased runs of letters and digits; a text of fewer
//! than three words is one gram. Equal texts are a special case. The index is exact: an inverted
//! index of grams finds every pair that shares one, so nothing is estimated. Near-duplicates, their
//! near-duplicates, and sources with one key form a cluster. The cluster goes where the SHA-256 of
//! its smallest key sends it, so a source stays in its split when others are added, unless a new
//! one joins its cluster with a smaller key.
//!
//! Source: Lee et al. 2022, "Deduplicating training data makes language models better" (why);
//! Broder 1997 (resemblance).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use super::Source;

/// The Jaccard index from which two texts count as one.
pub const NEAR_DUPLICATE: f64 = 0.6;

/// Where a source is dealt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// To learn from.
    Train,
    /// To choose by.
    Validation,
    /// To report.
    Test,
}

/// How much is held out, in thousandths of the clusters; the rest trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Thousandths for validation.
    pub validation_permille: u64,
    /// Thousandths for the test.
    pub test_permille: u64,
}

impl Shares {
    /// Nothing is held out.
    pub const NONE: Self = Self { validation_permille: 0, test_permille: 0 };
}

impl Default for Shares {
    /// 90, 5 and 5 percent.
    fn default() -> Self {
        Self { validation_permille: 50, test_permille: 50 }
    }
}

/// The split of each source.
pub fn assign(sources: &[Source], shares: Shares) -> Vec<Split> {
    let mut clusters = Clusters::new(sources.len());
    join_equal_keys(sources, &mut clusters);
    join_near_duplicates(sources, &mut clusters);
    let mut smallest: BTreeMap<usize, &str> = BTreeMap::new();
    for (index, source) in sources.iter().enumerate() {
        let key = smallest.entry(clusters.root(index)).or_insert(&source.key);
        *key = (*key).min(&source.key);
    }
    (0..sources.len()).map(|index| of_key(smallest[&clusters.root(index)], shares)).collect()
}

/// The first eight bytes of the key's SHA-256, big-endian.
pub(crate) fn hash(key: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    digest[..8].iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn of_key(key: &str, shares: Shares) -> Split {
    let permille = hash(key) % 1000;
    if permille < shares.test_permille {
        Split::Test
    } else if permille < shares.test_permille + shares.validation_permille {
        Split::Validation
    } else {
        Split::Train
    }
}

fn join_equal_keys(sources: &[Source], clusters: &mut Clusters) {
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (index, source) in sources.iter().enumerate() {
        clusters.join(index, *first.entry(&source.key).or_insert(index));
    }
}

fn join_near_duplicates(sources: &[Source], clusters: &mut Clusters) {
    let mut gram_ids: HashMap<String, usize> = HashMap::new();
    // Of each gram, the earlier texts that have it; of each text, its source and its number of
    // grams.
    let mut texts_of_gram: Vec<Vec<usize>> = Vec::new();
    let mut texts: Vec<(usize, usize)> = Vec::new();
    for (source_index, source) in sources.iter().enumerate() {
        for text in &source.compared {
            let grams = word_trigrams(text);
            let mut shared: BTreeMap<usize, usize> = BTreeMap::new();
            for gram in &grams {
                let next = gram_ids.len();
                let gram_id = *gram_ids.entry(gram.clone()).or_insert(next);
                if gram_id == texts_of_gram.len() {
                    texts_of_gram.push(Vec::new());
                }
                for &earlier in &texts_of_gram[gram_id] {
                    *shared.entry(earlier).or_default() += 1;
                }
                texts_of_gram[gram_id].push(texts.len());
            }
            for (earlier, n_shared) in shared {
                let (earlier_source, n_grams) = texts[earlier];
                let n_union = grams.len() + n_grams - n_shared;
                if n_shared as f64 >= NEAR_DUPLICATE * n_union as f64 {
                    clusters.join(source_index, earlier_source);
                }
            }
            texts.push((source_index, grams.len()));
        }
    }
}

/// The distinct word 3-grams; of a shorter text the whole, of a text without words the text itself.
fn word_trigrams(text: &str) -> BTreeSet<String> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    match words.len() {
        0 => BTreeSet::from([lower]),
        1 | 2 => BTreeSet::from([words.join(" ")]),
        3.. => words.windows(3).map(|window| window.join(" ")).collect(),
    }
}

/// Union-find over indices.
#[derive(Debug)]
struct Clusters {
    parents: Vec<usize>,
}

impl Clusters {
    fn new(len: usize) -> Self {
        Self { parents: (0..len).collect() }
    }

    fn root(&mut self, mut index: usize) -> usize {
        while self.parents[index] != index {
            self.parents[index] = self.parents[self.parents[index]];
            index = self.parents[index];
        }
        index
    }

    fn join(&mut self, left: usize, right: usize) {
        let (left, right) = (self.root(left), self.root(right));
        self.parents[left.max(right)] = left.min(right);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(key: &str, text: &str) -> Source {
        let compared = vec![text.to_owned()];
        Source { key: key.to_owned(), compared, document: String::new(), items: Vec::new() }
    }

    /// Half is held out, so that chance alone would tear a pair apart often.
    const HALF: Shares = Shares { validation_permille: 250, test_permille: 250 };

    #[test]
    fn the_hash_is_the_head_of_sha_256() {
        // `printf abc | sha256sum` begins ba7816bf8f01cfea.
        assert_eq!(hash("abc"), 0xba78_16bf_8f01_cfea);
    }

    #[test]
    fn shares_are_kept_to_within_four_standard_deviations() {
        let sources: Vec<Source> =
            (0..10_000).map(|i| source(&format!("key {i}"), &format!("text{i}"))).collect();
        let splits = assign(&sources, Shares::default());
        for (split, expected) in
            [(Split::Train, 0.9), (Split::Validation, 0.05), (Split::Test, 0.05)]
        {
            let share = splits.iter().filter(|&&found| found == split).count() as f64 / 10_000.0;
            let deviation = f64::sqrt(expected * (1.0 - expected) / 10_000.0);
            assert!((share - expected).abs() < 4.0 * deviation, "{split:?} {share}");
        }
    }

    #[test]
    fn near_duplicates_and_their_near_duplicates_stay_together() {
        // Eight words have six 3-grams; the next text drops the first word and adds one: 5 shared
        // of 7, 0.71.
        let window = |start: usize| -> String {
            (start..start + 8).map(|word| format!("w{word} ")).collect()
        };
        let chain: Vec<Source> = (0..40).map(|i| source(&format!("k{i}"), &window(i))).collect();
        let splits = assign(&chain, HALF);
        assert!(splits.iter().all(|&split| split == splits[0]));
        // Two words further: 4 shared of 8, 0.5: each text alone, so 40 do not all agree.
        let apart: Vec<Source> =
            (0..40).map(|i| source(&format!("k{i}"), &window(2 * i))).collect();
        let splits = assign(&apart, HALF);
        assert!(splits.iter().any(|&split| split != splits[0]));
    }

    #[test]
    fn case_punctuation_and_keys_do_not_separate() {
        for i in 0..40 {
            let pair = |left: Source, right: Source| assign(&[left, right], HALF);
            let (a, b) = (format!("a{i}"), format!("b{i}"));
            let splits =
                pair(source(&a, "The cat sat on mats."), source(&b, "the CAT, sat on mats"));
            assert_eq!(splits[0], splits[1]);
            let splits = pair(source(&a, "one thing entirely"), source(&a, "something else here"));
            assert_eq!(splits[0], splits[1]);
            let splits = pair(source(&a, "Hi!"), source(&b, "hi"));
            assert_eq!(splits[0], splits[1]);
        }
    }

    proptest! {
        #[test]
        fn the_order_of_sources_does_not_change_their_splits(
            texts in prop::collection::vec("[ab]( [ab]){0,6}", 1..30),
        ) {
            let keyed = texts.iter().enumerate();
            let sources: Vec<Source> =
                keyed.map(|(i, text)| source(&format!("{i}"), text)).collect();
            let forward = assign(&sources, HALF);
            let reversed: Vec<Source> = sources.iter().rev().cloned().collect();
            let mut backward = assign(&reversed, HALF);
            backward.reverse();
            prop_assert_eq!(forward, backward);
        }
    }
}
