//! What a file says of its model, in Hugging Face's words: `config.json` and tensors under their names.
//!
//! Queries and keys of the Llama family are stored in the order of interleaved rotary pairs; Hugging Face
//! keeps the halves apart, so rows are put back. Read as they are, such a model still talks, only worse.

use serde_json::{Value as Json, json};

use super::container::{Gguf, Numbers, Value};
use super::{GgufError, damaged};
use crate::model::hugging_face::CheckpointError;

/// The families that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Llama,
    /// A Llama with biases at queries, keys and values, whose rotary pairs are stored apart.
    Qwen2,
    Gpt2,
}

/// Parts of a layer: Hugging Face's name for Llama and for GPT-2, and the name in the file.
const PARTS: [(&str, &str, &str); 10] = [
    ("input_layernorm", "ln_1", "attn_norm"),
    ("post_attention_layernorm", "ln_2", "ffn_norm"),
    ("self_attn.q_proj", "", "attn_q"),
    ("self_attn.k_proj", "", "attn_k"),
    ("self_attn.v_proj", "", "attn_v"),
    ("self_attn.o_proj", "attn.c_proj", "attn_output"),
    ("", "attn.c_attn", "attn_qkv"),
    ("mlp.gate_proj", "", "ffn_gate"),
    ("mlp.up_proj", "mlp.c_fc", "ffn_up"),
    ("mlp.down_proj", "mlp.c_proj", "ffn_down"),
];

impl Gguf<'_> {
    fn family(&self) -> Result<Family, GgufError> {
        match self.text("general.architecture")? {
            "llama" => Ok(Family::Llama),
            "qwen2" => Ok(Family::Qwen2),
            "gpt2" => Ok(Family::Gpt2),
            other => Err(GgufError::Architecture(other.to_owned())),
        }
    }

    /// `config.json` of the model.
    ///
    /// # Errors
    /// If a size is missing, or the architecture is not known.
    pub(crate) fn config_json(&self) -> Result<String, GgufError> {
        let vocab_size = self.list("tokenizer.ggml.tokens")?.len();
        let json = match self.family()? {
            Family::Llama => self.llama_json("llama", vocab_size)?,
            Family::Qwen2 => self.llama_json("qwen2", vocab_size)?,
            Family::Gpt2 => self.gpt2_json(vocab_size)?,
        };
        Ok(json.to_string())
    }

    fn llama_json(&self, family: &str, vocab_size: usize) -> Result<Json, GgufError> {
        let name = |key: &str| format!("{family}.{key}");
        let size = |key: &str| self.size(&name(key));
        let scaling =
            self.value(&name("rope.scaling.type")).and_then(Value::text).unwrap_or("none");
        if scaling != "none" || self.has("rope_freqs.weight") {
            return Err(GgufError::Key(name("rope.scaling.type")));
        }
        let n_heads = size("attention.head_count")?;
        let width = size("embedding_length")?;
        let head = |key: &str| self.value(&name(key)).and_then(Value::size);
        let by_count = || width.checked_div(n_heads);
        let d_head = head("attention.key_length").or_else(by_count).unwrap_or(0);
        if head("rope.dimension_count").is_some_and(|turned| turned != d_head) {
            return Err(GgufError::Key(name("rope.dimension_count")));
        }
        Ok(json!({
            "model_type": family,
            "vocab_size": vocab_size,
            "max_position_embeddings": size("context_length")?,
            "hidden_size": width,
            "intermediate_size": size("feed_forward_length")?,
            "num_hidden_layers": size("block_count")?,
            "num_attention_heads": n_heads,
            "num_key_value_heads": head("attention.head_count_kv").unwrap_or(n_heads),
            "head_dim": d_head,
            "hidden_act": "silu",
            "rms_norm_eps": self.single_precision(&name("attention.layer_norm_rms_epsilon"))?,
            "rope_theta": self.value(&name("rope.freq_base")).and_then(Value::real).unwrap_or(1e4),
            "attention_bias": self.has("blk.0.attn_q.bias"),
            "mlp_bias": self.has("blk.0.ffn_up.bias"),
            "tie_word_embeddings": !self.has("output.weight"),
        }))
    }

    fn gpt2_json(&self, vocab_size: usize) -> Result<Json, GgufError> {
        let size = |key: &str| self.size(&format!("gpt2.{key}"));
        Ok(json!({
            "model_type": "gpt2",
            "vocab_size": vocab_size,
            "n_positions": size("context_length")?,
            "n_embd": size("embedding_length")?,
            "n_layer": size("block_count")?,
            "n_head": size("attention.head_count")?,
            "n_inner": size("feed_forward_length")?,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": self.single_precision("gpt2.attention.layer_norm_epsilon")?,
            "tie_word_embeddings": !self.has("output.weight"),
        }))
    }

    /// A tensor by Hugging Face's name, in its layout; none if the file has none of that name.
    ///
    /// # Errors
    /// If it is damaged or of a kind that is not known.
    pub(crate) fn named(&self, name: &str) -> Result<Option<Numbers>, CheckpointError> {
        let family = self.family()?;
        let Some(theirs) = self.stored_name(name)? else { return Ok(None) };
        let Some(numbers) = self.tensor(&theirs)? else { return Ok(None) };
        let is_matrix = numbers.shape.len() == 2 && theirs.starts_with("blk.");
        match family {
            // GPT-2's own files have [input, output].
            Family::Gpt2 if is_matrix => Ok(Some(numbers.transposed())),
            Family::Llama if theirs.contains(".attn_q.") || theirs.contains(".attn_k.") => {
                let key = if theirs.contains(".attn_q.") { "head_count" } else { "head_count_kv" };
                let heads = self.size(&format!("llama.attention.{key}"));
                let heads = heads.or_else(|_| self.size("llama.attention.head_count"))?;
                Ok(Some(numbers.halves_apart(heads)?))
            }
            Family::Llama | Family::Qwen2 | Family::Gpt2 => Ok(Some(numbers)),
        }
    }

    /// The name in the file of what Hugging Face calls `name`.
    ///
    /// # Errors
    /// If the architecture is not known.
    pub(crate) fn stored_name(&self, name: &str) -> Result<Option<String>, GgufError> {
        Ok(stored_name(self.family()?, name))
    }

    fn has(&self, tensor: &str) -> bool {
        self.names().any(|name| name == tensor)
    }

    pub(super) fn text(&self, key: &str) -> Result<&str, GgufError> {
        self.value(key).and_then(Value::text).ok_or_else(|| GgufError::Key(key.to_owned()))
    }

    pub(super) fn list(&self, key: &str) -> Result<&[Value], GgufError> {
        self.value(key).and_then(Value::list).ok_or_else(|| GgufError::Key(key.to_owned()))
    }

    pub(super) fn size(&self, key: &str) -> Result<usize, GgufError> {
        self.value(key).and_then(Value::size).ok_or_else(|| GgufError::Key(key.to_owned()))
    }

    /// A number that was rounded to f32, as its shortest decimal: 1e-5 instead of 9.99999975e-6.
    fn single_precision(&self, key: &str) -> Result<f64, GgufError> {
        let number = self.value(key).and_then(Value::real);
        let number = number.ok_or_else(|| GgufError::Key(key.to_owned()))?;
        Ok((number as f32).to_string().parse().unwrap_or(number))
    }
}

fn stored_name(family: Family, name: &str) -> Option<String> {
    let (stem, kind) = name.rsplit_once('.')?;
    let whole = match stem {
        "model.embed_tokens" | "transformer.wte" => Some("token_embd"),
        "transformer.wpe" => Some("position_embd"),
        "model.norm" | "transformer.ln_f" => Some("output_norm"),
        "lm_head" => Some("output"),
        _ => None,
    };
    if let Some(whole) = whole {
        return Some(format!("{whole}.{kind}"));
    }
    let before = match family {
        Family::Llama | Family::Qwen2 => "model.layers.",
        Family::Gpt2 => "transformer.h.",
    };
    let (layer, part) = stem.strip_prefix(before)?.split_once('.')?;
    let is_it = |(llama, gpt2, _): &&(&str, &str, &str)| match family {
        Family::Llama | Family::Qwen2 => *llama == part,
        Family::Gpt2 => *gpt2 == part,
    };
    let (.., theirs) = PARTS.iter().find(is_it)?;
    Some(format!("blk.{layer}.{theirs}.{kind}"))
}

impl Numbers {
    fn transposed(self) -> Self {
        let (rows, columns) = (self.shape[0], self.shape[1]);
        let column = |at: usize| self.values[at..].iter().step_by(columns).copied();
        let values = (0..columns).flat_map(column).collect();
        Self { shape: vec![columns, rows], values }
    }

    /// The rows of each head from pairs side by side to all first members, then all second ones.
    fn halves_apart(self, heads: usize) -> Result<Self, GgufError> {
        let rows = self.shape[0];
        let width = self.values.len() / rows;
        let head = rows.checked_div(heads).filter(|head| head * heads == rows && head % 2 == 0);
        let head = head.ok_or_else(|| damaged(format!("{rows} rows for {heads} heads")))?;
        let half = head / 2;
        // Row p of half h in a head is stored at 2 p + h.
        let stored = |row: usize| row / head * head + row % half * 2 + row % head / half;
        let values = (0..rows).flat_map(|row| {
            let start = stored(row) * width;
            self.values[start..start + width].iter().copied()
        });
        Ok(Self { values: values.collect(), shape: self.shape })
    }
}
