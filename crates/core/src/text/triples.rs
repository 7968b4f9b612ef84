//! Precision, recall and F1 of knowledge-graph triples written as text.
//!
//! Measures: which of the triples that a completion states are in the reference set.
//! Formula: precision = right / stated, recall = right / reference, F1 their harmonic mean.
//! Range: 0 to 1, higher is better.
//! Misleads when: the same fact can be written in two ways, or junk surrounds the triples: a line
//! that is no triple is counted but costs nothing here, so reward well-formedness beside F1.
//! Reference: the usual scores of information extraction (van Rijsbergen 1979, chapter 7).
//!
//! Conventions: a line is `subject | relation | object`, each part trimmed and not empty; blank
//! lines are nothing. The reference is a set. A triple stated twice is right once, and every further
//! time it is an error of precision. Nothing stated and nothing to state: all scores are 1. Only one
//! of the two: all scores are 0.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A fact: a subject stands in a relation to an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Triple {
    /// What the fact is about.
    pub subject: String,
    /// How subject and object are related.
    pub relation: String,
    /// What the subject is related to.
    pub object: String,
}

impl Triple {
    /// The triple with this subject, relation and object.
    pub fn new(subject: &str, relation: &str, object: &str) -> Self {
        let [subject, relation, object] = [subject, relation, object].map(str::to_owned);
        Self { subject, relation, object }
    }
}

/// When two triples are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TripleMatch {
    /// All three parts are equal, letter for letter.
    #[default]
    Exact,
    /// All three parts are equal after folding case: upper case, then lower case, by Unicode's full
    /// mappings, so that `ß` equals `ss`.
    CaseFolded,
}

impl TripleMatch {
    /// Every convention of a triple score in one line.
    pub fn signature(self) -> String {
        let case = match self {
            Self::Exact => "mixed",
            Self::CaseFolded => "folded",
        };
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "case:{case}|sep:pipe|repeated:error|malformed:ignored|empty:1|version:kudos-{version}"
        )
    }

    fn normalize(self, triple: &Triple) -> Triple {
        match self {
            Self::Exact => triple.clone(),
            Self::CaseFolded => {
                let fold = |part: &str| part.to_uppercase().to_lowercase();
                Triple {
                    subject: fold(&triple.subject),
                    relation: fold(&triple.relation),
                    object: fold(&triple.object),
                }
            }
        }
    }
}

/// What a completion states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedTriples {
    /// In the order stated, with repetitions.
    pub triples: Vec<Triple>,
    /// Lines that are neither blank nor a triple.
    pub malformed_lines: usize,
}

/// Reads one triple a line.
///
/// ```
/// use kudos_core::text::triples::{Triple, parse_triples};
/// let parsed = parse_triples("Nile | instance_of | river\nand so on");
/// assert_eq!(parsed.triples, [Triple::new("Nile", "instance_of", "river")]);
/// assert_eq!(parsed.malformed_lines, 1);
/// ```
pub fn parse_triples(completion: &str) -> ParsedTriples {
    let mut parsed = ParsedTriples::default();
    for line in completion.lines().filter(|line| !line.trim().is_empty()) {
        match parse_line(line) {
            Some(triple) => parsed.triples.push(triple),
            None => parsed.malformed_lines += 1,
        }
    }
    parsed
}

fn parse_line(line: &str) -> Option<Triple> {
    let mut parts = line.split('|').map(str::trim);
    let mut part = || parts.next().filter(|part| !part.is_empty());
    let triple = Triple::new(part()?, part()?, part()?);
    parts.next().is_none().then_some(triple)
}

/// How well stated triples agree with a reference set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TripleScore {
    /// Share of the stated triples that are right; repetitions are not.
    pub precision: f64,
    /// Share of the reference triples that are stated.
    pub recall: f64,
    /// Harmonic mean of the two; 0 where both are.
    pub f1: f64,
    /// Triples stated, with repetitions.
    pub stated: usize,
    /// Different triples in the reference.
    pub reference: usize,
    /// Different triples stated that are in the reference.
    pub correct: usize,
}

impl TripleScore {
    fn of_counts(correct: usize, stated: usize, reference: usize) -> Self {
        let share = |of: usize| match (stated, reference) {
            (0, 0) => 1.0,
            (0, _) | (_, 0) => 0.0,
            _ => correct as f64 / of as f64,
        };
        let (precision, recall) = (share(stated), share(reference));
        let f1 = if precision + recall > 0.0 {
            2.0 * precision * recall / (precision + recall)
        } else {
            0.0
        };
        Self { precision, recall, f1, stated, reference, correct }
    }
}

/// Scores the triples of one completion.
pub fn score_triples(stated: &[Triple], reference: &[Triple], same: TripleMatch) -> TripleScore {
    let normalize = |triples: &[Triple]| -> BTreeSet<Triple> {
        triples.iter().map(|triple| same.normalize(triple)).collect()
    };
    let (different, expected) = (normalize(stated), normalize(reference));
    let correct = different.intersection(&expected).count();
    TripleScore::of_counts(correct, stated.len(), expected.len())
}

/// The scores of a corpus in both usual averages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TripleCorpusScore {
    /// Precision, recall and F1 of the summed counts: every triple weighs the same.
    pub micro: TripleScore,
    /// Means of the completions' precision, recall and F1, beside the summed counts: every
    /// completion weighs the same, as in a reward.
    pub mean: TripleScore,
}

/// Sums up the scores of a corpus; `None` when there are none.
pub fn summarize_triples(scores: &[TripleScore]) -> Option<TripleCorpusScore> {
    if scores.is_empty() {
        return None;
    }
    let count = |of: fn(&TripleScore) -> usize| scores.iter().map(of).sum::<usize>();
    let micro = TripleScore::of_counts(
        count(|score| score.correct),
        count(|score| score.stated),
        count(|score| score.reference),
    );
    let mean =
        |of: fn(&TripleScore) -> f64| scores.iter().map(of).sum::<f64>() / scores.len() as f64;
    let mean = TripleScore {
        precision: mean(|score| score.precision),
        recall: mean(|score| score.recall),
        f1: mean(|score| score.f1),
        ..micro
    };
    Some(TripleCorpusScore { micro, mean })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn check(completion: &str, reference: &str, same: TripleMatch) -> [f64; 3] {
        let [stated, reference] = [completion, reference].map(|text| parse_triples(text).triples);
        let score = score_triples(&stated, &reference, same);
        [score.precision, score.recall, score.f1]
    }

    #[test]
    fn hand_arithmetic() {
        // One of three right, for a repetition is an error; one of two found.
        let completion = "a | b | c\na|b|c\nx | y | z";
        let found = check(completion, "a | b | c\nd | e | f", TripleMatch::Exact);
        assert_eq!(found, [1.0 / 3.0, 1.0 / 2.0, 2.0 / 5.0]);
    }

    #[test]
    fn repetition_cannot_raise_a_score() {
        let once = check("a | b | c", "a | b | c\na | b | c", TripleMatch::Exact);
        assert_eq!(once, [1.0, 1.0, 1.0]);
        let twice = check("a | b | c\na | b | c", "a | b | c", TripleMatch::Exact);
        assert_eq!(twice, [0.5, 1.0, 2.0 / 3.0]);
    }

    #[test]
    fn nothing_agrees_with_nothing_alone() {
        assert_eq!(check("", " \n", TripleMatch::Exact), [1.0; 3]);
        assert_eq!(check("", "a | b | c", TripleMatch::Exact), [0.0; 3]);
        assert_eq!(check("a | b | c", "", TripleMatch::Exact), [0.0; 3]);
    }

    #[test]
    fn case_counts_only_when_exact() {
        let (one, other) = ("NILE | Is | straße", "nile | is | STRASSE");
        assert_eq!(check(one, other, TripleMatch::Exact), [0.0; 3]);
        assert_eq!(check(one, other, TripleMatch::CaseFolded), [1.0; 3]);
        // A repetition is one after folding too.
        let found = check("a | b | c\nA | B | C", "a | b | c", TripleMatch::CaseFolded);
        assert_eq!(found, [0.5, 1.0, 2.0 / 3.0]);
    }

    #[test]
    fn lines_without_exactly_three_parts_are_malformed() {
        let parsed = parse_triples(" a\t|b |  c d \r\n\n| b | c\na | b\na | b | c | d\na || c\nno");
        assert_eq!(parsed.triples, [Triple::new("a", "b", "c d")]);
        assert_eq!(parsed.malformed_lines, 5);
    }

    #[test]
    fn a_corpus_is_averaged_over_triples_or_over_completions() {
        // 1 of 1 stated and 1 of 1 to state; 1 of 3 stated and 1 of 3 to state.
        let scores = [TripleScore::of_counts(1, 1, 1), TripleScore::of_counts(1, 3, 3)];
        let corpus = summarize_triples(&scores).unwrap();
        assert!((corpus.micro.f1 - 0.5).abs() < 1e-12);
        assert!((corpus.mean.f1 - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(summarize_triples(&[]), None);
    }

    proptest! {
        #[test]
        fn f1_is_symmetric_in_sets(one in "[ab]{3}", other in vec("[ab]{3}", 0..6)) {
            let triple = |text: &str| Triple::new(&text[..1], &text[1..2], &text[2..]);
            let one = [triple(&one)];
            let other: BTreeSet<Triple> = other.iter().map(|text| triple(text)).collect();
            let other: Vec<Triple> = other.into_iter().collect();
            let there = score_triples(&one, &other, TripleMatch::Exact);
            let back = score_triples(&other, &one, TripleMatch::Exact);
            prop_assert_eq!(there.f1, back.f1);
            prop_assert_eq!(there.precision, back.recall);
        }

        #[test]
        fn written_triples_read_back(parts in vec("[^|\\s]([^|\\s]| [^|\\s]){0,5}", 3)) {
            let parsed = parse_triples(&parts.join(" | "));
            prop_assert_eq!(parsed.triples, [Triple::new(&parts[0], &parts[1], &parts[2])]);
        }
    }
}
