//! Many games side by side, whose actions are chosen together.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use kudos_core::rollout::{Coins, Transcript};
use kudos_core::task::game::words::Words;
use kudos_core::task::game::{Episode, Game, Kind, Played};
use kudos_core::text::tokenizer::Tokenizer;
use rand_chacha::ChaCha8Rng;

use crate::batches::{Purpose, coins};

/// Seeds of the games that a policy is judged by lie apart from those it learned from.
pub(crate) const JUDGED_BY: u64 = 0x6a75_6467_6564;

/// And those of the games that it plays to learn.
pub(crate) const LEARNS_BY: u64 = 0x6c65_6172_6e73;

/// Games that are open at once.
const SIDE_BY_SIDE: usize = 256;

/// What is played, and who reads it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table<'a> {
    pub(crate) game: Kind,
    pub(crate) words: &'a Arc<Words>,
    pub(crate) tokenizer: &'a Tokenizer,
}

/// A game that was played, in words and as the tokens that were read and drawn.
#[derive(Debug, Clone)]
pub(crate) struct Sitting {
    pub(crate) episode: Episode,
    pub(crate) transcript: Transcript,
}

/// A game in progress.
struct Open {
    game: Game,
    sitting: Sitting,
    said: String,
    coins: ChaCha8Rng,
    done: bool,
}

impl Table<'_> {
    /// Plays `count` games with coins of `seed`; `choose` gives an action, its end included, for each of some
    /// prompts.
    ///
    /// # Errors
    /// What `choose` reports.
    pub(crate) fn games(
        &self,
        (count, seed): (usize, u64),
        mut choose: impl FnMut(&[Vec<u32>], Coins) -> Result<Vec<Vec<u32>>>,
    ) -> Result<Vec<Sitting>> {
        let mut all = Vec::with_capacity(count);
        for first in (0..count).step_by(SIDE_BY_SIDE) {
            let last = (first + SIDE_BY_SIDE).min(count);
            all.extend(self.together(first..last, seed, &mut choose)?);
        }
        Ok(all)
    }

    fn together(
        &self,
        numbers: Range<usize>,
        seed: u64,
        choose: &mut impl FnMut(&[Vec<u32>], Coins) -> Result<Vec<Vec<u32>>>,
    ) -> Result<Vec<Sitting>> {
        let first = numbers.start;
        let mut games: Vec<Open> = numbers.map(|index| self.open(index, seed)).collect();
        for turn in 0.. {
            let mut open: Vec<&mut Open> = games.iter_mut().filter(|game| !game.done).collect();
            if open.is_empty() {
                break;
            }
            let prompts: Vec<Vec<u32>> =
                open.iter().map(|game| game.sitting.transcript.read(turn)).collect();
            // A step of coins for each turn of these games: none is used twice.
            let coins = Coins::new(seed, ((first as u64) << 32) + turn as u64);
            let actions = choose(&prompts, coins)?;
            for (game, action) in open.iter_mut().zip(actions) {
                game.answer(action, self.tokenizer);
            }
        }
        Ok(games.into_iter().map(|game| game.sitting).collect())
    }

    fn open(&self, index: usize, seed: u64) -> Open {
        let game = self.game.start(index, self.words);
        let mut transcript = Transcript::new(self.game);
        transcript.said.push(self.tokenizer.encode(&game.opening()));
        Open {
            said: game.opening(),
            game,
            sitting: Sitting {
                episode: Episode { game: self.game, turns: Vec::new() },
                transcript,
            },
            coins: coins(seed, Purpose::Games, index as u64),
            done: false,
        }
    }
}

impl Open {
    fn answer(&mut self, tokens: Vec<u32>, tokenizer: &Tokenizer) {
        let action = tokenizer.decode(&tokens);
        let turn = self.game.act(&action, &mut self.coins);
        let said = std::mem::replace(&mut self.said, turn.said);
        let Sitting { episode, transcript } = &mut self.sitting;
        episode.turns.push(Played { said, action, reward: turn.reward });
        transcript.actions.push(tokens);
        transcript.rewards.push(turn.reward);
        self.done = turn.done;
        if !self.done {
            transcript.said.push(tokenizer.encode(&self.said));
        }
    }
}
