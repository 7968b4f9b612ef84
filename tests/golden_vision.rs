//! Eyes against numbers of PyTorch: logits behind pictures and the gradient of every weight of the eyes
//! (`tests/golden/vision.py`).

use std::path::Path;

use burn::tensor::{Device, Tensor};
use kudos_core::learn::learn;
use kudos_core::model::hugging_face::{
    SpecialTokens, StoredAs, config_from_json, config_to_json, read_weights, write_weights,
};
use kudos_core::model::vision::patches;
use kudos_core::model::{
    Cache, PaddingSide, Pictures, Tokens, Transformer, VisionConfig, VisionError,
};
use kudos_core::objective::Aggregation;
use kudos_core::objective::{Experience, Supervised};
use pollster::block_on;
use serde_json::Value;

/// What the golden script wrote.
struct Golden {
    json: Value,
    config: String,
    weights: Vec<u8>,
}

impl Golden {
    fn read() -> Self {
        let file = |name: &str| std::fs::read(Path::new("golden/vision").join(name)).unwrap();
        let text = |name: &str| String::from_utf8(file(name)).unwrap();
        Self {
            json: serde_json::from_str(&text("expected.json")).unwrap(),
            config: text("config.json"),
            weights: file("model.safetensors"),
        }
    }

    fn numbers(&self, pointer: &str) -> Vec<f32> {
        serde_json::from_value(self.json.pointer(pointer).unwrap().clone()).unwrap()
    }

    fn model(&self, device: &Device) -> Transformer {
        let config = config_from_json(&self.config).unwrap();
        let model = read_weights(&config, &self.weights, device).unwrap();
        model.looking_at(&self.pictures()).unwrap()
    }

    fn pictures(&self) -> Pictures {
        let pixels = serde_json::from_value(self.json["pixels"].clone()).unwrap();
        Pictures { size: self.vision().image_size, pixels }
    }

    fn vision(&self) -> VisionConfig {
        config_from_json(&self.config).unwrap().vision.unwrap()
    }

    /// The sequences, `a` being the first picture and `b` the second.
    fn rows(&self) -> Vec<Vec<u32>> {
        let id = |part: &Value| match part.as_str() {
            Some(name) => patches(usize::from(name == "b"), self.vision()),
            None => vec![part.as_u64().unwrap() as u32],
        };
        let rows = self.json["rows"].as_array().unwrap();
        rows.iter().map(|row| row.as_array().unwrap().iter().flat_map(id).collect()).collect()
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

#[track_caller]
fn close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let bound = tolerance * (1.0 + expected.abs());
        assert!((found - expected).abs() < bound, "{what}: {found}, not {expected}");
    }
}

#[test]
fn logits_behind_pictures_equal_pytorchs() {
    let golden = Golden::read();
    let device = Device::flex();
    let model = golden.model(&device);
    let rows = golden.rows();
    let slices: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let logits = model.forward(&Tokens::new(&slices, PaddingSide::Right, &device));
    let [_, time, vocabulary] = logits.dims();
    let logits = values(logits);
    for (place, row) in rows.iter().enumerate() {
        let first = place * time * vocabulary;
        let found = &logits[first..first + row.len() * vocabulary];
        close(found, &golden.numbers(&format!("/logits/{place}")), 1e-5, &format!("row {place}"));
    }
}

#[test]
fn a_prompt_with_a_picture_is_cached_as_any_other() {
    let golden = Golden::read();
    let device = Device::flex();
    let model = golden.model(&device);
    let rows = golden.rows();
    let slices: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let tokens = Tokens::new(&slices, PaddingSide::Left, &device);
    let [_, time] = tokens.ids.dims();
    let mut cache = Cache::new(&model, rows.len(), time);
    let hidden = model.hidden_cached(&tokens, &mut cache);
    let last = values(model.logits(hidden.narrow(1, time - 1, 1)));
    let vocabulary = last.len() / rows.len();
    for (place, found) in last.chunks(vocabulary).enumerate() {
        let expected = golden.numbers(&format!("/logits/{place}"));
        let expected = &expected[expected.len() - vocabulary..];
        close(found, expected, 1e-5, &format!("row {place}"));
    }
}

#[test]
fn gradients_of_the_eyes_equal_pytorchs() {
    let golden = Golden::read();
    let model = golden.model(&Device::flex().autodiff());
    let experience = |(place, prompt)| Experience {
        prompt,
        completion: vec![place as u32],
        weights: vec![1.0],
        advantages: vec![1.0],
        reference: vec![0.0],
        old: vec![0.0],
    };
    let experiences: Vec<Experience> =
        golden.rows().into_iter().enumerate().map(experience).collect();
    let objective = Supervised { aggregation: Aggregation::TokenMean };
    for micro_batch_size in [1, 3] {
        let learned = learn(&model, &experiences, &objective, micro_batch_size);
        close(&values(learned.loss), &[golden.json["loss"].as_f64().unwrap() as f32], 1e-5, "loss");
        for (name, expected) in golden.json["gradients"].as_object().unwrap() {
            let expected: Vec<f32> = serde_json::from_value(expected.clone()).unwrap();
            let found = learned.gradients.get(name).expect("every weight of the eyes learns");
            close(&values(found), &expected, 1e-5, name);
        }
    }
}

#[test]
fn a_policy_with_eyes_survives_the_trip_to_its_files() {
    let golden = Golden::read();
    let device = Device::flex();
    let model = golden.model(&device);
    let special = SpecialTokens { pad: 0, begin: 1, end: 1 };
    let json = config_to_json(model.config(), special, StoredAs::F32).unwrap();
    let bytes = block_on(write_weights(&model, StoredAs::F32)).unwrap();
    let again = read_weights(&config_from_json(&json).unwrap(), &bytes, &device).unwrap();
    let again = again.looking_at(&golden.pictures()).unwrap();
    let rows = golden.rows();
    let tokens = Tokens::new(&[&rows[0]], PaddingSide::Right, &device);
    assert_eq!(values(model.forward(&tokens)), values(again.forward(&tokens)));
}

#[test]
fn pictures_of_another_size_and_blind_policies_are_refused() {
    let golden = Golden::read();
    let model = golden.model(&Device::flex());
    let larger = Pictures { size: 24, pixels: vec![0; 3 * 24 * 24] };
    let refused = model.clone().looking_at(&larger).unwrap_err();
    assert_eq!(refused, VisionError::Size { found: 24, expected: 16 });
    let config = config_from_json(&golden.config).unwrap();
    let blind = kudos_core::model::TransformerConfig { vision: None, ..config };
    let blind = Transformer::zeroed(&blind, &Device::flex());
    assert_eq!(blind.looking_at(&golden.pictures()).unwrap_err(), VisionError::Blind);
}
