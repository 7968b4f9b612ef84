//! CIDEr-D against its authors' program; `tests/golden/cider.py` makes the numbers.

use kudos_core::text::cider::{Frequencies, cider_d};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    text: String,
    references: Vec<String>,
    score: f64,
}

#[test]
fn cider_d_equals_its_authors_program() {
    let golden = include_str!("../../../tests/golden/cider.json");
    let golden: Golden = serde_json::from_str(golden).unwrap();
    let items: Vec<Vec<String>> = golden.items.iter().map(|item| item.references.clone()).collect();
    let frequencies = Frequencies::of(&items);
    for item in &golden.items {
        let references: Vec<&str> = item.references.iter().map(String::as_str).collect();
        let found = cider_d(&item.text, &references, &frequencies);
        assert!((found - item.score).abs() < 1e-9, "{}: {found}, not {}", item.text, item.score);
    }
}
