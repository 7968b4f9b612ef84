//! Runs that tune small parameters: what they leave, what a checkpoint keeps, how they go on.

use std::fs;

use crate::toy::{STEPS, Toy};
use crate::{outcome, stdout};

/// A table and whether what it tunes becomes part of the weights.
const TABLES: [(&str, &str, bool); 7] = [
    ("lora", "method = 'lora'\nrank = 2", true),
    ("dora", "method = 'lora'\nrank = 2\nuse_dora = true\ndropout = 0.1", true),
    (
        "adalora",
        "method = 'adalora'\ninit_rank = 3\ntarget_rank = 1\nt_init = 2\nt_final = 2",
        true,
    ),
    ("ia3", "method = 'ia3'", true),
    ("bottleneck", "method = 'bottleneck'\nwidth = 4", false),
    ("prefix", "method = 'prefix'\nnum_virtual_tokens = 2", false),
    ("prompt", "method = 'prompt'\nnum_virtual_tokens = 2", false),
];

fn recipe(toy: &Toy, name: &str, table: &str) -> String {
    let file = format!("{name}.toml");
    fs::write(toy.path(&file), format!("{}[tuning]\n{table}\n", toy.recipe())).unwrap();
    file
}

#[test]
fn a_tuned_run_leaves_an_adapter_that_gives_the_policy_again() {
    let toy = Toy::new();
    let base = fs::read(toy.path("policy/model.safetensors")).unwrap();
    for (name, table, merges) in TABLES {
        let file = recipe(&toy, name, table);
        let run = ["reinforce", "--config", &file, "--device", "flex", "--output-dir", name];
        stdout(&toy.run(&run));
        let out = toy.path(name);
        let adapter = fs::metadata(out.join("adapter/adapter_model.safetensors")).unwrap();
        assert!(adapter.len() < base.len() as u64 / 2, "{name}: {} bytes", adapter.len());
        assert_eq!(out.join("model").exists(), merges, "{name}");
        let last = out.join(format!("checkpoints/step-{STEPS:06}"));
        assert!(last.join("tuned.safetensors").exists() && !last.join("model").exists(), "{name}");
        let adapter = format!("{name}/adapter");
        let eval = |more: &[&str]| {
            let base = ["eval", "--dataset", "rows.jsonl", "--device", "flex", "--items", "12"];
            let json = ["--json", "--max-completion-length", "6"];
            let shown = stdout(&toy.run(&[&base[..], &json, more].concat()));
            let result: serde_json::Value = serde_json::from_str(shown.trim()).unwrap();
            result["nll_nats"].as_f64().unwrap()
        };
        let with = eval(&["--model", "policy", "--adapter", &adapter]);
        let without = eval(&["--model", "policy"]);
        // Merged zeros would leave every bit: AdaLoRA moves little in a dozen steps, but it moves.
        assert_ne!(with, without, "{name} learned nothing");
        if merges {
            let merged = eval(&["--model", &format!("{name}/model")]);
            assert!((with - merged).abs() < 1e-4, "{name}: {with}, merged {merged}");
        }
    }
    assert_eq!(fs::read(toy.path("policy/model.safetensors")).unwrap(), base);
}

#[test]
fn an_adapter_becomes_part_of_what_is_exported_or_is_refused() {
    let toy = Toy::new();
    for (name, table, merges) in [TABLES[0], TABLES[6]] {
        let file = recipe(&toy, name, table);
        let run = ["sft", "--config", &file, "--device", "flex", "--output-dir", name];
        let text = fs::read_to_string(toy.path(&file)).unwrap();
        let text = text.replace("stage = 'reinforce'", "stage = 'sft'");
        fs::write(toy.path(&file), text).unwrap();
        stdout(&toy.run(&run));
        let (adapter, exported) = (format!("{name}/adapter"), format!("{name}-exported"));
        let export = ["export", "--model", "policy", "--adapter", &adapter, "--output", &exported];
        let output = toy.run(&export);
        if merges {
            stdout(&output);
            let bytes =
                |folder: &str| fs::read(toy.path(folder).join("model.safetensors")).unwrap();
            assert_eq!(bytes(&exported), bytes(&format!("{name}/model")));
        } else {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(2) && error.contains("LoRA"), "{error}");
        }
    }
    let one = |more: &[&str]| {
        let base = ["sample", "--model", "policy", "--prompt", "red cat", "--device", "flex"];
        let short = ["--temperature", "0", "--max-completion-length", "4", "--json"];
        stdout(&toy.run(&[&base[..], &short, more].concat()))
    };
    let both = one(&["--adapter", "lora/adapter", "--adapter", "prompt/adapter"]);
    let each = one(&["--adapter", "lora/adapter"]) + &one(&["--adapter", "prompt/adapter"]);
    assert_eq!(both, each, "adapters take turns on one base");
}

#[test]
fn an_interrupted_tuning_goes_on_to_the_same_bytes() {
    let toy = Toy::new();
    for (name, table, _) in [TABLES[1], TABLES[2]] {
        let file = recipe(&toy, name, table);
        let whole = format!("{name}-whole");
        let run = |output: &str, more: &[&str]| {
            let base = ["reinforce", "--config", &file, "--device", "flex", "--output-dir", output];
            toy.run(&[&base[..], more].concat())
        };
        stdout(&run(&whole, &[]));
        stdout(&run(name, &[]));
        // As if it had been killed after its last checkpoint but one.
        let last = toy.path(name).join(format!("checkpoints/step-{STEPS:06}"));
        fs::remove_dir_all(last).unwrap();
        fs::remove_dir_all(toy.path(name).join("model")).unwrap();
        stdout(&run(name, &["--resume"]));
        assert_eq!(outcome(&toy.path(name)), outcome(&toy.path(&whole)), "{name}");
    }
}

#[test]
fn a_table_that_cannot_be_followed_is_refused_with_a_remedy() {
    let toy = Toy::new();
    let check = |table: &str, expected: &str| {
        let file = recipe(&toy, "refused", table);
        let run = ["reinforce", "--config", &file, "--device", "flex", "--output-dir", "refused"];
        let output = toy.run(&run);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{table}: {error}");
        assert!(error.contains(expected), "{expected} in {error}");
    };
    check("method = 'lorra'", "lora");
    check("method = 'lora'\nrang = 3", "rank");
    check("method = 'full'\nrank = 3", "rank");
    check("method = 'lora'\nrank = 0", "tuning.rank must be at least 1");
    check("method = 'adalora'\nt_init = 6\nt_final = 6", "t_init");
    check("method = 'prompt'\nnum_virtual_tokens = 64", "num_virtual_tokens");
    let refused = toy.run(&["eval", "--adapter", "policy", "--dataset", "rows.jsonl"]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && error.contains("adapter_config.json"), "{error}");
}

#[test]
fn an_adapter_alone_is_a_small_bundle_that_names_its_base() {
    let toy = Toy::new();
    for (name, table, _) in [TABLES[0], TABLES[3]] {
        let file = recipe(&toy, name, table);
        let text = fs::read_to_string(toy.path(&file)).unwrap();
        fs::write(toy.path(&file), text.replace("stage = 'reinforce'", "stage = 'sft'")).unwrap();
        stdout(&toy.run(&["sft", "--config", &file, "--device", "flex", "--output-dir", name]));
    }
    let alone = |model: &str, adapter: &str, output: &str| {
        let export = ["export", "--model", model, "--alone", "--adapter", adapter];
        toy.run(&[&export[..], &["--output", output]].concat())
    };
    stdout(&toy.run(&["export", "--model", "policy", "--output", "toy.kudos"]));
    stdout(&alone("toy.kudos", "lora/adapter", "small.kudos"));
    let [whole, small] = ["toy.kudos", "small.kudos"].map(|name| fs::read(toy.path(name)).unwrap());
    assert!(small.len() < whole.len() / 2, "{} of {} bytes", small.len(), whole.len());
    let read = kudos_core::bundle::unpack_adapter(&small).unwrap().unwrap();
    assert_eq!(read.base, kudos_core::bundle::sha256(&whole));
    assert_eq!(read.manifest.name, "small");
    let refused = |output: std::process::Output, words: &str| {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && error.contains(words), "{error}");
    };
    refused(alone("policy", "lora/adapter", "a.kudos"), "give the bundle that pages have");
    refused(alone("toy.kudos", "ia3/adapter", "a.kudos"), "IA3");
    refused(alone("toy.kudos", "policy", "a.kudos"), "an adapter is a folder with");
    refused(toy.run(&["sample", "--model", "small.kudos", "--prompt", "x"]), &read.base);
    refused(toy.run(&["export", "--alone", "--output", "a.kudos"]), "--adapter");
    assert!(!toy.path("a.kudos").exists());
}
