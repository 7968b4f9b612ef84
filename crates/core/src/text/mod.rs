//! Text: tokens and chat templates for models, metrics for rewards and reports.
//!
//! Plain functions on text; leaves out files and rewards.

pub mod bleu;
mod bpe;
pub mod chat;
pub mod chrf;
mod classes;
pub mod corpus;
pub mod edit_distance;
mod jinja;
mod letters;
mod merges;
pub mod ngram;
pub mod porter;
pub mod rouge;
pub mod stream;
pub mod surface;
pub mod tokenize;
pub mod tokenizer;
mod tokenizer_file;
pub mod triples;
mod words;
