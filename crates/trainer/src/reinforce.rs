//! `trainer reinforce`, and the main job: generate, reward, compare, learn.
//!
//! One step, top to bottom: prompts -> completions -> rewards -> reference log-probabilities ->
//! advantages -> gradient -> weights. The starting policy stays frozen as the reference.

use std::time::Instant;

use anyhow::Result;
use kudos_core::learn::training_device;
use kudos_core::model::Transformer;
use kudos_core::objective::Prepared;
use kudos_core::optim::{AdamW, Schedule};
use kudos_core::reward::{Completion, Mix, Reward, RewardSpec, reward};
use kudos_core::rollout::{Coins, Generation, Rollout};
use kudos_core::task::{Item, TaskData};
use kudos_schema::EndReason;

use crate::batches::items_of_step;
use crate::device::Selected;
use crate::drive::{self, Ended, Look, Occasion, Training, drive};
use crate::evaluate::{self, draw, fitting, metric_of, pairs, policy_files};
use crate::journal::SampleRow;
use crate::parallel::Workers;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::recipe::Recipe;
use crate::session::{Session, StepNumbers, frozen, seed_device, working};
use crate::summary::{self, Finished};
use crate::supervised::{number, schedule};
use crate::usage::usage;
use crate::{data, output};

/// Prompts scored together by the reference.
const REFERENCE_BATCH: usize = 64;

/// Completions of a step that go to samples.jsonl.
const SAMPLES_A_STEP: usize = 2;

/// What stays the same during a run.
struct Setting<'a> {
    plan: &'a Plan,
    train: Vec<(Item, Vec<u32>)>,
    validation: Vec<(Item, Vec<u32>)>,
    rewards: Mix,
    own_metric: Option<Box<dyn Reward>>,
    reference: Transformer,
    schedule: Schedule,
}

/// A run in progress.
struct Reinforce<'a> {
    setting: Setting<'a>,
    policy: Policy,
    optimizer: AdamW,
}

impl Training for Reinforce<'_> {
    fn step(&mut self, session: &mut Session) -> Result<()> {
        step(&self.setting, &mut self.policy, &mut self.optimizer, session)
    }

    fn look(&self, occasion: Occasion) -> Result<Option<Look>> {
        match occasion {
            // The held-out table follows.
            Occasion::End => Ok(None),
            Occasion::Due => {
                let score = validate(&self.setting, &self.policy)?;
                Ok(Some(Look { text: format!("validation {score:.4}"), score }))
            }
        }
    }

    fn state(&self) -> (&Policy, &AdamW) {
        (&self.policy, &self.optimizer)
    }
}

/// Completions with what they earned.
struct Rewarded {
    rollout: Rollout,
    texts: Vec<String>,
    totals: Vec<f32>,
    /// One row a completion, one column a reward.
    parts: Vec<Vec<Option<f32>>>,
}

/// Runs the stage.
///
/// # Errors
/// Usage errors, a failing device, a full disk, a number that is not finite.
pub fn run(plan: &Plan, selected: &Selected) -> Result<()> {
    let recipe = &plan.recipe;
    let device = training_device(&selected.device, recipe.optimizer.activations);
    let files = policy_files(recipe.model.as_deref())?;
    let load = |device| files.load(device).map_err(|error| usage(error.to_string()));
    let (before, mut policy) = (load(&selected.device)?, load(&device)?);
    let task = source(recipe)?;
    let setting = Setting::new(plan, &before, &task)?;
    let held_out = held_out(recipe, &before, &task)?;
    let (mut session, resumed) = Session::open(plan, &selected.device)?;
    let mut optimizer = AdamW::new(recipe.optimizer.adamw);
    if let Some(resumed) = resumed {
        policy.model = resumed.files.load(&device)?.model;
        optimizer = resumed.optimizer;
    }
    session.note(&format!("{}; {}", selected.name, selected.reason));
    let mut training = Reinforce { setting, policy, optimizer };
    if drive(&mut training, &mut session, recipe)? == Ended::Interrupted {
        drive::saved(session);
        return Ok(());
    }
    let Reinforce { setting, policy, .. } = training;
    let after = Policy { model: frozen(&policy.model), ..policy.clone() };
    let policies = (&before, &after);
    let (before_eval, after_eval) =
        summary::compare(recipe, setting.metric(), policies, &held_out)?;
    summary::write(
        session,
        &Finished {
            recipe,
            task: &task.name,
            metric: setting.metric().name(),
            device: &selected.name,
            before: &before_eval,
            after: &after_eval,
            kl_nats: evaluate::kl_nats(
                &after_eval.drawn.rollout,
                &before.model,
                recipe.sampling.temperature,
            )?,
            policy: &after,
        },
    )
}

impl<'a> Setting<'a> {
    /// What reports: the task's own metric, else what is learned from.
    fn metric(&self) -> &dyn Reward {
        self.own_metric.as_deref().unwrap_or(&self.rewards)
    }

    fn new(plan: &'a Plan, before: &Policy, task: &TaskData) -> Result<Self> {
        let recipe = &plan.recipe;
        let context = before.config().context_length;
        let room = context.saturating_sub(recipe.sampling.max_completion_length);
        let longest = recipe.data.max_prompt_length.min(room);
        let train = fitting(before, &task.train, (longest, 0))?;
        if train.is_empty() {
            return Err(usage(format!(
                "no prompt of {} fits {longest} tokens: raise data.max_prompt_length, lower \
                 sampling.max_completion_length or use a model with a longer context",
                task.name
            )));
        }
        let limit = recipe.watch.validation_items;
        Ok(Self {
            validation: fitting(before, &task.validation, (longest, limit))?,
            train,
            rewards: plan.rewards(&before.model.device())?,
            own_metric: own_metric(task)?,
            reference: working(&before.model, recipe.optimizer.precision),
            schedule: schedule(recipe),
            plan,
        })
    }
}

/// The metric of a task; none where there is nothing to compare with.
fn own_metric(task: &TaskData) -> Result<Option<Box<dyn Reward>>> {
    let mut all = task.test.iter().chain(&task.validation).chain(&task.train);
    all.any(|item| !item.references.is_empty()).then(|| metric(&task.name)).transpose()
}

/// The reward that reports on a task.
///
/// # Errors
/// Never for the built-in names.
pub fn metric(task: &str) -> Result<Box<dyn Reward>> {
    let spec = RewardSpec { kind: metric_of(task), pattern: None, target: None };
    reward(&spec).map_err(|error| usage(error.to_string()))
}

fn source(recipe: &Recipe) -> Result<TaskData> {
    match (&recipe.data.dataset, recipe.data.tasks.first()) {
        (Some(path), _) => data::dataset(path),
        (None, Some(name)) => data::task(name),
        (None, None) => Err(usage("nothing to learn from: give --task or --dataset")),
    }
}

/// The unseen items of the final table; a user's set without a test split lends its validation, one with
/// neither, since all of it is alike, what is learned from.
fn held_out(recipe: &Recipe, policy: &Policy, task: &TaskData) -> Result<Vec<(Item, Vec<u32>)>> {
    let parts = [&task.test, &task.validation, &task.train];
    let items = parts.into_iter().find(|part| !part.is_empty()).unwrap_or(&task.train);
    if std::ptr::eq(items, &task.train) {
        output::note("nothing could be held out: the final table is of what was learned from");
    }
    fitting(policy, items, (recipe.data.max_prompt_length, recipe.watch.eval_items))
}

/// One step of learning.
fn step(
    setting: &Setting<'_>,
    policy: &mut Policy,
    optimizer: &mut AdamW,
    session: &mut Session,
) -> Result<()> {
    let start = Instant::now();
    let recipe = &setting.plan.recipe;
    let index = session.state.step;
    let group = recipe.batch.num_generations;
    let count = recipe.batch.prompts * recipe.batch.gradient_accumulation_steps;
    let items: Vec<&(Item, Vec<u32>)> =
        items_of_step(recipe.seed, index, count, setting.train.len())
            .into_iter()
            .map(|item| &setting.train[item])
            .collect();
    let model = working(&policy.model, recipe.optimizer.precision);
    let workers = Workers::of(&model.device());
    let drawing = Policy { model: frozen(&model), ..policy.clone() };
    let rewarded = rollout(setting, &drawing, &items, index)?;
    let reference = if recipe.objective.needs_reference() {
        let pairs = pairs(&rewarded.rollout);
        let temperature = recipe.objective.temperature;
        workers.log_probs(&setting.reference, &pairs, temperature, REFERENCE_BATCH)?
    } else {
        rewarded.rollout.logprobs_full.clone()
    };
    let state = &mut session.state.objective;
    let beta = state.beta;
    let totals = &rewarded.totals;
    let mut prepared =
        recipe.objective.prepare(&rewarded.rollout, totals, &reference, (group, state));
    seed_device(&policy.model.device(), recipe.seed, index);
    prepared.experiences.sort_by_key(|one| one.prompt.len() + one.completion.len());
    let objective = recipe.objective.at(beta);
    let micro_batch_size = recipe.batch.micro_batch_size;
    let mut learned = workers.learn(&model, &prepared.experiences, &objective, micro_batch_size);
    let norm = learned.gradients.clip(recipe.optimizer.max_grad_norm);
    let learning_rate = setting.schedule.learning_rate(index);
    policy.model = optimizer.step(policy.model.clone(), learned.gradients, learning_rate);
    let entropy = learned.entropy.map_or(Ok(0.0), number)?;
    let tokens = rewarded.rollout.completions.iter().map(Vec::len).sum();
    session.state.tokens += tokens as u64;
    let (reward, mut others) = reward_metrics(setting, &rewarded, &prepared);
    others.extend(
        [
            ("loss", number(learned.loss)?),
            ("grad_norm", number(norm)?),
            ("learning_rate", learning_rate),
            ("beta", beta),
            ("num_tokens", session.state.tokens as f64),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    for row in sample_rows(&items, &rewarded, index + 1, group) {
        session.sample(&row)?;
    }
    session.record(&StepNumbers {
        headline: ("reward", reward),
        figures: vec![("kl", prepared.kl_nats), ("entropy", entropy)],
        others,
        batch: items.iter().map(|item| format!("`{}`", item.0.id)).collect(),
        tokens,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// Draws a group of completions for each item and rewards them.
fn rollout(
    setting: &Setting<'_>,
    policy: &Policy,
    items: &[&(Item, Vec<u32>)],
    step: usize,
) -> Result<Rewarded> {
    let recipe = &setting.plan.recipe;
    let group = recipe.batch.num_generations;
    let prompts: Vec<Vec<u32>> =
        items.iter().flat_map(|item| std::iter::repeat_n(item.1.clone(), group)).collect();
    let stop = policy.stop_tokens();
    let coins = Coins::new(recipe.seed, step as u64);
    let generation = Generation { sampling: &recipe.sampling, stop: &stop, coins, first_index: 0 };
    let workers = Workers::of(&policy.model.device());
    let rollout = workers.generate(&policy.model, &prompts, &generation)?;
    let texts: Vec<String> =
        rollout.completions.iter().map(|ids| policy.tokenizer.decode(ids)).collect();
    let completions = texts.iter().enumerate().map(|(row, text)| {
        let item = &items[row / group].0;
        Completion {
            prompt: &item.prompt,
            text,
            references: &item.references,
            ended: rollout.end_reasons[row] == EndReason::Stop,
            n_tokens: rollout.completions[row].len(),
            extra: &item.extra,
        }
    });
    let scored = setting.rewards.score_all(&completions.collect::<Vec<_>>());
    // A completion that no reward applies to teaches nothing: it earns what its group earns not.
    let totals = scored.iter().map(|scored| scored.total.unwrap_or(0.0)).collect();
    let parts = scored.into_iter().map(|scored| scored.parts).collect();
    Ok(Rewarded { rollout, texts, totals, parts })
}

/// The mean reward, and what else the journal takes of the rewards.
fn reward_metrics(
    setting: &Setting<'_>,
    rewarded: &Rewarded,
    prepared: &Prepared,
) -> (f64, Vec<(String, f64)>) {
    let totals: Vec<f64> = rewarded.totals.iter().map(|total| f64::from(*total)).collect();
    let lengths: Vec<f64> =
        rewarded.rollout.completions.iter().map(|ids| ids.len() as f64).collect();
    let clipped = rewarded.rollout.end_reasons.iter().map(|reason| match reason {
        EndReason::Stop => 0.0,
        EndReason::Length | EndReason::Interrupted => 1.0,
    });
    let mut others = vec![
        ("reward_std".to_owned(), deviation(&totals)),
        ("frac_reward_zero_std".to_owned(), prepared.frac_reward_zero_std),
        ("completions/mean_length".to_owned(), mean(&lengths)),
        ("completions/clipped_ratio".to_owned(), mean(&clipped.collect::<Vec<_>>())),
    ];
    for (column, name) in setting.rewards.names().iter().enumerate() {
        let values: Vec<f64> =
            rewarded.parts.iter().filter_map(|row| row[column]).map(f64::from).collect();
        if !values.is_empty() {
            others.push((format!("rewards/{name}/mean"), mean(&values)));
        }
    }
    (mean(&totals), others)
}

fn sample_rows(
    items: &[&(Item, Vec<u32>)],
    rewarded: &Rewarded,
    step: usize,
    group: usize,
) -> Vec<SampleRow> {
    let rows = (0..items.len().min(SAMPLES_A_STEP)).map(|item| item * group);
    rows.map(|row| {
        let item = &items[row / group].0;
        SampleRow {
            step: step as u64,
            prompt: item.prompt.text(),
            completion: rewarded.texts[row].clone(),
            reference: item.references.first().cloned(),
            reward: Some(f64::from(rewarded.totals[row])),
            end_reason: rewarded.rollout.end_reasons[row],
        }
    })
    .collect()
}

/// Mean of the task's metric on validation items, under the recipe's sampling.
fn validate(setting: &Setting<'_>, policy: &Policy) -> Result<f64> {
    let recipe = &setting.plan.recipe;
    let reading = Policy { model: frozen(&policy.model), ..policy.clone() };
    let drawn = draw(&reading, &setting.validation, setting.metric(), recipe)?;
    Ok(mean(&drawn.scores()))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Standard deviation over the batch (ddof 0).
fn deviation(values: &[f64]) -> f64 {
    let center = mean(values);
    mean(&values.iter().map(|value| (value - center).powi(2)).collect::<Vec<_>>()).sqrt()
}
