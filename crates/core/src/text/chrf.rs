//! chrF and chrF++: how many of a text's character (and word) sequences are found in a reference.
//!
//! Measures: F-score of character n-grams, and in chrF++ of word n-grams too.
//! Formula: `(1 + b²) P R / (b² P + R)` with P and R averaged over the orders.
//! Range: 0 to 100, higher is better.
//! Misleads when: scripts or spellings differ, or a long text repeats common letters; recall counts
//! four times as much as precision by default, which rewards rambling.
//! Reference: Popović 2015, 2017; equal to sacrebleu 2.6 (Post 2018).
//!
//! Conventions: counts are summed over the corpus before P and R are taken. Of several references
//! the one with the best F-score counts for each hypothesis, the first on a tie. Orders that a text
//! is too short for are left out of the mean, so that two empty texts score 0.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::corpus::{CorpusError, ReferenceCount, count_references};
use super::ngram::{Overlap, Vocabulary, total};
use super::tokenize::{Case, is_space, words};

/// Whether white space is a character among others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whitespace {
    /// Taken out before characters are counted.
    #[default]
    Removed,
    /// Counted as it stands.
    Kept,
}

/// What happens with orders that a text is too short for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChrfSmoothing {
    /// They are left out: P and R are averaged over the other orders.
    #[default]
    EffectiveOrder,
    /// They count as 1e-16, and it is the F-scores of the orders that are averaged (chrF++.py).
    Epsilon,
}

/// Every convention of a chrF score. The default is sacrebleu's chrF2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChrfOptions {
    /// The longest character n-grams counted.
    pub char_order: usize,
    /// The longest word n-grams counted; 0 for chrF, 2 for chrF++.
    pub word_order: usize,
    /// How many times as important recall is as precision.
    pub beta: f64,
    /// Whether upper and lower case are told apart.
    pub case: Case,
    /// Whether white space is a character among others.
    pub whitespace: Whitespace,
    /// What happens with orders that a text is too short for.
    pub smoothing: ChrfSmoothing,
}

/// The weight of recall in Popović 2015 and in sacrebleu.
const DEFAULT_BETA: f64 = 2.0;

impl Default for ChrfOptions {
    fn default() -> Self {
        Self {
            char_order: 6,
            word_order: 0,
            beta: DEFAULT_BETA,
            case: Case::default(),
            whitespace: Whitespace::default(),
            smoothing: ChrfSmoothing::default(),
        }
    }
}

impl ChrfOptions {
    /// chrF++: word unigrams and bigrams beside the characters.
    pub fn plus_plus() -> Self {
        Self { word_order: 2, ..Self::default() }
    }

    /// `chrF2` or `chrF2++`, as sacrebleu names the score: beta, then a plus for each word order.
    pub fn name(&self) -> String {
        format!("chrF{}{}", self.beta, "+".repeat(self.word_order))
    }

    /// Every convention in one line, in sacrebleu's order and words; `beta` is named when it is
    /// not 2, which sacrebleu leaves to the name.
    pub fn signature(&self, references: ReferenceCount) -> String {
        let effective = match self.smoothing {
            ChrfSmoothing::EffectiveOrder => "yes",
            ChrfSmoothing::Epsilon => "no",
        };
        let space = match self.whitespace {
            Whitespace::Removed => "no",
            Whitespace::Kept => "yes",
        };
        let mut signature = format!(
            "nrefs:{references}|case:{}|eff:{effective}|nc:{}|nw:{}|space:{space}",
            self.case.signature(),
            self.char_order,
            self.word_order,
        );
        if self.beta != DEFAULT_BETA {
            write!(signature, "|beta:{}", self.beta).expect("a string takes what is written");
        }
        signature + "|version:kudos-" + env!("CARGO_PKG_VERSION")
    }

    fn validate(&self) -> Result<(), ChrfError> {
        if self.char_order + self.word_order == 0 {
            return Err(ChrfError::Order);
        }
        if !(self.beta.is_finite() && self.beta > 0.0) {
            return Err(ChrfError::Beta { beta: self.beta });
        }
        Ok(())
    }
}

/// Why there is no chrF score.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ChrfError {
    /// Hypotheses and references do not fit each other.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// Neither characters nor words would be counted.
    #[error("chrf with char_order 0 and word_order 0 counts nothing: raise one, 6 and 0 are usual")]
    Order,
    /// The F-score is undefined.
    #[error("chrf beta {beta} weighs nothing: use a finite number above 0, 2 is usual")]
    Beta {
        /// The value given.
        beta: f64,
    },
}

/// A chrF score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chrf {
    /// 0 to 100.
    pub score: f64,
    /// How many references there were, for the signature.
    pub reference_count: ReferenceCount,
}

/// chrF of a corpus; `references[i]` holds the references of `hypotheses[i]`.
///
/// # Errors
/// A corpus without a hypothesis, a hypothesis without a reference, or an option out of range.
///
/// ```
/// use kudos_core::text::chrf::{ChrfOptions, corpus_chrf};
/// let chrf = corpus_chrf(&["same"], &[vec!["same"]], &ChrfOptions::plus_plus()).unwrap();
/// assert_eq!(chrf.score, 100.0);
/// ```
pub fn corpus_chrf(
    hypotheses: &[&str],
    references: &[Vec<&str>],
    options: &ChrfOptions,
) -> Result<Chrf, ChrfError> {
    options.validate()?;
    let reference_count = count_references(hypotheses, references)?;
    let mut overlap = Overlap::default();
    let mut sums = vec![Order::default(); options.char_order + options.word_order];
    for (hypothesis, group) in hypotheses.iter().zip(references) {
        for (sum, order) in sums.iter_mut().zip(best(hypothesis, group, options, &mut overlap)) {
            sum.hypothesis += order.hypothesis;
            sum.reference += order.reference;
            sum.matches += order.matches;
        }
    }
    Ok(Chrf { score: f_score(&sums, options), reference_count })
}

/// chrF of one text.
///
/// # Errors
/// No reference, or an option out of range.
pub fn sentence_chrf(
    hypothesis: &str,
    references: &[&str],
    options: &ChrfOptions,
) -> Result<Chrf, ChrfError> {
    options.validate()?;
    if references.is_empty() {
        return Err(CorpusError::NoReference { index: 0 }.into());
    }
    let orders = best(hypothesis, references, options, &mut Overlap::default());
    let reference_count = ReferenceCount::Fixed(references.len());
    Ok(Chrf { score: f_score(&orders, options), reference_count })
}

/// Counts of one n-gram order.
#[derive(Clone, Copy, Debug, Default)]
struct Order {
    /// 0 where the reference has none, as sacrebleu counts.
    hypothesis: u64,
    reference: u64,
    matches: u64,
}

/// The counts against the reference that gives the best score: character orders, then word orders.
fn best(
    hypothesis: &str,
    references: &[&str],
    options: &ChrfOptions,
    overlap: &mut Overlap,
) -> Vec<Order> {
    let hypothesis = options.case.apply(hypothesis);
    let references: Vec<_> = references.iter().map(|text| options.case.apply(text)).collect();
    let mut vocabulary = Vocabulary::default();
    let hypothesis = Symbols::new(&hypothesis, options, &mut vocabulary);
    let mut best = Vec::new();
    let mut best_score = -1.0;
    for reference in &references {
        let reference = Symbols::new(reference, options, &mut vocabulary);
        let mut orders =
            count(&hypothesis.characters, reference.characters, options.char_order, overlap);
        orders.extend(count(&hypothesis.words, reference.words, options.word_order, overlap));
        let score = f_score(&orders, options);
        if score > best_score {
            (best, best_score) = (orders, score);
        }
    }
    best
}

/// A text as numbers.
struct Symbols {
    /// Code points.
    characters: Vec<u32>,
    /// Empty where no word n-grams are counted.
    words: Vec<u32>,
}

impl Symbols {
    fn new<'a>(text: &'a str, options: &ChrfOptions, vocabulary: &mut Vocabulary<'a>) -> Self {
        let is_counted = |character: &char| match options.whitespace {
            Whitespace::Removed => !is_space(*character),
            Whitespace::Kept => true,
        };
        let characters = text.chars().filter(is_counted).map(u32::from).collect();
        let words = match options.word_order {
            0 => Vec::new(),
            _ => vocabulary.encode(words(text).flat_map(split_punctuation).flatten()),
        };
        Self { characters, words }
    }
}

/// One ASCII punctuation mark comes off a word: the last, or else the first.
// sacrebleu issue 124: "(hi)" gives "(hi" and ")", as in Popović's chrF++.py.
fn split_punctuation(word: &str) -> [Option<&str>; 2] {
    let mut rest = word.chars();
    let first = rest.next().expect("a word is not empty");
    let at = match rest.next_back() {
        Some(last) if last.is_ascii_punctuation() => word.len() - 1,
        Some(_) if first.is_ascii_punctuation() => 1,
        Some(_) | None => return [Some(word), None],
    };
    [Some(&word[..at]), Some(&word[at..])]
}

fn count(
    hypothesis: &[u32],
    reference: Vec<u32>,
    max_order: usize,
    overlap: &mut Overlap,
) -> Vec<Order> {
    let length = reference.len();
    let mut matches = vec![0; max_order];
    overlap.add_matches(hypothesis, &[reference], &mut matches);
    let orders = matches.iter().zip(1..).map(|(&matches, order)| {
        let reference = total(length, order) as u64;
        let hypothesis = match reference {
            0 => 0,
            _ => total(hypothesis.len(), order) as u64,
        };
        Order { hypothesis, reference, matches }
    });
    orders.collect()
}

fn f_score(orders: &[Order], options: &ChrfOptions) -> f64 {
    match options.smoothing {
        ChrfSmoothing::EffectiveOrder => f_of_mean(orders, options.beta),
        ChrfSmoothing::Epsilon => mean_of_f(orders, options.beta),
    }
}

fn f_of_mean(orders: &[Order], beta: f64) -> f64 {
    let (mut precision, mut recall, mut effective) = (0.0, 0.0, 0.0);
    for order in orders.iter().filter(|order| order.hypothesis > 0 && order.reference > 0) {
        precision += order.matches as f64 / order.hypothesis as f64;
        recall += order.matches as f64 / order.reference as f64;
        effective += 1.0;
    }
    if precision + recall == 0.0 {
        return 0.0;
    }
    100.0 * f_beta(precision / effective, recall / effective, beta)
}

fn mean_of_f(orders: &[Order], beta: f64) -> f64 {
    const EPSILON: f64 = 1e-16;
    let share = |matches: u64, of: u64| match of {
        0 => EPSILON,
        _ => matches as f64 / of as f64,
    };
    let scores = orders.iter().map(|order| {
        let precision = share(order.matches, order.hypothesis);
        let recall = share(order.matches, order.reference);
        if precision + recall > 0.0 { f_beta(precision, recall, beta) } else { EPSILON }
    });
    100.0 * scores.sum::<f64>() / orders.len() as f64
}

fn f_beta(precision: f64, recall: f64, beta: f64) -> f64 {
    let factor = beta * beta;
    (1.0 + factor) * precision * recall / (factor * precision + recall)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn check(hypothesis: &str, references: &[&str], options: &ChrfOptions) -> f64 {
        sentence_chrf(hypothesis, references, options).unwrap().score
    }

    #[test]
    fn hand_arithmetic() {
        // "abc" in "abd": unigrams 2 of 3 and 2 of 3, bigrams 1 of 2 and 1 of 2, trigrams none.
        let options = ChrfOptions { char_order: 3, ..ChrfOptions::default() };
        let mean = (2.0 / 3.0 + 0.5) / 3.0;
        assert!((check("abc", &["abd"], &options) - 100.0 * mean).abs() < 1e-12);
        // "ab" in "abcd": P = 1, R = (2/4 + 1/3) / 2 = 5/12, F2 = 5 PR / (4 P + R) = 25/53.
        let options = ChrfOptions { char_order: 2, ..ChrfOptions::default() };
        assert!((check("ab", &["abcd"], &options) - 2500.0 / 53.0).abs() < 1e-12);
    }

    #[test]
    fn a_mark_comes_off_one_end_of_a_word_only() {
        assert_eq!(split_punctuation("(hi)"), [Some("(hi"), Some(")")]);
        assert_eq!(split_punctuation("¿\"qué"), [Some("¿\"qué"), None]);
        assert_eq!(split_punctuation("\"qué"), [Some("\""), Some("qué")]);
        assert_eq!(split_punctuation("!"), [Some("!"), None]);
    }

    #[test]
    fn a_signature_states_every_convention() {
        let options = ChrfOptions { beta: 3.0, ..ChrfOptions::plus_plus() };
        assert_eq!(options.name(), "chrF3++");
        let expected = "nrefs:2|case:mixed|eff:yes|nc:6|nw:2|space:no|beta:3|version:kudos-";
        assert!(options.signature(ReferenceCount::Fixed(2)).starts_with(expected));
    }

    #[test]
    fn options_that_count_nothing_are_refused() {
        let options = ChrfOptions { char_order: 0, ..ChrfOptions::default() };
        assert_eq!(sentence_chrf("a", &["a"], &options), Err(ChrfError::Order));
        let options = ChrfOptions { beta: 0.0, ..ChrfOptions::default() };
        assert_eq!(sentence_chrf("a", &["a"], &options), Err(ChrfError::Beta { beta: 0.0 }));
    }

    proptest! {
        #[test]
        fn a_text_scores_full_against_itself(text in "\\PC*[a-z]") {
            let score = check(&text, &["something else", &text], &ChrfOptions::plus_plus());
            prop_assert!((score - 100.0).abs() < 1e-9);
        }

        #[test]
        fn with_beta_one_texts_may_change_places(one in "[ab .]{0,9}", other in "[ab .]{0,9}") {
            let options = ChrfOptions { beta: 1.0, ..ChrfOptions::plus_plus() };
            let (there, back) = (check(&one, &[&other], &options), check(&other, &[&one], &options));
            prop_assert!((there - back).abs() < 1e-9);
        }

        #[test]
        fn the_order_of_pairs_changes_nothing(pairs in vec(("[ab .]{0,9}", "[ab .]{0,9}"), 1..6)) {
            let score = |pairs: &[(String, String)]| {
                let hypotheses: Vec<&str> = pairs.iter().map(|pair| pair.0.as_str()).collect();
                let references: Vec<_> = pairs.iter().map(|pair| vec![pair.1.as_str()]).collect();
                corpus_chrf(&hypotheses, &references, &ChrfOptions::default()).unwrap().score
            };
            let reversed: Vec<_> = pairs.iter().rev().cloned().collect();
            prop_assert_eq!(score(&pairs), score(&reversed));
        }
    }
}
