//! WordPiece: the tokens of the BERT family, read from `tokenizer.json`; text in, ids out.
//!
//! Markers such as `[SEP]` in a text are text: what a person writes cannot end a segment. Leaves out: ids
//! to text, training.
//!
//! Source: Devlin et al. 2019 and the `tokenizers` crate 0.23.2, whose format this is.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

use super::classes::{Class, class_of};

/// Why a `tokenizer.json` is not a WordPiece tokenizer that can be used.
#[derive(Debug, Error)]
pub enum WordPieceError {
    /// The file is not JSON or lacks a part.
    #[error("tokenizer.json is damaged ({0}): download it again")]
    Malformed(String),
    /// A setting that would change the tokens.
    #[error("tokenizer.json has {0}, which is not supported: use a BERT-family sentence encoder")]
    Unsupported(String),
}

/// Text to the ids of word pieces.
#[derive(Debug, Clone)]
pub struct WordPiece {
    /// Pieces by text; those within a word begin with the prefix.
    pieces: HashMap<String, u32>,
    prefix: String,
    /// Longest word that is cut at all, in characters.
    longest_word: usize,
    lowercase: bool,
    strip_accents: bool,
    unknown: u32,
    /// Before a text.
    start: u32,
    /// Behind each segment.
    separator: u32,
    /// As it was read.
    json: String,
}

/// Controls, format characters, private and unassigned ones.
static OTHER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\p{C}").expect("a general category is a pattern"));
/// Marks that stand on the letter before.
static ACCENT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\p{Mn}+").expect("a general category is a pattern"));

impl WordPiece {
    /// Reads a file.
    ///
    /// # Errors
    /// If it is damaged, or describes another kind of tokenizer.
    pub fn from_json(json: &str) -> Result<Self, WordPieceError> {
        let file: Value = serde_json::from_str(json).map_err(|e| malformed(&e.to_string()))?;
        expect(&file["model"]["type"], "model", "WordPiece")?;
        expect(&file["normalizer"]["type"], "normalizer", "BertNormalizer")?;
        expect(&file["pre_tokenizer"]["type"], "pre_tokenizer", "BertPreTokenizer")?;
        let normalizer = &file["normalizer"];
        for key in ["clean_text", "handle_chinese_chars"] {
            if normalizer[key] == false {
                return Err(WordPieceError::Unsupported(format!("a normalizer without {key}")));
            }
        }
        let vocabulary = file["model"]["vocab"].as_object().ok_or_else(|| malformed("no vocab"))?;
        let id =
            |(text, id): (&String, &Value)| Some((text.clone(), u32::try_from(id.as_u64()?).ok()?));
        let pieces: Option<HashMap<String, u32>> = vocabulary.iter().map(id).collect();
        let pieces = pieces.ok_or_else(|| malformed("an id that is not a number"))?;
        let marker = |name: &str| {
            pieces.get(name).copied().ok_or_else(|| malformed(&format!("no {name} in the vocab")))
        };
        let text = |key: &str, usual: &str| file["model"][key].as_str().unwrap_or(usual).to_owned();
        let lowercase = normalizer["lowercase"].as_bool().unwrap_or(true);
        let longest = file["model"]["max_input_chars_per_word"].as_u64().unwrap_or(100);
        Ok(Self {
            unknown: marker(&text("unk_token", "[UNK]"))?,
            start: marker("[CLS]")?,
            separator: marker("[SEP]")?,
            prefix: text("continuing_subword_prefix", "##"),
            longest_word: usize::try_from(longest).unwrap_or(usize::MAX),
            lowercase,
            strip_accents: normalizer["strip_accents"].as_bool().unwrap_or(lowercase),
            pieces,
            json: json.to_owned(),
        })
    }

    /// The file.
    pub fn to_json(&self) -> &str {
        &self.json
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.pieces.values().max().map_or(0, |id| *id as usize + 1)
    }

    /// The pieces of a text, without markers.
    pub fn pieces(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        for word in words(&self.normalize(text)) {
            self.cut(word, &mut ids);
        }
        ids
    }

    /// Segments as an encoder reads them: a start, and a separator behind each. What is longer than
    /// `longest` loses its beginning behind the start.
    pub fn encode(&self, segments: &[&str], longest: usize) -> Vec<u32> {
        let mut ids = vec![self.start];
        for segment in segments {
            ids.extend(self.pieces(segment));
            ids.push(self.separator);
        }
        let excess = ids.len().saturating_sub(longest);
        ids.drain(1..1 + excess);
        ids
    }

    fn normalize(&self, text: &str) -> String {
        let mut clean = String::with_capacity(text.len());
        for character in text.chars() {
            match character {
                '\t' | '\n' | '\r' => clean.push(' '),
                '\0' | '\u{fffd}' => {}
                _ if is_other(character) => {}
                _ if character.is_whitespace() => clean.push(' '),
                _ if is_ideograph(character) => clean.extend([' ', character, ' ']),
                _ => clean.push(character),
            }
        }
        if self.strip_accents {
            let apart: String = clean.nfd().collect();
            clean = ACCENT.replace_all(&apart, "").into_owned();
        }
        if self.lowercase {
            clean = clean.chars().flat_map(char::to_lowercase).collect();
        }
        clean
    }

    /// Cuts a word from the left into the longest pieces there are; all of it is unknown where one is missing.
    fn cut(&self, word: &str, ids: &mut Vec<u32>) {
        let begun = ids.len();
        let (mut rest, mut within) = (word, false);
        if word.chars().count() > self.longest_word {
            ids.push(self.unknown);
            return;
        }
        while !rest.is_empty() {
            let ends = rest.char_indices().rev().map(|(at, first)| at + first.len_utf8());
            let found = ends.into_iter().find_map(|end| {
                let piece = &rest[..end];
                let id = match within {
                    false => self.pieces.get(piece),
                    true => self.pieces.get(&format!("{}{piece}", self.prefix)),
                };
                id.map(|id| (*id, end))
            });
            let Some((id, end)) = found else {
                ids.truncate(begun);
                ids.push(self.unknown);
                return;
            };
            ids.push(id);
            (rest, within) = (&rest[end..], true);
        }
    }
}

/// Words of normalized text; each punctuation mark is one by itself.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for run in text.split_whitespace() {
        let mut start = 0;
        for (at, character) in run.char_indices().filter(|(_, c)| is_punctuation(*c)) {
            let end = at + character.len_utf8();
            words.extend([&run[start..at], &run[at..end]]);
            start = end;
        }
        words.push(&run[start..]);
    }
    words.retain(|word| !word.is_empty());
    words
}

fn is_punctuation(character: char) -> bool {
    character.is_ascii_punctuation() || class_of(character) == Class::Punctuation
}

fn is_other(character: char) -> bool {
    !character.is_ascii_graphic()
        && character != ' '
        && OTHER.is_match(character.encode_utf8(&mut [0; 4]))
}

/// Whether a character is a Chinese ideograph, each of which is a word; not kana or hangul.
fn is_ideograph(character: char) -> bool {
    matches!(character,
        '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' | '\u{20000}'..='\u{2a6df}'
        | '\u{2a700}'..='\u{2b73f}' | '\u{2b740}'..='\u{2b81f}' | '\u{2b920}'..='\u{2ceaf}'
        | '\u{f900}'..='\u{faff}' | '\u{2f800}'..='\u{2fa1f}')
}

fn expect(found: &Value, part: &str, expected: &str) -> Result<(), WordPieceError> {
    match found.as_str() {
        Some(kind) if kind == expected => Ok(()),
        other => {
            let other = other.unwrap_or("none");
            Err(WordPieceError::Unsupported(format!("the {part} {other} instead of {expected}")))
        }
    }
}

fn malformed(what: &str) -> WordPieceError {
    WordPieceError::Malformed(what.to_owned())
}
