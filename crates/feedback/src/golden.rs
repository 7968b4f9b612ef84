//! The golden numbers of trust in ratings, for the tests of this folder.

use serde_json::Value;

/// Made by tests/golden/trust.py with crowd-kit, krippendorff, choix, arena-rank and scipy.
pub(super) fn trust() -> Value {
    serde_json::from_str(include_str!("../../../tests/golden/trust.json")).unwrap()
}

/// A list of numbers, or a list of such lists one after another.
pub(super) fn numbers(list: &Value) -> Vec<f64> {
    match list.as_array() {
        Some(items) => items.iter().flat_map(numbers).collect(),
        None => vec![list.as_f64().unwrap()],
    }
}

/// The largest distance of two lists, number by number.
pub(super) fn distance(found: &[f64], wanted: &[f64]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let pairs = found.iter().zip(wanted);
    pairs.map(|(found, wanted)| (found - wanted).abs()).fold(0.0, f64::max)
}
