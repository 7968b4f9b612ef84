//! A policy plays many games side by side.

use std::sync::Arc;

use anyhow::Result;
use kudos_core::model::Valued;
use kudos_core::objective::ValueLearning;
use kudos_core::rollout::{Coins, Decoding, StopTokens, choose};
use kudos_core::task::game::words::Words;
use kudos_core::task::game::{Episode, Game, Kind, Played};
use kudos_core::text::tokenizer::Tokenizer;
use kudos_schema::Sampling;
use pollster::block_on;
use rand_chacha::ChaCha8Rng;

use super::recipe::PlayRecipe;
use crate::batches::{Purpose, coins};
use crate::games::{Outcome, Tally};

/// Games that are open at once.
const SIDE_BY_SIDE: usize = 256;

/// Who plays what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Player<'a> {
    /// On a device without autodiff.
    pub(super) model: &'a Valued,
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) learning: &'a ValueLearning,
    pub(super) game: Kind,
    pub(super) words: &'a Arc<Words>,
    pub(super) play: &'a PlayRecipe,
    /// Divides what is drawn from; 0 is greedy.
    pub(super) temperature: f64,
}

/// A game in progress.
struct Open {
    game: Game,
    episode: Episode,
    said: String,
    coins: ChaCha8Rng,
    done: bool,
}

impl Player<'_> {
    /// Plays `count` games with coins of `seed`.
    ///
    /// # Errors
    /// A failing device.
    pub(super) fn outcome(&self, count: usize, seed: u64) -> Result<Outcome> {
        let mut tally = Tally::default();
        self.games(count, seed)?.iter().for_each(|episode| tally.add(episode));
        Ok(tally.outcome())
    }

    /// The games themselves.
    ///
    /// # Errors
    /// A failing device.
    pub(super) fn games(&self, count: usize, seed: u64) -> Result<Vec<Episode>> {
        let mut all = Vec::with_capacity(count);
        for first in (0..count).step_by(SIDE_BY_SIDE) {
            let last = (first + SIDE_BY_SIDE).min(count);
            all.extend(self.side_by_side(first..last, seed)?);
        }
        Ok(all)
    }

    fn open(&self, index: usize, seed: u64) -> Open {
        let game = self.game.start(index, self.words);
        Open {
            said: game.opening(),
            game,
            episode: Episode { game: self.game, turns: Vec::new() },
            coins: coins(seed, Purpose::Games, index as u64),
            done: false,
        }
    }

    fn side_by_side(&self, numbers: std::ops::Range<usize>, seed: u64) -> Result<Vec<Episode>> {
        let first = numbers.start;
        let mut games: Vec<Open> = numbers.map(|index| self.open(index, seed)).collect();
        let sampling = Sampling {
            temperature: self.temperature,
            max_completion_length: self.play.max_action_length,
            ..Sampling::default()
        };
        let stop = StopTokens(self.tokenizer.encode("\n"));
        for turn in 0.. {
            let mut open: Vec<&mut Open> = games.iter_mut().filter(|game| !game.done).collect();
            if open.is_empty() {
                break;
            }
            let prompts: Vec<Vec<u32>> = open.iter().map(|game| self.read(game, turn)).collect();
            // A step of coins for each turn of these games: none is used twice.
            let decoding = Decoding {
                learning: self.learning,
                beta: self.play.beta,
                sampling: &sampling,
                stop: &stop,
                coins: Coins::new(seed, ((first as u64) << 32) + turn as u64),
            };
            let actions = block_on(choose(self.model, &prompts, &decoding))?;
            for (game, action) in open.iter_mut().zip(actions) {
                game.answer(self.tokenizer.decode(&action));
            }
        }
        Ok(games.into_iter().map(|game| game.episode).collect())
    }

    /// What the policy is given, tokens of text after text.
    fn read(&self, game: &Open, turn: usize) -> Vec<u32> {
        let texts = game.episode.read(turn, &game.said);
        texts.into_iter().flat_map(|text| self.tokenizer.encode(text)).collect()
    }
}

impl Open {
    fn answer(&mut self, action: String) {
        let turn = self.game.act(&action, &mut self.coins);
        let said = std::mem::replace(&mut self.said, turn.said);
        self.episode.turns.push(Played { said, action, reward: turn.reward });
        self.done = turn.done;
    }
}
