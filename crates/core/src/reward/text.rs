//! Rewards that compare a completion with references: BLEU, chrF, ROUGE, triples.
//!
//! The metrics of [`crate::text`] on one text, as numbers from 0 to 1. None applies to an item
//! without a reference. Left out: metrics that ask a model.

use super::{Completion, Reward};
use crate::text::bleu::{BleuOptions, sentence_bleu};
use crate::text::chrf::{ChrfOptions, sentence_chrf};
#[cfg(feature = "train")]
use crate::text::cider::{BEST, Frequencies, cider_d};
use crate::text::rouge::{Stemming, sentence_rouge};
use crate::text::triples::{TripleMatch, TripleScore, parse_triples, score_triples};

/// Sentence BLEU, a share instead of a percentage.
///
/// - Measures: how many word sequences of the completion are found in the references.
/// - Formula: BLEU / 100, with exponential smoothing, effective order and tokenization 13a.
/// - Range: 0 to 1.
/// - Misleads when: wording is free, or the completion is a few words, of which one changes all.
/// - Reference: Papineni et al. 2002; Chen and Cherry 2014 for the smoothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bleu;

impl Reward for Bleu {
    fn name(&self) -> &str {
        "bleu"
    }

    fn score(&self, completion: &Completion<'_>) -> Option<f32> {
        let references = references(completion);
        let bleu = sentence_bleu(completion.text, &references, &BleuOptions::sentence()).ok()?;
        Some((bleu.score / 100.0) as f32)
    }
}

/// chrF2, a share instead of a percentage.
///
/// - Measures: how many character sequences the completion and the best reference share.
/// - Formula: chrF / 100, with character orders 1 to 6 and beta 2.
/// - Range: 0 to 1.
/// - Misleads when: optimized for itself: recall weighs four times as much as precision, so that
///   rambling pays. Mix it with [`super::Length`].
/// - Reference: Popović 2015.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chrf;

impl Reward for Chrf {
    fn name(&self) -> &str {
        "chrf"
    }

    fn score(&self, completion: &Completion<'_>) -> Option<f32> {
        let references = references(completion);
        let chrf = sentence_chrf(completion.text, &references, &ChrfOptions::default()).ok()?;
        Some((chrf.score / 100.0) as f32)
    }
}

/// Which units [`Rouge`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RougeKind {
    /// Words.
    One,
    /// Pairs of neighboring words.
    Two,
    /// The longest common subsequence of words.
    Longest,
}

/// ROUGE F1, without stemming.
///
/// - Measures: how much of the best reference the completion repeats, and how little else it says.
/// - Formula: harmonic mean of shared / completion and shared / reference.
/// - Range: 0 to 1.
/// - Misleads when: a summary says the same in other words, or the script is not Latin: only
///   ASCII letters and digits are words.
/// - Reference: Lin 2004.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rouge(pub RougeKind);

impl Reward for Rouge {
    fn name(&self) -> &str {
        match self.0 {
            RougeKind::One => "rouge1",
            RougeKind::Two => "rouge2",
            RougeKind::Longest => "rougeL",
        }
    }

    fn score(&self, completion: &Completion<'_>) -> Option<f32> {
        let references = references(completion);
        let rouge = sentence_rouge(completion.text, &references, Stemming::None).ok()?;
        let score = match self.0 {
            RougeKind::One => rouge.rouge1,
            RougeKind::Two => rouge.rouge2,
            RougeKind::Longest => rouge.rouge_l,
        };
        Some(score.fmeasure as f32)
    }
}

/// What [`Triples`] looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TripleMeasure {
    /// Harmonic mean of the two others.
    F1,
    /// Share of the stated triples that are right.
    Precision,
    /// Share of the reference triples that are stated.
    Recall,
}

/// Agreement of knowledge-graph triples, one `subject | relation | object` a line.
///
/// - Measures: which of the facts that the completion states a reference has too, and the reverse.
/// - Formula: right / stated, right / reference, or their harmonic mean, case folded. A reference
///   is the whole text of one set of triples; of several references the best for the measure
///   counts. A triple stated twice is an error the second time.
/// - Range: 0 to 1.
/// - Misleads when: junk surrounds the triples, which costs nothing here: mix it with
///   [`super::WellFormed`]. Precision alone is won by stating one sure fact, recall alone by
///   stating everything. A completion without triples has 1 where the reference has none too.
/// - Reference: van Rijsbergen 1979, chapter 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Triples(pub TripleMeasure);

impl Reward for Triples {
    fn name(&self) -> &str {
        match self.0 {
            TripleMeasure::F1 => "triple_f1",
            TripleMeasure::Precision => "triple_precision",
            TripleMeasure::Recall => "triple_recall",
        }
    }

    fn score(&self, completion: &Completion<'_>) -> Option<f32> {
        let of: fn(&TripleScore) -> f64 = match self.0 {
            TripleMeasure::F1 => |score| score.f1,
            TripleMeasure::Precision => |score| score.precision,
            TripleMeasure::Recall => |score| score.recall,
        };
        let stated = parse_triples(completion.text).triples;
        let scores = completion.references.iter().map(|reference| {
            let reference = parse_triples(reference).triples;
            of(&score_triples(&stated, &reference, TripleMatch::CaseFolded)) as f32
        });
        scores.reduce(f32::max)
    }
}

/// Whether a reference was written.
///
/// - Measures: whether the completion is right, where there is one right answer.
/// - Formula: 1 if it equals a reference but for letter case and white space around it, else 0.
/// - Range: 0 or 1.
/// - Misleads when: the same can be said in other words, and early, when nothing is right: then
///   all completions of a prompt are alike and nothing is learned.
/// - Reference: accuracy, as in Ren et al. 2015 for questions about pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exact;

impl Reward for Exact {
    fn name(&self) -> &str {
        "exact"
    }

    fn score(&self, completion: &Completion<'_>) -> Option<f32> {
        let said = |text: &str| text.trim().to_lowercase();
        let text = said(completion.text);
        let right = completion.references.iter().any(|reference| said(reference) == text);
        (!completion.references.is_empty()).then_some(f32::from(u8::from(right)))
    }
}

/// CIDEr-D, a share of its ten.
///
/// - Measures: how much of what is said of this item, and is not said of all items, the completion says.
/// - Formula: CIDEr-D / 10, with the frequencies of the training references; see [`crate::text::cider`].
/// - Range: 0 to 1.
/// - Misleads when: references are short: a copy of one word is worth 1/4, as it has no pairs. Also
///   where a reference says little: its words are rare, whether they matter or not.
/// - Reference: Vedantam, Zitnick and Parikh 2015; Rennie et al. 2017 for learning from it.
#[cfg(feature = "train")]
#[derive(Clone, Debug, PartialEq)]
pub struct Cider(Frequencies);

#[cfg(feature = "train")]
impl Cider {
    /// With words as rare as they are in the references of these items.
    pub fn among(items: &[Vec<String>]) -> Self {
        Self(Frequencies::of(items))
    }
}

#[cfg(feature = "train")]
impl Reward for Cider {
    fn name(&self) -> &str {
        "cider"
    }

    fn score(&self, completion: &Completion<'_>) -> Option<f32> {
        let references = references(completion);
        let score = cider_d(completion.text, &references, &self.0);
        (!references.is_empty()).then_some((score / BEST) as f32)
    }
}

fn references<'a>(completion: &Completion<'a>) -> Vec<&'a str> {
    completion.references.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::task::Prompt;

    fn check(reward: &dyn Reward, text: &str, references: &[&str], expected: f32) {
        let references: Vec<String> = references.iter().map(|&text| text.to_owned()).collect();
        let (references, extra) = (references.as_slice(), Map::new());
        let (ended, n_tokens) = (true, 1);
        let completion = Completion {
            prompt: &Prompt::Text(String::new()),
            text,
            references,
            ended,
            n_tokens,
            extra: &extra,
        };
        let found = reward.score(&completion).unwrap();
        assert!((found - expected).abs() < 1e-6, "{}: {found}, not {expected}", reward.name());
    }

    #[test]
    fn a_copy_of_a_reference_is_worth_one() {
        let references = ["x | y | z", "a b | c | d e"];
        let rewards: [&dyn Reward; 6] = [
            &Bleu,
            &Chrf,
            &Rouge(RougeKind::One),
            &Rouge(RougeKind::Two),
            &Rouge(RougeKind::Longest),
            &Triples(TripleMeasure::F1),
        ];
        for reward in rewards {
            check(reward, "a b | c | d e", &references, 1.0);
        }
    }

    #[test]
    fn bleu_is_hand_arithmetic() {
        // Precisions 3/4, 2/3, 1/2 and, for want of a match, half of 1/1; the length is right.
        let expected = (0.75_f32 * 2.0 / 3.0 * 0.5 * 0.5).powf(0.25);
        check(&Bleu, "a b c x", &["a b c d"], expected);
        // Two words have no orders above 2: the effective order leaves them out.
        check(&Bleu, "a b", &["a b c d"], (-1.0_f32).exp());
    }

    #[test]
    fn chrf_is_hand_arithmetic() {
        // "ab" of "abcd": order 1 has P 1 and R 1/2, order 2 has P 1 and R 1/3; the hypothesis has
        // no others, so they are left out. Means P 1 and R 5/12: 5 P R / (4 P + R).
        check(&Chrf, "ab", &["abcd"], 5.0 * (5.0 / 12.0) / (4.0 + 5.0 / 12.0));
    }

    #[test]
    fn rouge_is_hand_arithmetic() {
        // Three of three words and of four; pair `a b` of two and of three; `a b` in a row.
        let (text, reference) = ("a b c", ["c a b d"]);
        check(&Rouge(RougeKind::One), text, &reference, 6.0 / 7.0);
        check(&Rouge(RougeKind::Two), text, &reference, 2.0 / 5.0);
        check(&Rouge(RougeKind::Longest), text, &reference, 4.0 / 7.0);
    }

    #[test]
    fn triples_are_hand_arithmetic_and_fold_case() {
        // One of two stated is right, one of three is found; the second reference has neither.
        let text = "Nile | is | River\nx | y | z\njunk";
        let references = ["nile | IS | river\na | b | c\nd | e | f", "q | r | s"];
        check(&Triples(TripleMeasure::Precision), text, &references, 1.0 / 2.0);
        check(&Triples(TripleMeasure::Recall), text, &references, 1.0 / 3.0);
        check(&Triples(TripleMeasure::F1), text, &references, 2.0 / 5.0);
    }

    #[test]
    fn each_triple_measure_takes_its_own_best_reference() {
        // The first reference is better for recall, the second for precision.
        let (text, references) = ("a|b|c\nd|e|f\ng|h|i", ["a|b|c", "a|b|c\nd|e|f\n1|2|3\n4|5|6"]);
        check(&Triples(TripleMeasure::Recall), text, &references, 1.0);
        check(&Triples(TripleMeasure::Precision), text, &references, 2.0 / 3.0);
    }
}
