//! What a policy would write after texts that are read again and again, asked once.
//!
//! A place of a maze is one text, and games come back to it: a round of thousands of turns reads a hundred different texts.

use std::collections::BTreeMap;

use anyhow::Result;
use burn::tensor::TensorData;
use kudos_core::model::{PaddingSide, Tokens, Transformer};
use kudos_core::rollout::{Coins, log_probs};
use kudos_schema::Sampling;
use pollster::block_on;

use crate::usage::usage;

/// The distribution of the next token after each text that was read, while the policy stays the same.
#[derive(Debug)]
pub(super) struct Memory<'a> {
    /// On a device without autodiff.
    model: &'a Transformer,
    sampling: &'a Sampling,
    /// What ends an action.
    stop: &'a [u32],
    /// Probability of each token up to it and with it, or all on the likeliest.
    known: BTreeMap<Vec<u32>, Vec<f64>>,
}

impl<'a> Memory<'a> {
    /// Of a policy that was asked nothing yet.
    pub(super) fn new(model: &'a Transformer, sampling: &'a Sampling, stop: &'a [u32]) -> Self {
        Self { model, sampling, stop, known: BTreeMap::new() }
    }

    /// One action for each prompt, its stop token included.
    ///
    /// # Errors
    /// A usage error where a prompt leaves no room in the context; a failing device.
    pub(super) fn actions(&mut self, prompts: &[Vec<u32>], coins: Coins) -> Result<Vec<Vec<u32>>> {
        let context = self.model.config().context_length;
        if let Some(long) = prompts.iter().find(|prompt| prompt.len() >= context) {
            let length = long.len();
            return Err(usage(format!(
                "a game has {length} tokens and the context holds {context}: \
                 begin with a policy that has a longer context"
            )));
        }
        let longest = self.sampling.max_completion_length;
        let mut coins: Vec<_> =
            (0..prompts.len()).map(|row| coins.of_completion(row, longest).into_iter()).collect();
        let mut texts: Vec<(usize, Vec<u32>)> = prompts.iter().cloned().enumerate().collect();
        let mut actions = vec![Vec::new(); prompts.len()];
        for _ in 0..longest {
            self.learn(&texts)?;
            for (row, text) in &mut texts {
                let coin = coins[*row].next().expect("a coin for each token");
                let token = drawn(&self.known[text.as_slice()], coin);
                text.push(token);
                actions[*row].push(token);
            }
            texts.retain(|(_, text)| {
                let ended = text.last().is_some_and(|last| self.stop.contains(last));
                !ended && text.len() < context
            });
        }
        Ok(actions)
    }

    /// Asks what is not known yet.
    fn learn(&mut self, texts: &[(usize, Vec<u32>)]) -> Result<()> {
        let mut new: Vec<&Vec<u32>> = texts
            .iter()
            .map(|(_, text)| text)
            .filter(|text| !self.known.contains_key(*text))
            .collect();
        new.sort_unstable();
        new.dedup();
        if new.is_empty() {
            return Ok(());
        }
        let rows: Vec<&[u32]> = new.iter().map(|text| text.as_slice()).collect();
        let tokens = Tokens::new(&rows, PaddingSide::Left, &self.model.device());
        let hidden = self.model.hidden(&tokens, None);
        let [count, time, width] = hidden.dims();
        let last = hidden.narrow(1, time - 1, 1).reshape([count, 1, width]);
        let logits = self.model.logits(last);
        let [_, _, vocabulary] = logits.dims();
        let full = log_probs(logits.reshape([count, vocabulary]), self.sampling);
        let data: TensorData = block_on(full.into_data_async())?;
        let numbers = data.convert::<f32>().try_to_vec::<f32>()?;
        for (text, row) in new.into_iter().zip(numbers.chunks(vocabulary)) {
            self.known.insert(text.clone(), sums(row, self.sampling.temperature));
        }
        Ok(())
    }
}

/// Probabilities added up; at temperature 0 all of it is the likeliest token's, of equals the first.
fn sums(log_probs: &[f32], temperature: f64) -> Vec<f64> {
    let greedy = temperature == 0.0;
    let best = log_probs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    let add = |log_prob: &f32| {
        sum += match greedy {
            true => f64::from(u8::from(*log_prob == best && sum == 0.0)),
            false => f64::from(*log_prob).exp(),
        };
        sum
    };
    log_probs.iter().map(add).collect()
}

/// The token that a coin in [0, 1) falls on.
fn drawn(sums: &[f64], coin: f32) -> u32 {
    let most = sums.last().copied().unwrap_or(1.0);
    let at = f64::from(coin) * most;
    let last = sums.len().saturating_sub(1);
    sums.partition_point(|sum| *sum <= at).min(last) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coin_falls_on_a_token_as_often_as_it_is_likely() {
        let sums = sums(&[0.5f32.ln(), f32::NEG_INFINITY, 0.25f32.ln(), 0.25f32.ln()], 1.0);
        let count = |token: u32| {
            (0..100).filter(|coin| drawn(&sums, (*coin as f32 + 0.5) / 100.0) == token).count()
        };
        assert_eq!([count(0), count(1), count(2), count(3)], [50, 0, 25, 25]);
    }

    #[test]
    fn a_greedy_policy_draws_the_likeliest_whatever_the_coin() {
        let sums = sums(&[-2.0, -0.5, -0.5, -3.0], 0.0);
        assert!([0.0, 0.3, 0.999].into_iter().all(|coin| drawn(&sums, coin) == 1));
    }
}
