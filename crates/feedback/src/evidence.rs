//! What is known of raters from all that tests them, brought together into one weight each.
//!
//! Measures: how far to trust each rater. Sources: items that several judged ([`dawid_skene`](crate::dawid_skene)), votes on
//! what competes ([`CrowdBt`](crate::CrowdBt)), gold and repeated items ([`Tested`](crate::Tested)), and whatever
//! else gives a [`Reliability`]. Formula: the mean of the sources, each by the judgements behind it; then
//! [`weights`](crate::weights). A source whose interval is wide counts as the few judgements that it is worth
//! ([`Reliability::worth`]), so that many votes which tell nothing of a rater do not drown gold items.
//! Misleads when: the same judgement enters by two sources (leave it out of one), or most raters err alike. Where two
//! competitors alone meet, how far apart they are and how far all raters are to be trusted cannot be told apart: honest
//! raters then get less than 1, but more than those who guess.

use std::collections::BTreeMap;

use kudos_schema::Estimate;

use crate::crowd_bt::CrowdBt;
use crate::dawid_skene::{Label, dawid_skene};
use crate::interval::Z;
use crate::reliability::{Reliability, weights};
use crate::vote::{Outcome, Vote};

/// What is known of raters, by their numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    sources: Vec<Vec<Reliability>>,
}

/// How much what each rater says counts, from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Trust {
    /// What each rater's weight rests on. `[raters]`
    pub reliabilities: Vec<Reliability>,
    /// `[raters]`
    pub weights: Vec<Estimate>,
    /// Of anybody else.
    pub others: Estimate,
}

impl Evidence {
    /// Nothing, of so many raters.
    pub fn new(n_raters: usize) -> Self {
        Self { sources: vec![Vec::new(); n_raters] }
    }

    /// Adds what some source found of a rater.
    ///
    /// # Panics
    /// If there is no such rater.
    pub fn add(&mut self, rater: usize, found: Reliability) {
        self.sources[rater].push(found);
    }

    /// Adds what labels of items that several raters judged tell of them, by Dawid and Skene's model.
    ///
    /// # Panics
    /// If there is no such rater.
    pub fn add_labels(&mut self, labels: &[Label]) {
        let model = dawid_skene(labels);
        let counts = count(self.sources.len(), labels.iter().map(|label| label.rater));
        for (rater, judgements) in counts.into_iter().enumerate().filter(|(_, n)| *n > 0) {
            self.add(rater, Reliability { value: model.reliability(rater), judgements });
        }
    }

    /// Adds what votes tell of raters, by CrowdBT. Ties are left out, and votes on two of which a single rater said
    /// anything: whoever makes the truth alone cannot be held against it.
    ///
    /// # Panics
    /// If there is no such rater.
    pub fn add_votes(&mut self, votes: &[Vote]) {
        let votes = shared(votes);
        let found = CrowdBt::default().fit(&votes);
        let counts = count(self.sources.len(), votes.iter().map(|vote| vote.rater));
        for (rater, votes) in counts.into_iter().enumerate().filter(|(_, n)| *n > 0) {
            self.add(rater, Reliability::worth(found.reliability(rater), votes));
        }
    }

    /// One weight for each rater.
    ///
    /// ```
    /// use kudos_feedback::{Evidence, Tested};
    /// let mut evidence = Evidence::new(3);
    /// let tested = |gold_right| Tested { gold: 20, gold_right, ..Tested::default() };
    /// evidence.add(0, tested(19).reliability(0.5));
    /// evidence.add(1, tested(10).reliability(0.5));
    /// let trust = evidence.trust();
    /// // Nearly always right; by chance; unknown.
    /// assert!(trust.weights[0].mean > trust.weights[2].mean);
    /// assert!(trust.weights[2].mean > trust.weights[1].mean);
    /// assert_eq!(trust.weights[2], trust.others);
    /// ```
    pub fn trust(&self) -> Trust {
        let mut reliabilities: Vec<Reliability> =
            self.sources.iter().map(|sources| pooled(sources)).collect();
        reliabilities.push(Reliability::UNKNOWN);
        let mut weights = weights(&reliabilities);
        reliabilities.pop();
        let others = weights.pop().expect("the last is somebody of whom nothing is known");
        Trust { reliabilities, weights, others }
    }
}

impl Reliability {
    /// A reliability that rests on as many judgements as its interval is worth: so many answers, each right or wrong
    /// where guessing is right in one of two, would have an interval as narrow (Wilson's); at most `judgements`.
    pub fn worth(value: Estimate, judgements: usize) -> Self {
        let share = f64::midpoint(value.mean.clamp(-1.0, 1.0), 1.0);
        let half = (value.high - value.low) / 4.0;
        let is_wider = |n: usize| {
            let n = n as f64;
            let spread = (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
            Z / (1.0 + Z * Z / n) * spread >= half
        };
        let (mut low, mut high) = (0, judgements);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if is_wider(middle) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Self { value, judgements: low }
    }
}

/// The mean of what sources say, by their judgements; the interval likewise, as if they said the same.
fn pooled(sources: &[Reliability]) -> Reliability {
    let judgements: usize = sources.iter().map(|source| source.judgements).sum();
    if judgements == 0 {
        return Reliability::UNKNOWN;
    }
    let mean = |of: fn(&Estimate) -> f64| {
        let parts = sources.iter().map(|source| source.judgements as f64 * of(&source.value));
        parts.sum::<f64>() / judgements as f64
    };
    let value = Estimate { mean: mean(|e| e.mean), low: mean(|e| e.low), high: mean(|e| e.high) };
    Reliability { value, judgements }
}

fn count(n_raters: usize, raters: impl Iterator<Item = u32>) -> Vec<usize> {
    let mut counts = vec![0; n_raters];
    raters.for_each(|rater| counts[rater as usize] += 1);
    counts
}

/// The votes that are no tie, on two that several raters compared.
fn shared(votes: &[Vote]) -> Vec<Vote> {
    let pair = |vote: &Vote| (vote.left.min(vote.right), vote.left.max(vote.right));
    let mut only: BTreeMap<(u32, u32), Option<u32>> = BTreeMap::new();
    let decided = votes.iter().filter(|vote| vote.outcome != Outcome::Tie);
    for vote in decided.clone() {
        let first = only.entry(pair(vote)).or_insert(Some(vote.rater));
        *first = first.filter(|rater| *rater == vote.rater);
    }
    decided.filter(|vote| only[&pair(vote)].is_none()).copied().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::interval::wilson;

    fn of_share(share: Estimate) -> Estimate {
        let known = |share: f64| 2.0 * share - 1.0;
        Estimate { mean: known(share.mean), low: known(share.low), high: known(share.high) }
    }

    proptest! {
        /// The interval of a share that was counted is worth what was counted.
        #[test]
        fn a_counted_share_is_worth_its_count((all, right) in (1usize..400).prop_flat_map(|n| (Just(n), 1..=n))) {
            // At 0 and 1 Wilson's ends are cut off, and the interval looks narrower than it is.
            prop_assume!(right < all);
            let value = of_share(wilson(right, all).unwrap());
            let found = Reliability::worth(value, usize::MAX).judgements;
            prop_assert!(found.abs_diff(all) <= 1, "{found} of {all}");
            prop_assert_eq!(Reliability::worth(value, all / 2).judgements, all / 2);
        }
    }

    #[test]
    fn an_interval_that_nothing_narrows_is_worth_nothing() {
        let value = Estimate { mean: 0.6, low: -1.0, high: 1.0 };
        assert_eq!(Reliability::worth(value, 1000).judgements, 0);
    }

    #[test]
    fn sources_count_by_their_judgements() {
        let source = |mean, judgements| Reliability {
            value: Estimate { mean, low: mean - 0.1, high: mean + 0.1 },
            judgements,
        };
        let found = pooled(&[source(0.8, 30), source(0.4, 10), source(-1.0, 0)]);
        assert!((found.value.mean - 0.7).abs() < 1e-12, "{found:?}");
        assert!((found.value.low - 0.6).abs() < 1e-12, "{found:?}");
        assert_eq!(found.judgements, 40);
        assert_eq!(pooled(&[]), Reliability::UNKNOWN);
    }

    /// Raters 0 to 7 follow the better one of three in 85 of 100 votes, 8 guesses, 9 says the opposite.
    #[test]
    fn whoever_guesses_or_opposes_weighs_less_than_the_honest() {
        let mut coins = ChaCha8Rng::seed_from_u64(5);
        let mut votes = Vec::new();
        for turn in 0..120u32 {
            for rater in 0..10 {
                let (left, right) = [(0, 1), (1, 2), (2, 0)][turn as usize % 3];
                let follows = match rater {
                    8 => 0.5,
                    9 => 0.15,
                    _ => 0.85,
                };
                let better = (left < right) == (coins.random::<f64>() < follows);
                let outcome = if better { Outcome::Left } else { Outcome::Right };
                votes.push(Vote { rater, left, right, outcome });
            }
        }
        let mut evidence = Evidence::new(11);
        evidence.add_votes(&votes);
        let trust = evidence.trust();
        let honest = trust.weights[..8].iter().map(|weight| weight.mean).fold(1.0, f64::min);
        assert!(honest > 0.5, "{:?}", trust.weights);
        assert!(trust.weights[8].mean < 0.35 && trust.weights[9].mean < 0.1, "{:?}", trust.weights);
        assert!(trust.weights[8].high < honest, "{:?}", trust.weights);
        assert_eq!(trust.weights[10], trust.others);
    }

    #[test]
    fn one_rater_alone_proves_nothing() {
        let vote = Vote { rater: 0, left: 0, right: 1, outcome: Outcome::Left };
        let tie = Vote { rater: 1, outcome: Outcome::Tie, ..vote };
        let mut evidence = Evidence::new(2);
        evidence.add_votes(&[vote, vote, vote, tie]);
        evidence.add_labels(&[]);
        assert_eq!(evidence, Evidence::new(2));
        evidence.add_votes(&[vote, Vote { rater: 1, left: 1, right: 0, ..vote }]);
        assert!(evidence != Evidence::new(2), "two raters said something of the same two");
    }
}
