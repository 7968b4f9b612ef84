//! How reliable raters are: accuracy on items that test them, and one weight for each.
//!
//! Measures: whether a rater gave the known answer (gold), and the same answer again (repeat).
//! Formula: if a rater knows the answer with probability r and else guesses, right with probability c
//! (chance), then gold items are answered right in `r + (1 - r) c` and repeated ones alike in
//! `r^2 + (1 - r^2) c`; so `r = (gold - c) / (1 - c)` and `r = sqrt((repeat - c) / (1 - c))`. Where a
//! rater has both, the smaller counts: always left, or always the opposite, is alike but not right.
//! Weight: `(n r + m mean) / (n + m)` within 0 and 1, for n judgements of the rater, the mean over all
//! judgements, and m = [`PRIOR_JUDGEMENTS`]: whoever has said little counts as people do on average.
//! Misleads when: gold answers are wrong, or testing items are known for what they are.
//! Reference: Wilson 1927 for the intervals of shares; the weight is the posterior mean of a share
//! with a Beta prior around the common mean.

use kudos_schema::Estimate;

use crate::interval::wilson;

/// How many judgements of its own weigh as much as what is known of raters in general.
pub const PRIOR_JUDGEMENTS: f64 = 10.0;

/// How one rater did on items that test raters, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tested {
    /// Items answered whose answer is known.
    pub gold: usize,
    /// Of these, answered right.
    pub gold_right: usize,
    /// Items answered a second time.
    pub repeats: usize,
    /// Of these, answered as the first time.
    pub repeats_same: usize,
}

/// A reliability (1 is always right, 0 chance, below 0 misleading) and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reliability {
    /// With its 95 % interval.
    pub value: Estimate,
    /// Number of judgements that it was learned from.
    pub judgements: usize,
}

impl Reliability {
    /// Of somebody of whom nothing is known.
    pub const UNKNOWN: Self =
        Self { value: Estimate { mean: 0.0, low: 0.0, high: 1.0 }, judgements: 0 };
}

impl Tested {
    /// The share of gold items answered right, with its 95 % interval; none without such items.
    ///
    /// # Panics
    /// If more are right than there are; likewise below.
    pub fn gold_accuracy(&self) -> Option<Estimate> {
        wilson(self.gold_right, self.gold)
    }

    /// The share of repeated items answered alike, with its 95 % interval; none without such items.
    pub fn repeat_accuracy(&self) -> Option<Estimate> {
        wilson(self.repeats_same, self.repeats)
    }

    /// The reliability that follows where guessing is right with probability `chance`, below 1: a
    /// half for pairs. See the module.
    pub fn reliability(&self, chance: f64) -> Reliability {
        let known = |share: f64| (share - chance) / (1.0 - chance);
        let gold = self
            .gold_accuracy()
            .map(|share| Reliability { value: map(share, known), judgements: self.gold });
        let repeat = self.repeat_accuracy().map(|share| Reliability {
            value: map(share, |share| known(share).max(0.0).sqrt()),
            judgements: self.repeats,
        });
        match (gold, repeat) {
            (Some(gold), Some(repeat)) if repeat.value.mean < gold.value.mean => repeat,
            (Some(found), _) | (None, Some(found)) => found,
            (None, None) => Reliability::UNKNOWN,
        }
    }
}

fn map(estimate: Estimate, rising: impl Fn(f64) -> f64) -> Estimate {
    let Estimate { mean, low, high } = estimate;
    Estimate { mean: rising(mean), low: rising(low), high: rising(high) }
}

/// What each rater's ratings count, from 0 to 1, whatever the reliabilities were learned from: see
/// the module. The ends of the interval are those of the rater's own judgements; all are 1 where
/// nobody has any. `[raters]` -> `[raters]`
///
/// ```
/// use kudos_feedback::{Tested, weights};
/// let tested = |gold, gold_right| Tested { gold, gold_right, ..Tested::default() };
/// let raters = [tested(40, 40), tested(1, 0), tested(0, 0)];
/// let weights = weights(&raters.map(|rater| rater.reliability(0.5)));
/// // Always right; wrong once; unknown.
/// assert!(weights[0].mean > weights[2].mean && weights[2].mean > weights[1].mean);
/// ```
pub fn weights(raters: &[Reliability]) -> Vec<Estimate> {
    let judgements = raters.iter().map(|rater| rater.judgements as f64);
    let all: f64 = judgements.clone().sum();
    if all == 0.0 {
        return vec![Estimate { mean: 1.0, low: 0.0, high: 1.0 }; raters.len()];
    }
    let sum: f64 = raters.iter().zip(judgements).map(|(rater, n)| n * rater.value.mean).sum();
    let mean = sum / all;
    let weight = |rater: &Reliability| {
        let n = rater.judgements as f64;
        let shrunk = (n * rater.value.mean + PRIOR_JUDGEMENTS * mean) / (n + PRIOR_JUDGEMENTS);
        let weight = shrunk.clamp(0.0, 1.0);
        let (low, high) = (rater.value.low.clamp(0.0, 1.0), rater.value.high.clamp(0.0, 1.0));
        Estimate { mean: weight, low: low.min(weight), high: high.max(weight) }
    };
    raters.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gold(gold: usize, gold_right: usize) -> Tested {
        Tested { gold, gold_right, ..Tested::default() }
    }

    fn reliability(mean: f64, judgements: usize) -> Reliability {
        Reliability { value: Estimate { mean, low: mean - 0.1, high: mean + 0.1 }, judgements }
    }

    #[test]
    fn reliabilities_are_those_of_paper_and_pencil() {
        let check = |tested: Tested, chance: f64, known: f64| {
            let found = tested.reliability(chance).value.mean;
            assert!((found - known).abs() < 1e-12, "{tested:?}: {found}");
        };
        // (0.9 - 0.5) / 0.5
        check(gold(10, 9), 0.5, 0.8);
        // (0.6 - 0.2) / 0.8
        check(gold(10, 6), 0.2, 0.5);
        // sqrt((0.625 - 0.5) / 0.5)
        let repeated = Tested { repeats: 8, repeats_same: 5, ..Tested::default() };
        check(repeated, 0.5, 0.5);
        check(Tested { gold: 10, gold_right: 9, ..repeated }, 0.5, 0.5);
        assert_eq!(Tested::default().reliability(0.5), Reliability::UNKNOWN);
        assert_eq!(repeated.repeat_accuracy(), wilson(5, 8));
        assert_eq!((gold(10, 9).gold_accuracy(), repeated.gold_accuracy()), (wilson(9, 10), None));
        assert_eq!(gold(10, 9).reliability(0.5).judgements, 10);
    }

    #[test]
    fn who_is_alike_but_never_right_is_not_reliable() {
        let contrary = Tested { gold: 20, gold_right: 0, repeats: 20, repeats_same: 20 };
        let found = contrary.reliability(0.5);
        assert_eq!(found.value.mean, -1.0);
        assert_eq!(weights(&[found])[0].mean, 0.0);
    }

    #[test]
    fn few_judgements_weigh_as_raters_do_on_average() {
        // The mean is (90 * 0.8 + 10 * 0.3) / 100 = 0.75.
        let found = weights(&[reliability(0.8, 90), reliability(0.3, 10), Reliability::UNKNOWN]);
        let known = [(90.0 * 0.8 + 7.5) / 100.0, (3.0 + 7.5) / 20.0, 0.75];
        for (found, known) in found.iter().zip(known) {
            assert!((found.mean - known).abs() < 1e-12, "{found:?}, not {known}");
        }
        assert_eq!((found[2].low, found[2].high), (0.0, 1.0));
        assert_eq!(weights(&[Reliability::UNKNOWN])[0].mean, 1.0);
    }

    proptest! {
        #[test]
        fn weights_are_shares_within_their_intervals(
            raters in prop::collection::vec((-1.0f64..1.0, 0usize..50), 1..9)
        ) {
            let raters: Vec<_> = raters.into_iter().map(|(mean, n)| reliability(mean, n)).collect();
            for weight in weights(&raters) {
                prop_assert!(0.0 <= weight.low && weight.low <= weight.mean);
                prop_assert!(weight.mean <= weight.high && weight.high <= 1.0);
            }
        }
    }
}
