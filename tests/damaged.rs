//! Files of a policy, an adapter or an encoder with damage of every kind: they are read or refused, never followed into a panic.

#[path = "laws/policy.rs"]
mod policy;

use std::fs;
use std::panic::AssertUnwindSafe;

use burn::tensor::Device;
use kudos_core::model::hugging_face::{config_from_json, read_weights};
use kudos_core::sentence_encoder::EncoderFiles;
use kudos_core::tuning::{
    AdapterFiles, BottleneckOptions, Tuning, install, read_adapter, write_adapter,
};
use pollster::block_on;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

use crate::golden_encoder;
use crate::golden_tuning::{KINDS, NAMES, adapter, folder};

/// Damaged copies of each file.
const COPIES: usize = 400;

/// Numbers that a header should not have.
const NUMBERS: [&str; 7] =
    ["18446744073709551615", "9223372036854775807", "4294967296", "0", "-1", "1e308", "null"];

/// Files of policies as they should be.
fn files() -> Vec<(String, Vec<u8>)> {
    let names = [
        "gguf/llama.gguf",
        "gguf/gpt2.gguf",
        "transformer/llama/config.json",
        "transformer/gpt2/config.json",
        "transformer/llama/model.safetensors",
        "qwen2/model.gguf",
        "encoder/config.json",
    ];
    // Tests start in the folder of their package.
    let read = |name: &str| (name.to_owned(), fs::read(format!("golden/{name}")).unwrap());
    let mut all: Vec<_> = names.iter().map(|name| read(name)).collect();
    let text = fs::read_to_string("golden/chat_template.json").unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    for (name, template) in golden["templates"].as_object().unwrap() {
        all.push((format!("template {name}"), template.to_string().into_bytes()));
    }
    all
}

/// A policy that adapters of `tests/golden/tuning` are laid upon.
fn base(family: &str) -> policy::Base {
    let read = |file: &str| fs::read(format!("golden/transformer/{family}/{file}")).unwrap();
    let config = config_from_json(&String::from_utf8(read("config.json")).unwrap()).unwrap();
    let weights = read("model.safetensors");
    let model = read_weights(&config, &weights, &Device::flex()).unwrap();
    policy::Base { config, weights: weights.into(), model }
}

/// A fresh bottleneck adapter, which PEFT has no form for.
fn bottleneck(base: &policy::Base) -> AdapterFiles {
    let options = BottleneckOptions { width: 2, ..BottleneckOptions::default() };
    let tuning = Tuning::Bottleneck(options);
    let model = install(base.model.clone(), &tuning, &mut ChaCha8Rng::seed_from_u64(4));
    block_on(write_adapter(&model, &tuning)).unwrap()
}

fn below(coins: &mut ChaCha8Rng, most: usize) -> usize {
    coins.next_u64() as usize % most.max(1)
}

/// A copy with one to four kinds of damage, most of it where headers stand.
fn damaged(bytes: &[u8], coins: &mut ChaCha8Rng) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    for _ in 0..=below(coins, 4) {
        let header = copy.len().min(if below(coins, 4) > 0 { 2048 } else { usize::MAX });
        let at = below(coins, header);
        match below(coins, 6) {
            0 => copy.truncate(at),
            1 if at < copy.len() => copy[at] ^= 1 << below(coins, 8),
            2 if at < copy.len() => copy[at] = below(coins, 256) as u8,
            3 => {
                let end = copy.len().min(at + 1 + below(coins, 16));
                copy.drain(at..end);
            }
            4 => {
                let end = copy.len().min(at + 1 + below(coins, 64));
                let again = copy[at..end].to_vec();
                copy.splice(at..at, again);
            }
            _ => numbered(&mut copy, (at, NUMBERS[below(coins, NUMBERS.len())])),
        }
    }
    copy
}

/// Another number in the place of the first behind a place; eight bytes of it where there are no digits.
fn numbered(copy: &mut Vec<u8>, (at, number): (usize, &str)) {
    let digits = |place: &usize| copy.get(*place).is_some_and(u8::is_ascii_digit);
    let near = copy.len().min(at + 200);
    match (at..near).find(digits) {
        Some(first) => {
            let end = (first..near).find(|place| !digits(place)).unwrap_or(near);
            copy.splice(first..end, number.bytes());
        }
        None => {
            let end = copy.len().min(at + 8);
            copy.splice(at..end, number.parse::<u64>().unwrap_or(u64::MAX >> 1).to_le_bytes());
        }
    }
}

/// Damages a file that `sound` takes as it is.
fn attack((name, bytes): (&str, &[u8]), coins: &mut ChaCha8Rng, sound: impl Fn(&[u8]) -> bool) {
    assert!(sound(bytes), "{name} is sound");
    let mut refused = 0;
    for copy in 0..COPIES {
        let damaged = damaged(bytes, coins);
        let said = std::panic::catch_unwind(AssertUnwindSafe(|| sound(&damaged)));
        let said = said.unwrap_or_else(|_| {
            fs::write(std::env::temp_dir().join("damaged"), &damaged).unwrap();
            panic!("{name}, copy {copy}, kept as `damaged` among temporary files")
        });
        refused += usize::from(!said);
    }
    assert!(refused > COPIES / 10, "{name}: {refused} copies refused");
}

#[test]
fn damaged_files_of_a_policy_are_read_or_refused() {
    let config = base("llama").config;
    let mut coins = ChaCha8Rng::seed_from_u64(1);
    for (name, bytes) in files() {
        attack((&name, &bytes), &mut coins, |bytes| policy::check(&config, bytes));
    }
}

#[test]
fn damaged_files_of_an_adapter_are_read_or_refused() {
    let mut coins = ChaCha8Rng::seed_from_u64(2);
    for family in NAMES {
        let base = base(family);
        let mut adapters: Vec<(&str, AdapterFiles)> =
            KINDS.iter().map(|kind| (*kind, adapter(&folder(family).join(kind)))).collect();
        adapters.push(("bottleneck", bottleneck(&base)));
        for (kind, files) in adapters {
            let config = |bytes: &[u8]| AdapterFiles {
                config: String::from_utf8_lossy(bytes).into_owned(),
                weights: files.weights.clone(),
            };
            let weights = |bytes: &[u8]| AdapterFiles {
                weights: bytes.to_vec(),
                config: files.config.clone(),
            };
            let name = format!("{family} {kind}");
            attack((&format!("{name} config"), files.config.as_bytes()), &mut coins, |bytes| {
                policy::check_adapter(&base, &config(bytes))
            });
            attack((&format!("{name} weights"), &files.weights), &mut coins, |bytes| {
                policy::check_adapter(&base, &weights(bytes))
            });
        }
    }
}

#[test]
fn damaged_weights_of_an_encoder_are_read_or_refused() {
    let mut coins = ChaCha8Rng::seed_from_u64(3);
    let files = golden_encoder::files();
    attack(("encoder", &files.weights), &mut coins, |bytes| {
        policy::check_encoder(&EncoderFiles { weights: bytes.to_vec(), ..files.clone() })
    });
}

#[test]
fn rotary_tables_that_no_model_has_are_refused_before_they_are_made() {
    let llama = fs::read_to_string("golden/transformer/llama/config.json").unwrap();
    let check = |positions: usize, d_head: usize| {
        let json = llama
            .replace(
                "\"max_position_embeddings\": 32",
                &format!("\"max_position_embeddings\": {positions}"),
            )
            .replace("\"head_dim\": 8", &format!("\"head_dim\": {d_head}"));
        config_from_json(&json).map(|config| (config.context_length, config.d_head))
    };
    assert_eq!(check(8192, 64).unwrap(), (8192, 64));
    assert_eq!(check(131_072, 128).unwrap(), (131_072, 128));
    let error = check(262_144, 1024).unwrap_err().to_string();
    assert!(error.contains("context_length times d_head is 268435456"), "{error}");
}

#[test]
fn adapters_that_claim_what_they_do_not_hold_are_refused() {
    let base = base("llama");
    let refused = |files: &AdapterFiles, said: &str| {
        assert!(!policy::check_adapter(&base, files));
        let error = read_adapter(&base.model, files).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    };
    let wide = bottleneck(&base);
    for width in ["18446744073709551615", "1000000000", "3", "0"] {
        let config = wide.config.replace("\"width\": 2", &format!("\"width\": {width}"));
        refused(&AdapterFiles { config, ..wide.clone() }, "asks for others");
    }
    let lora = adapter(&folder("llama").join("lora"));
    let dropout = |probability: &str| {
        let config = lora
            .config
            .replace("\"lora_dropout\": 0.0", &format!("\"lora_dropout\": {probability}"));
        AdapterFiles { config, ..lora.clone() }
    };
    for probability in ["1.0", "-1", "1e308"] {
        refused(&dropout(probability), "`lora_dropout`");
    }
    let name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    for (shape, bytes) in [(vec![0, 32], vec![]), (vec![], vec![0; 4])] {
        let empty = TensorView::new(Dtype::F32, shape, &bytes).unwrap();
        let weights = safetensors::serialize([(name, empty)], None).unwrap();
        refused(&AdapterFiles { weights, ..lora.clone() }, name);
    }
}
