//! How sure a share is: Wilson's score interval.
//!
//! Unlike the interval of the normal law it stays within 0 and 1 and has a width where all or none were
//! counted. Source: Wilson 1927; Brown, Cai and DasGupta 2001, section 3.1.1.

use kudos_schema::Estimate;

/// The 97.5th percentile of the normal law.
pub(crate) const Z: f64 = 1.959_963_984_540_054;

/// The share of `counted` among `all` with its 95 % interval; none of nothing.
///
/// # Panics
/// If more are counted than there are.
///
/// ```
/// let share = kudos_feedback::wilson(8, 10).expect("ten are something");
/// assert_eq!((share.mean * 10.0).round(), 8.0);
/// assert!(share.low < 0.8 && 0.8 < share.high);
/// ```
pub fn wilson(counted: usize, all: usize) -> Option<Estimate> {
    assert!(counted <= all, "{counted} of {all}");
    if all == 0 {
        return None;
    }
    let n = all as f64;
    let share = counted as f64 / n;
    let shrink = 1.0 + Z * Z / n;
    let center = (share + Z * Z / (2.0 * n)) / shrink;
    let half = Z / shrink * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    // At 0 and 1 the end is exactly there, but for rounding.
    let low = if counted == 0 { 0.0 } else { center - half };
    let high = if counted == all { 1.0 } else { center + half };
    Some(Estimate { mean: share, low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_that_others_print() {
        // scipy 1.17.1, binomtest(counted, all).proportion_ci(method="wilson")
        let check = |counted, all, low: f64, high: f64| {
            let found = wilson(counted, all).unwrap();
            assert!((found.low - low).abs() < 1e-6, "{counted} of {all}: {found:?}");
            assert!((found.high - high).abs() < 1e-6, "{counted} of {all}: {found:?}");
        };
        check(0, 10, 0.0, 0.277_533);
        check(8, 10, 0.490_162, 0.943_318);
        check(10, 10, 0.722_467, 1.0);
        check(50, 100, 0.403_832, 0.596_168);
        assert_eq!(wilson(0, 0), None);
    }

    /// Both ends solve `|share - end| = Z * sqrt(end (1 - end) / n)`, which defines the interval.
    #[test]
    fn the_ends_are_where_the_share_is_just_surprising() {
        for (counted, all) in [(1, 7), (3, 4), (17, 90), (499, 1000)] {
            let found = wilson(counted, all).unwrap();
            for end in [found.low, found.high] {
                let surprise = Z * (end * (1.0 - end) / all as f64).sqrt();
                assert!(((found.mean - end).abs() - surprise).abs() < 1e-12, "{found:?}");
            }
        }
    }
}
