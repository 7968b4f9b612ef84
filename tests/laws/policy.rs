//! What holds for any bytes that should be a file of a policy: it is read or refused, and nothing else.
//!
//! Left out: `tokenizer.json` and bundles, which `bundle` checks.

use burn::tensor::Device;
use kudos_core::model::TransformerConfig;
use kudos_core::model::hugging_face::{config_from_json, encoder_config_from_json, read_weights};
use kudos_core::policy::PolicyFiles;
use kudos_core::text::chat::ChatTemplate;

/// Values of the largest model that is worth its zeros here.
const MOST: usize = 1 << 20;

/// Whether the bytes are a GGUF file, a JSON file of a folder, or safetensors of `config`, and sound.
pub(crate) fn check(config: &TransformerConfig, bytes: &[u8]) -> bool {
    if bytes.starts_with(b"GGUF") {
        let files = PolicyFiles::from_gguf(bytes.to_vec());
        return files
            .is_ok_and(|files| small(&files.config) && files.load(&Device::flex()).is_ok());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if text.trim_start().starts_with('{') => {
            let sizes = config_from_json(text).is_ok() | encoder_config_from_json(text).is_ok();
            sizes | ChatTemplate::from_tokenizer_config(text).is_ok()
        }
        Ok(_) | Err(_) => read_weights(config, bytes, &Device::flex()).is_ok(),
    }
}

/// Whether a model's tables of embeddings and its widest matrices are small.
fn small(config: &str) -> bool {
    let Ok(config) = config_from_json(config) else { return true };
    let rows = config.vocab_size.max(config.context_length).max(config.d_ff);
    rows.saturating_mul(config.d_model).saturating_mul(config.n_layers) < MOST
}
