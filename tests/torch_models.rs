//! What tests beside torch share: the models of `tests/golden/transformer`, the optimizer of `tests/golden/critic.py`, how near
//! is near.

use burn::tensor::{Device, Tensor};
use kudos_core::model::Transformer;
use kudos_core::model::hugging_face::{config_from_json, read_weights};
use kudos_core::optim::AdamWConfig;
use kudos_core::rollout::Rollout;
use serde_json::Value;

/// A model of `tests/golden/transformer`, ready to be trained.
pub(crate) fn model(name: &str) -> Transformer {
    // Tests start in the folder of their package.
    let folder = std::path::Path::new("golden/transformer").join(name);
    let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let weights = std::fs::read(folder.join("model.safetensors")).unwrap();
    let config = config_from_json(&config).unwrap();
    read_weights(&config, &weights, &Device::flex().autodiff()).unwrap()
}

pub(crate) fn adamw() -> AdamWConfig {
    AdamWConfig { beta_1: 0.9, beta_2: 0.95, epsilon: 1e-8, weight_decay: 0.1 }
}

pub(crate) fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

pub(crate) fn pairs(rollout: &Rollout) -> Vec<(&[u32], &[u32])> {
    let rows = rollout.prompts.iter().zip(&rollout.completions);
    rows.map(|(prompt, completion)| (&prompt[..], &completion[..])).collect()
}

pub(crate) fn close(what: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let worst = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "{what}: differs by {worst}");
}
