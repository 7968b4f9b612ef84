//! How far raters agree: percent agreement and Krippendorff's alpha.
//!
//! Percent agreement is high by chance where nearly everybody says the same; alpha takes that out.
//! Misleads when there are few items.
//! Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, sections B to D.

use std::collections::{BTreeMap, BTreeSet};

use kudos_schema::Agreement;

use crate::alpha::{Scale, alpha};

/// The agreement on items: what each rater said of each, as names without order. Items that fewer
/// than two judged say nothing of agreement and are left out; none where no item is left.
pub fn agreement<V: Ord>(items: &[Vec<V>]) -> Option<Agreement> {
    let values: BTreeSet<&V> = items.iter().flatten().collect();
    let columns: BTreeMap<&V, usize> = values.into_iter().zip(0..).collect();
    let mut counts = vec![0; items.len() * columns.len()];
    for (item, row) in items.iter().zip(counts.chunks_mut(columns.len().max(1))) {
        item.iter().for_each(|value| row[columns[value]] += 1);
    }
    agreement_of_counts(&counts, &vec![0.0; columns.len()], Scale::Nominal)
}

/// The agreement on items of `counts`, how often each was judged to be each of `values`, in ascending
/// order; alpha is that of `scale`. `[items, values]`
///
/// # Panics
/// If `counts` is no whole number of rows.
pub fn agreement_of_counts(counts: &[u32], values: &[f64], scale: Scale) -> Option<Agreement> {
    let (mut items, mut judgements, mut shares) = (0, 0, 0.0);
    for item in counts.chunks(values.len().max(1)) {
        let raters: u32 = item.iter().sum();
        if raters > 1 {
            shares += ordered_pairs(item) / (f64::from(raters) * f64::from(raters - 1));
            judgements += raters as usize;
            items += 1;
        }
    }
    (items > 0).then(|| Agreement {
        items,
        judgements,
        agreement: shares / items as f64,
        alpha: alpha(counts, values, scale),
    })
}

/// Ordered pairs of different judgements with the same value.
fn ordered_pairs(counts: &[u32]) -> f64 {
    let pairs = counts.iter().map(|count| f64::from(*count) * (f64::from(*count) - 1.0));
    pairs.sum()
}

#[cfg(test)]
mod tests {
    use super::Scale;

    fn check(items: &[&str], agreement: f64, alpha: Option<f64>) {
        let judged: Vec<Vec<char>> = items.iter().map(|item| item.chars().collect()).collect();
        let found = super::agreement(&judged).unwrap();
        assert!((found.agreement - agreement).abs() < 1e-12, "{items:?}: {found:?}");
        match (found.alpha, alpha) {
            (None, None) => {}
            (Some(found), Some(alpha)) => {
                assert!((found - alpha).abs() < 1e-12, "{items:?}: {found}");
            }
            (found, alpha) => panic!("{items:?}: {found:?} and not {alpha:?}"),
        }
    }

    #[test]
    fn small_cases_are_those_of_paper_and_pencil() {
        // Coincidences: aa 2, bb 2; nothing off the diagonal.
        check(&["aa", "bb"], 1.0, Some(1.0));
        // n = 4, a 2, b 2; observed 4/4, expected 8/12.
        check(&["ab", "ab"], 0.0, Some(-0.5));
        // aa 2, ab 1, ba 1: n_a = 3, n_b = 1; observed 2/4, expected 6/12.
        check(&["aa", "ab"], 0.5, Some(0.0));
        // aab: pairs aa 2/2 and ab, ba 2/2 each; bb 2: n_a = 2, n_b = 3, n = 5; observed 2/5,
        // expected 12/20; agreement (1/3 + 1) / 2.
        check(&["aab", "bb"], 2.0 / 3.0, Some(1.0 / 3.0));
        check(&["aa", "aaa"], 1.0, None);
    }

    #[test]
    fn items_of_one_rater_change_nothing() {
        check(&["aa", "b", "ab", "", "c"], 0.5, Some(0.0));
        assert_eq!(super::agreement::<char>(&[vec!['a'], vec![]]), None);
    }

    /// Krippendorff 2011, section C: four observers, twelve units, missing values; alpha is .743.
    #[test]
    fn the_published_example_has_its_published_alpha() {
        let observers = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."];
        let units: Vec<Vec<char>> = (0..12)
            .map(|unit| {
                let values = observers.iter().filter_map(|row| row.chars().nth(unit));
                values.filter(|value| *value != '.').collect()
            })
            .collect();
        let found = super::agreement(&units).unwrap();
        assert_eq!((found.items, found.judgements), (11, 40));
        let alpha = found.alpha.unwrap();
        assert_eq!((alpha * 1000.0).round(), 743.0, "{alpha}");
    }

    #[test]
    fn stars_next_to_each_other_agree_more_than_stars_far_apart() {
        // Items of (1, 2), (2, 1), (5, 5) and of (1, 5), (5, 1), (2, 2).
        let near = [1, 1, 0, 1, 1, 0, 0, 0, 2];
        let far = [1, 0, 1, 1, 0, 1, 0, 2, 0];
        let [near, far] = [near, far].map(|counts| {
            super::agreement_of_counts(&counts, &[1.0, 2.0, 5.0], Scale::Ordinal).unwrap()
        });
        assert_eq!((near.items, near.judgements, near.agreement), (3, 6, 1.0 / 3.0));
        assert_eq!(near.agreement, far.agreement);
        assert!(near.alpha > far.alpha);
    }
}
