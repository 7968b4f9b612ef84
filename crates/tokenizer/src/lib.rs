//! Text to token ids and back: byte-level BPE in the Hugging Face `tokenizer.json` format.
//!
//! Without a tensor library, so that whoever only checks what a policy is said to have written need
//! not compile one. Leaves out: chat templates (`kudos-core`), files.

mod bpe;
mod letters;
mod merges;
mod normalizer;
mod smaller;
pub mod stream;
mod tokenizer;
mod tokenizer_file;
mod words;

pub use tokenizer::{MIN_VOCAB_SIZE, Piece, Tokenizer, TokenizerError};
pub use tokenizer_file::SPECIALS;
