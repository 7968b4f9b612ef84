//! How far raters agree: percent agreement and Krippendorff's alpha for nominal values.
//!
//! Percent agreement is high by chance where nearly everybody says the same; alpha takes that out.
//! Misleads when there are few items, or when values have an order that nominal alpha does not see
//! (four and five stars are as different as one and five).
//! Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, sections B and C.

use std::collections::BTreeMap;

use kudos_schema::Agreement;

/// The agreement on items: what each rater said of each. Items that fewer than two judged say nothing
/// of agreement and are left out; none where no item is left.
pub fn agreement<V: Ord>(items: &[Vec<V>]) -> Option<Agreement> {
    let mut values: BTreeMap<&V, usize> = BTreeMap::new();
    let (mut count, mut judgements) = (0, 0);
    // Sum over items of agreeing pairs of raters, each over the item's pairs; and over its raters
    // but one, as in the diagonal of the matrix of coincidences.
    let (mut shares, mut coincidences) = (0.0, 0.0);
    for item in items.iter().filter(|item| item.len() > 1) {
        let mut own: BTreeMap<&V, usize> = BTreeMap::new();
        item.iter().for_each(|value| *own.entry(value).or_default() += 1);
        let (raters, agreeing) = (item.len() as f64, ordered_pairs(own.values()));
        shares += agreeing / (raters * (raters - 1.0));
        coincidences += agreeing / (raters - 1.0);
        count += 1;
        judgements += item.len();
        own.into_iter().for_each(|(value, times)| *values.entry(value).or_default() += times);
    }
    if count == 0 {
        return None;
    }
    let n = judgements as f64;
    let observed = 1.0 - coincidences / n;
    let expected = 1.0 - ordered_pairs(values.values()) / (n * (n - 1.0));
    // One value alone: there was nothing to disagree about.
    let alpha = (values.len() > 1).then(|| 1.0 - observed / expected);
    Some(Agreement { items: count, judgements, agreement: shares / count as f64, alpha })
}

/// Ordered pairs of different judgements with the same value.
fn ordered_pairs<'a>(counts: impl Iterator<Item = &'a usize>) -> f64 {
    counts.map(|count| (count * (count - 1)) as f64).sum()
}

#[cfg(test)]
mod tests {
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
}
