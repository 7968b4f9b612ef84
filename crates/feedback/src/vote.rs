//! A vote between two: the plain data of everything that learns from comparisons.

/// What a rater said of two things shown side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The left one is better.
    Left,
    /// The right one is better.
    Right,
    /// Neither is; counts as half a vote for each.
    Tie,
}

/// One vote. Raters and things voted on are numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// Who voted.
    pub rater: u32,
    /// What stood on the left.
    pub left: u32,
    /// What stood on the right.
    pub right: u32,
    /// Which was better.
    pub outcome: Outcome,
}

impl Outcome {
    /// The votes for left and for right that this is.
    pub(super) fn shares(self) -> [f64; 2] {
        match self {
            Self::Left => [1.0, 0.0],
            Self::Right => [0.0, 1.0],
            Self::Tie => [0.5, 0.5],
        }
    }
}

/// One more than the largest number of what was voted on.
pub(super) fn n_competitors(votes: &[Vote]) -> usize {
    votes.iter().map(|vote| vote.left.max(vote.right) as usize + 1).max().unwrap_or(0)
}

/// One more than the largest number of a rater.
pub(super) fn n_raters(votes: &[Vote]) -> usize {
    votes.iter().map(|vote| vote.rater as usize + 1).max().unwrap_or(0)
}
