//! A policy that was learned plays: alone, or by what the heads of its `q-learn` run think.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use burn::tensor::Device;
use kudos_core::model::Valued;
use kudos_core::objective::{Method, ValueLearning};
use kudos_core::task::game::words::Words;
use kudos_core::task::game::{Episode, Kind};
use kudos_core::text::tokenizer::Tokenizer;
use kudos_core::tuning::module_from_bytes;

use crate::args::GamesArgs;
use crate::batches::{Purpose, coins};
use crate::evaluate::policy_files;
use crate::q_learn::{Manner, PlayRecipe, Player, QRecipe, VALUED, read_recipe};
use crate::side_by_side::Table;
use crate::store::RECIPE;
use crate::usage::usage;

/// Who plays, with what it learned.
pub(super) struct Learned {
    model: Valued,
    learning: ValueLearning,
    play: PlayRecipe,
    tokenizer: Tokenizer,
}

impl Learned {
    /// The policy or the run at `path`.
    ///
    /// # Errors
    /// Usage errors, a failing device.
    pub(super) fn new(
        path: &Path,
        kind: Kind,
        (args, device): (&GamesArgs, &Device),
    ) -> Result<Self> {
        match path.join(VALUED).is_file() {
            true => Self::of_run(path, kind, device),
            false => Self::alone(path, args, device),
        }
    }

    /// As many games as the arguments say.
    ///
    /// # Errors
    /// A failing device.
    pub(super) fn games(
        &self,
        (kind, words): (Kind, &Arc<Words>),
        args: &GamesArgs,
    ) -> Result<Vec<Episode>> {
        let play = &self.play;
        let player = Player {
            model: &self.model,
            learning: &self.learning,
            table: Table { game: kind, words, tokenizer: &self.tokenizer },
            play,
            manner: Manner {
                beta: args.beta.unwrap_or(play.beta),
                candidates: args.candidates.unwrap_or(play.candidates),
            },
            temperature: args.temperature.unwrap_or(play.temperature),
        };
        player.games(args.games, args.seed)
    }

    /// A policy without heads, greedy and token by token unless told otherwise.
    fn alone(path: &Path, args: &GamesArgs, device: &Device) -> Result<Self> {
        if args.beta.is_some() {
            return Err(usage(format!(
                "--beta: {} has no heads that think what choices are worth: give the folder of a q-learn run",
                path.display()
            )));
        }
        let files = policy_files(Some(path))?;
        let policy = files.load(device).map_err(|error| usage(error.to_string()))?;
        Ok(Self {
            model: Valued::new(policy.model, 0.0, &mut coins(args.seed, Purpose::Weights, 0)),
            learning: ValueLearning { method: Method::Bc, ..ValueLearning::default() },
            play: PlayRecipe { beta: 0.0, ..PlayRecipe::default() },
            tokenizer: policy.tokenizer,
        })
    }

    /// What a run of `q-learn` left, which chooses as its recipe says.
    fn of_run(folder: &Path, kind: Kind, device: &Device) -> Result<Self> {
        let recipe: QRecipe = read_recipe(&folder.join(RECIPE))?;
        if recipe.game != kind {
            let (learned, asked) = (recipe.game.name(), kind.name());
            return Err(usage(format!(
                "{}: learned {learned}, not {asked}: give --game {learned}",
                folder.display()
            )));
        }
        let files = policy_files(Some(&folder.join("model")))?;
        let policy = files.load(device).map_err(|error| usage(error.to_string()))?;
        let blank = Valued::new(policy.model, 0.0, &mut coins(recipe.seed, Purpose::Weights, 0));
        let path = folder.join(VALUED);
        let damaged = |error: &dyn std::fmt::Display| {
            usage(format!("{}: {error}; run q-learn again", path.display()))
        };
        let bytes = std::fs::read(&path).map_err(|error| damaged(&error))?;
        let model = module_from_bytes(recipe.trunk.on(blank), &bytes);
        Ok(Self {
            model: model.map_err(|error| damaged(&error))?,
            learning: recipe.value,
            play: recipe.play,
            tokenizer: policy.tokenizer,
        })
    }
}
