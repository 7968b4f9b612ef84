//! The policy: one decoder-only transformer for the GPT-2 and the Llama families. For training also what
//! judges texts: an encoder of the BERT family, a scorer on either, and a critic of what is being written.
//!
//! Leaves out: files (bytes come in and go out), tokens' text, sampling.

mod attention;
mod block;
#[cfg(feature = "train")]
mod by_block;
mod cache;
mod config;
#[cfg(feature = "train")]
mod critic;
#[cfg(feature = "train")]
mod encoder;
mod feed_forward;
pub mod hugging_face;
mod norm;
pub mod parameters;
mod projection;
#[cfg(feature = "train")]
mod ragged;
mod rotary;
mod row;
#[cfg(feature = "train")]
mod scorer;
mod tokens;
mod transformer;
#[cfg(feature = "train")]
mod valued;
pub mod vision;

pub use attention::{Attention, Visibility};
pub use block::Block;
#[cfg(feature = "train")]
pub use block::Stages;
#[cfg(feature = "train")]
pub use by_block::Passes;
#[cfg(feature = "train")]
pub(crate) use by_block::Tape;
pub use cache::{Cache, LayerCache};
pub use config::{
    ConfigError, FeedForwardKind, NormKind, Positions, RotaryPairing, TransformerConfig,
};
#[cfg(feature = "train")]
pub use critic::Critic;
#[cfg(feature = "train")]
pub use encoder::{Encoder, EncoderBlock, EncoderConfig};
pub use feed_forward::FeedForward;
pub use norm::Norm;
pub use parameters::{cast, initialize, initialize_by_width};
#[cfg(feature = "train")]
pub(crate) use projection::project;
#[cfg(feature = "train")]
pub(crate) use ragged::Ragged;
pub use rotary::{Rotary, Rotation};
pub use row::{HostMatrix, HostNumbers, HostView};
#[cfg(feature = "train")]
pub use scorer::{Scorer, Trunk, say};
pub use tokens::{PaddingSide, Tokens};
pub(crate) use tokens::{distinct, indices};
pub use transformer::Transformer;
#[cfg(feature = "train")]
pub use valued::{Estimates, Head, Places, Valued};
pub use vision::{Pictures, VisionConfig, VisionError};
