//! Krippendorff's alpha: the agreement of raters beyond chance.
//!
//! Measures: how much less raters differ on the same item than judgements drawn from all items would.
//! Formula: `1 - D_observed / D_expected`, the mean distance of pairs within items (each item with m
//! judgements has weight m) over that of pairs across all of them.
//! Range: 1 is full agreement, 0 is that of chance, below 0 raters differ on purpose.
//! Misleads when: nearly everybody says the same (a few exceptions decide), the items are few, or the
//! scale is wrong: on a nominal scale four and five stars are as different as one and five.
//! Reference: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section D; equal to the
//! Python package krippendorff 0.9.

/// How far two values are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// 1 if they differ: names.
    Nominal,
    /// The square of the number of judgements between them, their own counted half: ranks, stars.
    Ordinal,
    /// The square of their difference: measurements.
    Interval,
}

/// What stands in a table of judgements where a rater did not judge an item.
pub const MISSING: u8 = u8::MAX;

/// Alpha of `counts`, how often each item was judged to be each of `values`, in ascending order.
/// `[items, values]`
///
/// Items that fewer than two judged are left out; none where no item is left or where all judgements
/// are the same.
///
/// # Panics
/// If `counts` is no whole number of rows.
///
/// ```
/// use kudos_feedback::{Scale, alpha};
/// // Two raters, three items: both said 1, both said 5, and one said 1 where the other said 2.
/// let counts = [2, 0, 0, 0, 0, 2, 1, 1, 0];
/// let nominal = alpha(&counts, &[1.0, 2.0, 5.0], Scale::Nominal);
/// let interval = alpha(&counts, &[1.0, 2.0, 5.0], Scale::Interval);
/// assert!(nominal < interval);
/// ```
pub fn alpha(counts: &[u32], values: &[f64], scale: Scale) -> Option<f64> {
    let coincidences = coincidences(counts, values.len());
    let totals: Vec<f64> =
        coincidences.chunks(values.len().max(1)).map(|row| row.iter().sum()).collect();
    let all: f64 = totals.iter().sum();
    let (mut observed, mut expected) = (0.0, 0.0);
    for (former, row) in coincidences.chunks(values.len().max(1)).enumerate() {
        for (latter, times) in row.iter().enumerate().skip(former + 1) {
            let distance = match scale {
                Scale::Nominal => 1.0,
                Scale::Ordinal => between(&totals[former..=latter]).powi(2),
                Scale::Interval => (values[latter] - values[former]).powi(2),
            };
            observed += distance * times;
            expected += distance * totals[former] * totals[latter];
        }
    }
    (expected > 0.0).then(|| 1.0 - (all - 1.0) * observed / expected)
}

/// Judgements from the first value to the last, half of those of either end.
fn between(totals: &[f64]) -> f64 {
    let ends = totals[0] + totals[totals.len() - 1];
    totals.iter().sum::<f64>() - ends / 2.0
}

/// How often two judgements of one item are these two values; each item's pairs over its judgements
/// but one. `[values, values]`
fn coincidences(counts: &[u32], n_values: usize) -> Vec<f64> {
    assert!(counts.is_empty() || counts.len().is_multiple_of(n_values), "whole rows of {n_values}");
    let mut found = vec![0.0; n_values * n_values];
    for item in counts.chunks(n_values.max(1)) {
        let judgements: u32 = item.iter().sum();
        if judgements < 2 {
            continue;
        }
        let weight = 1.0 / f64::from(judgements - 1);
        for (former, row) in found.chunks_mut(n_values).enumerate() {
            let times = f64::from(item[former]);
            for (latter, (sum, count)) in row.iter_mut().zip(item).enumerate() {
                let others = f64::from(*count) - if former == latter { 1.0 } else { 0.0 };
                *sum += times * others * weight;
            }
        }
    }
    found
}

/// How often each item was judged to be each of the values 0 to `n_values - 1`; `judgements` is what
/// each rater said of each item, or [`MISSING`]. `[items, raters]` -> `[items, n_values]`
///
/// # Panics
/// If there is no rater.
pub fn count_values(judgements: &[u8], n_raters: usize, n_values: u8) -> Vec<u32> {
    let items = judgements.chunks(n_raters);
    items.flat_map(|item| (0..n_values).map(|value| count(item, value))).collect()
}

/// How often `value` is in `item`. Sums of up to 255 fit a byte: sixteen of them a step on any CPU.
fn count(item: &[u8], value: u8) -> u32 {
    let add = |sum: u8, said: &u8| sum.wrapping_add(u8::from(*said == value));
    item.chunks(usize::from(u8::MAX)).map(|part| u32::from(part.iter().fold(0, add))).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::golden::{numbers, trust};

    /// Made by tests/golden/trust.py with the package krippendorff.
    #[test]
    fn alpha_is_that_of_krippendorff_on_random_tables_with_gaps() {
        let cases = trust()["alpha"].as_array().cloned().unwrap();
        assert_eq!(cases.len(), 4);
        for case in cases {
            let rows = case["judgements"].as_array().cloned().unwrap();
            let rows: Vec<&str> = rows.iter().map(|row| row.as_str().unwrap()).collect();
            let code = |byte: u8| if byte == b'.' { MISSING } else { byte - b'0' };
            let judgements: Vec<u8> = rows.iter().flat_map(|row| row.bytes().map(code)).collect();
            let values = numbers(&case["values"]);
            let counts = count_values(&judgements, rows[0].len(), values.len() as u8);
            for (scale, name) in [
                (Scale::Nominal, "nominal"),
                (Scale::Ordinal, "ordinal"),
                (Scale::Interval, "interval"),
            ] {
                let (found, wanted) = (alpha(&counts, &values, scale), case[name].as_f64());
                let distance = (found.unwrap() - wanted.unwrap()).abs();
                assert!(distance < 1e-12, "{name}: {found:?}, not {wanted:?}");
            }
        }
    }

    #[test]
    fn nothing_to_disagree_about_has_no_alpha() {
        assert_eq!(alpha(&[], &[1.0, 2.0], Scale::Nominal), None);
        assert_eq!(alpha(&[], &[], Scale::Ordinal), None);
        assert_eq!(alpha(&[1, 0, 0, 1], &[1.0, 2.0], Scale::Ordinal), None);
        assert_eq!(alpha(&[2, 0, 3, 0], &[1.0, 2.0], Scale::Interval), None);
    }

    #[test]
    fn long_rows_are_counted_whole() {
        let row: Vec<u8> = (0..1000).map(|rater| [0, 1, 1, MISSING][rater % 4]).collect();
        assert_eq!(count_values(&row, 1000, 2), [250, 500]);
        assert_eq!(count_values(&[1; 700], 700, 2), [0, 700]);
    }

    proptest! {
        #[test]
        fn two_values_have_one_alpha_on_every_scale(
            counts in prop::collection::vec(0u32..6, 2..40).prop_filter("rows", |it| it.len() % 2 == 0)
        ) {
            let all = [Scale::Nominal, Scale::Ordinal, Scale::Interval];
            let [nominal, ordinal, interval] = all.map(|scale| alpha(&counts, &[-1.0, 3.0], scale));
            prop_assert_eq!(nominal.is_some(), ordinal.is_some());
            if let (Some(nominal), Some(ordinal), Some(interval)) = (nominal, ordinal, interval) {
                prop_assert!((nominal - ordinal).abs() < 1e-9 && (nominal - interval).abs() < 1e-9);
            }
        }
    }
}
