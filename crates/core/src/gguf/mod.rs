//! GGUF: one file with weights, sizes, tokenizer and chat template, often quantized; read, never written.
//!
//! What is read here comes out in Hugging Face's form: JSON of `config.json` and `tokenizer.json`, and
//! tensors under the family's own names in f32. Known are the Llama, Qwen2 and GPT-2 families with byte-level
//! BPE. Leaves out: computing with quantized weights, files in several parts.
//!
//! Source: the format's description at <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod blocks;
mod container;
mod family;
mod vocabulary;

pub(crate) use container::Gguf;
pub use container::Numbers;
use thiserror::Error;

use crate::model::hugging_face::CheckpointError;

/// Whether bytes begin as such a file does.
pub fn is_gguf(bytes: &[u8]) -> bool {
    bytes.starts_with(container::MAGIC)
}

/// A tensor of a file by its name there, in f32; none if there is none of that name.
///
/// # Errors
/// If the file is damaged, or the tensor of a kind that is not known.
pub fn tensor(bytes: &[u8], name: &str) -> Result<Option<Numbers>, CheckpointError> {
    Gguf::open(bytes.into())?.tensor(name)
}

/// Why a GGUF file cannot be used.
#[derive(Debug, Error)]
pub enum GgufError {
    /// The file ends early, or its numbers contradict each other.
    #[error("the GGUF file is damaged ({0}): download it again")]
    Damaged(String),
    /// A version that is not known.
    #[error("GGUF version {0} is not supported: convert the model to version 2 or 3")]
    Version(u32),
    /// An architecture that is not known.
    #[error("the GGUF file holds the architecture `{0}`: use a llama, qwen2 or gpt2 model")]
    Architecture(String),
    /// A key that is needed is not there, or of another type.
    #[error("the GGUF file has no usable `{0}`: convert the model again")]
    Key(String),
    /// A tokenizer that is not known.
    #[error("the GGUF file has the tokenizer {0}: use a model with byte-level BPE")]
    Tokenizer(String),
    /// A kind of quantization that is not known.
    #[error(
        "`{name}` is stored as type {kind}: use F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K"
    )]
    Kind {
        /// The tensor.
        name: String,
        /// The type's number in the format.
        kind: u32,
    },
}

fn damaged(what: impl Into<String>) -> GgufError {
    GgufError::Damaged(what.into())
}
