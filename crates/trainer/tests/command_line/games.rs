//! Games and what is learned from them, as a person runs it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const RECIPE: &str = r#"
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

fn trainer(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
    command.args(arguments).output().unwrap()
}

fn shown(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs `q-learn` with the toy recipe.
fn learn(folder: &Path, name: &str, more: &[&str]) -> Output {
    learn_by(RECIPE, (folder, name), more)
}

/// Runs `q-learn` with a recipe.
fn learn_by(text: &str, (folder, name): (&Path, &str), more: &[&str]) -> Output {
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

/// A policy that imitates uniform moves, in `bc/model`.
fn imitation(folder: &Path) -> String {
    let recipe =
        RECIPE.replace("steps = 3", "steps = 30").replace("look_every = 2", "look_every = 0");
    let recipe = format!("{recipe}\n[optimizer]\nlearning_rate = 3e-3\n");
    shown(&learn_by(&recipe, (folder, "bc"), &["--algorithm", "bc"]));
    folder.join("bc/model").to_str().unwrap().to_owned()
}

fn journal(folder: &Path, name: &str) -> Vec<Value> {
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
    let other = ["games", "--game", "wordle", "--model", &at("ilql")];
    assert!(refused(&trainer(&other)).contains("give --game maze"));
    let weights = path.join("ilql/valued.safetensors");
    let whole = fs::read(&weights).unwrap();
    fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    assert!(refused(&play(&at("ilql"), &[])).contains("run q-learn again"));
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

#[test]
fn what_cannot_be_learned_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert!(refused(&learn(path, "a", &["--algorithm", "sarsa"])).contains("double-dqn"));
    assert!(refused(&learn(path, "b", &["--dataset", "no.jsonl"])).contains("no.jsonl"));
    let games = ["games", "--game", "maze", "--policy", "data"];
    assert!(refused(&trainer(&games)).contains("optimum"));
}
