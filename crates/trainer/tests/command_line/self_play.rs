//! Learning from one's own samples: the best of several, imitation of the best, pairs and contests.

use std::fs;

use serde_json::Value;

use crate::toy::{STEPS, Toy};
use crate::{outcome, stdout};

/// A table and a number of its own that the journal has.
const GAMES: [(&str, &str, &str); 4] = [
    ("best", "method = { online_dpo = 'best_and_worst' }", "rewards/margins"),
    ("drawn", "method = { online_dpo = 'as_drawn' }", "logps/chosen"),
    ("spin", "method = { spin = { iteration_steps = 5 } }", "rewards/accuracies"),
    ("nash", "method = { nash_md = { mixture = 0.25 } }\nverdicts = 'bradley_terry'", "wins"),
];

fn recipe(toy: &Toy, name: &str, table: &str) -> String {
    let file = format!("{name}.toml");
    let text = toy.recipe().replace("'reinforce'", "'self_play'");
    // All checkpoints stay, so that a run can go back to one.
    fs::write(toy.path(&file), format!("{text}keep = 20\n[self_play]\n{table}\n")).unwrap();
    file
}

/// A number of each step.
fn series(toy: &Toy, folder: &str, name: &str) -> Vec<f64> {
    let metrics = fs::read_to_string(toy.path(folder).join("metrics.jsonl")).unwrap();
    let rows = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.filter_map(|row| row[name].as_f64()).collect()
}

#[test]
fn every_game_goes_on_to_the_same_bytes_from_a_checkpoint_amid_an_iteration() {
    let toy = Toy::new();
    for (name, table, number) in GAMES {
        let file = recipe(&toy, name, table);
        let run = ["self-play", "--config", &file, "--device", "flex", "--output-dir", name];
        let shown = stdout(&toy.run(&run));
        assert!(shown.contains("before") && shown.contains("after"), "{name}: {shown}");
        let numbers = series(&toy, name, number);
        assert_eq!(numbers.len(), STEPS, "{name}");
        assert!(numbers.iter().any(|value| *value != numbers[0]), "{name}: {numbers:?}");
        let whole = outcome(&toy.path(name));
        let checkpoints = toy.path(name).join("checkpoints");
        for step in 8..=STEPS {
            fs::remove_dir_all(checkpoints.join(format!("step-{step:06}"))).unwrap();
        }
        stdout(&toy.run(&[&run[..], &["--resume"]].concat()));
        assert_eq!(outcome(&toy.path(name)), whole, "{name}");
    }
    // At the start the opponent is the policy itself, so nothing is ahead of anything.
    assert_eq!(series(&toy, "spin", "rewards/margins")[0], 0.0);
    assert!(toy.path("spin/opponents/step-000010/model.safetensors").exists());
}

#[test]
fn imitating_the_best_runs_and_a_game_that_cannot_work_is_refused() {
    let toy = Toy::new();
    let text = toy.recipe().replace("baseline = 'leave_one_out'", "algorithm = 'raft'");
    fs::write(toy.path("raft.toml"), text).unwrap();
    let run = |file: &str, more: &[&str]| {
        let base = ["--config", file, "--device", "flex", "--output-dir", "raft"];
        toy.run(&[&more[..1], &base[..], &more[1..]].concat())
    };
    stdout(&run("raft.toml", &["reinforce"]));
    let check = |table: &str, more: &[&str], expected: &str| {
        let file = recipe(&toy, "refused", table);
        let output = run(&file, &[&["self-play"], more].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(expected), "{error}");
    };
    check("method = { spin = { iteration_steps = 0 } }", &[], "at least 1");
    check("method = { nash_md = { mixture = 0.1 } }", &["--temperature", "0.7"], "plays as it is");
    check("method = { nash_md = { mixture = 1.5 } }", &[], "share from 0 to 1");
    check("method = { online_dpo = 'as_drawn' }", &["--num-generations", "1"], "at least 2");
}

#[test]
fn the_best_of_several_earns_what_the_estimator_expects() {
    let toy = Toy::new();
    let words = |line: &'static str| line.split(' ').collect::<Vec<&str>>();
    let eval = words(
        "eval --model policy --device flex --max-completion-length 8 --json --dataset rows.jsonl \
         --temperature 1 --metric chrf",
    );
    let result = |more: &[&str]| -> Value {
        serde_json::from_str(stdout(&toy.run(&[&eval[..], more].concat())).trim()).unwrap()
    };
    let best = result(&["--best-of", "4"]);
    let expected: Vec<f64> = serde_json::from_value(best["expected_best"].clone()).unwrap();
    assert_eq!(expected.len(), 4);
    assert!(expected.windows(2).all(|pair| pair[0] < pair[1]), "{expected:?}");
    // What chose is what is reported, so the best of all four is the maximum itself.
    assert!((best["score"]["mean"].as_f64().unwrap() - expected[3]).abs() < 1e-6, "{best}");
    assert!(result(&[])["expected_best"].is_null());
    let sample = words("sample --model policy --device flex --prompt red --temperature 1");
    let lengths = |more: &[&str]| -> Vec<usize> {
        let shown = stdout(&toy.run(&[&sample[..], &words("--json"), more].concat()));
        let rows = shown.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.map(|row| row["text"].as_str().unwrap().split_whitespace().count()).collect()
    };
    assert_eq!(
        lengths(&["--num-generations", "2", "--best-of", "6", "--best-by", "distinct"]).len(),
        2
    );
    let refused = toy.run(&[&sample[..], &words("--best-of 3 --best-by chrf")].concat());
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(2) && error.contains("reference"), "{error}");
}
