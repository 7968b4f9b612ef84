//! `tokenizer.json`: the file in which Hugging Face libraries keep byte-level BPE.
//!
//! What would change the tokens of a text and is not known here is refused; what only decorates
//! (post-processors, truncation, padding) is left out, since nothing here asks for it.
//!
//! Source: the `tokenizers` crate 0.23.2, whose format this is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use crate::bpe::Bpe;
use crate::normalizer::Normalizer;
use crate::tokenizer::TokenizerError;
use crate::words::Words;

/// The special tokens of our own vocabularies, in the order of their ids.
pub const SPECIALS: [&str; 5] = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"];

/// No vocabulary is larger; a larger number is damage or malice.
const MOST_TOKENS: u32 = 1 << 20;

/// What a file says.
#[derive(Clone, Debug)]
pub(crate) struct TokenizerFile {
    pub(crate) normalizer: Normalizer,
    pub(crate) words: Words,
    pub(crate) bpe: Bpe,
    /// Bytes that each id writes; none for specials and for holes in the numbering.
    pub(crate) bytes: Vec<Vec<u8>>,
    /// Special tokens by name, longest name first so that a search finds the longest.
    pub(crate) specials: Vec<(String, u32)>,
    /// Other tokens beside the vocabulary, found in plain text, in the same order.
    pub(crate) added: Vec<(String, u32)>,
    /// What stands for bytes that the vocabulary lacks, where the file names it.
    pub(crate) unknown: Option<u32>,
}

impl TokenizerFile {
    /// Reads a file.
    pub(crate) fn read(json: &str) -> Result<Self, TokenizerError> {
        let file: Value = serde_json::from_str(json).map_err(|e| malformed(&e.to_string()))?;
        check_kind(&file)?;
        let normalizer = &file["normalizer"];
        let normalizer = Normalizer::from_json(normalizer)
            .ok_or_else(|| TokenizerError::Unsupported(format!("the normalizer {normalizer}")))?;
        let words = Words::from_json(&file["pre_tokenizer"])
            .map_err(|what| TokenizerError::Unsupported(format!("the pre_tokenizer {what}")))?;
        let vocabulary = file["model"]["vocab"].as_object();
        let vocabulary = vocabulary.ok_or_else(|| malformed("no vocab"))?;
        let unknown = file["model"]["unk_token"].as_str().and_then(|name| vocabulary.get(name));
        let unknown = unknown.map(id_of).transpose()?;
        let mut bytes = spelled(vocabulary)?;
        let mut bpe = encoder(&file["model"], vocabulary, &bytes)?;
        let (mut specials, mut added) = (Vec::new(), Vec::new());
        for token in file["added_tokens"].as_array().into_iter().flatten() {
            let name = token["content"].as_str().filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| malformed("a nameless token"))?;
            let id = id_of(&token["id"])?;
            let is_special = token["special"] == true;
            if !is_special
                && ["lstrip", "rstrip", "single_word"].iter().any(|key| token[key] == true)
            {
                return Err(TokenizerError::Unsupported(format!("the added token {token}")));
            }
            let list = if is_special { &mut specials } else { &mut added };
            list.push((name.to_owned(), id));
            bytes.resize(bytes.len().max(id as usize + 1), Vec::new());
            if !is_special {
                bytes[id as usize] = name.as_bytes().to_vec();
            }
        }
        specials.iter().for_each(|(_, id)| bytes[*id as usize].clear());
        for list in [&mut specials, &mut added] {
            list.sort_by_key(|(name, id)| (Reverse(name.len()), *id));
        }
        // What a user writes never becomes a special token.
        bpe.whole.retain(|_, id| specials.iter().all(|(_, special)| special != id));
        let file = Self { normalizer, words, bpe, bytes, specials, added, unknown };
        match file.ambiguous() {
            None => Ok(file),
            Some(id) => Err(malformed(&format!("the token number {id} is that of two tokens"))),
        }
    }

    /// The first token that stands for a text which it does not write. With one, a text would not come
    /// back from its tokens, or could hold a special token.
    fn ambiguous(&self) -> Option<u32> {
        let written = |id: u32| self.bytes[id as usize].as_slice();
        let joins = |left: u32, right: u32, both: u32| {
            written(both).strip_prefix(written(left)) == Some(written(right))
        };
        let bytes = (0..=255_u8).zip(self.bpe.bytes);
        let bytes = bytes.filter_map(|(byte, id)| id.filter(|id| written(*id) != [byte]));
        let merges =
            self.bpe.merges.iter().map(|((left, right), (_, both))| (*left, *right, *both));
        let merges = merges.filter(|(left, right, both)| !joins(*left, *right, *both));
        let whole = self.bpe.whole.iter().filter(|(word, id)| written(**id) != word.as_slice());
        let added = self.added.iter().filter(|(name, id)| written(*id) != name.as_bytes());
        let ids = bytes.chain(merges.map(|(_, _, both)| both));
        ids.chain(whole.map(|(_, id)| *id)).chain(added.map(|(_, id)| *id)).min()
    }

    /// Id of the token that is beside the vocabulary, or spelled in it, as `name`.
    pub(crate) fn id(&self, name: &str) -> Option<u32> {
        let beside = self.specials.iter().chain(&self.added).find(|(known, _)| known == name);
        let spelled = || self.bytes.iter().position(|bytes| bytes == name.as_bytes());
        beside.map(|(_, id)| *id).or_else(|| spelled().map(|id| id as u32))
    }
}

/// Refuses what is no byte-level BPE, or has a part that would change the tokens of a text.
fn check_kind(file: &Value) -> Result<(), TokenizerError> {
    // Files older than the field have no type; merges tell them.
    let kind = &file["model"]["type"];
    let merges = kind == "BPE" || (kind.is_null() && file["model"]["merges"].is_array());
    if !names_byte_level(&file["decoder"]) || !merges {
        return Err(TokenizerError::NotByteLevel);
    }
    for name in ["dropout", "continuing_subword_prefix", "end_of_word_suffix"] {
        let value = &file["model"][name];
        if !value.is_null() && value != "" {
            return Err(TokenizerError::Unsupported(format!("the {name} {value}")));
        }
    }
    Ok(())
}

/// The bytes of each id of a vocabulary in byte letters; other letters of a name stand for none.
fn spelled(vocabulary: &Map<String, Value>) -> Result<Vec<Vec<u8>>, TokenizerError> {
    let bytes_of_letter: HashMap<char, u8> = byte_letters().into_iter().zip(0..=255).collect();
    let mut bytes = Vec::new();
    for (name, id) in vocabulary {
        let id = id_of(id)? as usize;
        bytes.resize(bytes.len().max(id + 1), Vec::new());
        bytes[id] = name.chars().filter_map(|l| bytes_of_letter.get(&l).copied()).collect();
    }
    Ok(bytes)
}

/// The merges of a model, whose tokens are `spelled` in bytes by id.
fn encoder(
    model: &Value,
    vocabulary: &Map<String, Value>,
    spelled: &[Vec<u8>],
) -> Result<Bpe, TokenizerError> {
    let id = |name: &str| match vocabulary.get(name) {
        Some(id) => id_of(id),
        None => Err(malformed(&format!("no token {name:?}"))),
    };
    // Some vocabularies lack bytes that their corpus had not, and then have an unknown token.
    let lacking = model["unk_token"].as_str().is_some_and(|name| vocabulary.contains_key(name));
    let mut bytes = [None; 256];
    for (slot, letter) in bytes.iter_mut().zip(byte_letters()) {
        *slot = match vocabulary.get(letter.encode_utf8(&mut [0; 4]) as &str) {
            Some(token) => Some(id_of(token)?),
            None if lacking => None,
            None => return Err(TokenizerError::NotByteLevel),
        };
    }
    let mut merges = HashMap::new();
    for (rank, merge) in (0..).zip(model["merges"].as_array().into_iter().flatten()) {
        let pair = match merge.as_str() {
            Some(both) => both.split_once(' '),
            None => merge[0].as_str().zip(merge[1].as_str()),
        };
        let (left, right) = pair.ok_or_else(|| malformed(&format!("the merge {merge}")))?;
        let merged = id(&format!("{left}{right}"))?;
        merges.insert((id(left)?, id(right)?), (rank, merged));
    }
    let mut whole = HashMap::new();
    if model["ignore_merges"] == true {
        for (name, id) in vocabulary {
            let id = id_of(id)?;
            let word = &spelled[id as usize];
            // Otherwise some letter of the name stands for no byte.
            if word.len() == name.chars().count() {
                whole.insert(word.clone(), id);
            }
        }
    }
    Ok(Bpe { bytes, merges, whole })
}

fn id_of(value: &Value) -> Result<u32, TokenizerError> {
    let id = value.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| *id < MOST_TOKENS);
    id.ok_or_else(|| malformed(&format!("the token number {value}")))
}

fn malformed(what: &str) -> TokenizerError {
    TokenizerError::Malformed(what.to_owned())
}

/// The printable letter that stands for each byte in the files, by byte value (GPT-2's
/// `bytes_to_unicode`).
pub(crate) fn byte_letters() -> Vec<char> {
    let mut stand_ins = '\u{100}'..;
    (0..=255_u8)
        .map(|byte| match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
            0..=b' ' | 0x7F..=0xA0 | 0xAD => stand_ins.next().expect("68 letters follow U+0100"),
        })
        .collect()
}

/// Whether a decoder of `tokenizer.json` is byte-level, alone or in a sequence.
fn names_byte_level(decoder: &Value) -> bool {
    let inside = decoder["decoders"].as_array();
    decoder["type"] == "ByteLevel" || inside.is_some_and(|parts| parts.iter().any(names_byte_level))
}

/// A file of ours.
pub(crate) fn write(vocabulary: &[String], merges: &[(String, String)]) -> String {
    let ids: BTreeMap<&String, usize> = vocabulary.iter().zip(0..).collect();
    let added: Vec<Value> = (0..).zip(SPECIALS).map(|(id, name)| added_token(id, name)).collect();
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true,
    });
    let digits = json!({"type": "Digits", "individual_digits": true});
    let parts = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level]},
        "post_processor": null,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": false,
            "vocab": ids, "merges": merges,
        },
    });
    parts.to_string()
}

fn added_token(id: u32, name: &str) -> Value {
    json!({
        "id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tokenizer::Tokenizer;
    use super::*;

    /// Made by tests/golden/chat_template.py with `tokenizers`.
    const BASE: &str = include_str!("../../../tests/golden/chat_template.json");
    /// Made by tests/golden/tokenizer.py with `tokenizers`.
    const GOLDEN: &str = include_str!("../../../tests/golden/tokenizer.json");

    fn base() -> Value {
        let golden: Value = serde_json::from_str(BASE).unwrap();
        golden["tokenizer"].clone()
    }

    /// The file of a case: the base with its changes.
    fn changed(changes: &Value) -> Value {
        let mut file = base();
        for (key, value) in changes.as_object().unwrap() {
            if key == "model" {
                let merges = file["model"]["merges"].as_array_mut().unwrap();
                merges.truncate(value["n_merges"].as_u64().unwrap() as usize);
                file["model"]["ignore_merges"] = value["ignore_merges"].clone();
            } else {
                file[key] = value.clone();
            }
        }
        file
    }

    #[test]
    fn texts_have_the_tokens_of_hugging_faces_tokenizers() {
        let golden: Value = serde_json::from_str(GOLDEN).unwrap();
        let texts: Vec<String> = serde_json::from_value(golden["texts"].clone()).unwrap();
        let cases = golden["cases"].as_array().unwrap();
        assert!(cases.len() * texts.len() > 1000);
        for case in cases {
            let tokenizer = Tokenizer::from_json(&changed(&case["changes"]).to_string()).unwrap();
            for (text, ids) in texts.iter().zip(case["ids"].as_array().unwrap()) {
                let ours = tokenizer.encode(text);
                assert_eq!(json!(ours), *ids, "{text:?} by {}", case["name"]);
                let normalized = case["changes"].get("normalizer").is_some();
                assert!(normalized || tokenizer.decode(&ours) == *text);
            }
        }
    }

    #[test]
    fn a_part_that_changes_tokens_and_is_not_known_is_refused() {
        for (part, value, word) in [
            ("/normalizer", json!({"type": "Lowercase"}), "Lowercase"),
            ("/model/dropout", json!(0.1), "dropout"),
            ("/model/end_of_word_suffix", json!("</w>"), "suffix"),
            ("/pre_tokenizer", json!({"type": "Metaspace"}), "Metaspace"),
            ("/model/merges", json!(["Q q"]), "Qq"),
            ("/added_tokens/0/id", json!(u32::MAX), "token number"),
            ("/added_tokens/0/content", json!(""), "nameless"),
            ("/added_tokens/0", json!({"id": 0, "content": "x", "lstrip": true}), "added token"),
            ("/model/vocab", json!({"a": 0}), "byte-level"),
            ("/model/vocab/a", json!(8), "two tokens"),
            ("/added_tokens/0/id", json!(8), "two tokens"),
            ("/added_tokens/0", json!({"id": 8, "content": "x"}), "two tokens"),
            ("/model/merges", json!([["a", ""]]), "no token"),
        ] {
            let mut file = base();
            *file.pointer_mut(part).unwrap() = value;
            let message = TokenizerFile::read(&file.to_string()).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
    }

    #[test]
    fn a_byte_that_the_vocabulary_lacks_is_left_out_and_never_becomes_a_special_token() {
        let mut file = base();
        file["model"]["unk_token"] = json!("<|end|>");
        file["model"]["vocab"]["<|end|>"] = json!(1);
        let whole = Tokenizer::from_json(&file.to_string()).unwrap();
        let vocabulary = file["model"]["vocab"].as_object_mut().unwrap();
        // The letter of the byte 4.
        vocabulary.remove("\u{104}").unwrap();
        let lacking = Tokenizer::from_json(&file.to_string()).unwrap();
        assert_eq!(lacking.encode("a\u{4}b the hat"), whole.encode("ab the hat"));
        assert!(lacking.encode("\u{4}").is_empty());
    }

    #[test]
    fn a_text_without_spaces_takes_no_quadratic_time() {
        let tokenizer = Tokenizer::from_json(&base().to_string()).unwrap();
        for text in ["ab".repeat(200_000), "12".repeat(200_000)] {
            assert_eq!(tokenizer.decode(&tokenizer.encode(&text)), text);
        }
    }
}
