//! Reward models: heads on a policy and on a frozen sentence encoder.

use std::fs;

use serde_json::Value;

use crate::toy::Toy;
use crate::{load, rated, recipe, result, run, wins};

#[test]
fn a_reward_model_foretells_the_raters_and_teaches_by_itself() {
    let toy = rated();
    let text = run(&toy, "reward", &(recipe("reward", "3e-3") + "members = 2\n"));
    let result = result(&toy, "reward");
    let number = |key: &str| result[key].as_f64().unwrap();
    assert!(result["accuracy"]["low"].as_f64().unwrap() > 0.6, "{result}\n{text}");
    assert!(number("log_loss") < 0.6 && number("calibration_error") < 0.15, "{result}");
    let bins = result["bins"].as_array().unwrap();
    let counted: u64 = bins.iter().map(|bin| bin["n"].as_u64().unwrap()).sum();
    // Held-out prompts have pairs alone, which count in either order.
    assert_eq!(counted, 2 * result["n"].as_u64().unwrap());
    let rows = "[[reward]]\nkind = 'learned'\nmodel = 'reward/model'\n";
    let recipe = toy.recipe().replace("[[reward]]\nkind = 'chrf'\n", rows);
    let recipe = recipe.replace("[[reward]]\nkind = 'length'\ntarget = 3\nweight = 0.5\n", "");
    let recipe = recipe.replace("steps = 12", "steps = 60").replace("prompts = 4", "prompts = 16");
    run(&toy, "reinforce", &recipe);
    another_version_is_refused(&toy);
    let (old, new) = (load(&toy, "policy"), load(&toy, "reinforce/model"));
    let (won, decided) = wins(&old, &new);
    assert!(won as f64 > 0.6 * decided as f64, "{won} of {decided}");
}

fn another_version_is_refused(toy: &Toy) {
    let path = toy.path("reward/model/reward.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::create_dir(toy.path("newer")).unwrap();
    let newer = text.replacen("\"version\":2", "\"version\":3", 1);
    fs::write(toy.path("newer/reward.json"), newer).unwrap();
    let output = toy.run(&["judge", "--reward", "newer", "--dataset", "rows.jsonl"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("reward.json: version 3, this program reads 2"), "{text}");
}

#[test]
fn heads_on_a_frozen_sentence_encoder_learn_and_share_its_weights() {
    let toy = Toy::new();
    let rows = |good: &str, bad: &str| {
        format!(r#"{{"prompt": "", "chosen": "the {good} sat", "rejected": "{bad}"}}"#) + "\n"
    };
    let words = ["on the mat", "zero", "quoted", "fine", "too soft", "it ends", "me now", "text"];
    let pairs = words.iter().flat_map(|good| words.map(|bad| rows(&format!("cat {good}"), bad)));
    fs::write(toy.path("pairs.jsonl"), pairs.collect::<String>()).unwrap();
    let encoder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/encoder");
    let recipe = format!(
        "stage = 'reward'\nmodel = '{encoder}'\nsteps = 100\n[data]\ndataset = 'pairs.jsonl'\n\
         [optimizer]\nlearning_rate = 1e-2\n[feedback]\ntrunk = 'frozen'\nmembers = 3\n"
    );
    run(&toy, "reward", &recipe);
    let low = result(&toy, "reward")["accuracy"]["low"].as_f64().unwrap();
    assert!(low > 0.9, "{low}");
    assert!(toy.path("reward/model/0").exists() && !toy.path("reward/model/1").exists());
    let judged = r#"{"prompt": "", "completion": "the cat is here"}
{"prompt": "", "completion": "soft text"}"#;
    fs::write(toy.path("judged.jsonl"), judged).unwrap();
    let arguments = ["judge", "--reward", "reward/model", "--dataset", "judged.jsonl"];
    let output = toy.run(&[&arguments[..], &["--device", "flex"]].concat());
    let lines = String::from_utf8(output.stdout).unwrap();
    let said: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let reward = |row: usize| said[row]["reward"].as_f64().unwrap();
    assert!(reward(0) > 0.5 && reward(1) < -0.5, "{lines}");
    assert_eq!(said[0]["members"].as_array().unwrap().len(), 3, "{lines}");
    assert!(said[0]["uncertainty"].as_f64().unwrap() > 0.0, "{lines}");
}
