//! How sure a mean over items is: percentile bootstrap intervals.
//!
//! The items are drawn again with replacement; the 2.5th and 97.5th percentile of the resampled
//! means bound the interval. Two policies measured on the same items are compared item by item,
//! which takes out how much the items differ. What this leaves out: bias correction (BCa), and the
//! randomness of training, which only other seeds show. Source: Efron and Tibshirani 1993, ch. 13;
//! Koehn 2004 for paired resampling of text metrics.

use kudos_schema::Estimate;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

/// How often the items are drawn again.
pub const RESAMPLES: usize = 2000;

/// Values that have no mean to be sure of.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum BootstrapError {
    /// There are none.
    #[error("no items were measured: give at least one")]
    Empty,
    /// One is NaN or infinite.
    #[error("item {index} was measured as {value}: leave it out or mend the metric")]
    NotFinite {
        /// Its place, from 0.
        index: usize,
        /// Its value.
        value: f64,
    },
    /// The two sets are not of the same items.
    #[error("{before} items before and {after} after: a paired difference needs the same items")]
    Unpaired {
        /// Items before.
        before: usize,
        /// Items after.
        after: usize,
    },
}

/// The mean of `values` with its 95 % interval.
///
/// # Errors
/// There is no value, or one is not finite.
pub fn mean(values: &[f64], coins: &mut ChaCha8Rng) -> Result<Estimate, BootstrapError> {
    if values.is_empty() {
        return Err(BootstrapError::Empty);
    }
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(BootstrapError::NotFinite { index, value: values[index] });
    }
    let n = values.len() as f64;
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            values.iter().map(|_| values[coins.random_range(0..values.len())]).sum::<f64>() / n
        })
        .collect();
    means.sort_by(f64::total_cmp);
    Ok(Estimate {
        mean: values.iter().sum::<f64>() / n,
        low: quantile(&means, 0.025),
        high: quantile(&means, 0.975),
    })
}

/// The mean of `after - before`, item by item, with its 95 % interval.
///
/// # Errors
/// The lengths differ, there is no value, or one is not finite.
pub fn paired_difference(
    before: &[f64],
    after: &[f64],
    coins: &mut ChaCha8Rng,
) -> Result<Estimate, BootstrapError> {
    if before.len() != after.len() {
        return Err(BootstrapError::Unpaired { before: before.len(), after: after.len() });
    }
    let differences: Vec<f64> = before.iter().zip(after).map(|(old, new)| new - old).collect();
    mean(&differences, coins)
}

/// Any statistic of `count` items with its 95 % interval; `value` computes it from the places of items,
/// each drawn with replacement.
pub fn statistic(
    count: usize,
    coins: &mut ChaCha8Rng,
    value: &dyn Fn(&[usize]) -> f64,
) -> Estimate {
    let mut places: Vec<usize> = (0..count).collect();
    let mean = value(&places);
    let mut values: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            places.iter_mut().for_each(|place| *place = coins.random_range(0..count));
            value(&places)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    Estimate { mean, low: quantile(&values, 0.025), high: quantile(&values, 0.975) }
}

/// Linear between the two nearest ranks (definition 7 of Hyndman and Fan 1996, as numpy's default).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = share * (sorted.len() - 1) as f64;
    let below = rank.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (rank - rank.floor()) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn coins(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    #[test]
    fn quantiles_are_numpys() {
        // numpy.quantile([1, 2, 4, 8], q)
        let sorted = [1.0, 2.0, 4.0, 8.0];
        let check = |share, expected: f64| {
            assert!((quantile(&sorted, share) - expected).abs() < 1e-12, "{share}");
        };
        check(0.0, 1.0);
        check(0.025, 1.075);
        check(0.5, 3.0);
        check(0.975, 7.7);
        check(1.0, 8.0);
        assert_eq!(quantile(&[5.0], 0.975), 5.0);
    }

    #[test]
    fn a_constant_has_an_interval_of_no_width() {
        let estimate = mean(&[0.25; 40], &mut coins(1)).unwrap();
        assert_eq!(estimate, Estimate { mean: 0.25, low: 0.25, high: 0.25 });
    }

    #[test]
    fn the_same_coins_give_the_same_interval() {
        let values: Vec<f64> = (0..50).map(|item| f64::from(item).sin()).collect();
        assert_eq!(mean(&values, &mut coins(3)), mean(&values, &mut coins(3)));
        assert_ne!(mean(&values, &mut coins(3)), mean(&values, &mut coins(4)));
    }

    /// Of 400 samples of 60 exponential values, about 95 % must have an interval that holds the
    /// true mean 1: the percentile bootstrap is known to reach 93-94 % on so skewed a law, and four
    /// binomial standard errors around 93.5 % are 88.6 % to 98.4 %.
    #[test]
    fn nineteen_of_twenty_intervals_hold_the_truth() {
        let mut draws = coins(11);
        let held = (0..400).filter(|_| {
            let values: Vec<f64> =
                (0..60).map(|_| -(1.0 - draws.random_range(0.0..1.0f64)).ln()).collect();
            let estimate = mean(&values, &mut draws).unwrap();
            estimate.low <= 1.0 && 1.0 <= estimate.high
        });
        let held = held.count() as f64 / 400.0;
        assert!((0.886..=0.984).contains(&held), "{held}");
    }

    #[test]
    fn the_width_is_that_of_the_normal_law_for_many_items() {
        let mut draws = coins(5);
        let values: Vec<f64> = (0..1000).map(|_| draws.random_range(0.0..1.0)).collect();
        let estimate = mean(&values, &mut draws).unwrap();
        let expected = 2.0 * 1.96 * (1.0 / 12.0f64 / 1000.0).sqrt();
        let width = estimate.high - estimate.low;
        assert!((width / expected - 1.0).abs() < 0.12, "{width} {expected}");
    }

    #[test]
    fn pairing_takes_out_how_much_items_differ() {
        let before: Vec<f64> = (0..100).map(f64::from).collect();
        let after: Vec<f64> = before.iter().map(|value| value + 0.5).collect();
        let estimate = paired_difference(&before, &after, &mut coins(1)).unwrap();
        assert_eq!(estimate, Estimate { mean: 0.5, low: 0.5, high: 0.5 });
    }

    #[test]
    fn a_mean_as_a_statistic_has_the_interval_of_a_mean() {
        let values: Vec<f64> = (0..50).map(|item| f64::from(item).sin()).collect();
        let of = |places: &[usize]| places.iter().map(|place| values[*place]).sum::<f64>() / 50.0;
        let found = statistic(50, &mut coins(3), &of);
        let expected = mean(&values, &mut coins(3)).unwrap();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_has_no_mean_is_refused() {
        assert_eq!(mean(&[], &mut coins(0)), Err(BootstrapError::Empty));
        let refused = mean(&[1.0, f64::INFINITY], &mut coins(0));
        assert_eq!(refused, Err(BootstrapError::NotFinite { index: 1, value: f64::INFINITY }));
        let refused = paired_difference(&[1.0], &[1.0, 2.0], &mut coins(0));
        assert_eq!(refused, Err(BootstrapError::Unpaired { before: 1, after: 2 }));
    }
}
