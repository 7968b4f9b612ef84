//! A run of `q-learn` as a TOML file: every choice with its default, nothing unknown accepted.

use std::path::{Path, PathBuf};

use anyhow::Result;
use kudos_core::learn::Activations;
use kudos_core::model::Valued;
use kudos_core::objective::{Method, ValueLearning};
use kudos_core::task::game::Kind;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::args::QLearnArgs;
use crate::plan::text_of;
use crate::recipe::{Architecture, Family, OptimizerRecipe};
use crate::store::{RECIPE, RunDirectoryError};
use crate::usage::usage;

/// Everything that determines a run but the device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QRecipe {
    /// What is played.
    pub game: Kind,
    /// Words of Wordle, one a line; frequent words of the built-in sentences without it.
    pub words: Option<PathBuf>,
    /// Seed of every coin.
    pub seed: u64,
    /// Optimizer steps.
    pub steps: usize,
    /// Steps between two checkpoints; 0 = only where the run is stopped.
    pub save_every: usize,
    /// Trajectories of a step: games of Wordle, turns of a maze.
    pub batch: usize,
    /// Trajectories in one forward and backward pass.
    pub micro_batch_size: usize,
    /// What is learned from.
    pub data: GameData,
    /// The policy's own games, in place of those or beside them.
    pub own: OwnGames,
    /// The policy that begins, in place of a new one; its sizes are its own.
    pub model: Option<PathBuf>,
    /// What learns beside the heads that judge that policy's choices.
    pub trunk: Trunk,
    /// The sizes of the new policy; a vocabulary of bytes and of whole words, as far as it reaches.
    pub architecture: Architecture,
    /// How weights move.
    pub optimizer: OptimizerRecipe,
    /// What is minimized.
    pub value: ValueLearning,
    /// Share by which the copy that rates what comes next follows at each step.
    pub follow: f64,
    /// How the policy plays when it is judged.
    pub play: PlayRecipe,
}

/// Games to learn from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GameData {
    /// The program that plays them.
    pub policy: String,
    /// How many it plays.
    pub games: usize,
    /// A file of games instead.
    pub dataset: Option<PathBuf>,
    /// Share of the games that is learned from, those of the highest return first.
    pub best_share: f64,
    /// Games of one return that are learned from, at most, the earlier first; 0 = all. Where most games are long, the short
    /// ones weigh more.
    pub most_of_a_return: usize,
    /// Where choices of too low a return are not imitated (`value.imitated_from`): the weight that a game's first choice has
    /// all the same. It hardly ever wins, and nothing was known yet that it could have missed; 0 = none.
    pub opening_weight: f64,
    /// How often a choice is learned from that was met several times.
    pub alike: Alike,
    /// Factor of every reward, so that estimates are of the order of 1.
    pub reward_scale: f64,
}

/// What learns beside the heads that judge choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trunk {
    /// The policy, which the heads read by.
    Tuned,
    /// Nothing: the policy stays as it is and imitates nothing.
    Frozen,
    /// A copy of the policy, which the heads read by; the policy stays as it is.
    Apart,
}

/// How often a choice is learned from that was met several times: the same was read, done and read after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alike {
    /// As often as it was met: rare choices are learned slowly, and imitation is of the data.
    Each,
    /// Once, with the mean of what followed: all choices alike.
    Once,
}

/// Games that the policy plays while it learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OwnGames {
    /// Steps between two rounds of games; 0 = it never plays to learn.
    pub every: usize,
    /// Games of a round.
    pub games: usize,
    /// Trajectories that stay beside those of a round, the newest: a replay buffer; 0 = a round takes the place of all that was
    /// learned from before.
    pub replay: usize,
    /// Share of a round that is learned from, the highest returns first.
    pub best_share: f64,
    /// Divides what it draws from.
    pub temperature: f64,
}

/// How actions are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manner {
    /// Factor of the worth of a choice, beside the policy's own logits.
    pub beta: f64,
    /// Actions that are weighed as wholes; 1 = tokens are chosen one by one.
    pub candidates: usize,
}

/// How the policy plays when it is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlayRecipe {
    /// Games at the end.
    pub games: usize,
    /// Factor of the worth of a choice, beside the policy's own logits.
    pub beta: f64,
    /// Actions that are weighed as wholes, the likeliest so many; 1 = tokens are chosen one by one.
    pub candidates: usize,
    /// Other ways to choose, to play with at the end.
    pub also: Vec<Manner>,
    /// Divides the sum; 0 is greedy.
    pub temperature: f64,
    /// Longest action in tokens.
    pub max_action_length: usize,
    /// Steps between two looks at `look_games` games; 0 = only at the end.
    pub look_every: usize,
    /// Games of such a look.
    pub look_games: usize,
}

impl Default for QRecipe {
    fn default() -> Self {
        Self {
            game: Kind::Maze,
            words: None,
            seed: 1,
            steps: 1500,
            save_every: 1000,
            batch: 64,
            micro_batch_size: 64,
            data: GameData::default(),
            own: OwnGames::default(),
            model: None,
            trunk: Trunk::Tuned,
            architecture: Architecture {
                family: Family::Llama,
                vocab_size: 320,
                context_length: 64,
                n_layers: 2,
                d_model: 64,
                n_heads: 2,
                n_kv_heads: 2,
                d_ff: 128,
                dropout: 0.0,
            },
            optimizer: OptimizerRecipe::default(),
            value: ValueLearning::default(),
            follow: 0.01,
            play: PlayRecipe::default(),
        }
    }
}

impl Default for GameData {
    fn default() -> Self {
        Self {
            policy: "uniform".to_owned(),
            games: 1000,
            dataset: None,
            best_share: 1.0,
            most_of_a_return: 0,
            opening_weight: 0.0,
            alike: Alike::Each,
            reward_scale: 0.1,
        }
    }
}

impl Default for OwnGames {
    fn default() -> Self {
        Self { every: 0, games: 1024, replay: 0, best_share: 1.0, temperature: 1.0 }
    }
}

impl Default for PlayRecipe {
    fn default() -> Self {
        Self {
            games: 800,
            beta: 8.0,
            candidates: 1,
            also: Vec::new(),
            temperature: 0.0,
            max_action_length: 8,
            look_every: 250,
            look_games: 25,
        }
    }
}

impl Trunk {
    /// The same model, of which this learns.
    pub(crate) fn on(self, model: Valued) -> Valued {
        match self {
            Self::Tuned => model,
            Self::Frozen => model.frozen(),
            Self::Apart => model.apart(),
        }
    }
}

impl PlayRecipe {
    pub(super) fn manner(&self) -> Manner {
        Manner { beta: self.beta, candidates: self.candidates }
    }
}

/// The recipe with the flags applied, checked.
///
/// # Errors
/// Usage errors that name the field and the remedy.
pub(super) fn resolve(args: &QLearnArgs) -> Result<QRecipe> {
    let mut recipe = match (&args.config, args.resume) {
        (Some(path), _) => read_recipe(path)?,
        (None, true) => resumed_recipe(&args.output_dir)?,
        (None, false) => QRecipe::default(),
    };
    if let Some(name) = &args.algorithm {
        recipe.value.method = method(name)?;
    }
    if args.dataset.is_some() {
        recipe.data.dataset.clone_from(&args.dataset);
    }
    if args.words.is_some() {
        recipe.words.clone_from(&args.words);
    }
    if args.model.is_some() {
        recipe.model.clone_from(&args.model);
    }
    recipe.seed = args.seed.unwrap_or(recipe.seed);
    recipe.steps = args.steps.unwrap_or(recipe.steps);
    validate(&recipe)?;
    Ok(recipe)
}

/// A recipe in a file.
///
/// # Errors
/// A usage error where there is none, or not of this kind.
pub(crate) fn read_recipe<R: DeserializeOwned>(path: &Path) -> Result<R> {
    let (label, text) = text_of(path)?;
    toml::from_str(&text).map_err(|error| usage(format!("{label}: {error}")))
}

/// The recipe of the run in a folder.
///
/// # Errors
/// A usage error where there is none.
pub(crate) fn resumed_recipe<R: DeserializeOwned>(folder: &Path) -> Result<R> {
    let path = folder.join(RECIPE);
    match path.is_file() {
        true => read_recipe(&path),
        false => {
            let path = folder.to_owned();
            Err(usage(RunDirectoryError::HoldsNoRun { path }.to_string()))
        }
    }
}

fn method(name: &str) -> Result<Method> {
    let known = Method::ALL.into_iter().find(|method| method.name() == name);
    known.ok_or_else(|| {
        let names = Method::ALL.map(Method::name).join(", ");
        usage(format!("there is no algorithm `{name}`: choose one of {names}"))
    })
}

fn validate(recipe: &QRecipe) -> Result<()> {
    let share = |value: f64| value > 0.0 && value <= 1.0;
    let (value, data, own, play) = (&recipe.value, &recipe.data, &recipe.own, &recipe.play);
    let rules = [
        ("steps", recipe.steps > 0, "at least 1"),
        (
            "optimizer.activations",
            recipe.optimizer.activations != Activations::Blocks,
            "keep or recompute",
        ),
        ("batch", recipe.batch > 0, "at least 1"),
        ("micro_batch_size", recipe.micro_batch_size > 0, "at least 1"),
        ("data.games", data.games > 0, "at least 1"),
        ("data.best_share", share(data.best_share), "above 0 and at most 1"),
        ("data.opening_weight", (0.0..=1.0).contains(&data.opening_weight), "a share from 0 to 1"),
        ("data.reward_scale", data.reward_scale > 0.0, "above 0"),
        ("own.games", own.games > 0, "at least 1"),
        ("own.best_share", share(own.best_share), "above 0 and at most 1"),
        ("own.temperature", own.temperature > 0.0, "above 0"),
        ("value.gamma", share(value.gamma), "above 0 and at most 1"),
        ("value.expectile", value.expectile > 0.0 && value.expectile < 1.0, "between 0 and 1"),
        ("value.conservatism", value.conservatism >= 0.0, "0 or more"),
        ("value.imitation", value.imitation >= 0.0, "0 or more"),
        ("value.support", (0.0..=1.0).contains(&value.support), "between 0 and 1"),
        ("follow", share(recipe.follow), "above 0 and at most 1"),
        ("play.games", play.games > 0, "at least 1"),
        (
            "play.candidates",
            play.candidates > 0 && play.also.iter().all(|manner| manner.candidates > 0),
            "at least 1",
        ),
        ("play.look_games", play.look_games > 0, "at least 1"),
        ("play.max_action_length", play.max_action_length > 0, "at least 1"),
        ("play.temperature", play.temperature >= 0.0, "0 or more"),
        ("optimizer.learning_rate", recipe.optimizer.learning_rate > 0.0, "above 0"),
        ("optimizer.max_grad_norm", recipe.optimizer.max_grad_norm > 0.0, "above 0"),
    ];
    if recipe.trunk != Trunk::Tuned && (recipe.model.is_none() || value.method == Method::Bc) {
        return Err(usage(
            "trunk frozen or apart leaves a policy as it is: give --model, and a method that learns what choices are worth",
        ));
    }
    if let Some((field, _, range)) = rules.into_iter().find(|(_, holds, _)| !holds) {
        return Err(usage(format!("{field} must be {range}")));
    }
    let sizes = recipe.architecture.transformer(recipe.architecture.vocab_size);
    sizes.validate().map_err(|error| usage(format!("architecture: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_survives_printing_and_refuses_what_it_does_not_know() {
        let text = toml::to_string(&QRecipe::default()).unwrap();
        assert_eq!(toml::from_str::<QRecipe>(&text).unwrap(), QRecipe::default());
        assert!(toml::from_str::<QRecipe>("[value]\ngama = 1.0\n").is_err());
    }

    #[test]
    fn what_cannot_be_is_named() {
        let broken = QRecipe { follow: 0.0, ..QRecipe::default() };
        assert_eq!(
            validate(&broken).unwrap_err().to_string(),
            "follow must be above 0 and at most 1"
        );
        let frozen = QRecipe { trunk: Trunk::Frozen, ..QRecipe::default() };
        assert!(validate(&frozen).unwrap_err().to_string().contains("--model"));
        assert!(method("sarsa").unwrap_err().to_string().contains("double-dqn"));
    }
}
