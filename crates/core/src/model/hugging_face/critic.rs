//! Checkpoints of a [`Critic`], as Hugging Face's models for the classification of tokens have them: one label, whose
//! logit is the value.

use super::tables::critic_entries;
use super::weights::read_module;
use super::written::write_module;
use super::{CheckpointError, StoredAs};
use crate::model::{Critic, Transformer};

/// Reads a critic from safetensors bytes; `like` is a trunk of its sizes, on its device.
///
/// # Errors
/// If the bytes are damaged, or tensors are missing, foreign, of another shape or number type.
pub fn read_critic(like: &Transformer, bytes: &[u8]) -> Result<Critic, CheckpointError> {
    let critic = Critic::zeroed(Transformer::zeroed(like.config(), &like.device()));
    let entries = critic_entries(critic.trunk.config());
    read_module(critic, entries, (bytes.into(), None))
}

/// Writes a critic as safetensors bytes, exactly.
///
/// # Errors
/// If the device does not return the weights.
pub async fn write_critic(critic: &Critic) -> Result<Vec<u8>, CheckpointError> {
    write_module(critic, critic_entries(critic.trunk.config()), StoredAs::F32).await
}
