//! What a verdict says of each completion, in the forms that learning takes.
//!
//! Left out: reports, which say nothing of quality; edits, which say what would have been right.

use crate::{PairChoice, Rating, Thumb, Verdict};

/// How two completions compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// How often the first is better: 1, 0, or 1/2 where neither is.
    pub share: f64,
    /// Whether both were called bad.
    pub both_bad: bool,
}

impl Rating {
    /// How its two completions compare; none where there are not two, or equal ones.
    pub fn comparison(&self) -> Option<Comparison> {
        let [first, second] = self.samples.as_slice() else { return None };
        let Verdict::Pair(choice) = self.verdict else { return None };
        let share = match choice {
            PairChoice::Left => 1.0,
            PairChoice::Right => 0.0,
            PairChoice::Tie | PairChoice::BothBad => 0.5,
        };
        let both_bad = choice == PairChoice::BothBad;
        (first.token_ids != second.token_ids).then_some(Comparison { share, both_bad })
    }

    /// How good its one completion is, from 0 to 1: a thumb, or `(stars - 1) / 4`.
    pub fn grade(&self) -> Option<f64> {
        match self.verdict {
            Verdict::Thumbs(Thumb::Up) => Some(1.0),
            Verdict::Thumbs(Thumb::Down) => Some(0.0),
            Verdict::Stars(value) => Some((f64::from(value) - 1.0) / 4.0),
            Verdict::Pair(_) | Verdict::Edit(_) | Verdict::Report => None,
        }
    }

    /// Whether each completion that it calls good or bad is good, by its place. Of two, the preferred is
    /// good and the other bad; ties and three stars say nothing.
    pub fn labels(&self) -> Vec<(usize, bool)> {
        match (self.comparison(), self.grade()) {
            (Some(Comparison { both_bad: true, .. }), _) => vec![(0, false), (1, false)],
            (Some(Comparison { share, .. }), _) if share != 0.5 => {
                vec![(0, share > 0.5), (1, share < 0.5)]
            }
            (None, Some(grade)) if grade != 0.5 => vec![(0, grade > 0.5)],
            (Some(_), _) | (None, _) => Vec::new(),
        }
    }

    /// What each completion earned, from 0 to 1, by its place: the preferred of two all, the other
    /// nothing.
    pub fn rewards(&self) -> Vec<(usize, f64)> {
        match (self.comparison(), self.grade()) {
            (Some(Comparison { both_bad: true, .. }), _) => vec![(0, 0.0), (1, 0.0)],
            (Some(Comparison { share, .. }), _) => vec![(0, share), (1, 1.0 - share)],
            (None, Some(grade)) => vec![(0, grade)],
            (None, None) => Vec::new(),
        }
    }
}
