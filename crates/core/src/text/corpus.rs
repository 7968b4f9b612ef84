//! The pairing of hypotheses with their references, checked once before a metric looks at it.
//!
//! References are grouped by hypothesis: `references[i]` holds all references of `hypotheses[i]`.
//! A reference that is missing (`None` in sacrebleu's columns) is left out of its group; an empty
//! string is a reference of length zero, as in sacrebleu.

use std::fmt;

use thiserror::Error;

/// Why hypotheses and references do not form a corpus.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CorpusError {
    /// There is nothing to score, and every metric would be an undefined 0/0.
    #[error("no hypotheses: give at least one")]
    Empty,
    /// A hypothesis without a group of references, or the other way round.
    #[error("{hypotheses} hypotheses but {references} groups of references: give one group each")]
    Unpaired {
        /// Number of hypotheses.
        hypotheses: usize,
        /// Number of groups of references.
        references: usize,
    },
    /// A group without any reference.
    #[error("hypothesis {index} (from 0) has no reference: give at least one, or drop it")]
    NoReference {
        /// Position of the hypothesis, from 0.
        index: usize,
    },
}

/// How many references the hypotheses of a corpus have; `nrefs` in a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceCount {
    /// Every hypothesis has this many.
    Fixed(usize),
    /// Hypotheses differ.
    Varying,
}

impl fmt::Display for ReferenceCount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(count) => write!(formatter, "{count}"),
            Self::Varying => formatter.write_str("var"),
        }
    }
}

/// Checks that each hypothesis has references and says how many.
pub(crate) fn count_references(
    hypotheses: &[&str],
    references: &[Vec<&str>],
) -> Result<ReferenceCount, CorpusError> {
    if hypotheses.len() != references.len() {
        return Err(CorpusError::Unpaired {
            hypotheses: hypotheses.len(),
            references: references.len(),
        });
    }
    let Some(first) = references.first() else { return Err(CorpusError::Empty) };
    match references.iter().position(Vec::is_empty) {
        Some(index) => Err(CorpusError::NoReference { index }),
        None if references.iter().all(|group| group.len() == first.len()) => {
            Ok(ReferenceCount::Fixed(first.len()))
        }
        None => Ok(ReferenceCount::Varying),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corpus_is_refused_unless_each_hypothesis_has_references() {
        assert_eq!(count_references(&[], &[]), Err(CorpusError::Empty));
        let unpaired = CorpusError::Unpaired { hypotheses: 1, references: 0 };
        assert_eq!(count_references(&["a"], &[]), Err(unpaired));
        let bare = count_references(&["a", "b"], &[vec!["a"], vec![]]);
        assert_eq!(bare, Err(CorpusError::NoReference { index: 1 }));
    }

    #[test]
    fn the_reference_count_is_fixed_only_when_all_groups_are_equally_large() {
        let fixed = count_references(&["a", "b"], &[vec!["a", ""], vec!["c", "d"]]).unwrap();
        assert_eq!(fixed.to_string(), "2");
        let varying = count_references(&["a", "b"], &[vec!["a"], vec!["c", "d"]]).unwrap();
        assert_eq!(varying.to_string(), "var");
    }
}
