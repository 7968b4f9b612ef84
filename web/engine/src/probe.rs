//! The self-test: log-probabilities of fixed tokens, decoded over the cache as writing does, and the
//! speed of writing.
//!
//! Two devices that agree here compute the same policy. The tokens mean nothing; they only reach many
//! rows of the embedding.

use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor, TensorData};
use kudos_core::model::{Cache, PaddingSide, Tokens, Transformer};
use kudos_core::rollout::{
    Coins, GenerateError, Generation, Rollout, StopTokens, Watch, generate_watched, log_probs,
};
use kudos_schema::Sampling;

/// Tokens run through the model at once.
const PREFILL: usize = 12;
/// Tokens run through it one by one.
const STEPS: usize = 4;
/// Tokens written to measure the speed.
pub(crate) const TIMED: usize = 16;

/// The fixed tokens of a vocabulary; their number is one more than that of the log-probabilities.
pub fn probe_tokens(vocab_size: usize) -> Vec<u32> {
    // Multiples of a prime, so that they spread over any vocabulary.
    (1..=PREFILL + STEPS + 1).map(|n| (n * 7919 % vocab_size) as u32).collect()
}

/// Log-probability in nats of each of the last tokens, given those before it.
///
/// # Errors
/// The device did not return them.
pub(crate) async fn probe(model: &Transformer) -> Result<Vec<f32>, GenerateError> {
    let (tokens, device) = (probe_tokens(model.config().vocab_size), model.device());
    let mut cache = Cache::new(model, 1, PREFILL + STEPS);
    let first = Tokens::new(&[&tokens[..PREFILL]], PaddingSide::Left, &device);
    let hidden = model.hidden_cached(&first, &mut cache);
    let mut scores = vec![score(model, hidden, &tokens[1..=PREFILL])];
    for place in PREFILL..PREFILL + STEPS {
        let next = Tokens::next(scalar(tokens[place], &device), scalar(place as u32, &device));
        let hidden = model.hidden_cached(&next, &mut cache);
        scores.push(score(model, hidden, &tokens[place + 1..place + 2]));
    }
    let read = Tensor::cat(scores, 0).into_data_async().await;
    let read = read.map_err(|error| GenerateError::Device(format!("{error:?}")))?;
    Ok(read.convert::<f32>().try_to_vec().expect("converted to f32"))
}

/// Writes a few tokens, so that what the device compiles is compiled and the speed can be taken.
///
/// # Errors
/// The device failed.
pub(crate) async fn write_some(model: &Transformer, every: usize) -> Result<(), GenerateError> {
    let sampling = Sampling { max_completion_length: TIMED, ..Sampling::default() };
    let stop = StopTokens(Vec::new());
    let generation =
        Generation { sampling: &sampling, stop: &stop, coins: Coins::new(0, 0), first_index: 0 };
    let prompt = probe_tokens(model.config().vocab_size)[..PREFILL].to_vec();
    let watch = Watch { every, look: async |_: &Rollout| ControlFlow::Continue(()) };
    generate_watched(model, &[prompt], &generation, watch).await.map(|_| ())
}

/// Log-probabilities of the tokens after each position. `[1, T, D] -> [T]`
fn score(model: &Transformer, hidden: Tensor<3>, next: &[u32]) -> Tensor<1> {
    let logits = model.logits(hidden);
    let [_, time, vocabulary] = logits.dims();
    let scores = log_probs(logits.reshape([time, vocabulary]), &Sampling::default());
    let ids: Vec<i32> = next.iter().map(|id| *id as i32).collect();
    let ids = Tensor::from_data(TensorData::new(ids, [time, 1]), &scores.device());
    scores.gather(1, ids).reshape([time])
}

/// `[1, 1]`
fn scalar(value: u32, device: &Device) -> Tensor<2, burn::tensor::Int> {
    Tensor::from_data(TensorData::new(vec![value as i32], [1, 1]), device)
}
