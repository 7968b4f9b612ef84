//! Adapters in PEFT's form: `adapter_config.json` and `adapter_model.safetensors`, as text and bytes.
//!
//! What is written loads in Python's PEFT with equal logits, and the other way round. PEFT sees GPT-2's
//! query, key and value as one projection, so three sums of rank R become one of rank 3 R, and such a
//! one becomes three. Bottleneck adapters have no form in PEFT: they are written under our own names.

mod config;
mod modules;
mod read;
mod write;

pub use read::read_adapter;
pub use write::write_adapter;

/// The files of an adapter, as text and bytes.
#[derive(Debug, Clone)]
pub struct AdapterFiles {
    /// `adapter_config.json`
    pub config: String,
    /// `adapter_model.safetensors`
    pub weights: Vec<u8>,
}

/// What PEFT puts before every module's path.
const PREFIX: &str = "base_model.model.";
/// The one tensor of prefix and prompt tuning.
const EMBEDDINGS: &str = "prompt_embeddings";
/// The kind of adapter that only we have.
const BOTTLENECK: &str = "KUDOS_BOTTLENECK";
