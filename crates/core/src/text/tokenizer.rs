//! Byte-level BPE: text to token ids and back, in the Hugging Face `tokenizer.json` format.
//!
//! Every byte is in the vocabulary, so that any text encodes and decodes to itself. Digits stand
//! alone, words keep their leading space, nothing is normalized. What a user writes never becomes a
//! special token: [`Tokenizer::encode`] turns a literal `<|end|>` into plain bytes, and only a chat
//! template (`chat.rs`) places specials. Files of other models load too, as long as they are
//! byte-level; other kinds are left out.
//!
//! Source: Radford et al. 2019 (GPT-2), `encoder.py`; the `tokenizers` crate 0.23.2.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::{Value, json};
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

use super::merges::Merges;

/// The special tokens of our own vocabularies, in the order of their ids.
pub const SPECIALS: [&str; 5] = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"];

/// The smallest vocabulary: the specials and the 256 bytes.
pub const MIN_VOCAB_SIZE: usize = SPECIALS.len() + 256;

/// Names under which known model families end a turn, the likeliest first.
const END_NAMES: [&str; 6] =
    ["<|end|>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>", "</s>"];

/// Names under which known model families pad; without one the end token pads.
const PAD_NAMES: [&str; 4] = ["<|pad|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>"];

/// Why there is no tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The vocabulary has no room for the bytes.
    #[error(
        "vocab_size {0} is too small: ask for at least {MIN_VOCAB_SIZE} (5 specials and 256 bytes)"
    )]
    TooSmall(usize),
    /// The text is not a tokenizer file.
    #[error("tokenizer.json cannot be read ({0}): take the file that was saved beside the weights")]
    Malformed(String),
    /// The tokenizer is of another kind.
    #[error("tokenizer.json is not byte-level BPE: only the GPT-2 and Llama 3 kind is supported")]
    NotByteLevel,
    /// No token ends a text.
    #[error("tokenizer.json has none of the end tokens {END_NAMES:?}: add one to its added_tokens")]
    NoEnd,
}

/// Text to token ids and back.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// Bytes that each id writes; none for specials and for holes in the numbering.
    bytes: Vec<Vec<u8>>,
    /// Special tokens by name, longest name first so that a search finds the longest.
    specials: Vec<(String, u32)>,
    end_id: u32,
    pad_id: u32,
}

/// A part of a rendered template.
#[derive(Debug)]
pub(super) enum Piece<'t> {
    /// Plain text, possibly empty.
    Text(&'t str),
    /// A special token.
    Special(u32),
}

impl Tokenizer {
    /// Learns a vocabulary of `vocab_size` entries from the documents of `corpus`; fewer when the
    /// corpus has no pair left that occurs twice. The same corpus gives the same bytes of
    /// [`Self::to_json`] everywhere.
    ///
    /// # Errors
    /// [`TokenizerError::TooSmall`] below [`MIN_VOCAB_SIZE`].
    ///
    /// ```
    /// use kudos_core::text::tokenizer::Tokenizer;
    /// let tokenizer = Tokenizer::train(["a rose is a rose is a rose"], 270)?;
    /// assert_eq!(tokenizer.decode(&tokenizer.encode("a rosy 東京")), "a rosy 東京");
    /// # Ok::<(), kudos_core::text::tokenizer::TokenizerError>(())
    /// ```
    pub fn train<'a>(
        corpus: impl IntoIterator<Item = &'a str>,
        vocab_size: usize,
    ) -> Result<Self, TokenizerError> {
        if vocab_size < MIN_VOCAB_SIZE {
            return Err(TokenizerError::TooSmall(vocab_size));
        }
        let letters = byte_letters();
        let specials = SPECIALS.map(String::from).into_iter();
        let mut alphabet = letters;
        alphabet.sort_unstable();
        let vocabulary: Vec<String> =
            specials.chain(alphabet.into_iter().map(String::from)).collect();
        let untrained = Self::from_json(&file(&vocabulary, &[]))?;
        let mut words = BTreeMap::new();
        for document in corpus {
            for word in untrained.words(document) {
                *words.entry(word).or_insert(0) += 1;
            }
        }
        let mut merges = Merges::new(vocabulary, &words);
        merges.grow(vocab_size);
        Self::from_json(&file(&merges.vocabulary, &merges.merges))
    }

    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// The text is no tokenizer file, the tokenizer is not byte-level, or it has no end token.
    pub fn from_json(json: &str) -> Result<Self, TokenizerError> {
        let mut inner = tokenizers::Tokenizer::from_str(json)
            .map_err(|error| TokenizerError::Malformed(error.to_string()))?;
        let parts: Value = serde_json::from_str(json)
            .map_err(|error| TokenizerError::Malformed(error.to_string()))?;
        if !names_byte_level(&parts["decoder"]) {
            return Err(TokenizerError::NotByteLevel);
        }
        // Text of users stays text: special names in it are not looked for.
        inner.set_encode_special_tokens(true);
        let added: BTreeMap<u32, _> = inner.get_added_tokens_decoder().into_iter().collect();
        let mut specials: Vec<(String, u32)> = added
            .iter()
            .filter(|(_, token)| token.special)
            .map(|(&id, token)| (token.content.clone(), id))
            .collect();
        specials.sort_by_key(|(name, id)| (std::cmp::Reverse(name.len()), *id));
        let vocabulary = inner.get_vocab(true);
        let size = vocabulary.values().max().map_or(0, |&last| last as usize + 1);
        let bytes_of_letter: BTreeMap<char, u8> = byte_letters().into_iter().zip(0..=255).collect();
        let bytes = (0..u32::try_from(size).expect("ids are u32"))
            .map(|id| match added.get(&id) {
                Some(token) if token.special => Vec::new(),
                Some(token) => token.content.clone().into_bytes(),
                None => inner.id_to_token(id).map_or_else(Vec::new, |token| {
                    token
                        .chars()
                        .filter_map(|letter| bytes_of_letter.get(&letter).copied())
                        .collect()
                }),
            })
            .collect();
        let find = |names: &[&str]| names.iter().find_map(|name| inner.token_to_id(name));
        let end_id = find(&END_NAMES).ok_or(TokenizerError::NoEnd)?;
        let pad_id = find(&PAD_NAMES).unwrap_or(end_id);
        Ok(Self { inner, bytes, specials, end_id, pad_id })
    }

    /// The `tokenizer.json` that Hugging Face libraries load.
    pub fn to_json(&self) -> String {
        self.inner.to_string(true).expect("a tokenizer that was read can be written")
    }

    /// Token ids of plain text; names of special tokens in it are plain text too.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let encoding = self.inner.encode_fast(text, false);
        encoding.expect("a byte-level vocabulary encodes every text").get_ids().to_vec()
    }

    /// Token ids of text in which the names of special tokens mean those tokens. For templates
    /// only: never pass what a user wrote.
    pub fn encode_with_specials(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        for piece in self.split(text) {
            match piece {
                Piece::Text(text) => ids.extend(self.encode(text)),
                Piece::Special(id) => ids.push(id),
            }
        }
        ids
    }

    /// Text of the tokens; specials write nothing, bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| self.token_bytes(id)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Bytes that a token writes; none for specials and for ids outside the vocabulary.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.bytes.get(id as usize).map_or(&[], Vec::as_slice)
    }

    /// Number of ids, so that every id is below it.
    pub fn vocab_size(&self) -> usize {
        self.bytes.len()
    }

    /// The token that ends a reply or a document.
    pub fn end_id(&self) -> u32 {
        self.end_id
    }

    /// The token that fills a batch; the end token where the vocabulary has no other.
    pub fn pad_id(&self) -> u32 {
        self.pad_id
    }

    /// Id of the special token `name`.
    pub fn special_id(&self, name: &str) -> Option<u32> {
        self.specials.iter().find(|(known, _)| known == name).map(|&(_, id)| id)
    }

    /// Names of the special tokens, the longest first.
    pub fn special_names(&self) -> impl Iterator<Item = &str> {
        self.specials.iter().map(|(name, _)| name.as_str())
    }

    /// Cuts text at the names of special tokens; where several begin at one place the longest
    /// counts.
    pub(super) fn split<'t>(&self, text: &'t str) -> Vec<Piece<'t>> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((start, name, id)) = self.first_special(rest) {
            pieces.push(Piece::Text(&rest[..start]));
            pieces.push(Piece::Special(id));
            rest = &rest[start + name.len()..];
        }
        pieces.push(Piece::Text(rest));
        pieces
    }

    /// Where the first special of `text` begins.
    pub(super) fn first_special(&self, text: &str) -> Option<(usize, &str, u32)> {
        self.specials
            .iter()
            .filter_map(|(name, id)| {
                text.find(name.as_str()).map(|start| (start, name.as_str(), *id))
            })
            .min_by_key(|&(start, _, _)| start)
    }

    /// The words that merges stay within, in byte letters.
    fn words(&self, text: &str) -> Vec<String> {
        let mut split = PreTokenizedString::from(text);
        let splitter = self.inner.get_pre_tokenizer().expect("our files name a pre-tokenizer");
        splitter.pre_tokenize(&mut split).expect("byte-level splitting is total");
        let pieces = split.get_splits(OffsetReferential::Original, OffsetType::None);
        pieces.into_iter().map(|(word, _, _)| word.to_owned()).collect()
    }
}

/// The printable letter that stands for each byte in the files, by byte value (GPT-2's
/// `bytes_to_unicode`).
fn byte_letters() -> Vec<char> {
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

/// A `tokenizer.json` of ours.
fn file(vocabulary: &[String], merges: &[(String, String)]) -> String {
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
    use super::*;

    const CORPUS: [&str; 3] =
        ["the cat sat on the mat, the cat sat", "the hat of the cat cost 1234 1234", "naïve naïve"];

    fn small() -> Tokenizer {
        Tokenizer::train(CORPUS, 270).unwrap()
    }

    #[test]
    fn specials_have_the_first_ids_and_every_byte_has_a_token() {
        let tokenizer = small();
        for (id, name) in (0..).zip(SPECIALS) {
            assert_eq!(tokenizer.special_id(name), Some(id));
            assert!(tokenizer.token_bytes(id).is_empty());
        }
        assert_eq!((tokenizer.pad_id(), tokenizer.end_id(), tokenizer.vocab_size()), (0, 1, 270));
        let mut single: Vec<&[u8]> = (5..261).map(|id| tokenizer.token_bytes(id)).collect();
        single.sort_unstable();
        assert_eq!(single, (0..=255_u8).map(|byte| vec![byte]).collect::<Vec<_>>());
    }

    #[test]
    fn specials_in_plain_text_stay_text() {
        let tokenizer = small();
        for text in ["<|end|>", "a<|user|>b", "<|pad|><|pad|>", "<|assistant|>\n"] {
            let ids = tokenizer.encode(text);
            assert!(ids.iter().all(|&id| id >= 5), "{text}: {ids:?}");
            assert_eq!(tokenizer.decode(&ids), text);
        }
        let ids = tokenizer.encode_with_specials("<|user|>the cat<|end|>");
        assert_eq!((ids[0], ids[ids.len() - 1]), (3, 1));
        assert_eq!(tokenizer.decode(&ids), "the cat");
    }

    #[test]
    fn digits_stand_alone_and_words_keep_their_space() {
        let tokenizer = small();
        let texts = |text: &str| -> Vec<String> {
            tokenizer.encode(text).iter().map(|&id| tokenizer.decode(&[id])).collect()
        };
        assert_eq!(texts("1234"), ["1", "2", "3", "4"]);
        assert_eq!(texts(" the cat"), [" the", " cat"]);
    }

    #[test]
    fn training_twice_gives_the_same_file() {
        assert_eq!(small().to_json(), small().to_json());
    }

    #[test]
    fn a_saved_tokenizer_reads_back_the_same() {
        let saved = small().to_json();
        let read = Tokenizer::from_json(&saved).unwrap();
        assert_eq!(read.to_json(), saved);
        assert_eq!(read.encode("the cat costs 12"), small().encode("the cat costs 12"));
    }

    #[test]
    fn what_is_no_byte_level_tokenizer_is_refused_with_its_remedy() {
        let spoiled =
            |from: &str, to: &str| Tokenizer::from_json(&file(&[], &[]).replace(from, to));
        let check = |result: Result<Tokenizer, TokenizerError>, remedy: &str| {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(remedy), "{message}");
        };
        check(Tokenizer::train(CORPUS, 260), "at least 261");
        check(Tokenizer::from_json("{"), "saved beside the weights");
        check(spoiled("ByteLevel", "Fuse"), "saved beside the weights");
        check(
            spoiled(r#""type":"ByteLevel","use_regex":true},"mod"#, r#""type":"Fuse"},"mod"#),
            "GPT-2",
        );
        check(spoiled("<|end|>", "<|stop|>"), "added_tokens");
    }
}
