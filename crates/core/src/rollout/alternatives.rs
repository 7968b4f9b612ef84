//! What else could have been drawn: both distributions of the next token after given tokens.

use burn::tensor::{Bool, Tensor, TensorData};
use kudos_schema::Sampling;

use super::generate::{GenerateError, check_prompts, last_logits};
use super::sampling::{distribution, log_probs, occurring, penalize};
use crate::model::{Cache, PaddingSide, Tokens, Transformer};

/// Log-probabilities of the next token in nats. Tokens that the sampling cuts off stand at -1e9 or
/// below in `drawn`.
#[derive(Debug, Clone)]
pub struct NextToken {
    /// Under the full softmax at the sampling temperature. `[1, V]`
    pub full: Tensor<2>,
    /// Under the distribution drawn from. `[1, V]`
    pub drawn: Tensor<2>,
}

/// The distributions of the token after `token_ids`, as [`generate`](super::generate) draws from.
///
/// # Errors
/// If there is no token, or the context has no room.
pub fn next_token(
    model: &Transformer,
    token_ids: &[u32],
    sampling: &Sampling,
) -> Result<NextToken, GenerateError> {
    let config = model.config();
    check_prompts(&[token_ids.to_vec()], config.context_length)?;
    let tokens = Tokens::new(&[token_ids], PaddingSide::Left, &model.device());
    let mut cache = Cache::new(model, 1, token_ids.len());
    let logits = last_logits(model, model.hidden_cached(&tokens, &mut cache));
    let full = log_probs(logits.clone(), sampling);
    let present = occurring(token_ids, config.vocab_size);
    let present = TensorData::new(present, [1, config.vocab_size]);
    let present = Tensor::<2, Bool>::from_data(present, &model.device());
    let base = log_probs(penalize(logits, &present, sampling), sampling);
    Ok(NextToken { full, drawn: distribution(base, sampling) })
}
