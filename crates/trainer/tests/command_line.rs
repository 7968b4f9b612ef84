//! The program as a person runs it: a toy policy is taught, killed, resumed, evaluated and misused.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "command_line/critic.rs"]
mod critic;
#[path = "command_line/distil.rs"]
mod distil;
#[path = "command_line/files.rs"]
mod files;
#[path = "command_line/games.rs"]
mod games;
#[path = "command_line/minilm.rs"]
mod minilm;
#[path = "command_line/objectives.rs"]
mod objectives;
#[path = "command_line/plan.rs"]
mod plan;
#[path = "command_line/rounds.rs"]
mod rounds;
#[path = "command_line/self_play.rs"]
mod self_play;
#[path = "command_line/smollm2.rs"]
mod smollm2;
#[path = "command_line/toy.rs"]
mod toy;
#[path = "command_line/tuning.rs"]
mod tuning;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use kudos_core::text::tokenizer::Tokenizer;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use toy::{STEPS, Toy};

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What must not depend on interruptions.
fn outcome(folder: &Path) -> (String, String, Vec<u8>) {
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let weights = fs::read(folder.join("model/model.safetensors")).unwrap();
    (text("metrics.jsonl"), text("samples.jsonl"), weights)
}

#[test]
fn a_run_leaves_everything_that_is_documented() {
    let toy = Toy::new();
    let shown = stdout(&toy.reinforce("out", &[]));
    assert!(shown.contains("before") && shown.contains("after") && shown.contains("report:"));
    let out = toy.path("out");
    let result: Value =
        serde_json::from_str(&fs::read_to_string(out.join("result.json")).unwrap()).unwrap();
    for key in [
        "task",
        "metric",
        "n",
        "before",
        "after",
        "kl_nats",
        "steps",
        "seconds",
        "tokens",
        "seed",
        "device",
        "model_sha256",
    ] {
        assert!(!result[key].is_null(), "{key}");
    }
    assert_eq!(result["steps"], STEPS);
    let metrics = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), STEPS);
    for name in [
        "reward",
        "reward_std",
        "rewards/chrf/mean",
        "frac_reward_zero_std",
        "kl",
        "entropy",
        "completions/mean_length",
        "completions/clipped_ratio",
        "grad_norm",
        "learning_rate",
        "loss",
        "num_tokens",
    ] {
        assert!(metrics.contains(&format!("\"{name}\":")), "{name}");
    }
    let html = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(html.contains("<svg") && !html.contains("http://") && !html.contains("src="));
    assert!(fs::read_dir(&out).unwrap().any(|entry| {
        entry.unwrap().file_name().to_string_lossy().starts_with("events.out.tfevents")
    }));
    let kept = fs::read_dir(out.join("checkpoints")).unwrap().count();
    assert!((2..=3).contains(&kept), "{kept} checkpoints");
}

#[test]
fn tensorboard_reads_the_event_files() {
    let python =
        std::env::var("KUDOS_PYTHON").expect("run `cargo xtask test`: it sets KUDOS_PYTHON");
    let toy = Toy::new();
    stdout(&toy.reinforce("out", &[]));
    // Tests start in the folder of their package.
    let script = "../../tests/golden/read_events.py";
    let read = Command::new(python).arg(script).arg(toy.path("out")).output().unwrap();
    let scalars: Value = serde_json::from_str(&stdout(&read)).unwrap();
    let metrics = fs::read_to_string(toy.path("out/metrics.jsonl")).unwrap();
    for (line, point) in metrics.lines().zip(scalars["reward"].as_array().unwrap()) {
        let row: Value = serde_json::from_str(line).unwrap();
        assert_eq!(row["step"], point[0]);
        assert_eq!(row["reward"].as_f64().unwrap() as f32, point[1].as_f64().unwrap() as f32);
    }
    assert_eq!(scalars["kl"].as_array().unwrap().len(), STEPS);
}

#[test]
fn the_same_recipe_and_seed_give_the_same_bytes() {
    let toy = Toy::new();
    stdout(&toy.reinforce("one", &[]));
    stdout(&toy.reinforce("two", &[]));
    stdout(&toy.reinforce("other", &["--seed", "2"]));
    assert_eq!(outcome(&toy.path("one")), outcome(&toy.path("two")));
    assert_ne!(outcome(&toy.path("one")).2, outcome(&toy.path("other")).2);
}

#[test]
fn a_run_killed_at_ten_random_moments_ends_with_the_same_bytes() {
    let toy = Toy::new();
    let start = std::time::Instant::now();
    stdout(&toy.reinforce("whole", &["--steps", "150"]));
    let whole = start.elapsed();
    let mut coins = ChaCha8Rng::seed_from_u64(3);
    let base = [
        "reinforce",
        "--config",
        "recipe.toml",
        "--device",
        "flex",
        "--steps",
        "150",
        "--output-dir",
        "cut",
    ];
    let mut killed = 0;
    for _ in 0..10 {
        let more: &[&str] = if toy.path("cut").exists() { &["--resume"] } else { &[] };
        let mut command = toy.command(&[&base, more].concat());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let share = 0.01 + f64::from(coins.next_u32() % 1000) / 20_000.0;
        std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * share));
        killed += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(killed, 10, "every attempt was still running");
    stdout(&toy.run(&[&base[..], &["--resume"]].concat()));
    assert_eq!(outcome(&toy.path("whole")), outcome(&toy.path("cut")));
}

#[test]
fn sampling_and_evaluation_print_what_is_documented() {
    let toy = Toy::new();
    let words = |line: &'static str| line.split(' ').collect::<Vec<&str>>();
    let mut sample =
        words("sample --model policy --device flex --max-completion-length 9 --top-k 5");
    sample.extend(["--json", "--prompt", "red cat"]);
    let line = stdout(&toy.run(&sample));
    let sample: Value = serde_json::from_str(line.trim()).unwrap();
    let count = sample["token_ids"].as_array().unwrap().len();
    assert!(count > 0 && count <= 9);
    assert_eq!(sample["logprobs_drawn"].as_array().unwrap().len(), count);
    assert_eq!(sample["logprobs_full"].as_array().unwrap().len(), count);
    assert!(["stop", "length"].contains(&sample["end_reason"].as_str().unwrap()));
    let mut eval = words("eval --model policy --device flex --max-completion-length 8 --json");
    eval.extend(["--dataset", "rows.jsonl"]);
    let result: Value = serde_json::from_str(stdout(&toy.run(&eval)).trim()).unwrap();
    assert_eq!(result["n"], 60);
    let nll = result["nll_nats"].as_f64().unwrap();
    // Nearly uniform over the vocabulary: the weights are random.
    assert!((nll - (300f64).ln()).abs() < 0.5, "{nll}");
}

#[test]
fn bad_input_is_one_line_with_a_remedy_and_exit_code_2() {
    let toy = Toy::new();
    let write = |name: &str, text: &str| fs::write(toy.path(name), text).unwrap();
    write("typo.toml", &toy.recipe().replace("learning_rate", "learning_rat"));
    write("both.toml", &toy.recipe().replace("[data]", "[data]\ntasks = ['triples']"));
    write("broken.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}\nnot json\n");
    write("empty.jsonl", "");
    let copy = |name: &str, file: &str, bytes: &[u8]| {
        fs::create_dir(toy.path(name)).unwrap();
        for entry in fs::read_dir(toy.path("policy")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), toy.path(name).join(entry.file_name())).unwrap();
        }
        fs::write(toy.path(name).join(file), bytes).unwrap();
    };
    let weights = fs::read(toy.path("policy/model.safetensors")).unwrap();
    copy("cut", "model.safetensors", &weights[..weights.len() / 2]);
    let corpus = fs::read_to_string(toy.path("rows.jsonl")).unwrap();
    let larger = Tokenizer::train(corpus.lines(), 340).unwrap().to_json();
    copy("mixed", "tokenizer.json", larger.as_bytes());
    let out = ["--output-dir", "refused", "--device", "flex"];
    let check = |arguments: &[&str], expected: &[&str]| {
        let output = toy.run(&[arguments, &out].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert_eq!(error.trim().lines().count(), 1, "{error}");
        expected.iter().for_each(|part| assert!(error.contains(part), "{part} in {error}"));
        assert!(!toy.path("refused").exists(), "{arguments:?} left something");
    };
    let recipe = ["reinforce", "--config", "recipe.toml"];
    let with = |more: &[&'static str]| [&recipe[..], more].concat();
    check(
        &["reinforce", "--config", "typo.toml"],
        &["learning_rat", "did you mean `learning_rate`"],
    );
    check(&["reinforce", "--config", "both.toml"], &["data.tasks", "data.dataset"]);
    check(&["reinforce", "--config", "none.toml"], &["none.toml"]);
    check(&with(&["--dataset", "broken.jsonl"]), &["broken.jsonl", "2"]);
    check(&with(&["--dataset", "empty.jsonl"]), &["empty.jsonl"]);
    check(&with(&["--model", "cut"]), &["model.safetensors"]);
    check(&with(&["--model", "mixed"]), &["tokens", "tokenizer.json"]);
    check(&with(&["--model", "nowhere"]), &["nowhere"]);
    check(&with(&["--max-completion-length", "63"]), &["fits"]);
    check(&with(&["--temperature", "0"]), &["temperature"]);
    check(&with(&["--task", "tripels"]), &["tripels", "triples"]);
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_names_step_batch_and_checkpoint() {
    let toy = Toy::new();
    let output = toy.reinforce("out", &["--learning-rate", "1e30"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    let last = error.lines().last().unwrap();
    for part in ["at step ", "learning from `", "checkpoints", "lower learning_rate"] {
        assert!(last.contains(part), "{part} in {last}");
    }
    assert!(!toy.path("out/model").exists() && !toy.path("out/result.json").exists());
}

/// A disk of its own for one run, in a mount namespace: it fills up, is given room, and the run goes on.
#[cfg(target_os = "linux")]
#[test]
fn a_run_that_meets_a_full_disk_says_so_and_continues_when_there_is_room() {
    const SCRIPT: &str = "mkdir disk && mount -t tmpfs -o size=3m tmpfs disk \
        && head -c 2600k /dev/zero > disk/filler || exit 70; \
        \"$@\" > /dev/null 2> error; echo \"code $?\"; tail -n 1 error; ls -A disk/out/checkpoints; \
        rm disk/filler; \"$@\" --resume > /dev/null; echo \"code $?\"; \
        mkdir kept && cp -r disk/out/. kept";
    let toy = Toy::new();
    stdout(&toy.reinforce("whole", &[]));
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"])
        .args([env!("CARGO_BIN_EXE_trainer"), "reinforce", "--config", "recipe.toml"])
        .args(["--device", "flex", "--output-dir", "disk/out"])
        .current_dir(toy.path(""))
        .output()
        .expect("unshare is part of util-linux");
    let shown = stdout(&output);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0] == "code 2" && lines[lines.len() - 1] == "code 0", "{shown}");
    assert!(lines[1].contains("the disk is full") && lines[1].contains("--resume"), "{shown}");
    let names = &lines[2..lines.len() - 1];
    assert!(!names.is_empty(), "a checkpoint was written before the disk was full");
    assert!(names.iter().all(|name| !name.starts_with('.')), "something half written: {shown}");
    assert_eq!(outcome(&toy.path("whole")), outcome(&toy.path("kept")));
}

#[test]
fn accumulation_and_micro_batches_leave_the_run_as_it_is() {
    let toy = Toy::new();
    let rows = |output: &str| -> Vec<Value> {
        let text = fs::read_to_string(toy.path(output).join("metrics.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    stdout(&toy.reinforce("whole", &["--learning-rate", "1e-3"]));
    let whole = rows("whole");
    assert_ne!(whole[0]["reward"], whole[STEPS - 1]["reward"]);
    let changes = [
        ("accumulated", "prompts = 4", "prompts = 2\ngradient_accumulation_steps = 2"),
        ("micro", "prompts = 4", "prompts = 4\nmicro_batch_size = 3"),
    ];
    for (name, old, new) in changes {
        fs::write(toy.path("changed.toml"), toy.recipe().replace(old, new)).unwrap();
        let arguments =
            ["reinforce", "--config", "changed.toml", "--device", "flex", "--output-dir", name];
        stdout(&toy.run(&[&arguments[..], &["--learning-rate", "1e-3"]].concat()));
        for (ours, theirs) in rows(name).iter().zip(&whole) {
            assert_eq!(ours["reward"], theirs["reward"], "{name}: the same completions are drawn");
            for metric in ["loss", "grad_norm", "kl", "entropy"] {
                let (a, b) = (ours[metric].as_f64().unwrap(), theirs[metric].as_f64().unwrap());
                assert!((a - b).abs() < 1e-4 * b.abs().max(1.0), "{name} {metric}: {a} {b}");
            }
        }
    }
}

#[test]
fn half_precision_trains_where_the_device_has_it() {
    let toy = Toy::new();
    for precision in ["f16", "bf16"] {
        let recipe = toy.recipe().replace("[optimizer]", "[optimizer]\nprecision = 'PRECISION'");
        fs::write(toy.path("half.toml"), recipe.replace("PRECISION", precision)).unwrap();
        let arguments =
            ["reinforce", "--config", "half.toml", "--device", "flex", "--output-dir", precision];
        stdout(&toy.run(&arguments));
        assert!(toy.path(precision).join("result.json").is_file());
    }
}

#[test]
fn a_directory_with_another_run_is_left_alone() {
    let toy = Toy::new();
    stdout(&toy.reinforce("out", &[]));
    let before = outcome(&toy.path("out"));
    for more in [&[][..], &["--resume", "--seed", "9"]] {
        let output = toy.reinforce("out", more);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("out"));
        assert_eq!(outcome(&toy.path("out")), before);
    }
}

#[test]
fn an_unknown_device_is_named() {
    let toy = Toy::new();
    let output = toy.run(&["sample", "--prompt", "x", "--model", "policy", "--device", "cuda"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cuda"));
}
