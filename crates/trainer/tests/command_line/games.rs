//! Games and what is learned from them, as a person runs it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

pub(super) const RECIPE: &str = r#"
game = "maze"
steps = 3
batch = 8

[data]
games = 5

[architecture]
vocab_size = 300
n_layers = 1
d_model = 32
n_heads = 1
n_kv_heads = 1
d_ff = 32

[play]
games = 5
look_every = 2
look_games = 3
"#;

pub(super) fn trainer(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
    command.args(arguments).output().unwrap()
}

pub(super) fn shown(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(super) fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs `q-learn` with the toy recipe.
fn learn(folder: &Path, name: &str, more: &[&str]) -> Output {
    learn_by(RECIPE, (folder, name), more)
}

/// Runs `q-learn` with a recipe.
pub(super) fn learn_by(text: &str, (folder, name): (&Path, &str), more: &[&str]) -> Output {
    let recipe = folder.join("recipe.toml");
    fs::write(&recipe, text).unwrap();
    let out = folder.join(name);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (recipe, out) = (text(&recipe), text(&out));
    let fixed = ["q-learn", "--device", "flex", "--config", &recipe, "--output-dir", &out];
    trainer(&[&fixed, more].concat())
}

#[test]
fn games_of_one_seed_are_the_same_and_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("games.jsonl");
    let file = file.to_str().unwrap();
    let play = |seed| {
        let game = ["games", "--game", "wordle", "--policy", "data", "--games", "20", "--json"];
        shown(&trainer(&[&game[..], &["--seed", seed, "--output", file]].concat()))
    };
    let first = play("3");
    let result: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(result["games"], 20);
    assert_eq!(result["words"], 400);
    assert!(result["mean"].as_f64().unwrap() <= 0.0);
    let kept = fs::read_to_string(file).unwrap();
    assert_eq!(kept.lines().count(), 20);
    assert!(kept.starts_with("{\"game\":\"wordle\",\"turns\":[{\"said\":\"Wordle:\\n\""));
    assert_eq!(play("3"), first);
    assert_ne!(play("4"), first);
}

#[test]
fn a_policy_learns_from_games_and_plays() {
    let folder = tempfile::tempdir().unwrap();
    let result = |name: &str, more: &[&str]| -> Value {
        serde_json::from_str(&shown(&learn(folder.path(), name, more))).unwrap()
    };
    let first = result("first", &[]);
    assert_eq!((&first["method"], &first["game"]), (&"ilql".into(), &"maze".into()));
    assert_eq!(first["played"]["games"], 5);
    let mean = first["played"]["mean"].as_f64().unwrap();
    assert!((-400.0..=0.0).contains(&mean), "{mean}");
    let journal = |name: &str| fs::read_to_string(folder.path().join(name).join("metrics.jsonl"));
    assert_eq!(journal("first").unwrap().lines().count(), 3);
    for name in ["result.json", "recipe.toml", "curve.svg", "model/model.safetensors"] {
        assert!(folder.path().join("first").join(name).exists(), "{name}");
    }
    let again = result("again", &[]);
    assert_eq!(journal("first").unwrap(), journal("again").unwrap());
    assert_eq!(first["played"], again["played"]);
    assert_eq!(result("bc", &["--algorithm", "bc"])["method"], "bc");
}

#[test]
fn a_policy_learns_from_the_best_of_its_own_games() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = format!("{RECIPE}\n[own]\nevery = 2\ngames = 4\nbest_share = 0.5\n");
    let played = learn_by(&recipe, (folder.path(), "own"), &["--algorithm", "bc"]);
    shown(&played);
    let journal = fs::read_to_string(folder.path().join("own/metrics.jsonl")).unwrap();
    let own: Vec<f64> = journal
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter_map(|line| line["own_return"].as_f64())
        .collect();
    let [mean] = own.as_slice() else { panic!("{journal}") };
    assert!((-400.0..=0.0).contains(mean), "{mean}");
}

/// A policy that imitates uniform moves, in `bc/model`.
pub(super) fn imitation(folder: &Path) -> String {
    let recipe =
        RECIPE.replace("steps = 3", "steps = 30").replace("look_every = 2", "look_every = 0");
    let recipe = format!("{recipe}\n[optimizer]\nlearning_rate = 3e-3\n");
    shown(&learn_by(&recipe, (folder, "bc"), &["--algorithm", "bc"]));
    folder.join("bc/model").to_str().unwrap().to_owned()
}

pub(super) fn journal(folder: &Path, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.join(name).join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn values_are_learned_from_where_imitation_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let model = imitation(path);
    let first_loss = |name: &str, more: &[&str]| {
        let mc = ["--algorithm", "mc", "--seed", "3"];
        shown(&learn(path, name, &[&mc, more].concat()));
        journal(path, name)[0]["loss_imitation"].as_f64().unwrap()
    };
    let (anew, from_there) = (first_loss("anew", &[]), first_loss("on", &["--model", &model]));
    assert!(from_there < anew - 1.0, "{from_there} nats a token, {anew} anew");
    let none = ["--model", "no such folder"];
    assert!(refused(&learn(path, "none", &none)).contains("no such folder"));
}

#[test]
fn a_frozen_trunk_leaves_the_policy_and_worth_is_added_to_it_by_every_beta() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let model = imitation(path);
    let recipe = RECIPE.replace("steps = 3", "steps = 3\ntrunk = 'frozen'").replace(
        "look_every",
        "also = [{ beta = 0.0, candidates = 1 }, { beta = 50.0, candidates = 4 }]\nlook_every",
    );
    let mc = ["--algorithm", "mc", "--model", &model];
    let result: Value =
        serde_json::from_str(&shown(&learn_by(&recipe, (path, "mc"), &mc))).unwrap();
    let bytes = |name: &str| fs::read(path.join(name).join("model/model.safetensors")).unwrap();
    assert!(bytes("mc") == bytes("bc"), "the policy is as it was");
    let rows = journal(path, "mc");
    let loss = |row: usize, name: &str| rows[row][name].as_f64().unwrap();
    assert!(loss(2, "loss_q") != loss(0, "loss_q") && loss(0, "grad_norm") > 0.0, "{rows:?}");
    let betas = result["played_also"].as_array().unwrap().iter().map(|also| also["beta"].as_f64());
    assert_eq!(betas.collect::<Vec<_>>(), [Some(0.0), Some(50.0)]);
    let anew = ["--algorithm", "mc"];
    assert!(refused(&learn_by(&recipe, (path, "anew"), &anew)).contains("give --model"));
}

#[test]
fn a_run_whose_heads_read_apart_is_played_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let model = imitation(path);
    let recipe = RECIPE
        .replace("steps = 3", "steps = 3\ntrunk = 'apart'")
        .replace("look_every", "candidates = 3\nbeta = 20.0\nlook_every");
    let ilql = ["--algorithm", "ilql", "--model", &model];
    let result: Value =
        serde_json::from_str(&shown(&learn_by(&recipe, (path, "ilql"), &ilql))).unwrap();
    let bytes = |name: &str| fs::read(path.join(name).join("model/model.safetensors")).unwrap();
    assert!(bytes("ilql") == bytes("bc"), "the policy is as it was");
    let rows = journal(path, "ilql");
    assert!(rows[2]["loss_q"] != rows[0]["loss_q"], "{rows:?}");
    let at = |name: &str| path.join(name).to_str().unwrap().to_owned();
    let play = |of: &str, more: &[&str]| {
        let fixed = ["games", "--game", "maze", "--games", "5", "--json", "--device", "flex"];
        trainer(&[&fixed, &["--model", of][..], more].concat())
    };
    let mean = |output: &Output| -> Value {
        serde_json::from_str::<Value>(&shown(output)).unwrap()["mean"].clone()
    };
    // Greedy play of five starts has no coins.
    assert_eq!(mean(&play(&at("ilql"), &[])), result["played"]["mean"]);
    let kept = at("games.jsonl");
    let alone = play(&at("bc/model"), &["--candidates", "3", "--output", &kept]);
    assert_eq!(mean(&play(&at("ilql"), &["--beta", "0"])), mean(&alone));
    assert_eq!(fs::read_to_string(&kept).unwrap().lines().count(), 5);
    assert!(refused(&play(&at("bc/model"), &["--beta", "2"])).contains("give the folder of"));
    assert!(refused(&trainer(&["games", "--game", "maze"])).contains("give --policy"));
    for (flag, value) in [("--candidates", "0"), ("--temperature", "-1"), ("--beta", "nan")] {
        assert!(refused(&play(&at("ilql"), &[&format!("{flag}={value}")])).contains(flag));
    }
    let other = ["games", "--game", "wordle", "--model", &at("ilql")];
    assert!(refused(&trainer(&other)).contains("give --game maze"));
    let weights = path.join("ilql/valued.safetensors");
    let whole = fs::read(&weights).unwrap();
    fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    assert!(refused(&play(&at("ilql"), &[])).contains("run q-learn again"));
}

#[test]
fn what_cannot_be_learned_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert!(refused(&learn(path, "a", &["--algorithm", "sarsa"])).contains("double-dqn"));
    assert!(refused(&learn(path, "b", &["--dataset", "no.jsonl"])).contains("no.jsonl"));
    let games = ["games", "--game", "maze", "--policy", "data"];
    assert!(refused(&trainer(&games)).contains("optimum"));
}
