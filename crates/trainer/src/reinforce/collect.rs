//! What a step learns from: completions of prompts, with what they earned.

use anyhow::Result;
use kudos_core::objective::{Baseline, FlatGroups, flat_groups};
use kudos_core::reward::Completion;
use kudos_core::rollout::{Coins, Generation, Rollout};
use kudos_core::task::Item;
use kudos_schema::{EndReason, Sampling};

use super::Setting;
use crate::batches::{items_instead, items_of_step};
use crate::parallel::Workers;
use crate::policy::Policy;

/// Completions with what they earned; those of one prompt are neighbors.
pub(super) struct Rewarded<'a> {
    /// One a prompt.
    pub(super) items: Vec<&'a (Item, Vec<u32>)>,
    pub(super) rollout: Rollout,
    pub(super) texts: Vec<String>,
    pub(super) totals: Vec<f32>,
    /// One row a completion, one column a reward.
    pub(super) parts: Vec<Vec<Option<f32>>>,
    /// What the greedy completion of each prompt earned, where that is the baseline.
    pub(super) greedy: Vec<f32>,
    /// Prompts drawn in place of those without signal.
    pub(super) resampled: usize,
}

/// Draws from `policy` for the prompts of step `step`, and for others in place of groups without signal.
///
/// # Errors
/// A failing device.
pub(super) fn collect<'a>(
    setting: &'a Setting<'_>,
    policy: &Policy,
    step: usize,
) -> Result<Rewarded<'a>> {
    let recipe = &setting.plan.recipe;
    let group = recipe.batch.num_generations;
    let count = recipe.batch.prompts * recipe.batch.gradient_accumulation_steps;
    let n_items = setting.train.len();
    let attempts = match recipe.objective.flat_groups {
        FlatGroups::Keep | FlatGroups::Drop => 0,
        FlatGroups::Resample { attempts } => attempts,
    };
    let items =
        |places: Vec<usize>| places.into_iter().map(|place| &setting.train[place]).collect();
    let first = items(items_of_step(recipe.seed, step, count, n_items));
    let mut all = groups(setting, policy, first, (step, 0))?;
    for attempt in 1..=attempts {
        let missing = flat_groups(&all.totals, group).into_iter().filter(|flat| *flat).count();
        let missing = missing.saturating_sub(all.resampled);
        if missing == 0 {
            break;
        }
        let instead = items(items_instead(recipe.seed, (step, attempt), missing, n_items));
        let drawn = all.rollout.completions.len();
        let more = groups(setting, policy, instead, (step, drawn))?;
        all.append(more);
        all.resampled += missing;
    }
    Ok(all)
}

/// A group of completions for each item, rewarded; `first_index` completions were drawn before in the step.
fn groups<'a>(
    setting: &Setting<'_>,
    policy: &Policy,
    items: Vec<&'a (Item, Vec<u32>)>,
    (step, first_index): (usize, usize),
) -> Result<Rewarded<'a>> {
    let recipe = &setting.plan.recipe;
    let group = recipe.batch.num_generations;
    let coins = Coins::new(recipe.seed, step as u64);
    let draw = Draw { sampling: &recipe.sampling, coins, first_index, group };
    let mut rewarded = rewarded(setting, policy, items, &draw)?;
    if recipe.objective.baseline == Baseline::Greedy {
        let greedy = Sampling { temperature: 0.0, ..recipe.sampling.clone() };
        let draw = Draw { sampling: &greedy, coins, first_index, group: 1 };
        rewarded.greedy = self::rewarded(setting, policy, rewarded.items.clone(), &draw)?.totals;
    }
    Ok(rewarded)
}

/// How a group is drawn.
pub(super) struct Draw<'a> {
    pub(super) sampling: &'a Sampling,
    pub(super) coins: Coins,
    pub(super) first_index: usize,
    /// Completions a prompt.
    pub(super) group: usize,
}

/// Draws completions for each item and rewards them.
pub(super) fn rewarded<'a>(
    setting: &Setting<'_>,
    policy: &Policy,
    items: Vec<&'a (Item, Vec<u32>)>,
    draw: &Draw<'_>,
) -> Result<Rewarded<'a>> {
    let prompts: Vec<Vec<u32>> =
        items.iter().flat_map(|item| std::iter::repeat_n(item.1.clone(), draw.group)).collect();
    let stop = policy.stop_tokens();
    let generation = Generation {
        sampling: draw.sampling,
        stop: &stop,
        coins: draw.coins,
        first_index: draw.first_index,
    };
    let workers = Workers::of(&policy.model.device());
    let rollout = workers.generate(&policy.model, &prompts, &generation)?;
    let texts: Vec<String> =
        rollout.completions.iter().map(|ids| policy.tokenizer.decode(ids)).collect();
    let completions = texts.iter().enumerate().map(|(row, text)| {
        let item = &items[row / draw.group].0;
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
    Ok(Rewarded { items, rollout, texts, totals, parts, greedy: Vec::new(), resampled: 0 })
}

impl Rewarded<'_> {
    /// Puts the groups of `other` behind these.
    fn append(&mut self, other: Self) {
        self.items.extend(other.items);
        self.rollout.append(other.rollout);
        self.texts.extend(other.texts);
        self.totals.extend(other.totals);
        self.parts.extend(other.parts);
        self.greedy.extend(other.greedy);
    }
}
