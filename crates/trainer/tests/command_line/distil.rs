//! Distillation as a person runs it: the toy policy teaches a smaller one.

use std::fs;

use serde_json::Value;

use crate::toy::Toy;
use crate::{outcome, stdout};

const STEPS: usize = 3;

/// Writes a recipe and runs it.
fn distill(toy: &Toy, (name, table): (&str, &str), more: &[&str]) -> std::process::Output {
    let recipe = format!(
        "stage = 'distill'\nsteps = {STEPS}\n[data]\ndataset = 'rows.jsonl'\n[batch]\nprompts = 4\n\
         num_generations = 2\n[architecture]\nvocab_size = 280\ncontext_length = 48\nn_layers = 1\n\
         d_model = 16\nn_heads = 1\nn_kv_heads = 1\nd_ff = 16\n[sampling]\nmax_completion_length = 6\n\
         [optimizer]\nlearning_rate = 0.01\n[watch]\neval_items = 3\nvalidation_items = 3\nsave_every = 1\n\
         [distil]\n{table}\n"
    );
    let file = format!("{name}.toml");
    fs::write(toy.path(&file), recipe).unwrap();
    let base = ["distill", "--teacher", "policy", "--config", &file, "--device", "flex"];
    toy.run(&[&base[..], &["--output-dir", name], more].concat())
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn result(toy: &Toy, name: &str) -> Value {
    let text = fs::read_to_string(toy.path(name).join("result.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

const LEVELS: [(&str, &str); 3] = [
    ("token", "level = 'token'\ntop_k = 8"),
    ("sequence", "level = 'sequence'"),
    ("on-policy", "level = 'on_policy'\ntop_k = 256\ndivergence = { beta = 1.0 }"),
];

#[test]
fn a_second_run_reads_what_the_teacher_said_and_does_not_open_it() {
    let toy = Toy::new();
    for (name, table) in LEVELS {
        let run = |output: &str| distill(&toy, (output, table), &["--cache", "cache"]);
        let first = run(&format!("{name}-1"));
        let shown: Value = serde_json::from_str(&stdout(&first)).unwrap();
        assert!(said(&first).contains("the teacher is opened"), "{name}");
        let again = run(&format!("{name}-2"));
        stdout(&again);
        let opened = said(&again).contains("the teacher is opened");
        // What the student writes is new, and asked anew.
        assert_eq!(opened, name == "on-policy", "{}", said(&again));
        assert!(said(&again).contains(" 0 asked"), "{}", said(&again));
        let [one, two] = [1, 2].map(|number| outcome(&toy.path(&format!("{name}-{number}"))));
        assert_eq!(one, two, "{name}");
        let written = fs::read_to_string(toy.path(&format!("{name}-1/written.jsonl")));
        assert_eq!(written.is_ok_and(|rows| rows.contains("completion")), name == "sequence");
        assert_eq!(shown, result(&toy, &format!("{name}-1")));
        for who in ["student", "teacher"] {
            let nll = shown[who]["nll_nats"].as_f64().unwrap();
            let perplexity = shown[who]["perplexity"].as_f64().unwrap();
            assert!((nll.exp() - perplexity).abs() < 1e-9 && nll > 0.0, "{name}: {shown}");
        }
    }
}

#[test]
fn a_student_that_is_its_teacher_has_nothing_to_learn() {
    let toy = Toy::new();
    let table = "level = 'token'\ntop_k = 8\ndivergence = { beta = 0.5 }";
    stdout(&distill(&toy, ("same", table), &["--model", "policy"]));
    let metrics = fs::read_to_string(toy.path("same/metrics.jsonl")).unwrap();
    let first: Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    assert!(first["loss"].as_f64().unwrap().abs() < 1e-6, "{metrics}");
    stdout(&distill(&toy, ("other", table), &[]));
    let metrics = fs::read_to_string(toy.path("other/metrics.jsonl")).unwrap();
    let first: Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    assert!(first["loss"].as_f64().unwrap() > 1e-4, "{metrics}");
}

#[test]
fn an_interrupted_distillation_goes_on_to_the_same_bytes() {
    let toy = Toy::new();
    for (name, table) in LEVELS {
        let whole = format!("{name}-whole");
        stdout(&distill(&toy, (&whole, table), &[]));
        stdout(&distill(&toy, (name, table), &[]));
        // As if it had been killed after its last checkpoint but one.
        let folder = toy.path(name);
        fs::remove_dir_all(folder.join(format!("checkpoints/step-{STEPS:06}"))).unwrap();
        fs::remove_dir_all(folder.join("model")).unwrap();
        stdout(&distill(&toy, (name, table), &["--resume"]));
        assert_eq!(outcome(&folder), outcome(&toy.path(&whole)), "{name}");
    }
}

#[test]
fn what_cannot_be_distilled_is_refused_with_a_remedy() {
    let toy = Toy::new();
    let check = |table: &str, more: &[&str], expected: &str| {
        let output = distill(&toy, ("refused", table), more);
        let error = said(&output);
        assert_eq!(output.status.code(), Some(2), "{table}: {error}");
        assert!(error.contains(expected), "{expected} in {error}");
    };
    // The shipped policy has another tokenizer.
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/base.kudos");
    check("level = 'token'", &["--model", shipped], "distil.level = \"sequence\"");
    check("top_k = 100000", &[], "top_k");
    check("divergence = { beta = 1.5 }", &[], "from 0 to 1");
    check("level = 'sequence'\nbest_share = 0.5", &[], "[[reward]]");
    check("lewel = 'token'", &[], "`level`");
    let nobody = toy.run(&["distill", "--teacher", "nowhere", "--dataset", "rows.jsonl"]);
    assert!(nobody.status.code() == Some(2) && said(&nobody).contains("nowhere"));
    let nobody = toy.run(&["distill", "--dataset", "rows.jsonl", "--device", "flex"]);
    assert!(nobody.status.code() == Some(2) && said(&nobody).contains("--teacher"));
}
