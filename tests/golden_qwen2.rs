//! A Qwen2 of transformers, as a Hugging Face folder and as a GGUF file (`tests/golden/qwen2.py`).

use burn::tensor::Device;
use kudos_core::model::hugging_face::{StoredAs, config_from_json, config_to_json, read_weights};
use kudos_core::model::{PaddingSide, Tokens, Transformer};
use kudos_core::policy::PolicyFiles;
use pollster::block_on;
use serde_json::Value;

fn file(name: &str) -> Vec<u8> {
    // Tests start in the folder of their package.
    std::fs::read(format!("golden/qwen2/{name}")).unwrap()
}

fn text(name: &str) -> String {
    String::from_utf8(file(name)).unwrap()
}

fn check(model: &Transformer) {
    let expected: Value = serde_json::from_str(&text("expected.json")).unwrap();
    let ids: Vec<u32> = serde_json::from_value(expected["ids"].clone()).unwrap();
    let theirs: Vec<f32> = serde_json::from_value(expected["logits"].clone()).unwrap();
    let tokens = Tokens::new(&[&ids], PaddingSide::Right, &Device::flex());
    let ours = model.forward(&tokens).into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(ours.len(), theirs.len());
    let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-4, "{worst}");
}

#[test]
fn a_folder_has_the_logits_of_transformers_and_is_written_as_a_llama_with_the_same() {
    let config = config_from_json(&text("config.json")).unwrap();
    let model = read_weights(&config, &file("model.safetensors"), &Device::flex()).unwrap();
    check(&model);
    let special = kudos_core::model::hugging_face::SpecialTokens { pad: 0, begin: 0, end: 0 };
    let written = config_to_json(&config, special, StoredAs::F32).unwrap();
    assert!(written.contains("\"llama\""), "{written}");
    let bytes = block_on(kudos_core::model::hugging_face::write_weights(&model, StoredAs::F32));
    let config = config_from_json(&written).unwrap();
    check(&read_weights(&config, &bytes.unwrap(), &Device::flex()).unwrap());
}

#[test]
fn a_gguf_file_has_the_same_logits_and_its_tokenizer_composes() {
    let files = PolicyFiles::from_gguf(file("model.gguf")).unwrap();
    let policy = files.load(&Device::flex()).unwrap();
    check(&policy.model);
    check(&files.in_safetensors(StoredAs::F32).unwrap().load(&Device::flex()).unwrap().model);
    let encode = |text: &str| policy.tokenizer.encode(text);
    assert_eq!(encode("caf\u{65}\u{301}"), encode("caf\u{e9}"));
}

#[test]
fn only_the_output_may_lack_its_bias_and_a_sliding_window_is_refused() {
    let config = config_from_json(&text("config.json")).unwrap();
    let stored = file("model.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&stored).unwrap();
    let without = |lost: &str| {
        let kept = tensors.iter().filter(|(name, _)| *name != lost);
        safetensors::serialize(kept, None).unwrap()
    };
    let lost = "model.layers.1.self_attn.k_proj.bias";
    let error = read_weights(&config, &without(lost), &Device::flex()).unwrap_err().to_string();
    assert!(error.contains(lost), "{error}");
    let sliding = text("config.json")
        .replace("\"use_sliding_window\": false", "\"use_sliding_window\": true");
    let error = config_from_json(&sliding).unwrap_err().to_string();
    assert!(error.contains("use_sliding_window"), "{error}");
}
