//! Checkpoints of the BERT family, to and from an [`Encoder`].

use burn::tensor::Device;
use serde_json::{Value, json};

use super::config::{only, size};
use super::tables::bert_entries;
use super::weights::read_module;
use super::written::write_module;
use super::{CheckpointError, StoredAs};
use crate::model::{Encoder, EncoderConfig};

/// Reads `config.json` of an encoder.
///
/// # Errors
/// If it is not JSON, of another family, lacks a size, or sets what is not supported.
pub fn encoder_config_from_json(text: &str) -> Result<EncoderConfig, CheckpointError> {
    let json: Value = serde_json::from_str(text)?;
    let family = json["model_type"].as_str().ok_or(CheckpointError::Field("model_type"))?;
    if family != "bert" {
        return Err(CheckpointError::Family(family.to_owned()));
    }
    only(&json, "hidden_act", "gelu")?;
    only(&json, "position_embedding_type", "absolute")?;
    let config = EncoderConfig {
        vocab_size: size(&json, "vocab_size")?,
        context_length: size(&json, "max_position_embeddings")?,
        segments: size(&json, "type_vocab_size")?,
        n_layers: size(&json, "num_hidden_layers")?,
        d_model: size(&json, "hidden_size")?,
        n_heads: size(&json, "num_attention_heads")?,
        d_ff: size(&json, "intermediate_size")?,
        norm_epsilon: json["layer_norm_eps"].as_f64().unwrap_or(1e-12),
        dropout: json["hidden_dropout_prob"].as_f64().unwrap_or(0.1),
    };
    config.layers().validate()?;
    Ok(config)
}

/// Writes `config.json` of weights that are stored in this type.
pub fn encoder_config_to_json(config: &EncoderConfig, stored_as: StoredAs) -> String {
    let json = json!({
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context_length,
        "type_vocab_size": config.segments,
        "num_hidden_layers": config.n_layers,
        "hidden_size": config.d_model,
        "num_attention_heads": config.n_heads,
        "intermediate_size": config.d_ff,
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "layer_norm_eps": config.norm_epsilon,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "pad_token_id": 0,
        "dtype": stored_as.torch_name(),
    });
    serde_json::to_string_pretty(&json).expect("a JSON value prints")
}

/// Reads an encoder from safetensors bytes.
///
/// # Errors
/// If the bytes are damaged, or tensors are missing, foreign, of another shape or number type.
pub fn read_encoder(
    config: &EncoderConfig,
    bytes: &[u8],
    device: &Device,
) -> Result<Encoder, CheckpointError> {
    read_module(
        Encoder::zeroed(config, device),
        bert_entries(config.n_layers),
        (bytes.into(), None),
    )
}

/// Writes an encoder as safetensors bytes.
///
/// # Errors
/// If the device does not return the weights.
pub async fn write_encoder(
    encoder: &Encoder,
    stored_as: StoredAs,
) -> Result<Vec<u8>, CheckpointError> {
    write_module(encoder, bert_entries(encoder.config().n_layers), stored_as).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_survives_the_trip_through_json() {
        let config = EncoderConfig {
            vocab_size: 101,
            context_length: 32,
            segments: 2,
            n_layers: 2,
            d_model: 16,
            n_heads: 4,
            d_ff: 64,
            norm_epsilon: 1e-12,
            dropout: 0.1,
        };
        let json = encoder_config_to_json(&config, StoredAs::F32);
        assert_eq!(encoder_config_from_json(&json).unwrap(), config);
    }

    #[test]
    fn what_would_change_the_states_is_refused() {
        let check = |json: &str, expected: &str| {
            let error = encoder_config_from_json(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(r#"{"model_type":"gpt2"}"#, "gpt2");
        check(r#"{"model_type":"bert","hidden_act":"relu"}"#, "relu");
        check(r#"{"model_type":"bert","position_embedding_type":"relative_key"}"#, "relative_key");
        check(r#"{"model_type":"bert"}"#, "vocab_size");
    }
}
