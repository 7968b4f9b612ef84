//! `config.json` of the GPT-2, Llama and Qwen2 families, to and from [`TransformerConfig`].

use serde_json::{Value, json};

use super::{CheckpointError, StoredAs};
use crate::model::{FeedForwardKind, NormKind, Positions, RotaryPairing, TransformerConfig};

/// No size is larger; a larger number is damage or malice.
const MOST: u64 = 1 << 24;

/// Where the sizes of eyes stand, as in Hugging Face's models of pictures and texts.
const VISION: &str = "vision_config";

/// Token ids that `config.json` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Fills shorter rows.
    pub pad: u32,
    /// Begins a text.
    pub begin: u32,
    /// Ends a completion.
    pub end: u32,
}

/// Writes `config.json` of weights that are stored in this type.
///
/// # Errors
/// If neither family has this combination of layers.
pub fn config_to_json(
    config: &TransformerConfig,
    special: SpecialTokens,
    stored_as: StoredAs,
) -> Result<String, CheckpointError> {
    let mut json = match (config.norm, config.positions, config.feed_forward) {
        (NormKind::LayerNorm, Positions::Learned, FeedForwardKind::Gelu) => gpt2_json(config)?,
        (
            NormKind::RmsNorm,
            Positions::Rotary { theta, pairing: RotaryPairing::HalfSplit },
            FeedForwardKind::SwiGlu,
        ) => llama_json(config, theta),
        _ => return Err(CheckpointError::NoFamily("this mix of norm, positions and feed-forward")),
    };
    json["vocab_size"] = json!(config.vocab_size);
    json["tie_word_embeddings"] = json!(config.tied_head);
    json["bos_token_id"] = json!(special.begin);
    json["eos_token_id"] = json!(special.end);
    json["pad_token_id"] = json!(special.pad);
    json["dtype"] = json!(stored_as.torch_name());
    if let Some(vision) = config.vision {
        json[VISION] = json!(vision);
    }
    Ok(serde_json::to_string_pretty(&json).expect("a JSON value prints"))
}

fn gpt2_json(config: &TransformerConfig) -> Result<Value, CheckpointError> {
    if !(config.attention_bias && config.feed_forward_bias) {
        return Err(CheckpointError::NoFamily("learned positions without biases"));
    }
    if config.n_kv_heads != config.n_heads || config.n_heads * config.d_head != config.d_model {
        return Err(CheckpointError::NoFamily("learned positions with grouped or resized heads"));
    }
    Ok(json!({
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_positions": config.context_length,
        "n_embd": config.d_model,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "n_inner": config.d_ff,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": config.norm_epsilon,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
    }))
}

fn llama_json(config: &TransformerConfig, theta: f64) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "max_position_embeddings": config.context_length,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.d_head,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": theta,
        "rope_parameters": { "rope_type": "default", "rope_theta": theta },
        "attention_bias": config.attention_bias,
        "mlp_bias": config.feed_forward_bias,
        "attention_dropout": config.dropout,
    })
}

/// Reads `config.json`.
///
/// # Errors
/// If it is not JSON, of another family, lacks a size, or sets what is not supported.
pub fn config_from_json(text: &str) -> Result<TransformerConfig, CheckpointError> {
    let json: Value = serde_json::from_str(text)?;
    let family = json["model_type"].as_str().ok_or(CheckpointError::Field("model_type"))?;
    let mut config = match family {
        "gpt2" => gpt2_config(&json)?,
        "llama" => llama_config(&json)?,
        "qwen2" => qwen2_config(&json)?,
        other => return Err(CheckpointError::Family(other.to_owned())),
    };
    if let Some(vision) = json.get(VISION) {
        config.vision = Some(serde_json::from_value(vision.clone())?);
    }
    config.validate()?;
    Ok(config)
}

fn gpt2_config(json: &Value) -> Result<TransformerConfig, CheckpointError> {
    only(json, "activation_function", "gelu_new")?;
    off(json, "scale_attn_by_inverse_layer_idx")?;
    if json["scale_attn_weights"] == false {
        return Err(setting("scale_attn_weights", "false"));
    }
    let d_model = size(json, "n_embd")?;
    let n_heads = size(json, "n_head")?;
    let vocab_size = size(json, "vocab_size")?;
    let context_length = size(json, "n_positions")?;
    Ok(TransformerConfig {
        n_heads,
        n_kv_heads: n_heads,
        d_head: d_model.checked_div(n_heads).unwrap_or(0),
        d_ff: optional(json, "n_inner")?.unwrap_or(4 * d_model),
        norm_epsilon: json["layer_norm_epsilon"].as_f64().unwrap_or(1e-5),
        tied_head: json["tie_word_embeddings"].as_bool().unwrap_or(true),
        dropout: json["resid_pdrop"].as_f64().unwrap_or(0.0),
        ..TransformerConfig::gpt2(vocab_size, context_length, size(json, "n_layer")?, d_model)
    })
}

fn llama_config(json: &Value) -> Result<TransformerConfig, CheckpointError> {
    only(json, "hidden_act", "silu")?;
    let rope = &json["rope_parameters"];
    // `type` is what transformers called it before 4.43.
    let scaling = [rope, &json["rope_scaling"]].into_iter();
    let mut kinds = scaling.flat_map(|table| [&table["rope_type"], &table["type"]]);
    if let Some(kind) = kinds.find_map(|kind| kind.as_str().filter(|kind| *kind != "default")) {
        return Err(setting("rope_type", kind));
    }
    for table in [rope, json] {
        if table["partial_rotary_factor"].as_f64().is_some_and(|share| share != 1.0) {
            return Err(setting(
                "partial_rotary_factor",
                &table["partial_rotary_factor"].to_string(),
            ));
        }
    }
    let theta = rope["rope_theta"].as_f64().or(json["rope_theta"].as_f64()).unwrap_or(1e4);
    let d_model = size(json, "hidden_size")?;
    let n_heads = size(json, "num_attention_heads")?;
    let vocab_size = size(json, "vocab_size")?;
    let context_length = size(json, "max_position_embeddings")?;
    let n_layers = size(json, "num_hidden_layers")?;
    Ok(TransformerConfig {
        n_heads,
        n_kv_heads: optional(json, "num_key_value_heads")?.unwrap_or(n_heads),
        d_head: optional(json, "head_dim")?.unwrap_or(d_model.checked_div(n_heads).unwrap_or(0)),
        d_ff: size(json, "intermediate_size")?,
        norm_epsilon: json["rms_norm_eps"].as_f64().unwrap_or(1e-6),
        positions: Positions::Rotary { theta, pairing: RotaryPairing::HalfSplit },
        attention_bias: json["attention_bias"].as_bool().unwrap_or(false),
        feed_forward_bias: json["mlp_bias"].as_bool().unwrap_or(false),
        tied_head: json["tie_word_embeddings"].as_bool().unwrap_or(false),
        dropout: json["attention_dropout"].as_f64().unwrap_or(0.0),
        ..TransformerConfig::llama(vocab_size, context_length, n_layers, d_model)
    })
}

/// Qwen2 is a Llama with biases at queries, keys and values; the output's, which it has not, is zero.
fn qwen2_config(json: &Value) -> Result<TransformerConfig, CheckpointError> {
    off(json, "use_sliding_window")?;
    Ok(TransformerConfig { attention_bias: true, ..llama_config(json)? })
}

pub(super) fn size(json: &Value, field: &'static str) -> Result<usize, CheckpointError> {
    optional(json, field)?.ok_or(CheckpointError::Field(field))
}

/// A size that the family derives from others where it is not given.
fn optional(json: &Value, field: &'static str) -> Result<Option<usize>, CheckpointError> {
    match json[field].as_u64() {
        Some(value) if value > MOST => Err(CheckpointError::Field(field)),
        value => Ok(value.map(|value| value as usize)),
    }
}

pub(super) fn only(
    json: &Value,
    field: &'static str,
    expected: &str,
) -> Result<(), CheckpointError> {
    match json[field].as_str() {
        None => Ok(()),
        Some(value) if value == expected => Ok(()),
        Some(value) => Err(CheckpointError::Setting { field, value: value.to_owned() }),
    }
}

/// What would change the logits if it were on.
fn off(json: &Value, field: &'static str) -> Result<(), CheckpointError> {
    if json[field] == true { Err(setting(field, "true")) } else { Ok(()) }
}

fn setting(field: &'static str, value: &str) -> CheckpointError {
    CheckpointError::Setting { field, value: value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_survives_the_trip_through_json() {
        let special = SpecialTokens { pad: 0, begin: 1, end: 1 };
        let grouped = TransformerConfig {
            n_heads: 4,
            n_kv_heads: 2,
            d_head: 24,
            attention_bias: true,
            ..TransformerConfig::llama(101, 64, 3, 64)
        };
        for config in [
            TransformerConfig::gpt2(61, 32, 2, 64),
            TransformerConfig::llama(61, 32, 2, 64),
            TransformerConfig { tied_head: false, ..grouped },
            TransformerConfig {
                vision: Some(crate::model::VisionConfig { image_size: 32, width: 16 }),
                ..TransformerConfig::llama(61, 32, 2, 64)
            },
        ] {
            let json = config_to_json(&config, special, StoredAs::F32).unwrap();
            assert_eq!(config_from_json(&json).unwrap(), config);
        }
    }

    #[test]
    fn what_would_change_the_logits_is_refused() {
        let check = |json: &str, expected: &str| {
            let error = config_from_json(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("{", "not valid JSON");
        check("{}", "model_type");
        check(r#"{"model_type":"bert"}"#, "bert");
        check(r#"{"model_type":"gpt2"}"#, "n_embd");
        check(r#"{"model_type":"gpt2","activation_function":"relu"}"#, "relu");
        check(r#"{"model_type":"gpt2","n_embd":4611686018427387904}"#, "n_embd");
        check(r#"{"model_type":"llama","hidden_size":18446744073709551615}"#, "hidden_size");
        check(r#"{"model_type":"llama","rope_scaling":{"rope_type":"llama3"}}"#, "llama3");
        check(r#"{"model_type":"llama","rope_scaling":{"type":"linear","factor":2.0}}"#, "linear");
        check(r#"{"model_type":"llama","partial_rotary_factor":0.5}"#, "partial_rotary_factor");
        check(r#"{"model_type":"gpt2","scale_attn_by_inverse_layer_idx":true}"#, "inverse_layer");
        check(r#"{"model_type":"gpt2","scale_attn_weights":false}"#, "scale_attn_weights");
    }
}
