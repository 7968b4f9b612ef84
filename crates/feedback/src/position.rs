//! Whether raters are drawn to a side: the share of votes for the left one.
//!
//! Measures: position bias, where each was on the left as often as on the right, by chance.
//! Formula: votes for left over votes for either, ties left out, with Wilson's interval.
//! Range: 0 to 1; 0.5 is no bias.
//! Misleads when: what is better stood on the left more often. Then, and wherever the bias shall not
//! reach the strengths, fit it with them: [`Position::Corrected`](super::Position::Corrected).

use kudos_schema::Estimate;

use crate::interval::wilson;
use crate::vote::{Outcome, Vote};

/// The share of left among decided votes with its 95 % interval; none where none is decided.
pub fn left_share(votes: &[Vote]) -> Option<Estimate> {
    let count = |side| votes.iter().filter(|vote| vote.outcome == side).count();
    let left = count(Outcome::Left);
    wilson(left, left + count(Outcome::Right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_for_no_side() {
        let vote = |outcome| Vote { rater: 0, left: 0, right: 1, outcome };
        let votes = [Outcome::Left, Outcome::Tie, Outcome::Left, Outcome::Right, Outcome::Left];
        let share = left_share(&votes.map(vote)).unwrap();
        assert_eq!(Some(share), wilson(3, 4));
        assert_eq!(left_share(&[vote(Outcome::Tie)]), None);
    }
}
