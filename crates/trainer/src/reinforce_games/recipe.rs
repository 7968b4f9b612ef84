//! A run of `reinforce-games` as a TOML file: every choice with its default, nothing unknown accepted.

use std::path::PathBuf;

use anyhow::Result;
use kudos_core::objective::{
    Aggregation, Clip, Coefficients, Credit, EntropyBonus, KlCoefficient, KlPlacement,
    PolicyGradient, Scale, Surrogate,
};
use kudos_core::task::game::Kind;
use serde::{Deserialize, Serialize};

use crate::args::ReinforceGamesArgs;
use crate::q_learn::{read_recipe, resumed_recipe};
use crate::recipe::OptimizerRecipe;
use crate::usage::usage;

/// Everything that determines a run but the device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GamesRecipe {
    /// What is played.
    pub game: Kind,
    /// Words of Wordle, one a line; frequent words of the built-in sentences without it.
    pub words: Option<PathBuf>,
    /// The policy that begins: a folder or a bundle.
    pub model: Option<PathBuf>,
    /// Seed of every coin.
    pub seed: u64,
    /// Rounds of games, each learned from before the next.
    pub rounds: usize,
    /// Rounds between two checkpoints; 0 = only where the run is stopped.
    pub save_every: usize,
    /// Games of a round.
    pub games: usize,
    /// Sequences in one forward and backward pass.
    pub micro_batch_size: usize,
    /// Factor of every reward, so that a critic's values are of the order of 1.
    pub reward_scale: f64,
    /// What is minimized, and how often.
    pub ppo: PpoRecipe,
    /// How what to expect is learned.
    pub critic: GameCritic,
    /// How weights move; its steps are rounds.
    pub optimizer: OptimizerRecipe,
    /// How the policy plays when it is judged.
    pub play: JudgedPlay,
}

/// The constants of PPO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PpoRecipe {
    /// Who earned what: factors from one action to the next.
    pub credit: Credit,
    /// How far a ratio may go from 1 and still gain.
    pub epsilon: f64,
    /// Passes over the games of a round.
    pub num_iterations: usize,
    /// Parts of a pass, one update each.
    pub mini_batches: usize,
    /// What a nat of entropy earns, by the token.
    pub entropy_coef: f64,
    /// What a nat of divergence from the first policy costs, in the loss, by the token (k3).
    pub beta: f64,
}

/// How a critic of games learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GameCritic {
    /// Peak learning rate; its schedule is the policy's.
    pub learning_rate: f64,
    /// First rounds in which it learns alone.
    pub warmup_rounds: usize,
}

/// How the policy plays when it is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JudgedPlay {
    /// Games at the start and at the end.
    pub games: usize,
    /// Divides the logits; 0 is greedy.
    pub temperature: f64,
    /// Longest action in tokens, also of games that are learned from.
    pub max_action_length: usize,
    /// Rounds between two looks at `look_games` games; 0 = only at the end.
    pub look_every: usize,
    /// Games of such a look.
    pub look_games: usize,
}

impl Default for GamesRecipe {
    fn default() -> Self {
        Self {
            game: Kind::Maze,
            words: None,
            model: None,
            seed: 1,
            rounds: 100,
            save_every: 10,
            games: 250,
            micro_batch_size: 128,
            reward_scale: 0.1,
            ppo: PpoRecipe::default(),
            critic: GameCritic::default(),
            optimizer: OptimizerRecipe::default(),
            play: JudgedPlay::default(),
        }
    }
}

impl Default for PpoRecipe {
    fn default() -> Self {
        Self {
            credit: Credit::default(),
            epsilon: 0.2,
            num_iterations: 4,
            mini_batches: 4,
            entropy_coef: 0.01,
            beta: 0.0,
        }
    }
}

impl Default for GameCritic {
    fn default() -> Self {
        Self { learning_rate: 1e-3, warmup_rounds: 2 }
    }
}

impl Default for JudgedPlay {
    fn default() -> Self {
        Self { games: 800, temperature: 0.0, max_action_length: 8, look_every: 10, look_games: 25 }
    }
}

impl PpoRecipe {
    /// The objective of a token: a clipped ratio with what is paid and earned by the nat.
    pub(super) fn objective(&self) -> (PolicyGradient, Coefficients) {
        let placement = if self.beta > 0.0 { KlPlacement::LossK3 } else { KlPlacement::None };
        let clip = Clip { low: self.epsilon, high: self.epsilon, ..Clip::default() };
        let objective = PolicyGradient {
            surrogate: Surrogate::Clip(clip),
            scale: Scale::None,
            kl_placement: placement,
            kl_coefficient: KlCoefficient::Fixed(self.beta),
            entropy_bonus: EntropyBonus::Fixed(self.entropy_coef),
            aggregation: Aggregation::TokenMean,
            temperature: 1.0,
            ..PolicyGradient::ppo()
        };
        (objective, Coefficients { beta: self.beta, entropy_bonus: self.entropy_coef })
    }
}

/// The recipe with the flags applied, checked.
///
/// # Errors
/// Usage errors that name the field and the remedy.
pub(super) fn resolve(args: &ReinforceGamesArgs) -> Result<GamesRecipe> {
    let mut recipe = match (&args.config, args.resume) {
        (Some(path), _) => read_recipe(path)?,
        (None, true) => resumed_recipe(&args.output_dir)?,
        (None, false) => GamesRecipe::default(),
    };
    if args.model.is_some() {
        recipe.model.clone_from(&args.model);
    }
    if args.words.is_some() {
        recipe.words.clone_from(&args.words);
    }
    recipe.seed = args.seed.unwrap_or(recipe.seed);
    recipe.rounds = args.rounds.unwrap_or(recipe.rounds);
    validate(&recipe)?;
    Ok(recipe)
}

fn validate(recipe: &GamesRecipe) -> Result<()> {
    let share = |value: f64| value > 0.0 && value <= 1.0;
    let (ppo, play, critic) = (&recipe.ppo, &recipe.play, &recipe.critic);
    let above = |value: f64| value.is_finite() && value > 0.0;
    let rules = [
        ("rounds", recipe.rounds > 0, "at least 1"),
        ("games", recipe.games > 0, "at least 1"),
        ("micro_batch_size", recipe.micro_batch_size > 0, "at least 1"),
        ("reward_scale", above(recipe.reward_scale), "above 0"),
        ("ppo.credit.gamma", share(ppo.credit.gamma), "above 0 and at most 1"),
        ("ppo.credit.lam", (0.0..=1.0).contains(&ppo.credit.lam), "between 0 and 1"),
        ("ppo.epsilon", ppo.epsilon > 0.0 && ppo.epsilon < 1.0, "between 0 and 1"),
        ("ppo.num_iterations", ppo.num_iterations > 0, "at least 1"),
        ("ppo.mini_batches", ppo.mini_batches > 0, "at least 1"),
        ("ppo.entropy_coef", ppo.entropy_coef >= 0.0, "0 or more"),
        ("ppo.beta", ppo.beta >= 0.0, "0 or more"),
        ("critic.learning_rate", above(critic.learning_rate), "above 0"),
        ("critic.warmup_rounds", critic.warmup_rounds < recipe.rounds, "less than rounds"),
        ("play.games", play.games > 0, "at least 1"),
        ("play.look_games", play.look_games > 0, "at least 1"),
        ("play.max_action_length", play.max_action_length > 0, "at least 1"),
        ("play.temperature", play.temperature >= 0.0, "0 or more"),
        ("optimizer.learning_rate", above(recipe.optimizer.learning_rate), "above 0"),
        ("optimizer.max_grad_norm", recipe.optimizer.max_grad_norm > 0.0, "above 0"),
    ];
    if let Some((field, _, range)) = rules.into_iter().find(|(_, holds, _)| !holds) {
        return Err(usage(format!("{field} must be {range}")));
    }
    if recipe.model.is_none() {
        return Err(usage(
            "no policy to begin with: give --model, for instance what `q-learn --algorithm bc` left in model",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_survives_printing_and_refuses_what_it_does_not_know() {
        let text = toml::to_string(&GamesRecipe::default()).unwrap();
        assert_eq!(toml::from_str::<GamesRecipe>(&text).unwrap(), GamesRecipe::default());
        assert!(toml::from_str::<GamesRecipe>("[ppo]\ngama = 1.0\n").is_err());
    }

    #[test]
    fn what_cannot_be_is_named() {
        let usual = GamesRecipe { model: Some("model".into()), ..GamesRecipe::default() };
        validate(&usual).unwrap();
        let refused = |recipe: GamesRecipe| {
            let error = validate(&recipe).unwrap_err();
            assert_eq!(crate::usage::exit_code(&error), 2);
            error.to_string()
        };
        let ppo = PpoRecipe { epsilon: f64::NAN, ..usual.ppo.clone() };
        let broken = GamesRecipe { ppo, ..usual.clone() };
        assert_eq!(refused(broken), "ppo.epsilon must be between 0 and 1");
        let short = GamesRecipe { rounds: 2, ..usual.clone() };
        assert_eq!(refused(short), "critic.warmup_rounds must be less than rounds");
        assert!(refused(GamesRecipe { model: None, ..usual }).contains("--model"));
    }
}
