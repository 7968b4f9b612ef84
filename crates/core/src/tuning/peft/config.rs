//! `adapter_config.json`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::tuning::TuningError;

/// The fields that decide what an adapter computes.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct AdapterConfig {
    pub(super) peft_type: String,
    pub(super) r: f64,
    pub(super) init_r: f64,
    pub(super) lora_alpha: f64,
    pub(super) lora_dropout: f64,
    pub(super) use_rslora: bool,
    pub(super) alpha_pattern: BTreeMap<String, f64>,
    bias: String,
    modules_to_save: Option<Vec<String>>,
    prefix_projection: bool,
    lora_bias: bool,
}

impl Default for AdapterConfig {
    fn default() -> Self {
        Self {
            peft_type: String::new(),
            r: 8.0,
            init_r: 12.0,
            lora_alpha: 8.0,
            lora_dropout: 0.0,
            use_rslora: false,
            alpha_pattern: BTreeMap::new(),
            bias: "none".to_owned(),
            modules_to_save: None,
            prefix_projection: false,
            lora_bias: false,
        }
    }
}

impl AdapterConfig {
    /// Reads the file and refuses what is not supported.
    pub(super) fn read(text: &str) -> Result<Self, TuningError> {
        let config: Self = serde_json::from_str(text)?;
        let refuse = |field, value: String| Err(TuningError::Setting { field, value });
        if config.bias != "none" {
            return refuse("bias", config.bias);
        }
        if config.prefix_projection || config.lora_bias {
            let field = if config.lora_bias { "lora_bias" } else { "prefix_projection" };
            return refuse(field, "true".to_owned());
        }
        if !(0.0..1.0).contains(&config.lora_dropout) {
            return refuse("lora_dropout", config.lora_dropout.to_string());
        }
        match &config.modules_to_save {
            Some(modules) if !modules.is_empty() => refuse("modules_to_save", modules.join(", ")),
            Some(_) | None => Ok(config),
        }
    }

    /// The factor of the sum at a module, for a sum of this rank.
    pub(super) fn scale(&self, path: &str, rank: usize) -> f64 {
        let own = |key: &str| path == key || path.ends_with(&format!(".{key}"));
        let alpha = self.alpha_pattern.iter().find(|(key, _)| own(key));
        let alpha = alpha.map_or(self.lora_alpha, |(_, alpha)| *alpha);
        alpha / if self.use_rslora { (rank as f64).sqrt() } else { rank as f64 }
    }
}

/// The file of an adapter of this kind with these fields.
pub(super) fn text(peft_type: &str, fields: Value) -> String {
    let mut all = Map::new();
    let common = json!({
        "peft_type": peft_type,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": null,
        "inference_mode": true,
    });
    for part in [common, fields] {
        let Value::Object(part) = part else { continue };
        all.extend(part);
    }
    serde_json::to_string_pretty(&all).expect("a table prints as JSON") + "\n"
}
