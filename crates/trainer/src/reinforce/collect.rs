//! What a step learns from: completions of prompts, with what they earned.

use anyhow::Result;
use kudos_core::objective::{Baseline, FlatGroups, flat_groups};
use kudos_core::rollout::{Coins, Generation, Rollout};
use kudos_core::task::Item;
use kudos_schema::Sampling;

use super::Setting;
use crate::batches::{items_instead, items_of_step};
use crate::best_of::completions;
use crate::parallel::Workers;
use crate::policy::Policy;

/// Completions with what they earned; those of one prompt are neighbors.
pub(crate) struct Rewarded<'a> {
    /// One a prompt.
    pub(crate) items: Vec<&'a (Item, Vec<u32>)>,
    pub(crate) rollout: Rollout,
    pub(crate) texts: Vec<String>,
    pub(crate) totals: Vec<f32>,
    /// One row a completion, one column a reward.
    pub(crate) parts: Vec<Vec<Option<f32>>>,
    /// What the greedy completion of each prompt earned, where that is the baseline.
    pub(crate) greedy: Vec<f32>,
    /// Prompts drawn in place of those without signal.
    pub(crate) resampled: usize,
}

/// Draws from `policy` for the prompts of step `step`, and for others in place of groups without signal.
///
/// # Errors
/// A failing device.
pub(crate) fn collect<'a>(
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
pub(crate) struct Draw<'a> {
    pub(crate) sampling: &'a Sampling,
    pub(crate) coins: Coins,
    pub(crate) first_index: usize,
    /// Completions a prompt.
    pub(crate) group: usize,
}

/// Draws completions for each item and rewards them.
pub(crate) fn rewarded<'a>(
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
    Ok(earned(setting, policy, (items, draw.group), rollout))
}

/// What completions earn, `group` of each item one after the other.
pub(crate) fn earned<'a>(
    setting: &Setting<'_>,
    policy: &Policy,
    (items, group): (Vec<&'a (Item, Vec<u32>)>, usize),
    rollout: Rollout,
) -> Rewarded<'a> {
    let texts: Vec<String> =
        rollout.completions.iter().map(|ids| policy.tokenizer.decode(ids)).collect();
    let of_items = items.iter().flat_map(|item| std::iter::repeat_n(&item.0, group));
    let scored = setting.rewards.score_all(&completions(of_items, &texts, &rollout));
    // A completion that no reward applies to teaches nothing: it earns what its group earns not.
    let totals = scored.iter().map(|scored| scored.total.unwrap_or(0.0)).collect();
    let parts = scored.into_iter().map(|scored| scored.parts).collect();
    Rewarded { items, rollout, texts, totals, parts, greedy: Vec::new(), resampled: 0 }
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
