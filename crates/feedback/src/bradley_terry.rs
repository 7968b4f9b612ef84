//! Bradley and Terry's model: one strength for each competitor, from votes between two: the leaderboard.
//!
//! Measures: by how much one is preferred over another; with [`Position::Corrected`] also by how much
//! whatever stands on the left is, which is then taken out of the strengths.
//! Formula: `P(left is chosen) = sigmoid(s_left - s_right + b)`, b = 0 with [`Position::Ignored`];
//! weighted maximum likelihood with a prior of a few votes, by Newton's method. Intervals: the 2.5th
//! and 97.5th percentile of the strengths when the votes are drawn again with replacement (each vote
//! Poisson(1) times, which is the bootstrap but for the total, and the total does not matter).
//! Range: logits with mean 0; a difference of 1 is being chosen in 73 of 100.
//! Misleads when: preferences go in circles, competitors were compared on different prompts, or votes
//! depend on each other: few raters with many votes make intervals too narrow, and the uncertainty of
//! weights is not in them.
//! Reference: Bradley and Terry 1952; Hunter 2004; Efron and Tibshirani 1993, chapter 13, and Hanley
//! and MacGibbon 2006 for Poisson resampling. Without prior and position equal to choix and arena-rank.

use kudos_schema::Estimate;
use rand::Rng;

use crate::newton::maximize;
use crate::resample::Resampler;
use crate::vote::{Outcome, Vote, n_competitors};

/// What is made of the side on which something was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Nothing.
    Ignored,
    /// An advantage of the left side is estimated and taken out.
    Corrected,
}

/// What the model assumes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BradleyTerry {
    /// Votes, half of them won and half lost, that everybody has against a competitor of strength 0
    /// before any other. Above 0: it holds in place who always won, or was never voted on.
    pub prior_votes: f64,
    /// Whether sides are equal.
    pub position: Position,
}

impl Default for BradleyTerry {
    fn default() -> Self {
        Self { prior_votes: 1.0, position: Position::Ignored }
    }
}

/// Votes that are the same in all that matters here.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cell {
    left: usize,
    right: usize,
    outcome: Outcome,
    /// What each of them counts.
    weight: f64,
    votes: u32,
}

/// Votes counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparisons {
    n_competitors: usize,
    cells: Vec<Cell>,
}

/// A maximum of the likelihood.
#[derive(Debug, Clone, PartialEq)]
pub struct Strengths {
    /// Logits with mean 0. `[competitors]`
    pub strengths: Vec<f64>,
    /// Logit of the left side's advantage; 0 with [`Position::Ignored`].
    pub left_advantage: f64,
}

/// Strengths with 95 % intervals; an estimate's mean is the strength from all votes.
#[derive(Debug, Clone, PartialEq)]
pub struct Standings {
    /// Logits with mean 0. `[competitors]`
    pub strengths: Vec<Estimate>,
    /// Logit of the left side's advantage; 0 with [`Position::Ignored`].
    pub left_advantage: Estimate,
}

impl Comparisons {
    /// Counts `votes`, each with the weight of its rater, at least 0. `[votes]`, `[raters]`
    ///
    /// # Panics
    /// If a rater has no weight.
    pub fn weighted(votes: &[Vote], weights: &[f64]) -> Self {
        Self::count(votes, |vote| weights[vote.rater as usize])
    }

    /// Counts `votes`, all alike.
    pub fn new(votes: &[Vote]) -> Self {
        Self::count(votes, |_| 1.0)
    }

    fn count(votes: &[Vote], weight: impl Fn(&Vote) -> f64) -> Self {
        // Not negative, so the order of the bits is that of the numbers.
        let key = |vote: &Vote| (vote.left, vote.right, vote.outcome, weight(vote).to_bits());
        let mut keys: Vec<_> = votes.iter().map(key).collect();
        keys.sort_unstable();
        let cells = keys.chunk_by(PartialEq::eq).map(|same| {
            let (left, right, outcome, weight) = same[0];
            Cell {
                left: left as usize,
                right: right as usize,
                outcome,
                weight: f64::from_bits(weight),
                votes: same.len() as u32,
            }
        });
        Self { n_competitors: n_competitors(votes), cells: cells.collect() }
    }

    /// The weight of votes for the left and for the right one of each two; `times` is how often the
    /// votes of a cell count. `[left, right]` of (for left, for right)
    fn wins(&self, mut times: impl FnMut(usize, &Cell) -> f64) -> Vec<[f64; 2]> {
        let mut wins = vec![[0.0; 2]; self.n_competitors * self.n_competitors];
        for (place, cell) in self.cells.iter().enumerate() {
            let weight = cell.weight * times(place, cell);
            let [left, right] = cell.outcome.shares();
            let sums = &mut wins[cell.left * self.n_competitors + cell.right];
            *sums = [sums[0] + weight * left, sums[1] + weight * right];
        }
        wins
    }
}

impl BradleyTerry {
    /// The most probable strengths.
    ///
    /// ```
    /// use kudos_feedback::{BradleyTerry, Comparisons, Outcome, Vote};
    /// let vote = |left, right, outcome| Vote { rater: 0, left, right, outcome };
    /// let votes = [vote(0, 1, Outcome::Left), vote(1, 2, Outcome::Left), vote(2, 0, Outcome::Tie)];
    /// let found = BradleyTerry::default().fit(&Comparisons::new(&votes)).strengths;
    /// assert!(found[0] > found[1] && found[1] > found[2]);
    /// ```
    pub fn fit(&self, comparisons: &Comparisons) -> Strengths {
        let wins = comparisons.wins(|_, cell| f64::from(cell.votes));
        self.describe(&self.search(&wins, vec![0.0; comparisons.n_competitors + 1]))
    }

    /// The same with 95 % intervals from `resamples` fits to votes drawn again.
    ///
    /// # Panics
    /// If there is no resample.
    pub fn standings(
        &self,
        comparisons: &Comparisons,
        resamples: usize,
        coins: &mut impl Rng,
    ) -> Standings {
        let wins = comparisons.wins(|_, cell| f64::from(cell.votes));
        let best = self.search(&wins, vec![0.0; comparisons.n_competitors + 1]);
        let resampler = Resampler::new(comparisons.cells.iter().map(|cell| cell.votes));
        let mut drawn = vec![Vec::with_capacity(resamples); best.len()];
        for _ in 0..resamples {
            let wins = comparisons.wins(|place, _| f64::from(resampler.draw(place, coins)));
            let again = self.describe(&self.search(&wins, best.clone()));
            let numbers = again.strengths.into_iter().chain([again.left_advantage]);
            drawn.iter_mut().zip(numbers).for_each(|(drawn, number)| drawn.push(number));
        }
        let best = self.describe(&best);
        let mut estimates = best.strengths.iter().chain([&best.left_advantage]).zip(&mut drawn);
        let strengths = estimates.by_ref().take(comparisons.n_competitors);
        let strengths = strengths.map(|(mean, drawn)| interval(*mean, drawn)).collect();
        let left = estimates.next().expect("the advantage comes after the strengths");
        Standings { strengths, left_advantage: interval(*left.0, left.1) }
    }

    fn describe(&self, point: &[f64]) -> Strengths {
        let (strengths, left) = point.split_at(point.len() - 1);
        let mean = strengths.iter().sum::<f64>() / strengths.len().max(1) as f64;
        let strengths = strengths.iter().map(|strength| strength - mean).collect();
        Strengths { strengths, left_advantage: left[0] }
    }

    /// The strengths, and the left side's advantage after them, where the likelihood is greatest.
    fn search(&self, wins: &[[f64; 2]], start: Vec<f64>) -> Vec<f64> {
        maximize(start, |point, gradient, curvature| {
            self.evaluate(wins, point, (gradient, curvature))
        })
    }

    /// The logarithm of likelihood and prior, its gradient, and minus its second derivatives.
    fn evaluate(
        &self,
        wins: &[[f64; 2]],
        point: &[f64],
        (gradient, curvature): (&mut [f64], &mut [f64]),
    ) -> f64 {
        let (size, n) = (point.len(), point.len() - 1);
        let mut value = 0.0;
        let half = self.prior_votes / 2.0;
        for (place, x) in point.iter().enumerate() {
            let (chosen, logarithms) = sigmoid(*x);
            value += half * (logarithms[0] + logarithms[1]);
            gradient[place] = half * (1.0 - 2.0 * chosen);
            curvature[place * size + place] = self.prior_votes * chosen * (1.0 - chosen);
        }
        for (pair, [for_left, for_right]) in wins.iter().enumerate() {
            let all = for_left + for_right;
            if all == 0.0 {
                continue;
            }
            let (left, right) = (pair / n, pair % n);
            let (chosen, logarithms) = sigmoid(point[left] - point[right] + point[n]);
            value += for_left * logarithms[0] + for_right * logarithms[1];
            let (slope, curve) = (for_left - all * chosen, all * chosen * (1.0 - chosen));
            let mut terms = [(left, 1.0), (right, -1.0), (n, 1.0)];
            if self.position == Position::Ignored {
                terms[2].1 = 0.0;
            }
            for (row, sign) in terms {
                gradient[row] += sign * slope;
                for (column, other) in terms {
                    curvature[row * size + column] += sign * other * curve;
                }
            }
        }
        value
    }
}

/// The sigmoid of `x`, and the logarithms of it and of 1 minus it.
fn sigmoid(x: f64) -> (f64, [f64; 2]) {
    let small = (-x.abs()).exp();
    let logarithm = small.ln_1p();
    let share = if x < 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) };
    (share, [x.min(0.0) - logarithm, -x.max(0.0) - logarithm])
}

/// From the 2.5th to the 97.5th percentile of what was drawn, linear between neighbors.
fn interval(mean: f64, drawn: &mut [f64]) -> Estimate {
    drawn.sort_by(f64::total_cmp);
    let percentile = |share: f64| {
        let place = share * (drawn.len() - 1) as f64;
        let (below, above) = (drawn[place.floor() as usize], drawn[place.ceil() as usize]);
        below + (above - below) * place.fract()
    };
    Estimate { mean, low: percentile(0.025), high: percentile(0.975) }
}

#[cfg(test)]
#[path = "bradley_terry_tests.rs"]
mod tests;
