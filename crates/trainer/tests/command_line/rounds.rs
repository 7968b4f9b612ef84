//! Rounds of games that a policy learns from by what it earned, and runs over games that were stopped, as a person runs them.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::games::{RECIPE, imitation, journal, learn_by, refused, shown, trainer};

const ROUNDS: &str = r#"
game = "maze"
rounds = 3
games = 5

[critic]
learning_rate = 3e-3
warmup_rounds = 1

[play]
games = 5
temperature = 1.0
look_every = 2
look_games = 3
"#;

/// Runs `reinforce-games` with a recipe.
fn reinforce(text: &str, (folder, name): (&Path, &str), more: &[&str]) -> Output {
    let recipe = folder.join("rounds.toml");
    fs::write(&recipe, text).unwrap();
    let out = folder.join(name);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (recipe, out) = (text(&recipe), text(&out));
    let fixed = ["reinforce-games", "--device", "flex", "--config", &recipe, "--output-dir", &out];
    trainer(&[&fixed, more].concat())
}

#[test]
fn a_policy_learns_from_what_it_earned() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let model = imitation(path);
    let result = |text: &str, name: &str| -> Value {
        let output = reinforce(text, (path, name), &["--model", &model]);
        serde_json::from_str(&shown(&output)).unwrap()
    };
    let first = result(ROUNDS, "first");
    assert_eq!((&first["method"], &first["rounds"]), (&"ppo".into(), &3.into()));
    for name in ["result.json", "recipe.toml", "curve.svg", "return.svg", "model/config.json"] {
        assert!(path.join("first").join(name).exists(), "{name}");
    }
    let rows = journal(path, "first");
    // A critic that learns alone, then both.
    assert!(rows[0]["loss"].is_null() && rows[0]["value_loss"].is_number());
    assert!(rows[1]["loss"].is_number() && rows[1]["clip_ratio"].is_number());
    let bytes = |name: &str| fs::read(path.join(name).join("model/model.safetensors")).unwrap();
    let again = result(ROUNDS, "again");
    assert_eq!((&first["played"], &first["start"]), (&again["played"], &again["start"]));
    assert_eq!((rows, bytes("first")), (journal(path, "again"), bytes("again")));
}

/// As if the run had been killed after its last checkpoint but one, and taken up again.
fn killed_and_resumed(folder: &Path, verb: &str, last: usize) {
    fs::remove_dir_all(folder.join(format!("checkpoints/step-{last:06}"))).unwrap();
    fs::remove_dir_all(folder.join("model")).unwrap();
    fs::remove_file(folder.join("result.json")).unwrap();
    let out = folder.to_str().unwrap();
    shown(&trainer(&[verb, "--device", "flex", "--resume", "--output-dir", out]));
}

#[test]
fn an_interrupted_run_over_games_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let bytes = |name: &str| fs::read(path.join(name).join("model/model.safetensors")).unwrap();
    let played = |name: &str| -> Value {
        let text = fs::read_to_string(path.join(name).join("result.json")).unwrap();
        let result: Value = serde_json::from_str(&text).unwrap();
        [&result["start"], &result["played"]].into_iter().cloned().collect()
    };
    let same = |whole: &str, parts: &str| {
        assert_eq!(journal(path, whole), journal(path, parts));
        assert_eq!(played(whole), played(parts));
        assert!(bytes(whole) == bytes(parts), "{whole}");
    };
    let recipe = format!(
        "save_every = 1\n{}\n[own]\nevery = 2\ngames = 4\nreplay = 20\n",
        RECIPE.replace("steps = 3", "steps = 5")
    );
    for name in ["q", "q-parts"] {
        shown(&learn_by(&recipe, (path, name), &[]));
    }
    killed_and_resumed(&path.join("q-parts"), "q-learn", 5);
    same("q", "q-parts");
    let model = imitation(path);
    let rounds = format!("save_every = 1\n{ROUNDS}");
    for name in ["ppo", "ppo-parts"] {
        shown(&reinforce(&rounds, (path, name), &["--model", &model]));
    }
    killed_and_resumed(&path.join("ppo-parts"), "reinforce-games", 3);
    same("ppo", "ppo-parts");
    let other = ["--model", &model, "--resume", "--seed", "9"];
    assert!(refused(&reinforce(&rounds, (path, "ppo"), &other)).contains("seed = 9"));
    let nothing = path.join("nothing");
    let nothing = ["q-learn", "--resume", "--output-dir", nothing.to_str().unwrap()];
    assert!(refused(&trainer(&nothing)).contains("holds no run"));
}

#[test]
fn a_policy_that_imitates_random_guesses_learns_to_guess_what_fits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let words = path.join("words.txt");
    fs::write(&words, "slate\ncrane\nmoist\n").unwrap();
    let words = words.to_str().unwrap();
    let imitate = r#"
game = "wordle"
steps = 120
batch = 16
[data]
games = 200
[architecture]
vocab_size = 300
context_length = 96
n_layers = 1
d_model = 32
n_heads = 2
n_kv_heads = 2
d_ff = 64
[optimizer]
learning_rate = 5e-3
warmup_steps = 5
[play]
games = 1
look_every = 0
"#;
    let more = ["--algorithm", "bc", "--words", words];
    shown(&learn_by(imitate, (path, "bc"), &more));
    let rounds = r#"
game = "wordle"
rounds = 25
games = 48
reward_scale = 1.0
[ppo]
mini_batches = 1
entropy_coef = 0.0
[critic]
learning_rate = 5e-3
[optimizer]
learning_rate = 3e-3
warmup_steps = 1
[play]
games = 100
temperature = 1.0
look_every = 0
"#;
    let model = path.join("bc/model");
    let more = ["--words", words, "--model", model.to_str().unwrap()];
    let result: Value =
        serde_json::from_str(&shown(&reinforce(rounds, (path, "ppo"), &more))).unwrap();
    let mean = |games: &str| result[games]["mean"].as_f64().unwrap();
    // Random guesses come to -2, and the best there is to -2/3: a third is guessed at once, the rest then known.
    assert!(mean("start") < -1.5, "{result}");
    assert!(mean("played") > -1.2, "{result}");
}

#[test]
fn micro_batches_change_nothing_of_a_round() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let model = imitation(path);
    let run = |size: usize| -> Vec<Value> {
        let recipe = ROUNDS.replace("rounds = 3", "rounds = 2");
        let recipe = format!("micro_batch_size = {size}\n{recipe}\n[ppo]\nbeta = 0.1\n");
        let name = size.to_string();
        shown(&reinforce(&recipe, (path, &name), &["--model", &model]));
        journal(path, &name)
    };
    let (whole, parts) = (run(10_000), run(7));
    for (whole, parts) in whole.iter().zip(&parts) {
        for (name, value) in whole.as_object().unwrap() {
            let (one, other) = (value.as_f64().unwrap(), parts[name].as_f64().unwrap());
            assert!((one - other).abs() <= 1e-3 * one.abs().max(1.0), "{name}: {one} and {other}");
        }
    }
}

#[test]
fn games_that_cannot_be_played_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let refuse = |text: &str, more: &[&str]| refused(&reinforce(text, (path, "x"), more));
    assert!(refuse(ROUNDS, &[]).contains("--model"));
    assert!(refuse(ROUNDS, &["--model", "nowhere"]).contains("nowhere"));
    assert!(refuse("[ppo]\nepsilon = 2.0\n", &[]).contains("ppo.epsilon"));
    assert!(refuse("[ppo]\nclip = 2.0\n", &[]).contains("clip"));
}
