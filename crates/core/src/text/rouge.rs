//! ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum: how much of a reference summary a text repeats.
//!
//! Measures: shared word unigrams, bigrams, and the longest common subsequence (of the whole texts
//! in L; of each line of the reference with all lines of the text, united, in Lsum).
//! Formula: precision = shared / of the text, recall = shared / of the reference, F1.
//! Range: 0 to 1, higher is better.
//! Misleads when: a summary says the same in other words, or is long (look at precision too). Only
//! ASCII letters and digits are words: other scripts always score 0.
//! Reference: Lin 2004; equal to the package rouge-score 0.1.2.
//!
//! Conventions: lower case; words are the stretches of a-z and 0-9. With stemming, words longer than
//! three letters are replaced by their Porter stem. Lsum takes each line as a sentence. A text or a
//! reference without words scores 0, also against another such. Of several references each measure
//! takes the one with the best F1, the first on a tie. A corpus scores the mean of its pairs.

use serde::{Deserialize, Serialize};

use super::corpus::{CorpusError, ReferenceCount, count_references};
use super::ngram::{Overlap, Vocabulary, total};
use super::porter::stem;

/// Whether words are compared by their stem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stemming {
    /// As they are written, but for case.
    #[default]
    None,
    /// By their Porter stem, where longer than three letters.
    Porter,
}

impl Stemming {
    /// Every convention of a ROUGE score in one line; rouge-score itself has no such line.
    pub fn signature(self, references: ReferenceCount) -> String {
        let stemming = match self {
            Self::None => "none",
            Self::Porter => "porter",
        };
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "nrefs:{references}|case:lc|tok:a-z0-9|stem:{stemming}|lsum:newline|multi:max-f\
             |corpus:mean|version:kudos-{version}"
        )
    }
}

/// Precision, recall and their harmonic mean, each 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Share of the hypothesis that is in the reference.
    pub precision: f64,
    /// Share of the reference that is in the hypothesis.
    pub recall: f64,
    /// Harmonic mean of the two; 0 where both are.
    pub fmeasure: f64,
}

impl Score {
    /// The score of `shared` units out of those of a hypothesis and of a reference.
    fn of_counts(shared: usize, hypothesis: usize, reference: usize) -> Self {
        let precision = shared as f64 / hypothesis.max(1) as f64;
        let recall = shared as f64 / reference.max(1) as f64;
        let fmeasure = if precision + recall > 0.0 {
            2.0 * precision * recall / (precision + recall)
        } else {
            0.0
        };
        Self { precision, recall, fmeasure }
    }

    fn add(&mut self, other: Self) {
        self.precision += other.precision;
        self.recall += other.recall;
        self.fmeasure += other.fmeasure;
    }

    fn divide(&mut self, count: f64) {
        self.precision /= count;
        self.recall /= count;
        self.fmeasure /= count;
    }
}

/// The four ROUGE measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rouge {
    /// Words.
    pub rouge1: Score,
    /// Pairs of neighboring words.
    pub rouge2: Score,
    /// Longest common subsequence of the whole texts.
    #[serde(rename = "rougeL")]
    pub rouge_l: Score,
    /// Union of longest common subsequences, line by line.
    #[serde(rename = "rougeLsum")]
    pub rouge_lsum: Score,
}

impl Rouge {
    fn scores(&mut self) -> [&mut Score; 4] {
        [&mut self.rouge1, &mut self.rouge2, &mut self.rouge_l, &mut self.rouge_lsum]
    }
}

/// Mean ROUGE of a corpus; `references[i]` holds the references of `hypotheses[i]`.
///
/// # Errors
/// A corpus without a hypothesis, or a hypothesis without a reference.
///
/// ```
/// use kudos_core::text::rouge::{Stemming, corpus_rouge};
/// let rouge = corpus_rouge(&["a b"], &[vec!["a c d e"]], Stemming::None).unwrap();
/// assert_eq!((rouge.rouge1.precision, rouge.rouge1.recall), (0.5, 0.25));
/// ```
pub fn corpus_rouge(
    hypotheses: &[&str],
    references: &[Vec<&str>],
    stemming: Stemming,
) -> Result<Rouge, CorpusError> {
    count_references(hypotheses, references)?;
    let mut sum = Rouge::default();
    for (hypothesis, group) in hypotheses.iter().zip(references) {
        let mut rouge = best(hypothesis, group, stemming);
        for (sum, score) in sum.scores().into_iter().zip(rouge.scores()) {
            sum.add(*score);
        }
    }
    for score in sum.scores() {
        score.divide(hypotheses.len() as f64);
    }
    Ok(sum)
}

/// ROUGE of one text; each measure takes the reference that is best for it.
///
/// # Errors
/// No reference.
pub fn sentence_rouge(
    hypothesis: &str,
    references: &[&str],
    stemming: Stemming,
) -> Result<Rouge, CorpusError> {
    if references.is_empty() {
        return Err(CorpusError::NoReference { index: 0 });
    }
    Ok(best(hypothesis, references, stemming))
}

fn best(hypothesis: &str, references: &[&str], stemming: Stemming) -> Rouge {
    let hypothesis = Lines::new(hypothesis, stemming);
    let references: Vec<_> = references.iter().map(|text| Lines::new(text, stemming)).collect();
    let mut vocabulary = Vocabulary::with_capacity(2 * hypothesis.ends.len());
    let hypothesis = hypothesis.encode(&mut vocabulary);
    let references: Vec<_> = references.iter().map(|text| text.encode(&mut vocabulary)).collect();
    let mut overlap = Overlap::default();
    let mut best: Option<Rouge> = None;
    for reference in references {
        let mut rouge = compare(&hypothesis, reference, vocabulary.len(), &mut overlap);
        let Some(best) = &mut best else {
            best = Some(rouge);
            continue;
        };
        for (best, score) in best.scores().into_iter().zip(rouge.scores()) {
            if score.fmeasure > best.fmeasure {
                *best = *score;
            }
        }
    }
    best.expect("there is at least one reference")
}

/// The words of a text, one after another without a space between.
struct Lines {
    words: String,
    /// Where each word ends, in bytes.
    ends: Vec<usize>,
    /// Where each line ends, in words.
    lines: Vec<usize>,
}

impl Lines {
    fn new(text: &str, stemming: Stemming) -> Self {
        let mut lines = Self { words: String::new(), ends: Vec::new(), lines: Vec::new() };
        // Lower case comes first: a Kelvin sign is then the letter k.
        for line in text.to_lowercase().split('\n') {
            let is_other = |letter: char| !matches!(letter, 'a'..='z' | '0'..='9');
            for word in line.split(is_other).filter(|word| !word.is_empty()) {
                match stemming {
                    Stemming::Porter if word.len() > 3 => lines.words.push_str(&stem(word)),
                    Stemming::Porter | Stemming::None => lines.words.push_str(word),
                }
                lines.ends.push(lines.words.len());
            }
            lines.lines.push(lines.ends.len());
        }
        lines
    }

    fn encode<'a>(&'a self, vocabulary: &mut Vocabulary<'a>) -> Encoded {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let words = starts.zip(&self.ends).map(|(start, &end)| &self.words[start..end]);
        Encoded { words: vocabulary.encode(words), lines: self.lines.clone() }
    }
}

/// The words of a text as numbers.
struct Encoded {
    words: Vec<u32>,
    /// Where each line ends, in words.
    lines: Vec<usize>,
}

impl Encoded {
    fn lines(&self) -> impl Iterator<Item = &[u32]> {
        let starts = [0].into_iter().chain(self.lines.iter().copied());
        starts.zip(&self.lines).map(|(start, &end)| &self.words[start..end])
    }
}

fn compare(
    hypothesis: &Encoded,
    reference: Encoded,
    n_words: usize,
    overlap: &mut Overlap,
) -> Rouge {
    let (length, reference_length) = (hypothesis.words.len(), reference.words.len());
    let rouge_l = longest_common_subsequence(&hypothesis.words, &reference.words);
    let rouge_lsum = united_subsequences(hypothesis, &reference, n_words);
    let mut matches = [0; 2];
    overlap.add_matches(&hypothesis.words, &[reference.words], &mut matches);
    let of_ngrams = |order: usize| {
        let shared = usize::try_from(matches[order - 1]).expect("a text fits in memory");
        Score::of_counts(shared, total(length, order), total(reference_length, order))
    };
    Rouge {
        rouge1: of_ngrams(1),
        rouge2: of_ngrams(2),
        rouge_l: Score::of_counts(rouge_l, length, reference_length),
        rouge_lsum: Score::of_counts(rouge_lsum, length, reference_length),
    }
}

/// The length of the longest common subsequence.
fn longest_common_subsequence(one: &[u32], other: &[u32]) -> usize {
    let mut row = vec![0; other.len()];
    for word in one {
        let (mut diagonal, mut left) = (0, 0);
        for (cell, other_word) in row.iter_mut().zip(other) {
            let above = *cell;
            left = if word == other_word { diagonal + 1 } else { above.max(left) };
            (diagonal, *cell) = (above, left);
        }
    }
    row.last().copied().unwrap_or(0)
}

/// How many words of the reference's lines are in the union of their longest common subsequences
/// with the hypothesis's lines, each word at most as often as in either text.
// Lin 2004, section 3.2; the limit by counts is that of ROUGE 1.5.5.
fn united_subsequences(hypothesis: &Encoded, reference: &Encoded, n_words: usize) -> usize {
    let mut left = vec![(0_u32, 0_u32); n_words];
    for &word in &hypothesis.words {
        left[word as usize].0 += 1;
    }
    for &word in &reference.words {
        left[word as usize].1 += 1;
    }
    let mut hits = 0;
    let (mut table, mut united) = (Vec::new(), Vec::new());
    for line in reference.lines() {
        united.clear();
        united.resize(line.len(), false);
        for candidate in hypothesis.lines() {
            mark_common_subsequence(line, candidate, &mut table, &mut united);
        }
        for (&word, _) in line.iter().zip(&united).filter(|(_, united)| **united) {
            let left = &mut left[word as usize];
            if left.0 > 0 && left.1 > 0 {
                hits += 1;
                *left = (left.0 - 1, left.1 - 1);
            }
        }
    }
    hits
}

/// Marks the words of `line` in its longest common subsequence with `other`; of several, the one
/// that rouge-score finds. `table` is scratch memory.
fn mark_common_subsequence(line: &[u32], other: &[u32], table: &mut Vec<u32>, marked: &mut [bool]) {
    let width = other.len() + 1;
    table.clear();
    table.resize((line.len() + 1) * width, 0);
    for (row, word) in line.iter().enumerate() {
        let (above, below) = table[row * width..(row + 2) * width].split_at_mut(width);
        for (column, other_word) in other.iter().enumerate() {
            below[column + 1] = if word == other_word {
                above[column] + 1
            } else {
                above[column + 1].max(below[column])
            };
        }
    }
    let (mut row, mut column) = (line.len(), other.len());
    while row > 0 && column > 0 {
        if line[row - 1] == other[column - 1] {
            (row, column) = (row - 1, column - 1);
            marked[row] = true;
        } else if table[row * width + column - 1] > table[(row - 1) * width + column] {
            column -= 1;
        } else {
            row -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(hypothesis: &str, references: &[&str]) -> Rouge {
        sentence_rouge(hypothesis, references, Stemming::None).unwrap()
    }

    #[test]
    fn hand_arithmetic() {
        // Lin 2004, section 3.2: w1..w5 and lines "w1 w2 w6 w7 w8", "w1 w3 w8 w9 w5" unite to 4.
        let rouge = check("w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", &["w1 w2 w3 w4 w5"]);
        assert_eq!(rouge.rouge_lsum.recall, 4.0 / 5.0);
        assert_eq!(rouge.rouge_lsum.precision, 4.0 / 10.0);
        // Lin 2004, section 3.1: S2 and S3 against S1 by their subsequences.
        let killed = "police killed the gunman";
        assert_eq!(check("police kill the gunman", &[killed]).rouge_l.recall, 3.0 / 4.0);
        assert_eq!(check("the gunman kill police", &[killed]).rouge_l.recall, 2.0 / 4.0);
        assert_eq!(check("the gunman kill police", &[killed]).rouge2.recall, 1.0 / 3.0);
    }

    #[test]
    fn words_of_other_scripts_are_not_counted() {
        assert_eq!(check("日本語", &["日本語"]), Rouge::default());
        assert_eq!(check("\u{212a}", &["k"]).rouge1.fmeasure, 1.0);
    }

    #[test]
    fn stems_compare_equal() {
        let rouge = sentence_rouge("he walks", &["she walking"], Stemming::Porter).unwrap();
        assert_eq!(rouge.rouge1.recall, 0.5);
        assert_eq!(check("he walks", &["she walking"]).rouge1.recall, 0.0);
    }

    #[test]
    fn a_hypothesis_without_reference_is_refused() {
        let found = sentence_rouge("a", &[], Stemming::None);
        assert_eq!(found, Err(CorpusError::NoReference { index: 0 }));
    }

    proptest! {
        #[test]
        fn a_text_scores_full_against_itself(text in "[a-c \n]{0,20}[a-c]") {
            let mut rouge = check(&text, &["d", &text]);
            for score in rouge.scores().into_iter().filter(|score| score.precision > 0.0) {
                prop_assert_eq!(*score, Score::of_counts(1, 1, 1));
            }
            prop_assert_eq!(rouge.rouge1.fmeasure, 1.0);
        }

        #[test]
        fn precision_and_recall_change_places_with_the_texts(
            one in "[a-c ]{0,20}", other in "[a-c ]{0,20}",
        ) {
            let (mut there, mut back) = (check(&one, &[&other]), check(&other, &[&one]));
            for (there, back) in there.scores().into_iter().zip(back.scores()) {
                prop_assert_eq!(there.precision, back.recall);
                prop_assert!((there.fmeasure - back.fmeasure).abs() < 1e-12);
            }
        }

        #[test]
        fn another_reference_never_lowers_a_score(
            text in "[a-c \n]{0,20}", one in "[a-c \n]{0,20}", other in "[a-c \n]{0,20}",
        ) {
            let (mut alone, mut both) = (check(&text, &[&one]), check(&text, &[&one, &other]));
            for (alone, both) in alone.scores().into_iter().zip(both.scores()) {
                prop_assert!(both.fmeasure >= alone.fmeasure);
            }
        }
    }
}
