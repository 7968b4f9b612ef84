//! Files of a policy with damage of every kind: they are read or refused, never followed into a panic.

#[path = "laws/policy.rs"]
mod policy;

use std::fs;

use kudos_core::model::hugging_face::config_from_json;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

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

#[test]
fn damaged_files_of_a_policy_are_read_or_refused() {
    let config = fs::read_to_string("golden/transformer/llama/config.json").unwrap();
    let config = config_from_json(&config).unwrap();
    let mut coins = ChaCha8Rng::seed_from_u64(1);
    for (name, bytes) in files() {
        assert!(policy::check(&config, &bytes), "{name} is sound");
        let mut refused = 0;
        for copy in 0..COPIES {
            let damaged = damaged(&bytes, &mut coins);
            let said = std::panic::catch_unwind(|| policy::check(&config, &damaged));
            let said = said.unwrap_or_else(|_| {
                fs::write(std::env::temp_dir().join("damaged"), &damaged).unwrap();
                panic!("{name}, copy {copy}, kept as `damaged` among temporary files")
            });
            refused += usize::from(!said);
        }
        assert!(refused > COPIES / 10, "{name}: {refused} copies refused");
    }
}
