//! What holds for any bytes that should be a file of a policy, an adapter or an encoder: it is read or refused, and nothing else.
//!
//! Left out: `tokenizer.json` and bundles, which `bundle` checks.

use burn::tensor::Device;
use kudos_core::model::hugging_face::{
    Adapter, Weights, config_from_json, encoder_config_from_json, read_adapted, read_weights,
};
use kudos_core::model::{Transformer, TransformerConfig};
use kudos_core::policy::PolicyFiles;
use kudos_core::sentence_encoder::EncoderFiles;
use kudos_core::text::chat::ChatTemplate;
use kudos_core::tuning::{AdapterFiles, read_adapter};

/// A policy that adapters are laid upon.
pub(crate) struct Base {
    /// The files' sizes.
    pub(crate) config: TransformerConfig,
    /// `model.safetensors`
    pub(crate) weights: Weights,
    /// Both, loaded.
    pub(crate) model: Transformer,
}

/// Whether the bytes are a GGUF file, a JSON file of a folder, or safetensors of `config`, and sound.
pub(crate) fn check(config: &TransformerConfig, bytes: &[u8]) -> bool {
    if bytes.starts_with(b"GGUF") {
        let files = PolicyFiles::from_gguf(bytes.to_vec());
        return files.is_ok_and(|files| files.load(&Device::flex()).is_ok());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if text.trim_start().starts_with('{') => {
            let sizes = config_from_json(text).is_ok() | encoder_config_from_json(text).is_ok();
            sizes | ChatTemplate::from_tokenizer_config(text).is_ok()
        }
        Ok(_) | Err(_) => read_weights(config, bytes, &Device::flex()).is_ok(),
    }
}

/// Whether the files are an adapter of the policy, and sound: at it, and if it is a plain one in its weights.
pub(crate) fn check_adapter(base: &Base, files: &AdapterFiles) -> bool {
    let at_it = read_adapter(&base.model, files).is_ok();
    let within = files.scale().is_ok_and(|scale| {
        let adapter = Adapter { weights: files.weights.clone(), scale };
        read_adapted(&base.config, (&base.weights, &adapter), &Device::flex()).is_ok()
    });
    at_it | within
}

/// Whether the files are a sentence encoder, and sound.
pub(crate) fn check_encoder(files: &EncoderFiles) -> bool {
    files.load(&Device::flex()).is_ok()
}
