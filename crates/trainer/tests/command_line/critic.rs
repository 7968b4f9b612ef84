//! Runs with a critic: what they report, what a checkpoint keeps of it, how they go on.

use std::fs;

use serde_json::Value;

use crate::toy::{STEPS, Toy};
use crate::{outcome, stdout};

/// What stands in the recipe for the objective, and what else.
const TABLES: [(&str, &str); 3] = [
    ("ppo", "algorithm = 'ppo'\n[critic]\nlearning_rate = 0.01\nvalue_clip = { at = 0.05 }"),
    ("a2c", "algorithm = 'a2c'\n[critic]\nvalue_clip = 'off'"),
    ("frozen", "algorithm = 'ppo'\n[critic]\nlearning_rate = 0.01\ntrunk = 'frozen'"),
];

/// The policy learns by small parameters, its critic by all of its own.
const SMALL: (&str, &str) = (
    "small",
    "algorithm = 'ppo'\n[critic]\nlearning_rate = 0.01\n[tuning]\nmethod = 'lora'\nrank = 2",
);

fn recipe(toy: &Toy, (name, table): (&str, &str)) -> String {
    let file = format!("{name}.toml");
    let mut text = toy.recipe().replace("baseline = 'leave_one_out'", table);
    if name == "ppo" {
        text = text.replace("[batch]", "[batch]\nnum_iterations = 2\nmini_batches = 2");
    }
    fs::write(toy.path(&file), text).unwrap();
    file
}

fn run(toy: &Toy, file: &str, output: &str, more: &[&str]) -> std::process::Output {
    let base = ["reinforce", "--config", file, "--device", "flex", "--output-dir", output];
    toy.run(&[&base[..], more].concat())
}

fn rows(toy: &Toy, output: &str) -> Vec<Value> {
    let text = fs::read_to_string(toy.path(output).join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_run_with_a_critic_reports_it_and_keeps_it_in_checkpoints() {
    let toy = Toy::new();
    for table in TABLES {
        let (name, file) = (table.0, recipe(&toy, table));
        stdout(&run(&toy, &file, name, &[]));
        let rows = rows(&toy, name);
        assert_eq!(rows.len(), STEPS);
        let number = |row: &Value, key: &str| row[key].as_f64().unwrap();
        // It begins with expecting nothing, which explains nothing.
        assert!(number(&rows[0], "explained_variance").abs() < 1e-2, "{name}");
        assert!(rows.iter().all(|row| number(row, "value_grad_norm") > 0.0), "{name}");
        let losses: Vec<f64> = rows.iter().map(|row| number(row, "value_loss")).collect();
        assert!(losses[STEPS - 1] < losses[0], "{name}: {losses:?}");
        let held = rows.iter().map(|row| number(row, "value_clip_ratio")).fold(0.0, f64::max);
        assert_eq!(held > 0.0, name == "ppo", "{name}: {held}");
        let last = toy.path(name).join(format!("checkpoints/step-{STEPS:06}"));
        let size = |file: &str| fs::metadata(last.join(file)).unwrap().len();
        let policy = size("model/model.safetensors");
        assert!(size("critic.safetensors") > policy / 2, "{name}");
        // A frozen trunk has no gradients and so no memory of them.
        assert_eq!(size("critic_optimizer.safetensors") < policy / 10, name == "frozen", "{name}");
    }
    stdout(&run(&toy, "recipe.toml", "plain", &[]));
    assert!(rows(&toy, "plain").iter().all(|row| row["value_loss"].is_null()));
    let last = toy.path("plain").join(format!("checkpoints/step-{STEPS:06}"));
    assert!(!last.join("critic.safetensors").exists());
}

#[test]
fn an_interrupted_run_with_a_critic_goes_on_to_the_same_bytes() {
    let toy = Toy::new();
    for table in [TABLES[0], TABLES[2], SMALL] {
        let (name, file) = (table.0, recipe(&toy, table));
        let whole = format!("{name}-whole");
        stdout(&run(&toy, &file, &whole, &[]));
        stdout(&run(&toy, &file, name, &[]));
        // As if it had been killed after its last checkpoint but one.
        let last = format!("checkpoints/step-{STEPS:06}");
        fs::remove_dir_all(toy.path(name).join(&last)).unwrap();
        fs::remove_dir_all(toy.path(name).join("model")).unwrap();
        stdout(&run(&toy, &file, name, &["--resume"]));
        assert_eq!(outcome(&toy.path(name)), outcome(&toy.path(&whole)), "{name}");
        for kept in ["critic.safetensors", "critic_optimizer.safetensors"] {
            let bytes = |run: &str| fs::read(toy.path(run).join(&last).join(kept)).unwrap();
            assert!(bytes(name) == bytes(&whole), "{name}: {kept}");
        }
    }
}

#[test]
fn accumulation_and_micro_batches_leave_a_run_with_a_critic_as_it_is() {
    let toy = Toy::new();
    let file = recipe(&toy, TABLES[1]);
    let slowly = ["--learning-rate", "1e-3"];
    stdout(&run(&toy, &file, "whole", &slowly));
    let text = fs::read_to_string(toy.path(&file)).unwrap();
    let changes = [
        ("accumulated", "prompts = 4", "prompts = 2\ngradient_accumulation_steps = 2"),
        ("micro", "prompts = 4", "prompts = 4\nmicro_batch_size = 3"),
    ];
    for (name, old, new) in changes {
        fs::write(toy.path("changed.toml"), text.replace(old, new)).unwrap();
        stdout(&run(&toy, "changed.toml", name, &slowly));
        for (ours, theirs) in rows(&toy, name).iter().zip(&rows(&toy, "whole")) {
            for metric in ["reward", "loss", "value_loss", "value_grad_norm", "explained_variance"]
            {
                let (a, b) = (ours[metric].as_f64().unwrap(), theirs[metric].as_f64().unwrap());
                assert!((a - b).abs() < 1e-4 * b.abs().max(1.0), "{name} {metric}: {a} {b}");
            }
        }
    }
}

#[test]
fn a_critic_that_cannot_learn_is_refused_with_a_remedy() {
    let toy = Toy::new();
    let check = |table: &str, expected: &str| {
        let file = recipe(&toy, ("refused", &format!("algorithm = 'ppo'\n[critic]\n{table}")));
        let output = run(&toy, &file, "refused", &[]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{table}: {error}");
        assert!(error.contains(expected), "{expected} in {error}");
        assert!(!toy.path("refused").exists());
    };
    check("learning_rate = 0.0", "critic.learning_rate");
    check("value_clip = { at = 0.0 }", "or off");
    check("value_clp = 'off'", "did you mean `value_clip`?");
    let twice = toy.recipe().replace("baseline = 'leave_one_out'", "algorithm = 'a2c'");
    let twice = twice.replace("[batch]", "[batch]\nnum_iterations = 2");
    fs::write(toy.path("twice.toml"), twice).unwrap();
    let output = run(&toy, "twice.toml", "refused", &[]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && error.contains("num_iterations"), "{error}");
}
