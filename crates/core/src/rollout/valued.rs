//! Choosing by what a policy would write and by what it is worth: tokens from logits + beta (Q - V).
//!
//! V is the same for every next token and drops out of the softmax. Actions are short and what is read before
//! them changes from turn to turn, so everything is read anew for each token, without a cache. Whole actions are
//! weighed in `whole`.
//! Source: Snell et al. 2023 (ILQL), section 4.3.

use burn::tensor::{Tensor, TensorData};
use kudos_schema::Sampling;

use super::coins::Coins;
use super::generate::{GenerateError, StopTokens, check_prompts};
use super::sampling::{draw, log_probs};
use super::whole::choose_whole;
use crate::model::{Places, Valued};
use crate::objective::ValueLearning;

/// How actions are chosen.
#[derive(Debug, Clone)]
pub struct Decoding<'a> {
    /// Whose worth counts, and how it was learned.
    pub learning: &'a ValueLearning,
    /// Factor of the worth.
    pub beta: f64,
    /// Actions that are weighed as wholes, the likeliest so many as a beam finds them; 1 = tokens are chosen one by one.
    pub candidates: usize,
    /// Temperature and longest action; nothing is cut.
    pub sampling: &'a Sampling,
    /// What ends an action.
    pub stop: &'a StopTokens,
    /// The randomness, a stream a prompt.
    pub coins: Coins,
}

/// One action for each prompt, its stop token included.
///
/// `model` should live on a device without autodiff.
///
/// # Errors
/// If a prompt is empty or leaves no room, or the device fails.
pub async fn choose(
    model: &Valued,
    prompts: &[Vec<u32>],
    decoding: &Decoding<'_>,
) -> Result<Vec<Vec<u32>>, GenerateError> {
    let context = model.policy.config().context_length;
    check_prompts(prompts, context)?;
    if decoding.candidates > 1 {
        return choose_whole(model, prompts, decoding).await;
    }
    let longest = decoding.sampling.max_completion_length;
    let coins: Vec<Vec<f32>> =
        (0..prompts.len()).map(|row| decoding.coins.of_completion(row, longest)).collect();
    let mut actions = vec![Vec::new(); prompts.len()];
    for step in 0..longest {
        let open: Vec<usize> = (0..prompts.len())
            .filter(|row| {
                let action: &Vec<u32> = &actions[*row];
                let ended = action.last().is_some_and(|last| decoding.stop.0.contains(last));
                !ended && prompts[*row].len() + action.len() < context
            })
            .collect();
        if open.is_empty() {
            break;
        }
        let read = open.iter().map(|row| [prompts[*row].as_slice(), &actions[*row]].concat());
        let estimates = model.forward(&Places::ends(read.collect()));
        let logits = decoding.learning.preference(&estimates, decoding.beta);
        let full = log_probs(logits, decoding.sampling);
        let coins: Vec<f32> = open.iter().map(|row| coins[*row][step]).collect();
        let coins = TensorData::new(coins, [open.len(), 1]);
        let coins = Tensor::<2>::from_data(coins, &full.device());
        let drawn = draw(&full, &full, coins, decoding.sampling).token.into_data_async().await;
        let drawn = drawn.map_err(|error| GenerateError::Device(format!("{error:?}")))?;
        let drawn = drawn.convert::<i32>().try_to_vec::<i32>().expect("tokens are integers");
        open.iter().zip(drawn).for_each(|(row, token)| actions[*row].push(token as u32));
    }
    Ok(actions)
}
