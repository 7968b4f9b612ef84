//! The expected best of k draws against all sets of k, counted by Python (`tests/golden/best_of.py`).

use kudos_core::reward::expected_best;
use serde_json::Value;

#[test]
fn the_expected_best_is_the_mean_over_all_sets() {
    let golden: Value = serde_json::from_str(include_str!("golden/best_of.json")).unwrap();
    for case in golden.as_array().unwrap() {
        let numbers = |key: &str| serde_json::from_value::<Vec<f64>>(case[key].clone()).unwrap();
        let (found, expected) = (expected_best(&numbers("rewards")), numbers("expected"));
        assert_eq!(found.len(), expected.len());
        for (ours, theirs) in found.iter().zip(&expected) {
            assert!((ours - theirs).abs() < 1e-12, "{case}: {found:?}");
        }
    }
}
