//! GGUF files of the reference writer, read and computed with (`tests/golden/gguf_files.py`).

use burn::tensor::Device;
use kudos_core::model::hugging_face::StoredAs;
use kudos_core::model::{PaddingSide, Tokens};
use kudos_core::policy::{Policy, PolicyFiles};
use kudos_core::task::Prompt;
use kudos_schema::Message;
use pollster::block_on;
use serde_json::Value;

fn bytes(name: &str) -> Vec<u8> {
    // Tests start in the folder of their package.
    std::fs::read(format!("golden/gguf/{name}.gguf")).unwrap()
}

fn expected() -> Value {
    serde_json::from_str(&std::fs::read_to_string("golden/gguf/expected.json").unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

fn load(name: &str) -> (PolicyFiles, Policy) {
    let files = PolicyFiles::from_gguf(bytes(name)).unwrap();
    let policy = files.load(&Device::flex()).unwrap();
    (files, policy)
}

/// The largest difference of the logits from the reference's.
fn worst(policy: &Policy, name: &str) -> f32 {
    let expected = expected();
    let ids: Vec<u32> = numbers(&expected["ids"]).into_iter().map(|id| id as u32).collect();
    let tokens = Tokens::new(&[&ids], PaddingSide::Right, &Device::flex());
    let logits = policy.model.forward(&tokens).into_data().try_to_vec::<f32>().unwrap();
    let theirs = numbers(&expected[name]);
    assert_eq!(logits.len(), theirs.len());
    logits.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn logits_are_those_of_the_dequantized_model() {
    for name in ["llama", "gpt2"] {
        let (_, policy) = load(name);
        let worst = worst(&policy, name);
        assert!(worst < 1e-4, "{name}: {worst}");
    }
}

#[test]
fn as_safetensors_it_is_the_same_model_and_reads_back() {
    for name in ["llama", "gpt2"] {
        let (files, policy) = load(name);
        let unpacked = files.in_safetensors(StoredAs::F32).unwrap();
        let again = unpacked.load(&Device::flex()).unwrap();
        assert_eq!(worst(&again, name), worst(&policy, name));
        let written = block_on(policy.files(StoredAs::F32)).unwrap();
        assert_eq!(unpacked.weights.bytes().unwrap(), written.weights.bytes().unwrap(), "{name}");
    }
}

#[test]
fn every_kind_of_block_is_unpacked_as_the_reference_does() {
    for (kind, theirs) in expected()["blocks"].as_object().unwrap() {
        let ours = kudos_core::gguf::tensor(&bytes("blocks"), kind).unwrap().unwrap();
        assert_eq!(ours.shape[0], 2, "{kind}");
        // The reference multiplies in another order.
        let off = |(a, b): (&f32, f32)| (a - b).abs() / b.abs().max(1.0);
        let worst = ours.values.iter().zip(numbers(theirs)).map(off).fold(0.0, f32::max);
        assert!(worst < 1e-6, "{kind}: {worst}");
    }
}

#[test]
fn tokenizer_and_template_come_from_the_file() {
    let (_, policy) = load("llama");
    let ids = |text: &str| policy.tokenizer.encode(text);
    // Beside the three specials a byte's token is three more than its place among the letters.
    assert_eq!(ids("the a12<tool>"), [261, 259, 3 + 49, 3 + 50, 262]);
    assert_eq!(policy.stop_tokens().0, [2]);
    let prompt = policy.encode_prompt(&Prompt::Messages(vec![Message::new("user", "<|im_end|>")]));
    let prompt = prompt.unwrap();
    assert_eq!(prompt.iter().filter(|id| **id == 1).count(), 2, "{prompt:?}");
    assert_eq!(prompt.iter().filter(|id| **id == 2).count(), 1, "what a user writes is text");
    assert_eq!(policy.tokenizer.decode(&ids("any täxt 東京")), "any täxt 東京");
    let (_, plain) = load("gpt2");
    assert_eq!(plain.tokenizer.encode("the"), [261]);
    plain.encode_prompt(&Prompt::Messages(vec![Message::new("user", "hi")])).unwrap();
}

#[test]
fn damaged_files_are_refused_whatever_byte_is_hit() {
    let sound = bytes("llama");
    // Cut anywhere: never a panic, always an error.
    for end in (0..sound.len()).step_by(97).chain([sound.len() - 1]) {
        let loaded = PolicyFiles::from_gguf(sound[..end].to_vec())
            .and_then(|files| files.load(&Device::flex()));
        assert!(loaded.is_err(), "{end} of {} bytes", sound.len());
    }
    // A byte of the header changed: an error or another model, never a panic or a huge allocation.
    for at in (0..8000).step_by(5) {
        let mut spoiled = sound.clone();
        spoiled[at] ^= 0x81;
        if let Ok(files) = PolicyFiles::from_gguf(spoiled) {
            let _ = files.in_safetensors(StoredAs::F32);
        }
    }
    let refused = |from: &str, to: &str| {
        let at = sound.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        let mut spoiled = sound.clone();
        spoiled[at..at + to.len()].copy_from_slice(to.as_bytes());
        PolicyFiles::from_gguf(spoiled).unwrap_err().to_string()
    };
    assert!(
        refused(
            "general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0llama",
            "general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0mamba"
        )
        .contains("mamba")
    );
    assert!(refused("llama.block_count", "llama.block_sount").contains("llama.block_count"));
    assert!(refused("smollm", "falcon").contains("falcon"));
    assert!(refused("GGUF\x03", "GGUF\x09").contains("version 9"));
}
