//! `trainer reinforce-games`: a policy plays text games and learns from what it earned, by PPO.
//!
//! One round, top to bottom: games at temperature 1 -> what a critic expected before every token -> advantages over all of a
//! game -> several passes of updates of the policy, by clipped ratios, and of the critic. A run begins with a policy
//! that knows how to play at all, such as one that imitates games (`trainer q-learn --algorithm bc`).
//! Stopped by Ctrl-C it keeps a checkpoint, and goes on with `--resume` to the same bytes.

mod learner;
mod memory;
mod player;
mod recipe;
mod round;

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use burn::module::Module;
use burn::tensor::Device;
use kudos_core::learn::training_device;
use kudos_core::model::{Transformer, parameters};
use kudos_core::task::game::words::Words;
use kudos_core::text::chat::ChatTemplate;
use kudos_core::text::tokenizer::Tokenizer;
use serde::Serialize;

use crate::args::ReinforceGamesArgs;
use crate::evaluate::policy_files;
use crate::games::Outcome;
use crate::interrupt::Interrupt;
use crate::journal::Journal;
use crate::kept::Keeper;
use crate::policy::Policy;
use crate::q_learn::leave;
use crate::session::frozen;
use crate::side_by_side::{JUDGED_BY, LEARNS_BY, Table};
use crate::usage::usage;
use crate::{data, open_device, output};
use learner::{Learner, schedule};
use player::{Player, outcome};
pub use recipe::{GameCritic, GamesRecipe, JudgedPlay, PpoRecipe};
use round::{Judges, Round, Sharing};

/// The file of a checkpoint that says what the policy earned that began.
const START: &str = "start.json";

/// What a run came to.
#[derive(Debug, Serialize)]
struct GamesResult<'a> {
    game: &'a str,
    method: &'a str,
    seed: u64,
    /// Rounds that were played and learned from.
    rounds: usize,
    /// Values of the policy.
    parameters: usize,
    /// Values of its critic, which it does not play with.
    critic_parameters: usize,
    seconds: f64,
    device: &'a str,
    /// Games of the policy that began.
    start: Outcome,
    /// Its games at the end.
    played: Outcome,
}

/// A run in progress.
struct Run<'a> {
    recipe: &'a GamesRecipe,
    words: Arc<Words>,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    learner: Learner,
    /// The policy that began, where it counts.
    first: Option<Transformer>,
}

/// Runs the verb.
///
/// # Errors
/// Usage errors, a failing device, a full disk.
pub fn run(args: &ReinforceGamesArgs) -> Result<()> {
    let interrupt = Interrupt::install()?;
    let recipe = recipe::resolve(args)?;
    let words = Arc::new(data::words(recipe.words.as_deref())?);
    let selected = open_device::open(&args.device)?;
    let text = toml::to_string_pretty(&recipe)?;
    let device = training_device(&selected.device, recipe.optimizer.activations);
    let mut run = Run::new(&recipe, words, &device)?;
    let opened = Keeper::open((&args.output_dir, args.resume), &text, recipe.save_every)?;
    let (mut keeper, kept) = opened;
    let judge = recipe.seed ^ JUDGED_BY;
    let start: Outcome = match kept {
        None => run.player(&run.reading()).outcome(recipe.play.games, judge)?,
        Some(kept) => {
            run.learner.resume(&kept, &recipe)?;
            serde_json::from_slice(&kept.file(START)?)?
        }
    };
    output::note(&format!("{}; at the start {}", selected.name, start.text()));
    while keeper.progress.done < recipe.rounds {
        run.round(keeper.progress.done, &mut keeper.journal)?;
        keeper.progress.done += 1;
        if keeper.due() || interrupt.requested() {
            let mut files = run.learner.files()?;
            files.push((START, serde_json::to_vec(&start)?));
            keeper.save(&run.policy(), &files)?;
        }
        if interrupt.requested() && keeper.progress.done < recipe.rounds {
            keeper.stopped();
            return Ok(());
        }
    }
    let result = GamesResult {
        game: recipe.game.name(),
        method: "ppo",
        seed: recipe.seed,
        rounds: recipe.rounds,
        parameters: parameters::count(&run.learner.policy),
        critic_parameters: run.learner.critic.num_params(),
        seconds: keeper.seconds(),
        device: &selected.name,
        start,
        played: run.player(&run.reading()).outcome(recipe.play.games, judge)?,
    };
    keeper.directory.write("result.json", &(serde_json::to_string_pretty(&result)? + "\n"))?;
    let curves = [
        ("curve.svg", "Mean return of own games", "own_return"),
        ("return.svg", "Mean return", "return"),
    ];
    leave(keeper.directory.path(), &curves, &run.policy())?;
    output::result(&serde_json::to_string(&result)?);
    Ok(())
}

impl<'a> Run<'a> {
    fn new(recipe: &'a GamesRecipe, words: Arc<Words>, device: &Device) -> Result<Self> {
        let files = policy_files(recipe.model.as_deref())?;
        let load = || files.load(device).map_err(|error| usage(error.to_string()));
        let Policy { model, tokenizer, template } = load()?;
        // A second copy on leaves of its own: what the critic learns is none of the policy's business.
        let trunk = load()?.model;
        let first = (recipe.ppo.beta > 0.0).then(|| frozen(&model));
        let learner = Learner::new(model, trunk, recipe);
        Ok(Self { recipe, words, tokenizer, template, learner, first })
    }

    /// The policy without autodiff.
    fn reading(&self) -> Transformer {
        frozen(&self.learner.policy)
    }

    /// The policy with what it reads by.
    fn policy(&self) -> Policy {
        Policy {
            model: self.reading(),
            tokenizer: self.tokenizer.clone(),
            template: self.template.clone(),
        }
    }

    /// How the policy plays when it is judged.
    fn player<'m>(&'m self, model: &'m Transformer) -> Player<'m> {
        let table =
            Table { game: self.recipe.game, words: &self.words, tokenizer: &self.tokenizer };
        let play = &self.recipe.play;
        Player { model, table, longest: play.max_action_length, temperature: play.temperature }
    }

    /// Plays and learns.
    fn round(&mut self, index: usize, journal: &mut Journal) -> Result<()> {
        let (recipe, start) = (self.recipe, Instant::now());
        let reading = self.reading();
        let player = Player { temperature: 1.0, ..self.player(&reading) };
        let games = player.games(recipe.games, round_seed(recipe.seed, index))?;
        let own = outcome(&games);
        let critic = self.learner.reading_critic();
        let judges = Judges { policy: &reading, first: self.first.as_ref(), critic: &critic };
        let sharing = Sharing { credit: recipe.ppo.credit, reward_scale: recipe.reward_scale };
        let round = Round::of(&games, &judges, sharing)?;
        drop((games, reading));
        let mut metrics = vec![
            ("own_return", own.mean),
            ("own_success", own.success),
            ("own_length", own.length),
            ("explained_variance", round.explained_variance),
            ("kl", round.kl_nats),
            ("num_tokens", round.tokens as f64),
            ("learning_rate", schedule(recipe).learning_rate(index)),
        ];
        if round.tokens > 0 {
            metrics.extend(self.learner.learn((index, &round), recipe)?);
        }
        let (done, every) = (index + 1, recipe.play.look_every);
        let seconds = start.elapsed().as_secs_f64();
        output::note(&format!("round {done}: {}, {seconds:.1} s", own.text()));
        if every > 0 && done.is_multiple_of(every) && done < recipe.rounds {
            let look = self.player(&self.reading()).outcome(recipe.play.look_games, recipe.seed)?;
            output::note(&format!("round {done}, as it is judged: {}", look.text()));
            metrics.push(("return", look.mean));
        }
        Ok(journal.metrics(done as u64, &metrics)?)
    }
}

/// Seed of the games of a round.
fn round_seed(seed: u64, index: usize) -> u64 {
    seed ^ LEARNS_BY ^ ((index as u64 + 1) << 20)
}
