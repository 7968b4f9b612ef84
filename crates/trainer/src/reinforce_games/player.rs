//! A policy plays games by drawing its actions.

use std::ops::ControlFlow;

use anyhow::Result;
use kudos_core::model::Transformer;
use kudos_core::rollout::{
    GenerateError, Generation, Rollout, StopTokens, Watch, generate_watched,
};
use kudos_schema::Sampling;
use pollster::block_on;

use super::memory::Memory;
use crate::games::{Outcome, Tally};
use crate::side_by_side::{Sitting, Table};
use crate::usage::usage;

/// Who plays what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Player<'a> {
    /// On a device without autodiff.
    pub(super) model: &'a Transformer,
    pub(super) table: Table<'a>,
    /// Longest action in tokens.
    pub(super) longest: usize,
    /// Divides the logits; 0 is greedy.
    pub(super) temperature: f64,
}

impl Player<'_> {
    /// Plays `count` games with coins of `seed`.
    ///
    /// # Errors
    /// A usage error where a game does not fit the context; a failing device.
    pub(super) fn games(&self, count: usize, seed: u64) -> Result<Vec<Sitting>> {
        let sampling = Sampling {
            temperature: self.temperature,
            max_completion_length: self.longest,
            ..Sampling::default()
        };
        let stop = StopTokens(self.table.tokenizer.encode("\n"));
        if self.table.game.window() == Some(1) {
            let mut memory = Memory::new(self.model, &sampling, &stop.0);
            return self
                .table
                .games((count, seed), |prompts, coins| memory.actions(prompts, coins));
        }
        self.table.games((count, seed), |prompts, coins| {
            let generation = Generation { sampling: &sampling, stop: &stop, coins, first_index: 0 };
            // Actions have few tokens: whether all have ended is worth a look after each.
            let look = async |_: &Rollout| ControlFlow::Continue(());
            let drawn =
                generate_watched(self.model, prompts, &generation, Watch { every: 1, look });
            Ok(block_on(drawn).map_err(refused)?.completions)
        })
    }

    /// What `count` games came to.
    ///
    /// # Errors
    /// As [`Self::games`].
    pub(super) fn outcome(&self, count: usize, seed: u64) -> Result<Outcome> {
        Ok(outcome(&self.games(count, seed)?))
    }
}

/// What games came to.
pub(super) fn outcome(games: &[Sitting]) -> Outcome {
    let mut tally = Tally::default();
    games.iter().for_each(|game| tally.add(&game.episode));
    tally.outcome()
}

fn refused(error: GenerateError) -> anyhow::Error {
    match error {
        GenerateError::PromptTooLong { .. } | GenerateError::EmptyPrompt { .. } => {
            usage(error.to_string())
        }
        GenerateError::Device(_) => error.into(),
    }
}
