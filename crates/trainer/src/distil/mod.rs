//! `trainer distill`: a student learns from a teacher.
//!
//! Three levels. `sequence`: the teacher writes to the prompts of the data, a reward chooses, the student
//! imitates; tokenizers may differ. `token`: the student is drawn to the teacher's distribution at each
//! token of the data. `on_policy`: on a share of the steps, at each token that the student itself
//! writes. What the teacher says of the data is kept in a cache, so that a second run does not open it;
//! of what a student writes on the way it has to be asked anew.

mod cache;
mod examples;
mod material;
mod outcome;
mod teacher;

use std::time::Instant;

use anyhow::Result;
use burn::tensor::Tensor;
use kudos_core::learn::training_device;
use kudos_core::model::Transformer;
use kudos_core::objective::{Aggregation, Lesson, Supervised, Told};
use kudos_core::optim::{AdamW, Gradients};
use kudos_core::rollout::{Coins, Generation};
use kudos_core::task::TaskData;
use kudos_core::tuning::trained;
use rand::Rng;

use crate::args::DistilArgs;
use crate::batches::{Purpose, coins, items_of_step};
use crate::device::Selected;
use crate::drive::{self, Ended, Look, Occasion, Training, drive};
use crate::evaluate::nll_of_pairs;
use crate::interrupt::Interrupt;
use crate::parallel::Workers;
use crate::plan::Plan;
use crate::policy::{Example, Policy};
use crate::recipe::{Level, Recipe, Stage};
use crate::session::{Session, StepNumbers, frozen, seed_device, working};
use crate::store::write_file;
use crate::supervised::{number, schedule, sources};
use crate::usage::usage;
use crate::{open_device, tuned};
use cache::Cache;
use material::{Material, gather, given};
use teacher::{Teacher, pairs};

/// The file of what the teacher wrote, to be learned from and to judge by, as rows of a dataset.
const WRITTEN: &str = "written.jsonl";

/// A run in progress.
struct Distillation<'a> {
    recipe: &'a Recipe,
    teacher: &'a Teacher,
    material: Material,
    optimizer: AdamW,
}

/// What a step found.
struct Found {
    gradients: Gradients,
    loss: Tensor<1>,
    tokens: usize,
    /// Whether the student wrote what was learned from, as 0 or 1.
    on_policy: f64,
}

/// Runs the verb.
///
/// # Errors
/// Usage errors, a failing device, a full disk, a loss that is not finite.
pub fn run(args: &DistilArgs) -> Result<()> {
    let interrupt = Interrupt::install()?;
    let mut plan = Plan::new(&args.run, Some(Stage::Distill), interrupt)?;
    if args.teacher.is_some() {
        plan.recipe.distil.teacher.clone_from(&args.teacher);
    }
    if args.cache.is_some() {
        plan.recipe.distil.cache.clone_from(&args.cache);
    }
    let selected = open_device::open(&args.run.device)?;
    plan.fits(&selected)?;
    run_plan(&plan, &selected)
}

/// Runs a plan.
///
/// # Errors
/// As [`run`].
pub fn run_plan(plan: &Plan, selected: &Selected) -> Result<()> {
    let recipe = &plan.recipe;
    let device = training_device(&selected.device, recipe.optimizer.activations);
    let Some(path) = &recipe.distil.teacher else {
        return Err(usage("distill has no teacher: give --teacher"));
    };
    let cache = recipe.distil.cache.clone().unwrap_or_else(|| plan.output_dir.join("cache"));
    let cache = Cache::new(&cache);
    let teacher = Teacher::read(path, (&selected.device, cache, &plan.interrupt))?;
    let rewards = match recipe.reward.is_empty() {
        true => None,
        false => Some(plan.rewards(&selected.device)?),
    };
    let sources = sources_of(recipe)?;
    let given = given(recipe, &teacher, &device)?;
    let (mut session, resumed) = Session::open(plan, &selected.device)?;
    let mut material = gather(recipe, (&teacher, rewards.as_ref()), &sources, (given, &device))?;
    material.student = tuned::begin(material.student, recipe)?;
    let mut optimizer = tuned::optimizer(recipe);
    if let Some(resumed) = resumed {
        material.student.model = resumed.model(material.student.model, &device)?;
        optimizer = resumed.optimizer;
    }
    if !material.rows.is_empty() {
        write_file(&session.directory.path().join(WRITTEN), material.rows.as_bytes())?;
    }
    let (found, asked) = teacher.cache.counts();
    session.note(&format!(
        "{}; {found} parts from the cache, {asked} asked; {} parameters on {}",
        material.text,
        trained(&material.student.model),
        selected.name
    ));
    let mut training = Distillation { recipe, teacher: &teacher, material, optimizer };
    if drive(&mut training, &mut session, recipe)? == Ended::Interrupted {
        drive::saved(session);
        return Ok(());
    }
    let mut material = training.material;
    tuned::write(session.directory.path(), &material.student, recipe)?;
    material.student.model = frozen(&material.student.model);
    let judged = (&material, &teacher);
    outcome::write(session, (recipe, &selected.name), judged, (&sources, rewards.as_ref()))
}

/// Tasks, a file, or the built-in texts where neither is named.
fn sources_of(recipe: &Recipe) -> Result<Vec<TaskData>> {
    if recipe.data.tasks.is_empty() && recipe.data.dataset.is_none() {
        return Err(usage("nothing to learn from: give --task or --dataset"));
    }
    sources(recipe)
}

impl Distillation<'_> {
    /// The examples of a step, shortest first so that micro-batches are padded little.
    fn places(&self, step: usize) -> Vec<usize> {
        let recipe = self.recipe;
        let count = recipe.batch.prompts * recipe.batch.gradient_accumulation_steps;
        let examples = &self.material.examples;
        let mut places = items_of_step(recipe.seed, step, count, examples.len());
        places.sort_by_key(|place| examples[*place].0.len() + examples[*place].1.len());
        places
    }

    fn find(&self, model: &Transformer, step: usize) -> Result<Found> {
        let recipe = self.recipe;
        let places = self.places(step);
        let chosen: Vec<Example> =
            places.iter().map(|place| self.material.examples[*place].clone()).collect();
        let mut coin = coins(recipe.seed, Purpose::OnPolicy, step as u64);
        let coin = f64::from(coin.next_u32()) / (f64::from(u32::MAX) + 1.0);
        match recipe.distil.level {
            Level::Sequence => Ok(self.imitate(model, &chosen)),
            Level::OnPolicy if coin < recipe.distil.on_policy_share => {
                let chosen = self.write(&chosen, step)?;
                let divergence = recipe.distil.divergence;
                let told = self
                    .teacher
                    .tell_now(&chosen, (recipe.distil.top_k, divergence.temperature))?;
                Ok(Found { on_policy: 1.0, ..self.follow(model, chosen, told) })
            }
            Level::Token | Level::OnPolicy => {
                let told = places.iter().map(|place| self.material.told[*place].clone()).collect();
                Ok(self.follow(model, chosen, told))
            }
        }
    }

    fn imitate(&self, model: &Transformer, chosen: &[Example]) -> Found {
        let objective = Supervised { aggregation: Aggregation::TokenMean };
        let workers = Workers::of(&model.device());
        let size = self.recipe.batch.micro_batch_size;
        let learned = workers.learn(model, &objective.experiences(chosen), &objective, size);
        let (gradients, loss) = (learned.gradients, learned.loss);
        Found { gradients, loss, tokens: tokens_of(chosen), on_policy: 0.0 }
    }

    fn follow(&self, model: &Transformer, chosen: Vec<Example>, told: Vec<Told>) -> Found {
        let tokens = tokens_of(&chosen);
        let weight = 1.0 / tokens as f32;
        let rows = chosen.into_iter().zip(told);
        let lessons: Vec<Lesson> = rows
            .map(|((prompt, completion), told)| {
                let weights = vec![weight; completion.len()];
                Lesson { prompt, completion, weights, told }
            })
            .collect();
        let size = self.recipe.batch.micro_batch_size;
        let workers = Workers::of(&model.device());
        let divergence = &self.recipe.distil.divergence;
        let (gradients, loss) = workers.learn_lessons(model, &lessons, divergence, size);
        Found { gradients, loss, tokens, on_policy: 0.0 }
    }

    /// The same prompts with completions of the student.
    fn write(&self, chosen: &[Example], step: usize) -> Result<Vec<Example>> {
        let student = &self.material.student;
        let model = frozen(&student.model);
        let prompts: Vec<Vec<u32>> = chosen.iter().map(|(prompt, _)| prompt.clone()).collect();
        let stop = student.stop_tokens();
        let generation = Generation {
            sampling: &self.recipe.sampling,
            stop: &stop,
            coins: Coins::new(self.recipe.seed, step as u64),
            first_index: 0,
        };
        let workers = Workers::of(&model.device());
        let rollout = workers.generate(&model, &prompts, &generation)?;
        let cut = |(prompt, mut completion): Example| {
            completion.truncate(self.material.longest - prompt.len());
            (prompt, completion)
        };
        Ok(prompts.into_iter().zip(rollout.completions).map(cut).collect())
    }

    fn learn(&mut self, step: usize) -> Result<StepNumbers> {
        let (recipe, start) = (self.recipe, Instant::now());
        let model = &self.material.student.model;
        seed_device(&model.device(), recipe.seed, step);
        let mut found = self.find(&working(model, recipe.optimizer.precision), step)?;
        self.optimizer.regularize(model, &mut found.gradients);
        let norm = found.gradients.clip(recipe.optimizer.max_grad_norm);
        let learning_rate = schedule(recipe).learning_rate(step);
        let model = model.clone();
        self.material.student.model = self.optimizer.step(model, found.gradients, learning_rate);
        let places = self.places(step).into_iter();
        Ok(StepNumbers {
            headline: ("loss", number(found.loss)?),
            figures: vec![("grad_norm", number(norm)?), ("learning_rate", learning_rate)],
            others: vec![
                ("num_tokens".to_owned(), found.tokens as f64),
                ("on_policy".to_owned(), found.on_policy),
            ],
            batch: places.map(|place| format!("example {place}")).collect(),
            tokens: found.tokens,
            seconds: start.elapsed().as_secs_f64(),
        })
    }
}

impl Training for Distillation<'_> {
    fn step(&mut self, session: &mut Session) -> Result<()> {
        let numbers = self.learn(session.state.step)?;
        session.state.tokens += numbers.tokens as u64;
        session.record(&numbers)
    }

    fn look(&self, _: Occasion) -> Result<Option<Look>> {
        let student = &self.material.student;
        let reading = Policy { model: frozen(&student.model), ..student.clone() };
        let nll = nll_of_pairs(&reading, &pairs(&self.material.held_out))?;
        Ok(nll.map(|nll| Look { text: format!("validation loss {nll:.4}"), score: -nll }))
    }

    fn state(&self) -> (&Policy, &AdamW) {
        (&self.material.student, &self.optimizer)
    }
}

fn tokens_of(examples: &[Example]) -> usize {
    examples.iter().map(|(_, completion)| completion.len()).sum()
}
