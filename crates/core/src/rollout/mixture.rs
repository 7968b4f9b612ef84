//! Completions of a geometric mixture of two policies: token by token, `p^(1 - a) r^a`, renormalized.
//!
//! Logits are mixed, which is the same before the softmax. Both policies decode over caches of their own,
//! and the whole batch goes on until its last completion has ended.
//! Source: Munos et al. 2023, section 6; TRL's `GeometricMixtureWrapper`.

use burn::tensor::{Int, Tensor, TensorData};
use kudos_schema::EndReason;

use super::generate::{GenerateError, Generation, Rollout, check_prompts, last_logits};
use super::prefill::prefill;
use super::sampling::{distribution, draw, log_probs};
use crate::model::{Cache, Tokens, Transformer};

/// Two policies with the same vocabulary.
#[derive(Debug, Clone, Copy)]
pub struct Mixture<'a> {
    /// The policy.
    pub policy: &'a Transformer,
    /// What it is mixed with.
    pub reference: &'a Transformer,
    /// Share of the reference, from 0 to 1.
    pub share: f64,
}

/// As [`generate`](super::generate()), from a mixture. A repetition penalty does nothing here.
///
/// # Errors
/// If a prompt is empty or leaves no room, or the device fails.
pub async fn generate_mixed(
    mixture: &Mixture<'_>,
    prompts: &[Vec<u32>],
    generation: &Generation<'_>,
) -> Result<Rollout, GenerateError> {
    let context = mixture.policy.config().context_length;
    check_prompts(prompts, context.min(mixture.reference.config().context_length))?;
    let Some(shortest) = prompts.iter().map(Vec::len).min() else {
        return Ok(Rollout::default());
    };
    let limit = generation.sampling.max_completion_length.min(context - shortest);
    let mut decoder = Decoder::new(mixture, prompts, generation, limit);
    for index in 0..limit {
        decoder.step(index);
        decoder.read().await?;
        if decoder.ended.iter().all(|ended| *ended) {
            break;
        }
    }
    Ok(decoder.rollout)
}

/// Where the loop stands.
struct Decoder<'a> {
    mixture: &'a Mixture<'a>,
    generation: &'a Generation<'a>,
    caches: [Cache; 2],
    /// Mixed logits of the next token. `[B, V]`
    logits: Tensor<2>,
    /// Place of the next token in its own sequence. `[B, 1]`
    position: Tensor<2, Int>,
    /// `[B, T]`
    coins: Tensor<2>,
    /// Token and both of its log-probabilities. `[B, 3]`
    drawn: Option<Tensor<2>>,
    /// The last token drawn. `[B, 1]`
    token: Option<Tensor<2, Int>>,
    rollout: Rollout,
    ended: Vec<bool>,
}

impl<'a> Decoder<'a> {
    fn new(
        mixture: &'a Mixture<'a>,
        prompts: &[Vec<u32>],
        generation: &'a Generation<'a>,
        limit: usize,
    ) -> Self {
        let (device, batch) = (mixture.policy.device(), prompts.len());
        let read = [mixture.policy, mixture.reference].map(|model| prefill(model, prompts, limit));
        let [(own, policy), (other, reference)] = read;
        let logits = mixture.logits([policy, reference]);
        let coins: Vec<f32> = (0..batch)
            .flat_map(|row| generation.coins.of_completion(generation.first_index + row, limit))
            .collect();
        let lengths: Vec<i32> = prompts.iter().map(|prompt| prompt.len() as i32).collect();
        Self {
            mixture,
            generation,
            caches: [own, other],
            logits,
            position: Tensor::from_data(TensorData::new(lengths, [batch, 1]), &device),
            coins: Tensor::from_data(TensorData::new(coins, [batch, limit]), &device),
            drawn: None,
            token: None,
            rollout: Rollout {
                prompts: prompts.to_vec(),
                completions: vec![Vec::new(); batch],
                logprobs_drawn: vec![Vec::new(); batch],
                logprobs_full: vec![Vec::new(); batch],
                end_reasons: vec![EndReason::Length; batch],
            },
            ended: vec![false; batch],
        }
    }

    /// Draws the token number `index` of every completion.
    fn step(&mut self, index: usize) {
        if let Some(token) = self.token.take() {
            let tokens = Tokens::next(token, self.position.clone());
            // A completion that has filled its context waits for its neighbors in the last place.
            let last = self.mixture.policy.config().context_length as i64 - 1;
            self.position.inplace(|position| position.add_scalar(1).clamp(0, last));
            let Mixture { policy, reference, .. } = self.mixture;
            let [own, other] = &mut self.caches;
            let read =
                [policy.hidden_cached(&tokens, own), reference.hidden_cached(&tokens, other)];
            self.logits = self.mixture.logits(read);
        }
        let sampling = self.generation.sampling;
        let full = log_probs(self.logits.clone(), sampling);
        let kept = distribution(full.clone(), sampling);
        let drawn = draw(&full, &kept, self.coins.clone().narrow(1, index, 1), sampling);
        let columns = vec![drawn.token.clone().float(), drawn.logprob_drawn, drawn.logprob_full];
        self.drawn = Some(Tensor::cat(columns, 1));
        self.token = Some(drawn.token);
    }

    /// Reads what was drawn, and ends what drew a stop token or filled its context.
    async fn read(&mut self) -> Result<(), GenerateError> {
        let drawn = self.drawn.take().expect("a token was drawn");
        let data = drawn.into_data_async().await;
        let data = data.map_err(|error| GenerateError::Device(format!("{error:?}")))?;
        let values: Vec<f32> = data.convert::<f32>().try_to_vec().expect("converted to f32");
        let context = self.mixture.policy.config().context_length;
        for (row, values) in values.chunks(3).enumerate() {
            if self.ended[row] {
                continue;
            }
            let (id, rollout) = (values[0] as u32, &mut self.rollout);
            rollout.completions[row].push(id);
            rollout.logprobs_drawn[row].push(values[1]);
            rollout.logprobs_full[row].push(values[2]);
            let stopped = self.generation.stop.0.contains(&id);
            if stopped {
                rollout.end_reasons[row] = EndReason::Stop;
            }
            let length = rollout.prompts[row].len() + rollout.completions[row].len();
            self.ended[row] = stopped || length == context;
        }
        Ok(())
    }
}

impl Mixture<'_> {
    /// Mixed logits after the last position, from what each model read. `[B, T, D] twice -> [B, V]`
    fn logits(&self, [own, other]: [Tensor<3>; 2]) -> Tensor<2> {
        let policy = last_logits(self.policy, own);
        let reference = last_logits(self.reference, other);
        policy.mul_scalar(1.0 - self.share) + reference.mul_scalar(self.share)
    }
}
