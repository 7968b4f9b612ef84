//! Text: tokens and chat templates for models, metrics for rewards and reports.
//!
//! Plain functions on text; leaves out files and rewards.

pub mod bleu;
pub mod chat;
pub mod chrf;
#[cfg(feature = "train")]
pub mod cider;
mod classes;
pub mod corpus;
mod jinja;
pub mod ngram;
pub mod porter;
pub mod rouge;
pub mod surface;
pub mod tokenize;
pub mod triples;
#[cfg(feature = "train")]
pub mod wordpiece;

pub use kudos_feedback::edit_distance;
pub use kudos_tokenizer::{self as tokenizer, stream};
