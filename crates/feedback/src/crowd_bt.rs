//! CrowdBT: strengths of what was voted on, and how far each rater's votes follow them.
//!
//! Measures: Bradley-Terry scores in which a vote counts as much as its rater deserves.
//! Formula: `P(rater k says left) = f_k sigmoid(s_left - s_right) + (1 - f_k) a`, where `f_k` is how
//! often k follows the scores and `a` what k does otherwise ([`Otherwise`]); maximum likelihood with
//! a prior of a few votes ([`CrowdBt::prior_votes`]).
//! Range: scores in logits with mean 0; `f_k` from 0 to 1.
//! Misleads when: most raters vote against the truth (then that becomes the truth), or a rater has
//! few votes (see `weights`). Intervals of `f_k` take the scores as known: they hold the truth a
//! little less often than they say, and where it is 1 in three of four cases.
//! Reference: Chen et al. 2013, Pairwise Ranking Aggregation in a Crowdsourced Setting, eq. 4-6.
//! [`Otherwise::Side`] is the model of crowd-kit 1.4.2's `NoisyBradleyTerry`, whose optimizer gets a
//! gradient with the raters' derivatives in wrong places and stops before the maximum; ours reaches it.

use kudos_schema::Estimate;

use crate::interval::Z;
use crate::lbfgs::minimize;
use crate::vote::{Vote, n_competitors, n_raters};

/// Where the search for a rater's share begins: raters are taken to mean what they say.
const FOLLOWED_AT_START: f64 = 0.8;
/// The largest derivative that is left, in votes a vote: of 100,000 votes rounding leaves no more.
const TOLERANCE: f64 = 1e-10;
/// How often a range is halved that an interval's end is in: to 1 in 16 million.
const HALVINGS: u32 = 24;

/// What a rater does when not following the scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// The opposite: Chen et al. Half is voting at random, and less is misleading on purpose. As likely is
    /// that all is the other way around; given is what most votes follow.
    Opposite,
    /// Says left with a probability of the rater's own: crowd-kit. Takes out how each is drawn to a side.
    Side,
}

/// What the model assumes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CrowdBt {
    /// What raters do when not following the scores.
    pub otherwise: Otherwise,
    /// Votes, half of them won and half lost, that every score has against one of 0 before any other,
    /// and every rater's share likewise. Above 0, so that there is a maximum.
    pub prior_votes: f64,
}

impl Default for CrowdBt {
    fn default() -> Self {
        Self { otherwise: Otherwise::Opposite, prior_votes: 0.1 }
    }
}

/// What votes tell of what was voted on and of raters.
#[derive(Debug, Clone, PartialEq)]
pub struct CrowdScores {
    /// Logits, with mean 0. `[competitors]`
    pub scores: Vec<f64>,
    /// How often a rater follows the scores, with its 95 % interval. `[raters]`
    pub followed: Vec<Estimate>,
    /// How often a rater who does not says left; empty with [`Otherwise::Opposite`]. `[raters]`
    pub left: Vec<f64>,
    /// Log-likelihood of the votes, without the prior, in nats.
    pub log_likelihood: f64,
    otherwise: Otherwise,
}

impl CrowdBt {
    /// The most probable scores and raters.
    ///
    /// ```
    /// use kudos_feedback::{CrowdBt, Outcome, Vote};
    /// let vote = |rater, outcome| Vote { rater, left: 0, right: 1, outcome };
    /// let mut votes = vec![vote(0, Outcome::Left); 20];
    /// votes.extend(vec![vote(1, Outcome::Left); 20]);
    /// votes.extend(vec![vote(2, Outcome::Right); 20]);
    /// let found = CrowdBt::default().fit(&votes);
    /// assert!(found.scores[0] > found.scores[1]);
    /// assert!(found.reliability(0).mean > 0.5 && found.reliability(2).mean < -0.5);
    /// ```
    pub fn fit(&self, votes: &[Vote]) -> CrowdScores {
        let problem = Problem {
            model: *self,
            votes,
            n_competitors: n_competitors(votes),
            n_raters: n_raters(votes),
        };
        let tolerance = TOLERANCE * votes.len() as f64;
        let mut point = minimize(problem.start(), tolerance, |point, gradient, curvature| {
            problem.evaluate(point, (gradient, curvature))
        });
        if self.otherwise == Otherwise::Opposite && problem.mostly_opposite(&point) {
            // Scores and shares turned around are as likely: 0.5 is a logit of 0.
            point.iter_mut().for_each(|x| *x = -*x);
        }
        problem.describe(&point)
    }
}

impl CrowdScores {
    /// The reliability of a rater, chance taken out: with [`Otherwise::Opposite`] twice the share
    /// followed minus 1, from -1 for the opposite over 0 for chance to 1; with [`Otherwise::Side`] the
    /// share itself.
    ///
    /// # Panics
    /// If there is no such rater.
    pub fn reliability(&self, rater: usize) -> Estimate {
        let followed = self.followed[rater];
        match self.otherwise {
            Otherwise::Side => followed,
            Otherwise::Opposite => Estimate {
                mean: 2.0 * followed.mean - 1.0,
                low: 2.0 * followed.low - 1.0,
                high: 2.0 * followed.high - 1.0,
            },
        }
    }
}

/// The likelihood as a function of one list of logits: scores, then what raters follow, then sides.
struct Problem<'a> {
    model: CrowdBt,
    votes: &'a [Vote],
    n_competitors: usize,
    n_raters: usize,
}

/// What one vote is under the model.
struct Seen {
    /// Probability that the better one by score is on the left, and of the vote cast if followed.
    left_wins: f64,
    if_followed: f64,
    if_not: f64,
    /// Of the vote cast, all in all.
    probability: f64,
}

impl Problem<'_> {
    fn start(&self) -> Vec<f64> {
        let mut point = vec![0.0; self.n_competitors];
        point.extend(vec![(FOLLOWED_AT_START / (1.0 - FOLLOWED_AT_START)).ln(); self.n_raters]);
        match self.model.otherwise {
            Otherwise::Opposite => {}
            Otherwise::Side => point.extend(vec![0.0; self.n_raters]),
        }
        point
    }

    /// Whether most votes are of raters who say the opposite.
    fn mostly_opposite(&self, point: &[f64]) -> bool {
        let share = |vote: &Vote| sigmoid(point[self.n_competitors + vote.rater as usize]);
        self.votes.iter().map(|vote| share(vote) - 0.5).sum::<f64>() < 0.0
    }

    /// Calls `visit` with each vote, how much of a vote it is, whether for left (1) or right (-1), and
    /// its probabilities; a tie comes twice, as half a vote for either.
    fn each(&self, point: &[f64], mut visit: impl FnMut(&Vote, (f64, f64), Seen)) {
        let raters: Vec<f64> = point[self.n_competitors..].iter().map(|x| sigmoid(*x)).collect();
        for vote in self.votes {
            let rater = vote.rater as usize;
            let wins = sigmoid(point[vote.left as usize] - point[vote.right as usize]);
            let says_left = match self.model.otherwise {
                Otherwise::Opposite => 1.0 - wins,
                Otherwise::Side => raters[self.n_raters + rater],
            };
            let cast = vote.outcome.shares().into_iter().zip([1.0, -1.0]);
            for (share, side) in cast.filter(|(share, _)| *share > 0.0) {
                let turned = |left: f64| if side > 0.0 { left } else { 1.0 - left };
                let (if_followed, if_not) = (turned(wins), turned(says_left));
                let probability = raters[rater] * if_followed + (1.0 - raters[rater]) * if_not;
                visit(
                    vote,
                    (share, side),
                    Seen { left_wins: wins, if_followed, if_not, probability },
                );
            }
        }
    }

    /// Minus the logarithm of likelihood and prior, with its gradient; and the information about each
    /// number, the sum of the squares of the votes' derivatives, for how it curves.
    fn evaluate(&self, point: &[f64], (gradient, curvature): (&mut [f64], &mut [f64])) -> f64 {
        let mut value = 0.0;
        for (place, x) in point.iter().enumerate() {
            // Half of the prior votes won and half lost against 0.
            value -= self.model.prior_votes / 2.0 * (sigmoid(*x).ln() + sigmoid(-x).ln());
            gradient[place] = self.model.prior_votes / 2.0 * (x / 2.0).tanh();
            // One more, without which a rater of whom nothing is known yet is thrown far away.
            curvature[place] = 1.0 + self.model.prior_votes * sigmoid(*x) * sigmoid(-x);
        }
        let raters: Vec<f64> = point[self.n_competitors..].iter().map(|x| sigmoid(*x)).collect();
        let mut add = |place: usize, share: f64, derivative: f64| {
            gradient[place] -= share * derivative;
            curvature[place] += share * derivative * derivative;
        };
        self.each(point, |vote, (share, side), seen| {
            value -= share * seen.probability.ln();
            let (rater, scale) = (vote.rater as usize, 1.0 / seen.probability);
            let follows = raters[rater];
            let steep = scale * side * seen.left_wins * (1.0 - seen.left_wins);
            let by_score = match self.model.otherwise {
                Otherwise::Opposite => (2.0 * follows - 1.0) * steep,
                Otherwise::Side => {
                    let left = raters[self.n_raters + rater];
                    let place = self.n_competitors + self.n_raters + rater;
                    add(place, share, scale * (1.0 - follows) * side * left * (1.0 - left));
                    follows * steep
                }
            };
            add(vote.left as usize, share, by_score);
            add(vote.right as usize, share, -by_score);
            let by_rater = scale * follows * (1.0 - follows) * (seen.if_followed - seen.if_not);
            add(self.n_competitors + rater, share, by_rater);
        });
        value
    }

    /// The logits as scores and shares, with the shares' intervals.
    fn describe(&self, point: &[f64]) -> CrowdScores {
        let (scores, raters) = point.split_at(self.n_competitors);
        let mean = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
        let (followed, sides) = raters.split_at(self.n_raters);
        let mut log_likelihood = 0.0;
        let mut chances = vec![Vec::new(); self.n_raters];
        self.each(point, |vote, (share, _), seen| {
            log_likelihood += share * seen.probability.ln();
            chances[vote.rater as usize].push([share, seen.if_followed, seen.if_not]);
        });
        let followed = followed.iter().zip(&chances);
        CrowdScores {
            scores: scores.iter().map(|score| score - mean).collect(),
            followed: followed.map(|(x, votes)| interval(sigmoid(*x), votes)).collect(),
            left: sides.iter().map(|x| sigmoid(*x)).collect(),
            log_likelihood,
            otherwise: self.model.otherwise,
        }
    }
}

/// The 95 % interval of how often a rater follows the scores, who has these `votes`: how many each
/// is, its probability if followed, and if not. The likelihood of a share within it is not less than
/// the largest by more than chance (its logarithm is concave); the ends may be 0 and 1.
fn interval(mean: f64, votes: &[[f64; 3]]) -> Estimate {
    let chance = |follows: f64, [_, if_followed, if_not]: &[f64; 3]| {
        follows * if_followed + (1.0 - follows) * if_not
    };
    let slope = |follows: f64| -> f64 {
        votes.iter().map(|vote| vote[0] * (vote[1] - vote[2]) / chance(follows, vote)).sum()
    };
    let logarithm = |follows: f64| -> f64 {
        votes.iter().map(|vote| vote[0] * chance(follows, vote).ln()).sum()
    };
    let best = boundary([0.0, 1.0], |follows| slope(follows) > 0.0);
    let least = logarithm(best) - Z * Z / 2.0;
    let low = boundary([0.0, best], |follows| logarithm(follows) < least);
    let high = boundary([best, 1.0], |follows| logarithm(follows) >= least);
    Estimate { mean, low: low.min(mean), high: high.max(mean) }
}

/// Where in a range `before` stops to hold, by halving; the ends are exact.
fn boundary([mut low, mut high]: [f64; 2], before: impl Fn(f64) -> bool) -> f64 {
    if !before(low) {
        return low;
    }
    if before(high) {
        return high;
    }
    for _ in 0..HALVINGS {
        let middle = low.midpoint(high);
        if before(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low.midpoint(high)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
#[path = "crowd_bt_tests.rs"]
mod tests;
