//! `trainer q-learn`: a new policy learns from games of others what its choices are worth, and plays.
//!
//! One program for imitation, of all games or the best, and for the methods of
//! [`ValueLearning`](kudos_core::objective::ValueLearning); everything is in the recipe, the games too.
//! Stopped by Ctrl-C it keeps a checkpoint, and goes on with `--resume` to the same bytes.

mod evaluate;
mod examples;
mod recipe;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use burn::module::Module;
use burn::tensor::Device;
use kudos_core::learn::{learn_values, training_device};
use kudos_core::model::hugging_face::StoredAs;
use kudos_core::model::{Transformer, Valued, initialize_by_width, parameters};
use kudos_core::objective::{Method, ValueLoss};
use kudos_core::optim::{AdamW, Schedule};
use kudos_core::rollout::Trajectory;
use kudos_core::task::game::Episode;
use kudos_core::task::game::words::Words;
use kudos_core::text::chat::ChatTemplate;
use kudos_core::tuning::{module_from_bytes, module_to_bytes};
use pollster::block_on;
use serde::Serialize;

use crate::args::QLearnArgs;
use crate::batches::{Purpose, coins, items_of_step};
use crate::evaluate::policy_files;
use crate::games::Outcome;
use crate::interrupt::Interrupt;
use crate::journal::{Journal, METRICS, read_metrics, series};
use crate::kept::{Keeper, Kept};
use crate::policy::{self, Policy};
use crate::report::{Series, curve_svg};
use crate::session::seed_device;
use crate::side_by_side::{JUDGED_BY, LEARNS_BY, Table};
use crate::store::{write_file, write_folder};
use crate::supervised::number;
use crate::usage::usage;
use crate::{data, open_device, output};
pub(crate) use evaluate::Player;
use examples::Examples;
pub use recipe::{Alike, GameData, Manner, OwnGames, PlayRecipe, QRecipe, Trunk};
pub(crate) use recipe::{read_recipe, resumed_recipe};

/// Files of a checkpoint.
const WEIGHTS: &str = "weights.safetensors";
const COPY: &str = "copy.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const OWN: &str = "own.json";

/// What a run leaves beside its policy: all weights, those of the heads too.
pub(crate) const VALUED: &str = "valued.safetensors";

/// Steps between two lines on standard error.
const SAY_EVERY: usize = 50;

/// What a run came to.
#[derive(Debug, Serialize)]
struct QResult<'a> {
    game: &'a str,
    method: &'a str,
    seed: u64,
    steps: usize,
    /// Trained values of the policy and its heads.
    parameters: usize,
    seconds: f64,
    device: &'a str,
    /// The games learned from, before the best were taken.
    data: Outcome,
    /// The policy's own games.
    played: Outcome,
    /// Those that it played in other manners.
    played_also: Vec<PlayedAlso>,
}

/// Games played in another manner.
#[derive(Debug, Serialize)]
struct PlayedAlso {
    #[serde(flatten)]
    manner: Manner,
    #[serde(flatten)]
    played: Outcome,
}

/// A run in progress.
struct Run<'a> {
    recipe: &'a QRecipe,
    words: Arc<Words>,
    examples: Examples,
    model: Valued,
    /// Follows the model; without autodiff.
    copy: Valued,
    optimizer: AdamW,
}

/// Runs the verb.
///
/// # Errors
/// Usage errors, a failing device, a full disk, a loss that is not finite.
pub fn run(args: &QLearnArgs) -> Result<()> {
    let interrupt = Interrupt::install()?;
    let recipe = recipe::resolve(args)?;
    let words = Arc::new(data::words(recipe.words.as_deref())?);
    let selected = open_device::open(&args.device)?;
    let text = toml::to_string_pretty(&recipe)?;
    let opened = Keeper::open((&args.output_dir, args.resume), &text, recipe.save_every)?;
    let (mut keeper, kept) = opened;
    let device = training_device(&selected.device, recipe.optimizer.activations);
    let mut run = Run::new(&recipe, words, &device)?;
    if let Some(kept) = kept {
        run.resume(&kept)?;
    }
    output::note(&format!(
        "{} trajectories of games with {}; {} parameters on {}",
        run.examples.trajectories.len(),
        run.examples.outcome.text(),
        run.parameters(),
        selected.name
    ));
    while keeper.progress.done < recipe.steps {
        let own_return = run.renew(keeper.progress.done)?;
        run.step(keeper.progress.done, (own_return, &mut keeper.journal))?;
        keeper.progress.done += 1;
        if keeper.due() || interrupt.requested() {
            keeper.save(&run.policy(), &run.files(keeper.progress.done)?)?;
        }
        if interrupt.requested() && keeper.progress.done < recipe.steps {
            keeper.stopped();
            return Ok(());
        }
    }
    let model = run.model.valid();
    let judged = |manner| {
        let player = Player { manner, ..run.player(&model) };
        player.outcome(recipe.play.games, recipe.seed ^ JUDGED_BY)
    };
    let played = judged(recipe.play.manner())?;
    let others = recipe.play.also.iter();
    let others = others.map(|manner| Ok(PlayedAlso { manner: *manner, played: judged(*manner)? }));
    let played_also = others.collect::<Result<Vec<PlayedAlso>>>()?;
    let result = QResult {
        game: recipe.game.name(),
        method: recipe.value.method.name(),
        seed: recipe.seed,
        steps: recipe.steps,
        parameters: run.parameters(),
        seconds: keeper.seconds(),
        device: &selected.name,
        data: run.examples.outcome,
        played,
        played_also,
    };
    keeper.directory.write("result.json", &(serde_json::to_string_pretty(&result)? + "\n"))?;
    let curves = [("curve.svg", "Loss", "loss"), ("return.svg", "Mean return", "return")];
    leave(keeper.directory.path(), &curves, &run.policy())?;
    let weights = block_on(module_to_bytes(&run.model))?;
    write_file(&keeper.directory.path().join(VALUED), &weights)?;
    output::result(&serde_json::to_string(&result)?);
    Ok(())
}

impl<'a> Run<'a> {
    fn new(recipe: &'a QRecipe, words: Arc<Words>, device: &Device) -> Result<Self> {
        let mut coins = coins(recipe.seed, Purpose::Weights, 0);
        let (policy, examples) = match &recipe.model {
            None => {
                let examples = examples::gather(recipe, &words, None)?;
                let sizes = recipe.architecture.transformer(examples.tokenizer.vocab_size());
                let policy = Transformer::zeroed(&sizes, device);
                (initialize_by_width(policy, &mut coins), examples)
            }
            Some(path) => {
                let files = policy_files(Some(path))?;
                let policy = files.load(device).map_err(|error| usage(error.to_string()))?;
                let longest = policy.config().context_length;
                let read_by = Some((policy.tokenizer, longest));
                (policy.model, examples::gather(recipe, &words, read_by)?)
            }
        };
        let model = Valued::new(policy, level(&examples.trajectories), &mut coins);
        let model = recipe.trunk.on(model);
        let (copy, optimizer) = (model.valid(), AdamW::new(recipe.optimizer.adamw));
        Ok(Self { recipe, words, examples, model, copy, optimizer })
    }

    /// Goes on where a checkpoint stood.
    fn resume(&mut self, kept: &Kept) -> Result<()> {
        let device = self.model.policy.device().without_autodiff();
        self.model = module_from_bytes(self.model.clone(), &kept.file(WEIGHTS)?)?;
        self.copy = module_from_bytes(self.copy.clone(), &kept.file(COPY)?)?;
        let adamw = self.recipe.optimizer.adamw;
        self.optimizer = AdamW::from_bytes(adamw, &kept.file(OPTIMIZER)?, &device)?;
        let own: Option<Vec<Trajectory>> = serde_json::from_slice(&kept.file(OWN)?)?;
        self.examples.trajectories = own.unwrap_or(std::mem::take(&mut self.examples.trajectories));
        Ok(())
    }

    /// What a checkpoint keeps after so many steps. Trajectories only where they are the policy's own: others are made again.
    fn files(&self, steps: usize) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let own = (self.recipe.own.every > 0 && steps > self.recipe.own.every)
            .then_some(&self.examples.trajectories);
        Ok(vec![
            (WEIGHTS, block_on(module_to_bytes(&self.model))?),
            (COPY, block_on(module_to_bytes(&self.copy))?),
            (OPTIMIZER, block_on(self.optimizer.to_bytes())?),
            (OWN, serde_json::to_vec(&own)?),
        ])
    }

    /// The policy without its heads.
    fn policy(&self) -> Policy {
        Policy {
            model: self.model.policy.clone(),
            tokenizer: self.examples.tokenizer.clone(),
            template: ChatTemplate::default(),
        }
    }

    fn parameters(&self) -> usize {
        // Bc trains the policy alone; its heads stay as they are.
        match self.recipe.value.method {
            Method::Bc => parameters::count(&self.model.policy),
            Method::Mc | Method::Dqn | Method::DoubleDqn | Method::Cql | Method::Ilql => {
                self.model.num_params()
            }
        }
    }

    fn player<'m>(&'m self, model: &'m Valued) -> Player<'m> {
        Player {
            model,
            learning: &self.recipe.value,
            table: Table {
                game: self.recipe.game,
                words: &self.words,
                tokenizer: &self.examples.tokenizer,
            },
            play: &self.recipe.play,
            manner: self.recipe.play.manner(),
            temperature: self.recipe.play.temperature,
        }
    }

    /// Where it is time, plays and learns from that: the mean return of those games.
    fn renew(&mut self, step: usize) -> Result<Option<f64>> {
        let own = &self.recipe.own;
        if own.every == 0 || step == 0 || !step.is_multiple_of(own.every) {
            return Ok(None);
        }
        let model = self.model.valid();
        let player = Player { temperature: own.temperature, ..self.player(&model) };
        let games = player.games(own.games, self.recipe.seed ^ LEARNS_BY ^ step as u64)?;
        let mean = games.iter().map(Episode::total).sum::<f64>() / games.len() as f64;
        let read_by = (self.recipe, &self.examples.tokenizer, self.examples.longest);
        let trajectories = examples::best_of(games, own.best_share, read_by);
        self.examples.renew(trajectories, own.replay);
        Ok(Some(mean))
    }

    fn step(
        &mut self,
        step: usize,
        (own_return, journal): (Option<f64>, &mut Journal),
    ) -> Result<()> {
        let (recipe, start) = (self.recipe, Instant::now());
        seed_device(&self.model.policy.device(), recipe.seed, step);
        let schedule = Schedule {
            peak: recipe.optimizer.learning_rate,
            warmup_steps: recipe.optimizer.warmup_steps,
            total_steps: recipe.steps,
            decay: recipe.optimizer.decay,
        };
        let batch = self.batch(step);
        let (mut gradients, loss) =
            learn_values((&self.model, &self.copy), &batch, &recipe.value, recipe.micro_batch_size);
        let norm = number(gradients.clip(recipe.optimizer.max_grad_norm))?;
        let rate = schedule.learning_rate(step);
        self.model = self.optimizer.step(self.model.clone(), gradients, rate);
        if recipe.value.method.looks_ahead() {
            self.copy = self.copy.clone().toward(&self.model.valid(), recipe.follow);
        }
        let mut metrics = figures(loss)?;
        metrics.extend([("grad_norm", norm), ("learning_rate", rate)]);
        metrics.extend(own_return.map(|mean| ("own_return", mean)));
        let done = step + 1;
        let every = recipe.play.look_every;
        if every > 0 && done.is_multiple_of(every) && done < recipe.steps {
            let look =
                self.player(&self.model.valid()).outcome(recipe.play.look_games, recipe.seed)?;
            output::note(&format!("step {done}: {}", look.text()));
            metrics.push(("return", look.mean));
        }
        journal.metrics(done as u64, &metrics)?;
        if done.is_multiple_of(SAY_EVERY) {
            let (loss, seconds) = (metrics[0].1, start.elapsed().as_secs_f64());
            output::note(&format!("step {done}: loss {loss:.4}, {seconds:.2} s"));
        }
        Ok(())
    }

    /// The trajectories of a step, with weights that sum to 1.
    fn batch(&self, step: usize) -> Vec<Trajectory> {
        let all = &self.examples.trajectories;
        let places = items_of_step(self.recipe.seed, step, self.recipe.batch, all.len());
        let mut batch: Vec<Trajectory> =
            places.into_iter().map(|place| all[place].clone()).collect();
        let total: f32 = batch.iter().flat_map(|one| &one.experience.weights).sum();
        for weight in batch.iter_mut().flat_map(|one| &mut one.experience.weights) {
            *weight /= total;
        }
        batch
    }
}

/// Writes the policy that a run made, and those curves of its metrics that have points: a file, a title, a name each.
///
/// # Errors
/// A failing device, a full disk.
pub(crate) fn leave(folder: &Path, curves: &[(&str, &str, &str)], policy: &Policy) -> Result<()> {
    let rows = read_metrics(&folder.join(METRICS))?;
    for (file, title, name) in curves {
        let points = series(&rows, name);
        if !points.is_empty() {
            let svg = curve_svg(title, &[Series { name: (*name).to_owned(), points }]);
            write_file(&folder.join(file), svg.as_bytes())?;
        }
    }
    Ok(write_folder(&folder.join("model"), |folder| policy::save(policy, StoredAs::F32, folder))?)
}

/// Where estimates begin: the mean return of a chosen token.
fn level(trajectories: &[Trajectory]) -> f32 {
    let chosen = trajectories.iter().flat_map(|one| one.chosen().zip(&one.returns));
    let returns: Vec<f32> = chosen.filter(|(chosen, _)| *chosen).map(|(_, value)| *value).collect();
    returns.iter().sum::<f32>() / returns.len().max(1) as f32
}

fn figures(loss: ValueLoss) -> Result<Vec<(&'static str, f64)>> {
    Ok(vec![
        ("loss", number(loss.total)?),
        ("loss_q", number(loss.q)?),
        ("loss_v", number(loss.v)?),
        ("loss_conservative", number(loss.conservative)?),
        ("loss_imitation", number(loss.imitation)?),
    ])
}
