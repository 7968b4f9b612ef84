//! Objectives by name through whole runs: what they report, and what a run says of its numbers.

use std::fs;

use serde_json::Value;

use crate::stdout;
use crate::toy::Toy;

/// Algorithms without a critic, which have tests of their own.
const ALGORITHMS: [&str; 9] = [
    "rloo",
    "grpo",
    "dr_grpo",
    "dapo",
    "reinforce_plus_plus",
    "reinforce_plus_plus_baseline",
    "remax",
    "gspo",
    "cispo",
];

/// A run of two steps with `objective` in its recipe and these flags: its metrics, and what it said.
fn run(toy: &Toy, objective: &str, more: &[&str]) -> (Vec<Value>, String) {
    run_recipe(toy, (&toy.recipe(), objective), &[&["--steps", "2"], more].concat())
}

fn run_recipe(toy: &Toy, (recipe, objective): (&str, &str), more: &[&str]) -> (Vec<Value>, String) {
    let text = recipe.replace("baseline = 'leave_one_out'", objective);
    fs::write(toy.path("objective.toml"), text).unwrap();
    let base = ["reinforce", "--config", "objective.toml", "--device", "flex"];
    let output = toy.run(&[&base[..], &["--output-dir", "run"], more].concat());
    stdout(&output);
    let metrics = fs::read_to_string(toy.path("run/metrics.jsonl")).unwrap();
    fs::remove_dir_all(toy.path("run")).unwrap();
    let rows = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (rows, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn every_algorithm_runs_and_moves_the_policy() {
    let toy = Toy::new();
    for algorithm in ALGORITHMS {
        let (rows, said) = run(&toy, &format!("algorithm = '{algorithm}'"), &[]);
        assert_eq!(rows.len(), 2, "{algorithm}");
        let moved = rows.iter().all(|row| row["grad_norm"].as_f64().unwrap() > 0.0);
        assert!(moved, "{algorithm}: {said}");
    }
}

#[test]
fn groups_without_signal_are_spoken_of_where_groups_are_compared() {
    let toy = Toy::new();
    // One completion like another.
    let greedy = ["--temperature", "0.01"];
    for (algorithm, advised) in [("grpo", true), ("remax", false), ("reinforce_plus_plus", false)] {
        let (_, said) = run(&toy, &format!("algorithm = '{algorithm}'"), &greedy);
        assert_eq!(said.contains("groups say nothing"), advised, "{algorithm}: {said}");
    }
    let (rows, said) = run(&toy, "algorithm = 'dapo'", &greedy);
    assert!(rows[0]["groups/resampled"].as_f64().unwrap() > 0.0, "{said}");
    assert!(said.contains("groups say nothing") && !said.contains("to drop"), "{said}");
}

#[test]
fn ratios_that_explode_are_told_of() {
    let toy = Toy::new();
    let unbounded = "algorithm = 'grpo'\nsurrogate = { ratio = { level = 'sequence' } }";
    let recipe = toy.recipe().replace("[batch]", "[batch]\nnum_iterations = 6");
    assert_ne!(recipe, toy.recipe());
    let faster = ["--steps", "3", "--learning-rate", "0.1"];
    let (_, said) = run_recipe(&toy, (&recipe, unbounded), &faster);
    assert!(said.contains("of a ratio above 100"), "{said}");
    let (_, said) = run(&toy, "algorithm = 'grpo'", &[]);
    assert!(!said.contains("of a ratio above 100"), "{said}");
}
