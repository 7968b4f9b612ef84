//! Text: tokens and chat templates for models, metrics for rewards and reports.
//!
//! Plain functions on text; leaves out files and rewards.

pub mod bleu;
pub mod chat;
pub mod chrf;
mod classes;
pub mod corpus;
mod merges;
pub mod ngram;
pub mod porter;
pub mod rouge;
pub mod stream;
pub mod surface;
pub mod tokenize;
pub mod tokenizer;
pub mod triples;
