//! The tokenizer and the chat template of a file, as `tokenizer.json` and `tokenizer_config.json`.

use serde_json::{Value as Json, json};

use super::GgufError;
use super::container::{Gguf, Value};
use crate::text::chat::LINES;

/// Types of tokens in the format: those that only a template writes.
const CONTROL: i128 = 3;
/// Those that are found in plain text before it is cut.
const USER_DEFINED: i128 = 4;

impl Gguf<'_> {
    /// `tokenizer.json`.
    ///
    /// # Errors
    /// If the tokenizer is not byte-level BPE, or cuts words in a way that is not known.
    pub(crate) fn tokenizer_json(&self) -> Result<String, GgufError> {
        let model = self.text("tokenizer.ggml.model")?;
        if model != "gpt2" {
            return Err(GgufError::Tokenizer(format!("`{model}`")));
        }
        let kinds = self.list("tokenizer.ggml.token_type")?;
        let tokens = self.texts("tokenizer.ggml.tokens")?;
        let mut added = Vec::new();
        for ((id, token), kind) in tokens.iter().enumerate().zip(kinds) {
            let Value::Whole(kind @ (CONTROL | USER_DEFINED)) = kind else { continue };
            let special = *kind == CONTROL;
            added.push(json!({
                "id": id, "content": token, "special": special, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false,
            }));
        }
        let merges = self.texts("tokenizer.ggml.merges")?;
        let unknown = self.size("tokenizer.ggml.unknown_token_id").ok();
        let unknown = unknown.and_then(|id| tokens.get(id));
        let byte_level = json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
            "use_regex": true,
        });
        let vocabulary: serde_json::Map<String, Json> =
            tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), json!(id))).collect();
        let file = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": if self.pre()? == "qwen2" { json!({"type": "NFC"}) } else { Json::Null },
            "pre_tokenizer": self.pre_tokenizer(&byte_level)?,
            "post_processor": null,
            "decoder": byte_level,
            "model": {
                "type": "BPE", "dropout": null, "unk_token": unknown,
                "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
                "byte_fallback": false, "ignore_merges": self.pre()? == "llama-bpe",
                "vocab": vocabulary, "merges": merges,
            },
        });
        Ok(file.to_string())
    }

    fn pre(&self) -> Result<&str, GgufError> {
        self.text("tokenizer.ggml.pre")
    }

    /// How words are cut, by the name that the format has for it.
    fn pre_tokenizer(&self, byte_level: &Json) -> Result<Json, GgufError> {
        let split = |digits: &str| {
            let pattern = format!(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            );
            let split = json!({
                "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
                "invert": false,
            });
            let mut letters = byte_level.clone();
            letters["use_regex"] = json!(false);
            json!([split, letters])
        };
        let parts = match self.pre()? {
            "gpt-2" => json!([byte_level]),
            "smollm" => json!([{"type": "Digits", "individual_digits": true}, byte_level]),
            "llama-bpe" => split(r"\p{N}{1,3}"),
            "qwen2" => split(r"\p{N}"),
            other => return Err(GgufError::Tokenizer(format!("gpt2 with the words `{other}`"))),
        };
        Ok(json!({"type": "Sequence", "pretokenizers": parts}))
    }

    /// `tokenizer_config.json`: the chat template and the names of the tokens that begin and end a text.
    ///
    /// # Errors
    /// If there is no end token.
    pub(crate) fn tokenizer_config(&self) -> Result<String, GgufError> {
        let tokens = self.texts("tokenizer.ggml.tokens")?;
        let named = |key: &str| Some(tokens.get(self.size(key).ok()?).copied()?.to_owned());
        let end = "tokenizer.ggml.eos_token_id";
        let end = named(end).ok_or_else(|| GgufError::Key(end.to_owned()))?;
        let template = self.value("tokenizer.chat_template").and_then(Value::text);
        let file = json!({
            "chat_template": template.unwrap_or(LINES),
            "bos_token": named("tokenizer.ggml.bos_token_id"),
            "eos_token": end,
            "clean_up_tokenization_spaces": false,
        });
        Ok(file.to_string())
    }

    fn texts(&self, key: &str) -> Result<Vec<&str>, GgufError> {
        let texts: Option<Vec<&str>> = self.list(key)?.iter().map(Value::text).collect();
        texts.ok_or_else(|| GgufError::Key(key.to_owned()))
    }
}
