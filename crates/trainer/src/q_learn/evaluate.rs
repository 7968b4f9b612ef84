//! A policy plays many games side by side.

use anyhow::Result;
use kudos_core::model::Valued;
use kudos_core::objective::ValueLearning;
use kudos_core::rollout::{Decoding, StopTokens, choose};
use kudos_core::task::game::Episode;
use kudos_schema::Sampling;
use pollster::block_on;

use super::recipe::{Manner, PlayRecipe};
use crate::games::{Outcome, Tally};
use crate::side_by_side::Table;

/// Who plays what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Player<'a> {
    /// On a device without autodiff.
    pub(crate) model: &'a Valued,
    pub(crate) learning: &'a ValueLearning,
    pub(crate) table: Table<'a>,
    pub(crate) play: &'a PlayRecipe,
    pub(crate) manner: Manner,
    /// Divides what is drawn from; 0 is greedy.
    pub(crate) temperature: f64,
}

impl Player<'_> {
    /// Plays `count` games with coins of `seed`.
    ///
    /// # Errors
    /// A failing device.
    pub(crate) fn outcome(&self, count: usize, seed: u64) -> Result<Outcome> {
        let mut tally = Tally::default();
        self.games(count, seed)?.iter().for_each(|episode| tally.add(episode));
        Ok(tally.outcome())
    }

    /// The games themselves.
    ///
    /// # Errors
    /// A failing device.
    pub(crate) fn games(&self, count: usize, seed: u64) -> Result<Vec<Episode>> {
        let sampling = Sampling {
            temperature: self.temperature,
            max_completion_length: self.play.max_action_length,
            ..Sampling::default()
        };
        let stop = StopTokens(self.table.tokenizer.encode("\n"));
        let sittings = self.table.games((count, seed), |prompts, coins| {
            let decoding = Decoding {
                learning: self.learning,
                beta: self.manner.beta,
                candidates: self.manner.candidates,
                sampling: &sampling,
                stop: &stop,
                coins,
            };
            Ok(block_on(choose(self.model, prompts, &decoding))?)
        })?;
        Ok(sittings.into_iter().map(|sitting| sitting.episode).collect())
    }
}
