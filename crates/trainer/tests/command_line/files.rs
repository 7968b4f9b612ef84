//! Policies as files: bundles, folders of others, GGUF; what makes them smaller.

use std::fs;
use std::path::Path;
use std::process::Output;

use burn::tensor::Device;
use kudos_core::text::chat::ChatTemplate;
use serde_json::{Value, json};
use trainer::policy;

use crate::stdout;
use crate::toy::Toy;

#[test]
fn a_policy_goes_into_one_file_and_comes_out_the_same() {
    let toy = Toy::new();
    let card = "name = 'toy'\nsummary = 's'\ntasks = ['dialogue']\nlicense = 'MIT'\nrecipe = 'r'\n";
    fs::write(toy.path("card.toml"), card).unwrap();
    let export =
        |arguments: &str| toy.run(&format!("export {arguments}").split(' ').collect::<Vec<_>>());
    assert!(export("--model policy --card card.toml --output toy.kudos").status.success());
    assert!(export("--model toy.kudos --output again").status.success());
    for entry in fs::read_dir(toy.path("policy")).unwrap() {
        let name = entry.unwrap().file_name();
        let read = |folder: &str| fs::read(toy.path(folder).join(&name)).unwrap();
        assert_eq!(read("policy"), read("again"), "{}", name.display());
    }
    let refused = |arguments: &str, words: &str| {
        let output = export(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && error.contains(words), "{error}");
    };
    refused("--model toy.kudos --output again", "exists: choose another --output");
    fs::write(toy.path("card.toml"), format!("{card}licence = 'MIT'\n")).unwrap();
    refused("--model policy --card card.toml --output b.kudos", "unknown field `licence`");
    fs::write(toy.path("card.toml"), card.replace("dialogue", "chess")).unwrap();
    refused("--model policy --card card.toml --output b.kudos", "no task `chess`");
    let bundle = fs::read(toy.path("toy.kudos")).unwrap();
    fs::write(toy.path("short.kudos"), &bundle[..bundle.len() - 1]).unwrap();
    refused("--model short.kudos --output c", "fetch it again");
    assert!(!toy.path("b.kudos").exists() && !toy.path("c").exists());
}

#[test]
fn a_gguf_file_becomes_a_folder_of_the_same_policy() {
    let toy = Toy::new();
    let stored = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/gguf/llama.gguf");
    let convert = |model: &str, output: &str, more: &[&str]| {
        toy.run(&[&["convert", "--model", model, "--output", output], more].concat())
    };
    stdout(&convert(stored, "folder", &[]));
    stdout(&convert("folder", "half", &["--dtype", "f16"]));
    let sample = |model: &str| {
        let fixed = ["--temperature", "0", "--max-completion-length", "9", "--device", "flex"];
        let asked = ["sample", "--model", model, "--prompt", "the", "--json"];
        let shown = stdout(&toy.run(&[&asked[..], &fixed].concat()));
        serde_json::from_str::<Value>(shown.lines().next().unwrap()).unwrap()["token_ids"].clone()
    };
    assert_eq!(sample("folder"), sample(stored));
    let bytes =
        |folder: &str| fs::metadata(toy.path(folder).join("model.safetensors")).unwrap().len();
    assert!(bytes("half") < bytes("folder") * 6 / 10);
    let again = convert(stored, "folder", &[]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("remove it first"));
}

/// Another folder of the toy's policy, whose `tokenizer_config.json` has no template.
fn without_template(toy: &Toy, name: &str) {
    fs::create_dir(toy.path(name)).unwrap();
    for entry in fs::read_dir(toy.path("policy")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), toy.path(name).join(entry.file_name())).unwrap();
    }
    let path = toy.path(name).join("tokenizer_config.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    let template = config.as_object_mut().unwrap().remove("chat_template").unwrap();
    fs::write(&path, config.to_string()).unwrap();
    let source = template.as_str().unwrap();
    fs::write(toy.path(name).join("chat_template.jinja"), source).unwrap();
}

#[test]
fn a_template_may_stand_in_a_file_of_its_own_or_be_missing() {
    let toy = Toy::new();
    without_template(&toy, "five");
    let template = |folder: &str| {
        let files = policy::read(&toy.path(folder)).unwrap();
        files.load(&Device::flex()).unwrap().template
    };
    assert_eq!(template("five"), template("policy"));
    fs::remove_file(toy.path("five/chat_template.jinja")).unwrap();
    assert_ne!(template("five"), ChatTemplate::default());
    let written = toy.run(&["sample", "--model", "five", "--prompt", "red", "--device", "flex"]);
    stdout(&written);
    fs::write(toy.path("five/model.safetensors.index.json"), "{}").unwrap();
    stdout(&toy.run(&["sample", "--model", "five", "--prompt", "red", "--device", "flex"]));
    fs::remove_file(toy.path("five/model.safetensors")).unwrap();
    let refused = toy.run(&["sample", "--model", "five", "--prompt", "red"]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && error.contains("weight_map"), "{error}");
}

fn compress(toy: &Toy, texts: &[&str], more: &[&str]) -> Output {
    let base = ["compress", "--weights", "int8", "--items", "3", "--device", "flex", "--json"];
    toy.run(&[&base[..], &["--output", "small.kudos"], texts, more].concat())
}

/// The result of a compression that is written, checked for what every one has.
fn compressed(toy: &Toy, texts: &[&str], more: &[&str]) -> Value {
    let result: Value = serde_json::from_str(&stdout(&compress(toy, texts, more))).unwrap();
    for size in [&result["before"], &result["after"]] {
        assert!(size["tokens_per_second"].as_f64().unwrap() > 0.0, "{result}");
        assert!(
            size["reward"].is_number() && size["perplexity"].as_f64().unwrap() > 1.0,
            "{result}"
        );
    }
    let bytes = |which: &str| result[which]["bytes"].as_u64().unwrap();
    assert!(bytes("after") < bytes("before"), "{result}");
    assert_eq!(fs::metadata(toy.path("small.kudos")).unwrap().len(), bytes("after"));
    fs::remove_file(toy.path("small.kudos")).unwrap();
    result
}

#[test]
fn compressing_says_what_is_lost_of_texts_and_of_pictures_or_writes_nothing() {
    let toy = Toy::new();
    let own = ["--model", "policy"];
    let rows = ["--dataset", "rows.jsonl"];
    let kl = compressed(&toy, &rows, &own)["kl_nats"].as_f64().unwrap();
    assert!(kl > 0.0 && kl < 0.01, "{kl}");
    let text = |row: usize| json!({"text": format!("red cat {row} and blue dog run home")});
    let texts: String = (0..60).map(|row| format!("{}\n", text(row))).collect();
    fs::write(toy.path("texts.jsonl"), texts).unwrap();
    compressed(&toy, &["--dataset", "texts.jsonl"], &own);
    let look = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/look.kudos");
    let look = ["--model", look.to_str().unwrap(), "--prune-channels", "32"];
    let result = compressed(&toy, &["--task", "captions"], &look);
    assert_eq!(result["after"]["metric"], "cider", "{result}");
    assert!(result["kl_nats"].as_f64().unwrap() < 0.5, "{result}");
    let fewer = compressed(&toy, &rows, &[&own[..], &["--vocabulary", "270"]].concat());
    let parameters = |which: &str| fewer[which]["parameters"].as_u64().unwrap();
    assert!(parameters("after") < parameters("before"), "{fewer}");
    assert!(fewer["kl_nats"].as_f64().unwrap() > kl, "{fewer}");
    let none = compress(&toy, &rows, &[&own[..], &["--vocabulary", "9"]].concat());
    let error = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(none.status.code() == Some(2) && error.contains("261"), "{error}");
    let refused = compress(&toy, &rows, &[&own[..], &["--max-kl", "0.0"]].concat());
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && error.contains("keep more bits"), "{error}");
    assert!(!toy.path("small.kudos").exists());
}
