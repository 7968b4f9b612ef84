//! Byte-level BPE: text to token ids and back, in the Hugging Face `tokenizer.json` format.
//!
//! Every byte is in the vocabulary, so that any text encodes and decodes to itself. Digits stand
//! alone, words keep their leading space; what we learn ourselves normalizes nothing. What a user writes never becomes a
//! special token: [`Tokenizer::encode`] turns a literal `<|end|>` into plain bytes, and only a chat
//! template (`chat.rs`) places specials. Files of other models load too, as long as they are
//! byte-level and their words (`words.rs`) and normalizer (`normalizer.rs`) are known.
//!
//! Source: Radford et al. 2019 (GPT-2), `encoder.py`; `tests/golden/tokenizer.py`.

use std::collections::BTreeMap;

use crate::merges::Merges;
use crate::tokenizer_file::{SPECIALS, TokenizerFile, byte_letters, write};

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
    /// Fewer tokens are asked for than no text can do without.
    #[error(
        "a vocabulary of {size} tokens is too small: its bytes and special tokens alone are {needed}"
    )]
    Fewest {
        /// Asked for.
        size: usize,
        /// Bytes, special tokens, and those beside the vocabulary.
        needed: usize,
    },
    /// The text is not a tokenizer file.
    #[error("tokenizer.json cannot be read ({0}): take the file that was saved beside the weights")]
    Malformed(String),
    /// The tokenizer is of another kind.
    #[error("tokenizer.json is not byte-level BPE: only the GPT-2 and Llama 3 kind is supported")]
    NotByteLevel,
    /// A part of the tokenizer is of a kind that is not known.
    #[error("tokenizer.json has {0}, which is not supported: take a model without it")]
    Unsupported(String),
    /// No token ends a text.
    #[error("tokenizer.json has none of the end tokens {END_NAMES:?}: add one to its added_tokens")]
    NoEnd,
}

/// Text to token ids and back.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    /// The file that it was read from.
    json: String,
    file: TokenizerFile,
    end_id: u32,
    pad_id: u32,
}

/// A part of a rendered template.
#[derive(Debug)]
pub enum Piece<'t> {
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
    /// use kudos_tokenizer::Tokenizer;
    /// let tokenizer = Tokenizer::train(["a rose is a rose is a rose"], 270)?;
    /// assert_eq!(tokenizer.decode(&tokenizer.encode("a rosy 東京")), "a rosy 東京");
    /// # Ok::<(), kudos_tokenizer::TokenizerError>(())
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
        let mut alphabet = letters.clone();
        alphabet.sort_unstable();
        let vocabulary: Vec<String> =
            specials.chain(alphabet.into_iter().map(String::from)).collect();
        let untrained = Self::from_json(&write(&vocabulary, &[]))?;
        let mut words = BTreeMap::new();
        for document in corpus {
            for word in untrained.file.words.cut(document) {
                let letters = word.bytes().map(|byte| letters[byte as usize]).collect();
                *words.entry(letters).or_insert(0) += 1;
            }
        }
        let mut merges = Merges::new(vocabulary, &words);
        merges.grow(vocab_size);
        Self::from_json(&write(&merges.vocabulary, &merges.merges))
    }

    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// The text is no tokenizer file, the tokenizer is not byte-level, a part of it is of a kind that
    /// is not known, or it has no end token.
    pub fn from_json(json: &str) -> Result<Self, TokenizerError> {
        let file = TokenizerFile::read(json)?;
        let find = |names: &[&str]| names.iter().find_map(|name| file.id(name));
        let end_id = find(&END_NAMES).ok_or(TokenizerError::NoEnd)?;
        let pad_id = find(&PAD_NAMES).unwrap_or(end_id);
        Ok(Self { json: json.to_owned(), file, end_id, pad_id })
    }

    /// The `tokenizer.json` that Hugging Face libraries load.
    pub fn to_json(&self) -> String {
        self.json.clone()
    }

    /// What the file says.
    pub(crate) fn file(&self) -> &TokenizerFile {
        &self.file
    }

    /// Token ids of plain text; names of special tokens in it are plain text too.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        for piece in cut(text, &self.file.added) {
            match piece {
                Piece::Special(id) => ids.push(id),
                Piece::Text(text) => {
                    for word in self.file.words.cut(&self.file.normalizer.apply(text)) {
                        self.file.bpe.encode(word.as_bytes(), &mut ids);
                    }
                }
            }
        }
        ids
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
        self.file.bytes.get(id as usize).map_or(&[], Vec::as_slice)
    }

    /// Number of ids, so that every id is below it.
    pub fn vocab_size(&self) -> usize {
        self.file.bytes.len()
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
        self.file.specials.iter().find(|(known, _)| known == name).map(|&(_, id)| id)
    }

    /// Names of the special tokens, the longest first.
    pub fn special_names(&self) -> impl Iterator<Item = &str> {
        self.file.specials.iter().map(|(name, _)| name.as_str())
    }

    /// Cuts text at the names of special tokens; where several begin at one place the longest
    /// counts.
    pub fn split<'t>(&self, text: &'t str) -> Vec<Piece<'t>> {
        cut(text, &self.file.specials)
    }
}

/// Cuts text at the names of `tokens`, which are ordered from the longest to the shortest.
fn cut<'t>(text: &'t str, tokens: &[(String, u32)]) -> Vec<Piece<'t>> {
    let first = |text: &str| {
        let found = tokens.iter().filter_map(|(name, id)| {
            text.find(name.as_str()).map(|start| (start, name.len(), *id))
        });
        found.min_by_key(|(start, _, _)| *start)
    };
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((start, length, id)) = first(rest) {
        pieces.push(Piece::Text(&rest[..start]));
        pieces.push(Piece::Special(id));
        rest = &rest[start + length..];
    }
    pieces.push(Piece::Text(rest));
    pieces
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
            |from: &str, to: &str| Tokenizer::from_json(&small().to_json().replace(from, to));
        let check = |result: Result<Tokenizer, TokenizerError>, remedy: &str| {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(remedy), "{message}");
        };
        check(Tokenizer::train(CORPUS, 260), "at least 261");
        check(Tokenizer::from_json("{"), "saved beside the weights");
        check(spoiled("ByteLevel", "Fuse"), "GPT-2");
        check(
            spoiled(r#""type":"ByteLevel","use_regex":true},"mod"#, r#""type":"Fuse"},"mod"#),
            "GPT-2",
        );
        check(spoiled("<|end|>", "<|stop|>"), "added_tokens");
    }
}
