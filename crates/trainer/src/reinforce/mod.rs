//! `trainer reinforce`, and the main job: generate, reward, compare, learn.
//!
//! One step, top to bottom: prompts -> completions -> rewards -> reference log-probabilities ->
//! advantages -> gradient -> weights, the last two once for each mini-batch of each iteration. The starting
//! policy stays frozen as the reference. Where the baseline is a critic's, it is asked before the advantages and learns
//! after the policy, from the same mini-batches.

mod advice;
pub(crate) mod collect;
mod critic;
pub(crate) mod metrics;
mod update;

use std::time::Instant;

use anyhow::Result;
use kudos_core::learn::training_device;
use kudos_core::model::Transformer;
use kudos_core::objective::{Collected, Correction, FlatGroups, Prepared};
use kudos_core::optim::{AdamW, Schedule};
use kudos_core::reward::{Mix, Reward};
use kudos_core::task::{Item, TaskData};

use crate::device::Selected;
use crate::drive::{self, Ended, Look, Occasion, Training, drive};
use crate::evaluate::{self, draw, fitting, metric, metric_of, pairs, policy_files};
use crate::parallel::Workers;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::recipe::Recipe;
use crate::session::{Beside, Session, StepNumbers, frozen, working};
use crate::summary::{self, Finished};
use crate::supervised::schedule;
use crate::usage::usage;
use crate::{data, output, pictures, tuned};
use advice::{Said, Seen};
use collect::{Rewarded, collect};
use critic::Apprentice;
use metrics::mean;
use update::{AtStep, Learners, Updated, update};

/// Prompts scored together by the reference.
const REFERENCE_BATCH: usize = 64;

/// What stays the same during a run.
pub(crate) struct Setting<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) train: Vec<(Item, Vec<u32>)>,
    validation: Vec<(Item, Vec<u32>)>,
    pub(crate) rewards: Mix,
    own_metric: Option<Box<dyn Reward>>,
    pub(crate) reference: Transformer,
    schedule: Schedule,
}

/// A run in progress.
struct Reinforce<'a> {
    setting: Setting<'a>,
    policy: Policy,
    optimizer: AdamW,
    critic: Option<Apprentice>,
    said: Said,
}

impl Training for Reinforce<'_> {
    fn step(&mut self, session: &mut Session) -> Result<()> {
        self.advance(session)
    }

    fn look(&self, occasion: Occasion) -> Result<Option<Look>> {
        look(&self.setting, &self.policy, occasion)
    }

    fn state(&self) -> (&Policy, &AdamW) {
        (&self.policy, &self.optimizer)
    }

    fn beside(&self) -> Result<Beside> {
        self.critic.as_ref().map_or(Ok(Vec::new()), Apprentice::beside)
    }
}

/// Runs the stage.
///
/// # Errors
/// Usage errors, a failing device, a full disk, a number that is not finite.
pub fn run(plan: &Plan, selected: &Selected) -> Result<()> {
    let recipe = &plan.recipe;
    let device = training_device(&selected.device, recipe.optimizer.activations);
    let files = policy_files(recipe.model.as_deref())?;
    let (mut before, mut policy) = tuned::start(&files, recipe, &device)?;
    let task = source(recipe)?;
    before.model = pictures::shown(before.model, &task.pictures)?;
    let setting = Setting::new(plan, &before, &task)?;
    let held_out = held_out(recipe, &before, &task)?;
    let (mut session, resumed) = Session::open(plan, &selected.device)?;
    let mut optimizer = tuned::optimizer(recipe);
    let mut critic = match recipe.objective.needs_values() {
        true => {
            let trunk = pictures::shown(files.load(&device)?.model, &task.pictures)?;
            Some(Apprentice::new(trunk, recipe))
        }
        false => None,
    };
    if let Some(resumed) = resumed {
        if let Some(critic) = &mut critic {
            critic.resume(&resumed, recipe)?;
        }
        policy.model = resumed.model(policy.model, &device)?;
        optimizer = resumed.optimizer;
    }
    policy.model = pictures::shown(policy.model, &task.pictures)?;
    session.note(&format!("{}; {}", selected.name, selected.reason));
    let mut training = Reinforce { setting, policy, optimizer, critic, said: Said::default() };
    if drive(&mut training, &mut session, recipe)? == Ended::Interrupted {
        drive::saved(session);
        return Ok(());
    }
    let Reinforce { setting, policy, .. } = training;
    tuned::write(session.directory.path(), &policy, recipe)?;
    finish(session, &setting, (&before, policy), (&task.name, &selected.name, &held_out))
}

/// Judges the policy that began and the one that learned on held-out items of a task, and writes what a run leaves.
///
/// # Errors
/// A failing device, a full disk.
pub(crate) fn finish(
    session: Session,
    setting: &Setting<'_>,
    (before, learned): (&Policy, Policy),
    (task, device, held_out): (&str, &str, &[(Item, Vec<u32>)]),
) -> Result<()> {
    let recipe = &setting.plan.recipe;
    let looks = |policy: &Policy| summary::looks(recipe, setting.metric(), policy, held_out);
    let before_eval = looks(before)?;
    // Not earlier: weights with small parameters in them are a copy.
    let after = &Policy { model: frozen(&learned.model), ..learned };
    let after_eval = looks(after)?;
    summary::write(
        session,
        &Finished {
            recipe,
            task,
            metric: setting.metric().name(),
            device,
            before: &before_eval,
            after: &after_eval,
            kl_nats: evaluate::kl_nats(
                &after_eval.drawn.rollout,
                &before.model,
                recipe.sampling.temperature,
            )?,
            policy: after,
            base_bytes: tuned::base_bytes(recipe, before),
        },
    )
}

impl<'a> Setting<'a> {
    /// What reports: the task's own metric, else what is learned from.
    fn metric(&self) -> &dyn Reward {
        self.own_metric.as_deref().unwrap_or(&self.rewards)
    }

    pub(crate) fn new(plan: &'a Plan, before: &Policy, task: &TaskData) -> Result<Self> {
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
            rewards: rewards(plan, before, task)?,
            own_metric: own_metric(task)?,
            reference: working(&before.model, recipe.optimizer.precision),
            schedule: schedule(recipe),
            plan,
        })
    }
}

/// What completions earn: as the recipe says, else the task's metric, by which nothing is then learned.
fn rewards(plan: &Plan, before: &Policy, task: &TaskData) -> Result<Mix> {
    if plan.recipe.reward.is_empty() {
        let metric = vec![(metric(metric_of(&task.name), task)?, 1.0)];
        return Mix::new(metric).map_err(|error| usage(error.to_string()));
    }
    plan.rewards(&before.model.device())
}

/// The metric of a task; none where there is nothing to compare with.
fn own_metric(task: &TaskData) -> Result<Option<Box<dyn Reward>>> {
    let mut all = task.test.iter().chain(&task.validation).chain(&task.train);
    all.any(|item| !item.references.is_empty())
        .then(|| metric(metric_of(&task.name), task))
        .transpose()
}

/// What a recipe learns from.
///
/// # Errors
/// If it cannot be read.
pub fn source(recipe: &Recipe) -> Result<TaskData> {
    match (&recipe.data.dataset, recipe.data.tasks.first()) {
        (Some(path), _) => data::dataset(path),
        (None, Some(name)) => data::task(name),
        (None, None) => Err(usage("nothing to learn from: give --task or --dataset")),
    }
}

/// The unseen items of the final table; a user's set without a test split lends its validation, one with
/// neither, since all of it is alike, what is learned from.
pub(crate) fn held_out(
    recipe: &Recipe,
    policy: &Policy,
    task: &TaskData,
) -> Result<Vec<(Item, Vec<u32>)>> {
    let parts = [&task.test, &task.validation, &task.train];
    let items = parts.into_iter().find(|part| !part.is_empty()).unwrap_or(&task.train);
    if std::ptr::eq(items, &task.train) {
        output::note("nothing could be held out: the final table is of what was learned from");
    }
    fitting(policy, items, (recipe.data.max_prompt_length, recipe.watch.eval_items))
}

impl Reinforce<'_> {
    /// One step of learning.
    fn advance(&mut self, session: &mut Session) -> Result<()> {
        let start = Instant::now();
        let Self { setting, policy, optimizer, critic, said } = self;
        let recipe = &setting.plan.recipe;
        let (index, group) = (session.state.step, recipe.batch.num_generations);
        let reading = frozen(&working(&policy.model, recipe.optimizer.precision));
        let drawing = Policy { model: reading, ..policy.clone() };
        let rewarded = collect(setting, &drawing, index)?;
        let (reference, old) = log_probs(setting, &drawing, &rewarded)?;
        let values = values(critic.as_ref(), &rewarded)?;
        // Weights with small parameters in them are a copy, in whose place gradients come.
        drop(drawing);
        let state = &mut session.state.objective;
        let now = recipe.objective.coefficients(state);
        let collected = Collected {
            reference: &reference,
            old: &old,
            greedy: &rewarded.greedy,
            values: &values,
            ..Collected::new(&rewarded.rollout, &rewarded.totals, group)
        };
        let prepared = recipe.objective.prepare(&collected, state);
        let learning_rate = setting.schedule.learning_rate(index);
        let at = AtStep { recipe, index, now, learning_rate, values: &values };
        let learners = Learners { model: &mut policy.model, optimizer, critic: critic.as_mut() };
        let updated = update(&at, &prepared, learners)?;
        recipe.objective.saw_entropy(updated.entropy, state);
        let tokens = rewarded.rollout.completions.iter().map(Vec::len).sum();
        session.state.tokens += tokens as u64;
        let (reward, mut others) =
            metrics::of_rewards(&setting.rewards, &rewarded, prepared.frac_reward_zero_std);
        let importance = prepared.importance.as_ref();
        let truncated = value_of(&others, "completions/clipped_ratio");
        let compared = recipe.objective.baseline.compares_a_group() && group > 1;
        let groups = if compared { rewarded.items.len() } else { 0 };
        let keeps_flat = recipe.objective.flat_groups == FlatGroups::Keep;
        let seen = Seen { truncated, groups, keeps_flat, ..seen_of(&updated, &prepared) };
        for text in said.of(&seen) {
            session.note(&format!("step {}: {text}", index + 1));
        }
        others.extend(metrics::of_updates(&updated, importance));
        others.extend(
            [
                ("learning_rate", learning_rate),
                ("beta", if recipe.objective.needs_reference() { now.beta } else { 0.0 }),
                ("entropy_coef", now.entropy_bonus),
                ("num_tokens", session.state.tokens as f64),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        for row in metrics::sample_rows(&rewarded, index + 1, group) {
            session.sample(&row)?;
        }
        session.record(&StepNumbers {
            headline: ("reward", reward),
            figures: vec![("kl", prepared.kl_nats), ("entropy", updated.entropy)],
            others,
            batch: rewarded.items.iter().map(|item| format!("`{}`", item.0.id)).collect(),
            tokens,
            seconds: start.elapsed().as_secs_f64(),
        })
    }
}

/// Of each token of each completion, in nats.
type LogProbs = Vec<Vec<f32>>;

/// Log-probabilities of every token under the reference, and under the policy that draws: as it recorded
/// them, or, where that is corrected for, as training computes them.
fn log_probs(
    setting: &Setting<'_>,
    drawing: &Policy,
    rewarded: &Rewarded<'_>,
) -> Result<(LogProbs, LogProbs)> {
    let objective = &setting.plan.recipe.objective;
    let workers = Workers::of(&drawing.model.device());
    let pairs = pairs(&rewarded.rollout);
    let of = |model| workers.log_probs(model, &pairs, objective.temperature, REFERENCE_BATCH);
    let recorded = || rewarded.rollout.logprobs_full.clone();
    let reference = if objective.needs_reference() { of(&setting.reference)? } else { recorded() };
    let old = match objective.correction {
        Correction::None => recorded(),
        Correction::Importance { .. } => of(&drawing.model)?,
    };
    Ok((reference, old))
}

/// What a critic expected at each token of each completion; empty without one.
fn values(critic: Option<&Apprentice>, rewarded: &Rewarded<'_>) -> Result<Vec<Vec<f32>>> {
    critic.map_or(Ok(Vec::new()), |critic| critic.expectations(&pairs(&rewarded.rollout)))
}

fn value_of(values: &[(String, f64)], name: &str) -> f64 {
    values.iter().find(|(found, _)| found == name).map_or(0.0, |(_, value)| *value)
}

fn seen_of(updated: &Updated, prepared: &Prepared) -> Seen {
    Seen {
        kl_nats: prepared.kl_nats,
        ratio_max: prepared.importance.as_ref().map_or(1.0, |report| report.ratio_max),
        flat: prepared.frac_reward_zero_std,
        loss: updated.loss,
        grad_norm: updated.grad_norm,
        clip_ratio: updated.held.map_or(0.0, |held| held.low + held.high),
        far: updated.held.map_or(0.0, |held| held.far),
        updates: updated.updates,
        ..Seen::default()
    }
}

/// The mean of the task's metric on validation items, under the recipe's sampling; at the end of a run none, since the
/// held-out table follows.
pub(crate) fn look(
    setting: &Setting<'_>,
    policy: &Policy,
    occasion: Occasion,
) -> Result<Option<Look>> {
    match occasion {
        Occasion::End => return Ok(None),
        Occasion::Due => {}
    }
    let recipe = &setting.plan.recipe;
    let reading = Policy { model: frozen(&policy.model), ..policy.clone() };
    let drawn = draw(&reading, &setting.validation, setting.metric(), recipe)?;
    let score = mean(&drawn.scores());
    Ok(Some(Look { text: format!("validation {score:.4}"), score }))
}
