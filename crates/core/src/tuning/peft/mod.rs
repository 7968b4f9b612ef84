//! Adapters in PEFT's form: `adapter_config.json` and `adapter_model.safetensors`, as text and bytes.
//!
//! What is written loads in Python's PEFT with equal logits, and the other way round. PEFT sees GPT-2's
//! query, key and value as one projection, so three sums of rank R become one of rank 3 R, and such a
//! one becomes three. Bottleneck adapters have no form in PEFT: they are written under our own names.

mod config;
mod modules;
mod read;
mod write;

use config::AdapterConfig;
pub use read::read_adapter;
pub use write::write_adapter;

use crate::tuning::TuningError;
use crate::tuning::stored::read_container;

/// The files of an adapter, as text and bytes.
#[derive(Debug, Clone)]
pub struct AdapterFiles {
    /// `adapter_config.json`
    pub config: String,
    /// `adapter_model.safetensors`
    pub weights: Vec<u8>,
}

impl AdapterFiles {
    /// What every product of the adapter's matrices is multiplied by, where the adapter is nothing but such
    /// products.
    ///
    /// # Errors
    /// If the files are damaged, or the adapter is no plain LoRA of one scale.
    pub fn scale(&self) -> Result<f32, TuningError> {
        let config = AdapterConfig::read(&self.config)?;
        if config.peft_type != "LORA" {
            return Err(TuningError::Setting { field: "peft_type", value: config.peft_type });
        }
        let mut scales = Vec::new();
        for (name, tensor) in read_container(&self.weights)? {
            let path = name.strip_prefix(PREFIX).unwrap_or(&name);
            if let Some(path) = path.strip_suffix(".lora_A.weight") {
                scales.push(config.scale(path, tensor.shape[0]));
            } else if !path.ends_with(".lora_B.weight") {
                return Err(TuningError::Setting { field: "tensors", value: name });
            }
        }
        let first = scales.first().copied().unwrap_or_default();
        match scales.iter().find(|scale| (*scale - first).abs() > 1e-9 * first.abs()) {
            Some(other) => {
                let value = format!("{first} and {other} times the product");
                Err(TuningError::Setting { field: "alpha_pattern", value })
            }
            None => Ok(first as f32),
        }
    }
}

/// What PEFT puts before every module's path.
const PREFIX: &str = "base_model.model.";
/// The one tensor of prefix and prompt tuning.
const EMBEDDINGS: &str = "prompt_embeddings";
/// The kind of adapter that only we have.
const BOTTLENECK: &str = "KUDOS_BOTTLENECK";
