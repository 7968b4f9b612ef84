//! A real model, beside what transformers says of it (`tests/golden/smollm2.py`). Its 98 MB are not ours to ship:
//!
//!     KUDOS_SMOLLM2=$PWD/SmolLM2-135M-Instruct.Q4_1.gguf cargo test -p trainer --test command_line -- --ignored smollm2

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use burn::tensor::Device;
use kudos_core::learn::log_probs;
use kudos_core::model::{PaddingSide, Tokens};
use kudos_core::rollout::{Coins, Generation, generate};
use kudos_schema::Sampling;
use pollster::block_on;
use serde_json::Value;
use trainer::policy::{self, Policy};

/// Of log-probabilities and logits, in nats.
const TOLERANCE: f64 = 1e-2;

fn file() -> String {
    std::env::var("KUDOS_SMOLLM2").expect("KUDOS_SMOLLM2 names SmolLM2-135M-Instruct.Q4_1.gguf")
}

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/smollm2.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn opened() -> Policy {
    policy::read(Path::new(&file())).unwrap().load(&Device::flex()).unwrap()
}

#[test]
#[ignore = "needs the file that KUDOS_SMOLLM2 names"]
fn it_says_of_texts_what_transformers_says() {
    let (golden, policy) = (golden(), opened());
    let text = policy.tokenizer.encode(golden["text"].as_str().unwrap());
    assert_eq!(text, ids(&golden["text_ids"]));
    let (given, foretold) = text.split_at(1);
    let ours = block_on(log_probs(&policy.model, &[(given, foretold)], 1.0, 1)).unwrap().remove(0);
    let expected: Vec<f64> = serde_json::from_value(golden["text_token_logprobs"].clone()).unwrap();
    assert_eq!(ours.len(), expected.len());
    for (ours, expected) in ours.iter().zip(&expected) {
        assert!((f64::from(*ours) - expected).abs() < TOLERANCE, "{ours} {expected}");
    }
    let nll = -ours.iter().map(|one| f64::from(*one)).sum::<f64>() / ours.len() as f64;
    assert!((nll - 2.0838).abs() < 1e-3, "{nll}");
}

#[test]
#[ignore = "needs the file that KUDOS_SMOLLM2 names"]
fn it_answers_as_transformers_has_it_answer() {
    let (golden, policy) = (golden(), opened());
    let prompt = policy.tokenizer.encode_with_specials(golden["prompt"].as_str().unwrap());
    assert_eq!(prompt, ids(&golden["prompt_ids"]));
    let tokens = Tokens::new(&[&prompt], PaddingSide::Right, &Device::flex());
    let logits: Vec<f32> = policy.model.forward(&tokens).into_data().try_to_vec().unwrap();
    let last = &logits[logits.len() - policy.config().vocab_size..];
    for pair in golden["last_top8"].as_array().unwrap() {
        let (token, expected) = (pair[0].as_u64().unwrap(), pair[1].as_f64().unwrap());
        let ours = f64::from(last[token as usize]);
        assert!((ours - expected).abs() < TOLERANCE, "{token}: {ours} {expected}");
    }
    let sampling = Sampling { temperature: 0.0, max_completion_length: 32, ..Sampling::default() };
    let stop = policy.stop_tokens();
    let how =
        Generation { sampling: &sampling, stop: &stop, coins: Coins::new(1, 0), first_index: 0 };
    let rollout = block_on(generate(&policy.model, &[prompt], &how)).unwrap();
    assert_eq!(rollout.completions[0], ids(&golden["greedy_ids"]));
}

/// Kilobytes that a process had at its peak, as Linux counts them; none when it has ended.
fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[test]
#[ignore = "needs the file that KUDOS_SMOLLM2 names, and Linux"]
fn loading_takes_at_most_thirteen_tenths_of_the_weights() {
    let file = file();
    let arguments = ["sample", "--prompt", "Hello", "--max-completion-length", "1", "--model"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
    command.args(arguments).args([&file, "--device", "flex"]).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut most = 0;
    let status = loop {
        most = most.max(peak(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        thread::sleep(Duration::from_millis(1));
    };
    assert!(status.success());
    let weights = 4 * 134_515_008 / 1024;
    assert!(most > weights && most * 10 <= weights * 13, "{most} kB of {weights} kB");
}
