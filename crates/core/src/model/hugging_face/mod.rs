//! Checkpoints in Hugging Face's form: `config.json` and `model.safetensors`, as text and bytes.
//!
//! What is written loads in Python's transformers with equal logits. Leaves out: files, tokenizers,
//! and architectures other than GPT-2, Llama and Qwen2 (read as a Llama, and written as one), and BERT for what reads and
//! does not write.

mod adapter;
#[cfg(feature = "train")]
mod bert;
mod config;
#[cfg(feature = "train")]
mod critic;
pub(crate) mod packed;
#[cfg(feature = "train")]
mod shards;
mod source;
mod stored;
mod tables;
mod weights;
mod written;

#[cfg(feature = "train")]
pub use bert::{encoder_config_from_json, encoder_config_to_json, read_encoder, write_encoder};
#[cfg(feature = "train")]
pub use critic::{read_critic, write_critic};

pub use adapter::{Adapter, read_adapted};
pub use config::{SpecialTokens, config_from_json, config_to_json};
#[cfg(feature = "train")]
pub use shards::{Shard, join_shards};
#[cfg(feature = "train")]
pub(crate) use source::numbers;
#[cfg(feature = "train")]
pub use stored::{Fetch, Pieces};
pub use stored::{Stored, Weights};
#[cfg(feature = "train")]
pub(crate) use weights::{StoredTensor, each_stored};
pub use weights::{read_weights, stored_numbers};
#[cfg(feature = "train")]
pub use written::as_safetensors;
#[cfg(feature = "train")]
pub use written::write_weights_to;
pub use written::{StoredAs, write_weights};

use thiserror::Error;

/// Why a checkpoint cannot be read or written.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// `config.json` is not JSON.
    #[error("config.json is not valid JSON ({0}): download or export the checkpoint again")]
    NotJson(#[from] serde_json::Error),
    /// A field of `config.json` is missing or has another type.
    #[error("config.json has no usable `{0}`: is this a GPT-2, Llama or Qwen2 checkpoint?")]
    Field(&'static str),
    /// An architecture that is not supported.
    #[error("model_type `{0}` is not supported: use a gpt2, llama or qwen2 checkpoint")]
    Family(String),
    /// A setting of `config.json` that would change the logits and is not supported.
    #[error("config.json sets `{field}` to {value}, which is not supported")]
    Setting {
        /// The field's name.
        field: &'static str,
        /// What it holds.
        value: String,
    },
    /// The sizes contradict each other.
    #[error("config.json: {0}")]
    Config(#[from] super::ConfigError),
    /// A model that neither family describes.
    #[error("neither GPT-2 nor Llama has {0}: such a model cannot be written for Hugging Face")]
    NoFamily(&'static str),
    /// The weights' container is damaged.
    #[error(
        "model.safetensors is damaged or not a safetensors file ({0}): download or export it again"
    )]
    Container(String),
    /// A tensor is missing.
    #[error("model.safetensors lacks `{0}`: the weights do not belong to this config.json")]
    Missing(String),
    /// A tensor that the model has no place for.
    #[error("model.safetensors holds `{0}`, which this config.json has no place for")]
    Foreign(String),
    /// A tensor of another shape.
    #[error("`{name}` has shape {found:?}, config.json asks for {expected:?}")]
    Shape {
        /// The tensor's name.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The shape that the configuration gives.
        expected: Vec<usize>,
    },
    /// A number type that is not read.
    #[error("`{name}` is stored as {dtype}: convert it to F32, F16 or BF16")]
    Number {
        /// The tensor's name.
        name: String,
        /// The type in the file.
        dtype: String,
    },
    /// Scales that do not fit their matrix.
    #[error("`{0}` does not fit its matrix: the weights are damaged, compress the policy again")]
    Packed(String),
    /// The bytes are not taken where they are to be kept.
    #[error("the weights cannot be written")]
    Write(#[from] std::io::Error),
    /// A GGUF file in place of the folder is unusable.
    #[cfg(feature = "train")]
    #[error("{0}")]
    Gguf(#[from] crate::gguf::GgufError),
    /// The weights lie elsewhere and cannot be had.
    #[cfg(feature = "train")]
    #[error("the weights cannot be read: {0}")]
    Fetch(String),
    /// The device did not return the weights.
    #[error("the device did not return the weights: {0}")]
    Device(String),
}
