//! Incremental decoding: token by token into text that is valid UTF-8 at every moment.
//!
//! A token of a byte-level vocabulary may be half a character, and an untrained policy writes bytes
//! that never become one. Incomplete bytes are held back until they are completed or proved
//! invalid; invalid ones become U+FFFD exactly as in [`String::from_utf8_lossy`], so that a stream
//! and a whole decoding never differ.

use crate::tokenizer::Tokenizer;

/// A decoder that remembers the bytes of a character begun by earlier tokens.
#[derive(Clone, Debug)]
pub struct Stream<'a> {
    tokenizer: &'a Tokenizer,
    /// At most three bytes: the beginning of a character.
    pending: Vec<u8>,
}

impl<'a> Stream<'a> {
    /// A stream at its beginning.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, pending: Vec::new() }
    }

    /// The text that `id` completes; empty while a character is unfinished and for special tokens.
    pub fn push(&mut self, id: u32) -> String {
        self.pending.extend_from_slice(self.tokenizer.token_bytes(id));
        let (text, rest) = complete(&self.pending);
        self.pending = rest;
        text
    }

    /// Ends the text: what was held back becomes U+FFFD.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

/// Whether `text` is that of `ids` behind `prompt`: by themselves, or going on from a character in whose
/// midst the prompt was fixed.
pub fn spells(tokenizer: &Tokenizer, prompt: &[u32], ids: &[u32], text: &str) -> bool {
    if text == tokenizer.decode(ids) {
        return true;
    }
    let mut stream = Stream::new(tokenizer);
    prompt.iter().for_each(|id| drop(stream.push(*id)));
    let mut streamed: String = ids.iter().map(|id| stream.push(*id)).collect();
    streamed += &stream.finish();
    text == streamed
}

/// The decided text at the front of `bytes`, and the bytes that could still become a character.
fn complete(bytes: &[u8]) -> (String, Vec<u8>) {
    let mut text = String::new();
    let mut rest = bytes;
    loop {
        let error = match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                return (text, Vec::new());
            }
            Err(error) => error,
        };
        let (valid, after) = rest.split_at(error.valid_up_to());
        text.push_str(std::str::from_utf8(valid).expect("valid_up_to bounds valid text"));
        let Some(length) = error.error_len() else { return (text, after.to_vec()) };
        text.push(char::REPLACEMENT_CHARACTER);
        rest = &after[length..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokenizer() -> Tokenizer {
        let corpus = ["héllo wörld, “naïve” 東京 東京 🙂🙂 hello hello world"; 4];
        Tokenizer::train(corpus, 300).unwrap()
    }

    fn check(tokenizer: &Tokenizer, ids: &[u32]) {
        let mut stream = Stream::new(tokenizer);
        let mut streamed: String = ids.iter().map(|&id| stream.push(id)).collect();
        streamed.push_str(&stream.finish());
        let bytes: Vec<u8> =
            ids.iter().flat_map(|&id| tokenizer.token_bytes(id).to_vec()).collect();
        assert_eq!(streamed, String::from_utf8_lossy(&bytes));
        assert_eq!(streamed, tokenizer.decode(ids));
    }

    proptest! {
        #[test]
        fn any_ids_stream_to_the_lossy_text_of_their_bytes(
            ids in prop::collection::vec(0_u32..310, 0..60),
        ) {
            check(tokenizer_once(), &ids);
        }

        #[test]
        fn any_text_streams_to_itself(text in any::<String>()) {
            let tokenizer = tokenizer_once();
            let ids = tokenizer.encode(&text);
            check(tokenizer, &ids);
            prop_assert_eq!(tokenizer.decode(&ids), text);
        }
    }

    fn tokenizer_once() -> &'static Tokenizer {
        static TOKENIZER: std::sync::LazyLock<Tokenizer> = std::sync::LazyLock::new(tokenizer);
        &TOKENIZER
    }

    #[test]
    fn a_character_appears_with_its_last_byte() {
        let tokenizer = tokenizer_once();
        let single = |byte: u8| {
            (0..300)
                .find(|&id| tokenizer.token_bytes(id) == [byte])
                .expect("every byte has a token")
        };
        let mut stream = Stream::new(tokenizer);
        let shown: Vec<String> = "é!".bytes().map(|byte| stream.push(single(byte))).collect();
        assert_eq!(shown, ["", "é", "!"]);
        assert_eq!(stream.push(single(0xF0)), "");
        assert_eq!(stream.push(single(b'x')), "\u{FFFD}x");
        assert_eq!(stream.push(single(0xE6)), "");
        assert_eq!(stream.finish(), "\u{FFFD}");
    }
}
