//! BLEU: how many of a text's word sequences are found in reference texts.
//!
//! Measures: clipped precision of word n-grams, with a penalty for texts that are too short.
//! Formula: `BP * exp(mean over n of ln p_n)`, `BP = min(1, exp(1 - reference / hypothesis))`.
//! Range: 0 to 100, higher is better.
//! Misleads when: a text is one sentence (use [`BleuOptions::sentence`]), wording is free, or the
//! texts compared were tokenized differently; always give the signature with a score.
//! Reference: Papineni et al. 2002; equal to sacrebleu 2.6 (Post 2018), smoothing after Chen and
//! Cherry 2014.
//!
//! Conventions: counts are summed over the corpus before precisions are taken. With several
//! references a count is clipped by the largest of them, and the reference length is the one nearest
//! to the hypothesis, the shorter on a tie. Without any match at all the score is 0 whatever the
//! smoothing; so is that of an empty hypothesis, also against an empty reference.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::corpus::{CorpusError, ReferenceCount, count_references};
use super::ngram::{Overlap, Vocabulary, total};
use super::tokenize::{Case, Tokenization, words};

/// What stands in for the precision of an order without a match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Smoothing {
    /// Nothing: the score is 0.
    None,
    /// This many matches instead of none; see [`Smoothing::FLOOR`].
    Floor(f64),
    /// This many added to the matches and to the total of every order above 1; see
    /// [`Smoothing::ADD_K`].
    AddK(f64),
    /// Half a match for the first order without one, a quarter for the second, and so on.
    #[default]
    Exp,
}

impl Smoothing {
    /// Floor smoothing with sacrebleu's default value.
    pub const FLOOR: Self = Self::Floor(0.1);
    /// Add-k smoothing with sacrebleu's default value.
    pub const ADD_K: Self = Self::AddK(1.0);

    fn signature(self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Floor(value) => format!("floor[{value:.2}]"),
            Self::AddK(value) => format!("add-k[{value:.2}]"),
            Self::Exp => "exp".to_owned(),
        }
    }
}

/// Which orders enter the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EffectiveOrder {
    /// All of them: a hypothesis shorter than the highest order scores 0.
    #[default]
    Off,
    /// Only those of which the hypothesis has an n-gram.
    On,
}

/// Every convention of a BLEU score. The default is sacrebleu's for a corpus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BleuOptions {
    /// How texts are split into words.
    pub tokenization: Tokenization,
    /// What stands in for the precision of an order without a match.
    pub smoothing: Smoothing,
    /// The longest n-grams counted, in words; at least 1.
    pub order: usize,
    /// Which orders enter the mean.
    pub effective_order: EffectiveOrder,
    /// Whether upper and lower case are told apart.
    pub case: Case,
}

/// The order of Papineni et al. and of sacrebleu.
const DEFAULT_ORDER: usize = 4;

impl Default for BleuOptions {
    fn default() -> Self {
        Self {
            tokenization: Tokenization::default(),
            smoothing: Smoothing::default(),
            order: DEFAULT_ORDER,
            effective_order: EffectiveOrder::default(),
            case: Case::default(),
        }
    }
}

impl BleuOptions {
    /// The default of sacrebleu's `sentence_bleu` function: effective order on.
    pub fn sentence() -> Self {
        Self { effective_order: EffectiveOrder::On, ..Self::default() }
    }

    /// Every convention in one line, in sacrebleu's order and words; `order` is named when it is
    /// not 4, which sacrebleu leaves out.
    pub fn signature(&self, references: ReferenceCount) -> String {
        let effective = match self.effective_order {
            EffectiveOrder::Off => "no",
            EffectiveOrder::On => "yes",
        };
        let order = match self.order {
            DEFAULT_ORDER => String::new(),
            order => format!("|order:{order}"),
        };
        format!(
            "nrefs:{references}|case:{}|eff:{effective}|tok:{}|smooth:{}{order}|version:kudos-{}",
            self.case.signature(),
            self.tokenization.name(),
            self.smoothing.signature(),
            env!("CARGO_PKG_VERSION"),
        )
    }

    fn validate(&self) -> Result<(), BleuError> {
        if self.order == 0 {
            return Err(BleuError::Order);
        }
        match self.smoothing {
            Smoothing::Floor(value) | Smoothing::AddK(value)
                if !(value.is_finite() && value >= 0.0) =>
            {
                Err(BleuError::SmoothingValue { value })
            }
            Smoothing::None | Smoothing::Floor(_) | Smoothing::AddK(_) | Smoothing::Exp => Ok(()),
        }
    }
}

/// Why there is no BLEU score.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum BleuError {
    /// Hypotheses and references do not fit each other.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// There are no 0-grams.
    #[error("bleu order 0 counts nothing: use 1 or more, 4 is usual")]
    Order,
    /// A pseudo-count below zero has no meaning.
    #[error("bleu smoothing value {value} is not a count: use a finite number of at least 0")]
    SmoothingValue {
        /// The value given.
        value: f64,
    },
}

/// A BLEU score with what it was computed from.
#[derive(Clone, Debug, PartialEq)]
pub struct Bleu {
    /// 0 to 100.
    pub score: f64,
    /// Smoothed precision of each order, 0 to 100; all 0 where nothing matched. \[order\]
    pub precisions: Vec<f64>,
    /// 1 where the hypotheses are long enough, towards 0 the shorter they are.
    pub brevity_penalty: f64,
    /// In words.
    pub hypothesis_length: u64,
    /// In words, of the reference nearest in length to each hypothesis.
    pub reference_length: u64,
    /// Clipped matches of each order, before smoothing. \[order\]
    pub matches: Vec<u64>,
    /// N-grams of each order in the hypotheses, before smoothing. \[order\]
    pub totals: Vec<u64>,
    /// How many references there were, for the signature.
    pub reference_count: ReferenceCount,
}

/// BLEU of a corpus; `references[i]` holds the references of `hypotheses[i]`.
///
/// # Errors
/// A corpus without a hypothesis, a hypothesis without a reference, or an option out of range.
///
/// ```
/// use kudos_core::text::bleu::{BleuOptions, corpus_bleu};
/// let hypotheses = ["The dog bit the man.", "It wasn't surprising."];
/// let references = [vec!["The dog bit the man."], vec!["It was not unexpected."]];
/// let bleu = corpus_bleu(&hypotheses, &references, &BleuOptions::default()).unwrap();
/// assert_eq!(bleu.hypothesis_length, 10);
/// ```
pub fn corpus_bleu(
    hypotheses: &[&str],
    references: &[Vec<&str>],
    options: &BleuOptions,
) -> Result<Bleu, BleuError> {
    options.validate()?;
    let reference_count = count_references(hypotheses, references)?;
    let mut statistics = Statistics::new(options.order);
    let mut overlap = Overlap::default();
    for (hypothesis, group) in hypotheses.iter().zip(references) {
        statistics.add(hypothesis, group, options, &mut overlap);
    }
    Ok(statistics.score(options, reference_count))
}

/// BLEU of one text; meant for [`BleuOptions::sentence`], as sacrebleu warns too.
///
/// # Errors
/// No reference, or an option out of range.
pub fn sentence_bleu(
    hypothesis: &str,
    references: &[&str],
    options: &BleuOptions,
) -> Result<Bleu, BleuError> {
    options.validate()?;
    if references.is_empty() {
        return Err(CorpusError::NoReference { index: 0 }.into());
    }
    let mut statistics = Statistics::new(options.order);
    statistics.add(hypothesis, references, options, &mut Overlap::default());
    Ok(statistics.score(options, ReferenceCount::Fixed(references.len())))
}

/// A guess that saves the vocabulary most of its growing.
const LETTERS_A_WORD: usize = 4;

/// Sums over the texts seen so far.
struct Statistics {
    matches: Vec<u64>,
    totals: Vec<u64>,
    hypothesis_length: u64,
    reference_length: u64,
}

impl Statistics {
    fn new(order: usize) -> Self {
        let (matches, totals) = (vec![0; order], vec![0; order]);
        Self { matches, totals, hypothesis_length: 0, reference_length: 0 }
    }

    fn add(
        &mut self,
        hypothesis: &str,
        references: &[&str],
        options: &BleuOptions,
        overlap: &mut Overlap,
    ) {
        let tokenize = |text: &str| {
            let text = options.case.apply(text);
            options.tokenization.apply(&text).into_owned()
        };
        let hypothesis = tokenize(hypothesis);
        let references: Vec<String> = references.iter().map(|text| tokenize(text)).collect();
        let mut vocabulary = Vocabulary::with_capacity(hypothesis.len() / LETTERS_A_WORD);
        let hypothesis = vocabulary.encode(words(&hypothesis));
        let references: Vec<Vec<u32>> =
            references.iter().map(|reference| vocabulary.encode(words(reference))).collect();

        overlap.add_matches(&hypothesis, &references, &mut self.matches);
        for (sum, order) in self.totals.iter_mut().zip(1..) {
            *sum += total(hypothesis.len(), order) as u64;
        }
        let nearest = references
            .iter()
            .map(Vec::len)
            .min_by_key(|&length| (length.abs_diff(hypothesis.len()), length))
            .expect("each hypothesis has a reference");
        self.hypothesis_length += hypothesis.len() as u64;
        self.reference_length += nearest as u64;
    }

    fn score(self, options: &BleuOptions, reference_count: ReferenceCount) -> Bleu {
        let brevity_penalty = brevity_penalty(self.hypothesis_length, self.reference_length);
        let (precisions, effective) = self.precisions(options);
        let score = if self.matches.iter().all(|&matched| matched == 0) {
            0.0
        } else {
            let orders = match options.effective_order {
                EffectiveOrder::Off => options.order,
                EffectiveOrder::On => effective,
            };
            let logs: f64 = precisions[..orders].iter().map(|precision| precision.ln()).sum();
            brevity_penalty * (logs / orders as f64).exp()
        };
        Bleu {
            score,
            precisions,
            brevity_penalty,
            hypothesis_length: self.hypothesis_length,
            reference_length: self.reference_length,
            matches: self.matches,
            totals: self.totals,
            reference_count,
        }
    }

    /// The smoothed precisions, in percent, and the highest order that the hypotheses have.
    fn precisions(&self, options: &BleuOptions) -> (Vec<f64>, usize) {
        let mut precisions = vec![0.0; options.order];
        let mut effective = options.order;
        if self.matches.iter().all(|&matched| matched == 0) {
            return (precisions, effective);
        }
        let mut halvings = 1.0;
        for (index, precision) in precisions.iter_mut().enumerate() {
            let added = match options.smoothing {
                Smoothing::AddK(value) if index > 0 => value,
                Smoothing::None | Smoothing::Floor(_) | Smoothing::AddK(_) | Smoothing::Exp => 0.0,
            };
            let matched = self.matches[index] as f64 + added;
            let total = self.totals[index] as f64 + added;
            if total == 0.0 {
                break;
            }
            effective = index + 1;
            let matched = match options.smoothing {
                Smoothing::Exp if matched == 0.0 => {
                    halvings *= 2.0;
                    1.0 / halvings
                }
                Smoothing::Floor(value) if matched == 0.0 => value,
                Smoothing::None | Smoothing::Floor(_) | Smoothing::AddK(_) | Smoothing::Exp => {
                    matched
                }
            };
            *precision = 100.0 * matched / total;
        }
        (precisions, effective)
    }
}

// Papineni et al. 2002, section 2.3; an empty hypothesis is as short as can be.
fn brevity_penalty(hypothesis_length: u64, reference_length: u64) -> f64 {
    if hypothesis_length >= reference_length {
        1.0
    } else if hypothesis_length == 0 {
        0.0
    } else {
        (1.0 - reference_length as f64 / hypothesis_length as f64).exp()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn check(hypothesis: &str, references: &[&str], options: &BleuOptions) -> f64 {
        sentence_bleu(hypothesis, references, options).unwrap().score
    }

    #[test]
    fn hand_arithmetic() {
        // "a b c" in "a b d e": unigrams 2/3, bigrams 1/2, BP = exp(1 - 4/3).
        let options = BleuOptions { order: 2, ..BleuOptions::default() };
        let expected = 100.0 * (-1.0_f64 / 3.0).exp() * (2.0_f64 / 3.0 / 2.0).sqrt();
        assert!((check("a b c", &["a b d e"], &options) - expected).abs() < 1e-12);
    }

    #[test]
    fn a_signature_states_every_convention() {
        let smoothing = Smoothing::FLOOR;
        let options = BleuOptions { smoothing, order: 2, ..BleuOptions::sentence() };
        let found = options.signature(ReferenceCount::Varying);
        let expected = "nrefs:var|case:mixed|eff:yes|tok:13a|smooth:floor[0.10]|order:2|version:";
        assert!(found.starts_with(expected), "{found}");
    }

    #[test]
    fn options_without_meaning_are_refused() {
        let options = BleuOptions { order: 0, ..BleuOptions::default() };
        assert_eq!(sentence_bleu("a", &["a"], &options), Err(BleuError::Order));
        let smoothing = Smoothing::AddK(-1.0);
        let options = BleuOptions { smoothing, ..BleuOptions::default() };
        let refused = Err(BleuError::SmoothingValue { value: -1.0 });
        assert_eq!(sentence_bleu("a", &["a"], &options), refused);
    }

    proptest! {
        #[test]
        fn a_text_scores_full_against_itself(text in "\\PC*[a-z]") {
            let score = check(&text, &["something else", &text], &BleuOptions::sentence());
            prop_assert!((score - 100.0).abs() < 1e-9);
        }

        #[test]
        fn the_order_of_pairs_changes_nothing(pairs in vec(("[ab .]{0,9}", "[ab .]{0,9}"), 1..6)) {
            let score = |pairs: &[(String, String)]| {
                let hypotheses: Vec<&str> = pairs.iter().map(|pair| pair.0.as_str()).collect();
                let references: Vec<_> = pairs.iter().map(|pair| vec![pair.1.as_str()]).collect();
                corpus_bleu(&hypotheses, &references, &BleuOptions::default()).unwrap()
            };
            let reversed: Vec<_> = pairs.iter().rev().cloned().collect();
            prop_assert_eq!(score(&pairs), score(&reversed));
        }
    }
}
