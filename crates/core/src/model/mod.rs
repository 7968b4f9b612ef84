//! The policy: one decoder-only transformer for the GPT-2 and the Llama families.
//!
//! Leaves out: files (bytes come in and go out), tokens' text, sampling.

mod attention;
mod block;
mod cache;
mod config;
mod feed_forward;
pub mod hugging_face;
mod norm;
pub mod parameters;
mod projection;
mod rotary;
mod scorer;
mod tokens;
mod transformer;

pub use attention::{Attention, Visibility};
pub use block::Block;
pub use cache::{Cache, LayerCache};
pub use config::{
    ConfigError, FeedForwardKind, NormKind, Positions, RotaryPairing, TransformerConfig,
};
pub use feed_forward::FeedForward;
pub use norm::Norm;
pub use parameters::{cast, initialize};
pub use projection::{RowProduct, use_row_product};
pub use rotary::{Rotary, Rotation};
pub use scorer::Scorer;
pub use tokens::{PaddingSide, Tokens};
pub use transformer::Transformer;
