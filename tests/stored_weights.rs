//! Weights that lie elsewhere: read piece by piece they are those that are read at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Device;
use kudos_core::bundle::unpack;
use kudos_core::model::Transformer;
use kudos_core::model::hugging_face::{
    Pieces, StoredAs, Weights, config_from_json, read_weights, stored_numbers, write_weights,
    write_weights_to,
};
use kudos_core::policy::PolicyFiles;
use pollster::block_on;

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(format!("golden/{name}")).unwrap()
}

/// Weights that note the longest piece that was asked for.
fn elsewhere(bytes: Vec<u8>) -> (Weights, Arc<AtomicUsize>) {
    let longest = Arc::new(AtomicUsize::new(0));
    let (size, noted) = (bytes.len(), longest.clone());
    let fetch = move |at: usize, length: usize| {
        noted.fetch_max(length, Ordering::Relaxed);
        Ok(bytes[at..at + length].to_vec())
    };
    (Weights::Pieces(Pieces { size, fetch: Arc::new(fetch) }), longest)
}

fn written(model: &Transformer) -> Vec<u8> {
    block_on(write_weights(model, StoredAs::F32)).unwrap()
}

#[test]
fn a_model_read_piece_by_piece_is_the_model_read_at_once() {
    let config = String::from_utf8(golden("transformer/llama/config.json")).unwrap();
    let config = config_from_json(&config).unwrap();
    for name in ["transformer/llama/model.safetensors", "packed/packed.safetensors"] {
        let bytes = golden(name);
        let (pieces, longest) = elsewhere(bytes.clone());
        let at_once = read_weights(&config, &bytes, &Device::flex()).unwrap();
        let model = read_weights(&config, &pieces, &Device::flex()).unwrap();
        assert_eq!(written(&model), written(&at_once), "{name}");
        assert!(longest.load(Ordering::Relaxed) < bytes.len() / 2, "{name}: one tensor at a time");
        assert_eq!(stored_numbers(&pieces).unwrap(), stored_numbers(&bytes).unwrap());
        assert_eq!(pieces.sha256().unwrap(), kudos_core::bundle::sha256(&bytes));
    }
}

#[test]
fn a_gguf_file_read_piece_by_piece_is_the_same_policy() {
    for name in ["llama", "gpt2"] {
        let bytes = golden(&format!("gguf/{name}.gguf"));
        let at_once = PolicyFiles::from_gguf(bytes.clone()).unwrap();
        let files = PolicyFiles::from_gguf(elsewhere(bytes).0).unwrap();
        assert_eq!(files.config, at_once.config);
        assert_eq!(files.tokenizer, at_once.tokenizer);
        let model = |files: &PolicyFiles| written(&files.load(&Device::flex()).unwrap().model);
        assert_eq!(model(&files), model(&at_once), "{name}");
    }
}

#[test]
fn a_bundle_read_piece_by_piece_is_the_same_policy_and_its_weights_stay() {
    let bytes = trainer::policy::EMBEDDED;
    let at_once = unpack(bytes).unwrap();
    let (pieces, longest) = elsewhere(bytes.to_vec());
    let unpacked = unpack(&pieces).unwrap();
    assert!(longest.load(Ordering::Relaxed) < bytes.len() / 2, "no piece is all of the weights");
    assert!(matches!(unpacked.files.weights, Weights::Pieces(_)));
    assert_eq!(unpacked.manifest, at_once.manifest);
    assert_eq!(unpacked.files.tokenizer, at_once.files.tokenizer);
    assert_eq!(unpacked.files.weights.bytes().unwrap(), at_once.files.weights.bytes().unwrap());
    let mut spoiled = bytes.to_vec();
    *spoiled.last_mut().unwrap() ^= 1;
    let said = unpack(&elsewhere(spoiled).0).unwrap_err().to_string();
    assert!(said.contains("model.safetensors"), "{said}");
    let cut = elsewhere(bytes[..bytes.len() - 1].to_vec()).0;
    assert!(unpack(&cut).unwrap_err().to_string().contains("model.safetensors"));
}

#[test]
fn what_goes_to_a_file_tensor_by_tensor_are_the_same_bytes() {
    let policy = unpack(trainer::policy::EMBEDDED).unwrap().load(&Device::flex()).unwrap();
    for stored_as in [StoredAs::F32, StoredAs::F16] {
        let mut sink = Vec::new();
        block_on(write_weights_to(&policy.model, stored_as, &mut sink)).unwrap();
        assert!(sink == block_on(write_weights(&policy.model, stored_as)).unwrap());
    }
}

#[test]
fn weights_that_end_early_or_cannot_be_fetched_are_refused() {
    let config = String::from_utf8(golden("transformer/llama/config.json")).unwrap();
    let config = config_from_json(&config).unwrap();
    let bytes = golden("transformer/llama/model.safetensors");
    let error = |weights: &Weights| {
        read_weights(&config, weights, &Device::flex()).unwrap_err().to_string()
    };
    for length in [0, 4, 8, 100, bytes.len() - 1] {
        let said = error(&elsewhere(bytes[..length].to_vec()).0);
        assert!(said.contains("damaged"), "{length}: {said}");
    }
    let fetch = Arc::new(|_: usize, _: usize| Err("the disk is gone".to_owned()));
    let said = error(&Weights::Pieces(Pieces { size: bytes.len(), fetch }));
    assert!(said.contains("the disk is gone"), "{said}");
}
