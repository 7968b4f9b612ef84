//! The decoding loop: the same for the trainer and for the page.
//!
//! Prompts of any lengths are padded on the left and decoded together over a preallocated cache.
//! Tokens, coins and log-probabilities stay on the device; every few tokens they are read back at
//! once, and whoever watches may look and stop. When half of the batch has ended, the other half
//! goes on alone: the batch is halved rather than cut to what is open, so that a GPU sees few shapes.

use std::ops::ControlFlow;

use burn::tensor::{Bool, DType, Int, Tensor, TensorData};
use kudos_schema::{EndReason, Sampling};
use thiserror::Error;

use super::coins::Coins;
use super::prefill::prefill;
use super::sampling::{distribution, draw, log_probs, occurring, penalize};
use crate::model::{Cache, Tokens, Transformer, indices};

/// Tokens decoded between two reads where nobody watches.
const READ_EVERY: usize = 8;

/// A batch of completions, as plain data. Outer vectors: one entry a completion.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rollout {
    /// The prompt of each completion.
    pub prompts: Vec<Vec<u32>>,
    /// The tokens drawn, the stop token included.
    pub completions: Vec<Vec<u32>>,
    /// Log-probability in nats of each token under the distribution drawn from.
    pub logprobs_drawn: Vec<Vec<f32>>,
    /// Log-probability in nats of each token under the full softmax at the temperature.
    pub logprobs_full: Vec<Vec<f32>>,
    /// Why each ended.
    pub end_reasons: Vec<EndReason>,
}

impl Rollout {
    /// Puts the completions of another rollout behind these.
    pub fn append(&mut self, other: Self) {
        self.prompts.extend(other.prompts);
        self.completions.extend(other.completions);
        self.logprobs_drawn.extend(other.logprobs_drawn);
        self.logprobs_full.extend(other.logprobs_full);
        self.end_reasons.extend(other.end_reasons);
    }
}

/// The tokens that end a completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopTokens(pub Vec<u32>);

/// How to generate, beside the model and the prompts.
#[derive(Debug, Clone)]
pub struct Generation<'a> {
    /// The distribution to draw from.
    pub sampling: &'a Sampling,
    /// What ends a completion.
    pub stop: &'a StopTokens,
    /// The randomness.
    pub coins: Coins,
    /// Which stream of coins the first prompt uses; the next prompts use the next ones.
    pub first_index: usize,
}

/// Somebody who reads along.
#[derive(Debug)]
pub struct Watch<Look> {
    /// Tokens decoded between two reads; at least 1.
    pub every: usize,
    /// Sees what was drawn so far after each read, and says whether to go on. An
    /// `AsyncFnMut(&Rollout) -> ControlFlow<()>`, so that a page can let other messages in.
    pub look: Look,
}

/// Why nothing was generated.
#[derive(Debug, Error)]
pub enum GenerateError {
    /// A prompt has no token.
    #[error("prompt {index} is empty: give it at least one token")]
    EmptyPrompt {
        /// Its place in the batch.
        index: usize,
    },
    /// A prompt leaves no room in the context.
    #[error(
        "prompt {index} has {length} tokens and the context holds {context}: \
         shorten it or use a model with a longer context"
    )]
    PromptTooLong {
        /// Its place in the batch.
        index: usize,
        /// Its length in tokens.
        length: usize,
        /// The model's context in tokens.
        context: usize,
    },
    /// The device did not return what was drawn.
    #[error("the device did not return the completions: {0}")]
    Device(String),
}

/// Draws one completion for each prompt, until it draws a stop token, has
/// `max_completion_length` tokens, or fills the context. Neighbours in the batch change nothing.
///
/// # Errors
/// If a prompt is empty or leaves no room, or the device fails.
pub async fn generate(
    model: &Transformer,
    prompts: &[Vec<u32>],
    generation: &Generation<'_>,
) -> Result<Rollout, GenerateError> {
    let unseen = Watch { every: READ_EVERY, look: async |_: &Rollout| ControlFlow::Continue(()) };
    generate_watched(model, prompts, generation, unseen).await
}

/// As [`generate`], read along and possibly interrupted; the same coins give the same tokens.
///
/// # Errors
/// If a prompt is empty or leaves no room, or the device fails.
pub async fn generate_watched<Look: AsyncFnMut(&Rollout) -> ControlFlow<()>>(
    model: &Transformer,
    prompts: &[Vec<u32>],
    generation: &Generation<'_>,
    mut watch: Watch<Look>,
) -> Result<Rollout, GenerateError> {
    let context = model.config().context_length;
    check_prompts(prompts, context)?;
    let Some(shortest) = prompts.iter().map(Vec::len).min() else {
        return Ok(Rollout::default());
    };
    let limit = generation.sampling.max_completion_length.min(context - shortest);
    let mut decoder = Decoder::new(model, prompts, generation, limit);
    for drawn in 1..=limit {
        decoder.step(drawn - 1);
        if drawn % watch.every != 0 && drawn < limit {
            continue;
        }
        decoder.read().await?;
        let flow = (watch.look)(&decoder.rollout).await;
        let open = decoder.open();
        if flow.is_break() {
            decoder.interrupt(&open);
            break;
        }
        if open.is_empty() {
            break;
        }
        if open.len() <= decoder.rows.len() / 2 {
            decoder.halve(&open);
        }
    }
    Ok(decoder.rollout)
}

pub(super) fn check_prompts(prompts: &[Vec<u32>], context: usize) -> Result<(), GenerateError> {
    prompts.iter().enumerate().try_for_each(|(index, prompt)| match prompt.len() {
        0 => Err(GenerateError::EmptyPrompt { index }),
        length if length >= context => Err(GenerateError::PromptTooLong { index, length, context }),
        _ => Ok(()),
    })
}

/// The state of the loop, on the device but for what [`Decoder::read`] has read back. B counts the completions
/// that are still decoded.
struct Decoder<'a> {
    model: &'a Transformer,
    generation: &'a Generation<'a>,
    cache: Cache,
    /// Which prompt each completion belongs to; B of them.
    rows: Vec<usize>,
    /// Logits of the next token. `[B, V]`
    logits: Tensor<2>,
    /// Place of the next token in its own sequence. `[B, 1]`
    position: Tensor<2, Int>,
    /// All coins, uploaded once. `[B, T]`
    coins: Tensor<2>,
    /// Tokens present so far, for the repetition penalty. `[B, V]`
    seen: Option<Tensor<2, Bool>>,
    /// The last token drawn. `[B, 1]`
    token: Option<Tensor<2, Int>>,
    /// Steps not yet read back.
    steps: Vec<Step>,
    /// What was read back, one entry a prompt.
    rollout: Rollout,
    /// Which of the completions in `rollout` have ended.
    ended: Vec<bool>,
}

/// What one step leaves to be read.
struct Step {
    /// `[B, 1]`
    token: Tensor<2, Int>,
    /// `[B, 1]`
    logprob_drawn: Tensor<2>,
    /// `[B, 1]`
    logprob_full: Tensor<2>,
}

impl<'a> Decoder<'a> {
    /// Runs the prompts through the model.
    fn new(
        model: &'a Transformer,
        prompts: &[Vec<u32>],
        generation: &'a Generation<'a>,
        limit: usize,
    ) -> Self {
        let (device, batch) = (model.device(), prompts.len());
        let (cache, hidden) = prefill(model, prompts, limit);
        let logits = last_logits(model, hidden);
        let lengths: Vec<i32> = prompts.iter().map(|prompt| prompt.len() as i32).collect();
        let coins: Vec<f32> = (0..batch)
            .flat_map(|row| generation.coins.of_completion(generation.first_index + row, limit))
            .collect();
        let penalized = generation.sampling.repetition_penalty != 1.0;
        let vocabulary = model.config().vocab_size;
        Self {
            position: Tensor::from_data(TensorData::new(lengths, [batch, 1]), &device),
            coins: Tensor::from_data(TensorData::new(coins, [batch, limit]), &device),
            ended: vec![false; batch],
            seen: penalized.then(|| {
                let seen = prompts.iter().flat_map(|prompt| occurring(prompt, vocabulary));
                let seen = TensorData::new(seen.collect::<Vec<bool>>(), [batch, vocabulary]);
                Tensor::from_data(seen, &device)
            }),
            token: None,
            steps: Vec::with_capacity(limit),
            rollout: Rollout {
                prompts: prompts.to_vec(),
                completions: vec![Vec::new(); batch],
                logprobs_drawn: vec![Vec::new(); batch],
                logprobs_full: vec![Vec::new(); batch],
                // Until a stop token says otherwise.
                end_reasons: vec![EndReason::Length; batch],
            },
            rows: (0..batch).collect(),
            model,
            generation,
            cache,
            logits,
        }
    }

    /// Draws the token number `index` of every completion, and its successor's logits.
    fn step(&mut self, index: usize) {
        let sampling = self.generation.sampling;
        if let Some(token) = self.token.take() {
            let tokens = Tokens::next(token, self.position.clone());
            // A completion that has filled its context waits for its neighbours in the last place.
            let last = self.model.config().context_length as i64 - 1;
            self.position.inplace(|position| position.add_scalar(1).clamp(0, last));
            let hidden = self.model.hidden_cached(&tokens, &mut self.cache);
            self.logits = last_logits(self.model, hidden);
        }
        let full = log_probs(self.logits.clone(), sampling);
        let base = match &self.seen {
            None => full.clone(),
            Some(seen) => log_probs(penalize(self.logits.clone(), seen, sampling), sampling),
        };
        let kept = distribution(base, sampling);
        let drawn = draw(&full, &kept, self.coins.clone().narrow(1, index, 1), sampling);
        if let Some(seen) = &mut self.seen {
            let dims = seen.dims();
            let ids = Tensor::<1, Int>::arange(0..dims[1] as i64, &drawn.token.device());
            let chosen = ids.unsqueeze::<2>().expand(dims).equal(drawn.token.clone().expand(dims));
            seen.inplace(|seen| seen.bool_or(chosen));
        }
        self.token = Some(drawn.token.clone());
        self.steps.push(Step {
            token: drawn.token,
            logprob_drawn: drawn.logprob_drawn,
            logprob_full: drawn.logprob_full,
        });
    }

    /// Places in the batch of the completions that have not ended.
    fn open(&self) -> Vec<usize> {
        (0..self.rows.len()).filter(|place| !self.ended[self.rows[*place]]).collect()
    }

    /// Marks the completions at these places as cut off by whoever watched.
    fn interrupt(&mut self, open: &[usize]) {
        for place in open {
            self.rollout.end_reasons[self.rows[*place]] = EndReason::Interrupted;
        }
    }

    /// Goes on with half of the batch, or less: the open completions and as many ended ones as fill
    /// it.
    fn halve(&mut self, open: &[usize]) {
        let mut size = self.rows.len();
        while open.len() <= size / 2 {
            size /= 2;
        }
        let ended = (0..self.rows.len()).filter(|row| !open.contains(row));
        let mut kept: Vec<usize> = open.iter().copied().chain(ended).take(size).collect();
        kept.sort_unstable();
        let places = indices(kept.iter().copied(), &self.model.device());
        self.rows = kept.into_iter().map(|row| self.rows[row]).collect();
        self.cache.select(&places);
        self.logits.inplace(|logits| logits.select(0, places.clone()));
        self.position.inplace(|position| position.select(0, places.clone()));
        self.coins.inplace(|coins| coins.select(0, places.clone()));
        self.seen = self.seen.take().map(|seen| seen.select(0, places.clone()));
        self.token = self.token.take().map(|token| token.select(0, places));
    }

    /// Reads the steps back, all in one tensor, and ends what drew a stop token or filled its context.
    async fn read(&mut self) -> Result<(), GenerateError> {
        let steps = std::mem::take(&mut self.steps);
        let column = |part: fn(&Step) -> Tensor<2>| {
            Tensor::cat(steps.iter().map(part).collect::<Vec<_>>(), 1)
        };
        let ids = Tensor::cat(steps.iter().map(|step| step.token.clone()).collect(), 1);
        let drawn = column(|step| step.logprob_drawn.clone());
        let full = column(|step| step.logprob_full.clone());
        // Ids are exact in f32 up to 16 million.
        let ids = ids.float().cast(DType::F32);
        let data = Tensor::cat(vec![ids, drawn, full], 1).into_data_async().await;
        let data = data.map_err(|error| GenerateError::Device(format!("{error:?}")))?;
        let values: Vec<f32> = data.convert::<f32>().try_to_vec().expect("converted to f32");
        let context = self.model.config().context_length;
        for (values, row) in values.chunks(3 * steps.len()).zip(&self.rows) {
            let (ids, logprobs) = values.split_at(steps.len());
            let (drawn, full) = logprobs.split_at(steps.len());
            let rollout = &mut self.rollout;
            for step in 0..steps.len() {
                if self.ended[*row] {
                    break;
                }
                let id = ids[step] as u32;
                rollout.completions[*row].push(id);
                rollout.logprobs_drawn[*row].push(drawn[step]);
                rollout.logprobs_full[*row].push(full[step]);
                let stopped = self.generation.stop.0.contains(&id);
                if stopped {
                    rollout.end_reasons[*row] = EndReason::Stop;
                }
                let length = rollout.prompts[*row].len() + rollout.completions[*row].len();
                self.ended[*row] = stopped || length == context;
            }
        }
        Ok(())
    }
}

/// Logits after the last position. `[B, T, D] -> [B, V]`
pub(super) fn last_logits(model: &Transformer, hidden: Tensor<3>) -> Tensor<2> {
    let [batch, time, width] = hidden.dims();
    let last = hidden.narrow(1, time - 1, 1).reshape([batch, 1, width]);
    let logits = model.logits(last);
    let [_, _, vocabulary] = logits.dims();
    logits.reshape([batch, vocabulary]).cast(DType::F32)
}
