//! A policy over fewer tokens: their rows of the embedding, and their columns of an output head.
//!
//! What the smaller one says of its tokens is what the original says where it may say nothing else:
//! `q(v) = p(v) / P`, P the probability of all that stay. Nothing is learned or estimated.

use burn::module::Param;

use super::prune::{columns, places};
use crate::model::{Transformer, TransformerConfig};

/// The policy over these of its tokens; their order gives the new numbers. The device is the model's, without
/// autodiff.
///
/// # Panics
/// If one is no token of the policy.
pub fn with_tokens(model: &Transformer, tokens: &[u32]) -> Transformer {
    let config = model.config();
    let known = |id: &u32| (*id as usize) < config.vocab_size;
    assert!(tokens.iter().all(known), "tokens of another policy");
    let device = model.device().without_autodiff();
    let tokens: Vec<usize> = tokens.iter().map(|id| *id as usize).collect();
    let kept = places(&tokens, &device);
    let smaller = TransformerConfig { vocab_size: tokens.len(), ..config.clone() };
    let rows = model.token_embedding.weight.val().without_autodiff().select(0, kept.clone());
    let mut result = Transformer::zeroed(&smaller, &device);
    result.token_embedding.weight = Param::from_tensor(rows);
    result.position_embedding.clone_from(&model.position_embedding);
    result.blocks.clone_from(&model.blocks);
    result.norm = model.norm.clone();
    result.eyes.clone_from(&model.eyes);
    result.head = model.head.as_ref().map(|head| columns(head, &kept));
    result
}
