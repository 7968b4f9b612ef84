//! Best of n: draw several completions of a prompt, keep the one that a reward likes best.
//!
//! Greedy draws are all the same, so a temperature of 0 is refused.

use anyhow::Result;
use burn::tensor::Device;
use kudos_core::reward::{Completion, Reward, best, expected_best};
use kudos_core::rollout::{Coins, Generation, Rollout};
use kudos_core::task::Item;
use kudos_schema::{EndReason, Sampling};

use crate::args::{BestOfArgs, EvalArgs};
use crate::evaluate::{Evaluation, HELD_OUT_STEP, complete, judge};
use crate::plan::one_reward;
use crate::policy::Policy;
use crate::recipe::{DataRecipe, Recipe, RewardRecipe};
use crate::usage::usage;

/// How many are drawn for each that is kept, and what chooses.
#[derive(Debug)]
pub struct BestOf {
    /// Completions drawn.
    pub count: usize,
    /// What chooses.
    pub by: Box<dyn Reward>,
}

impl BestOf {
    /// What was asked for; none where a single completion is drawn. `otherwise` chooses where no reward is
    /// named; `data` is what is judged.
    ///
    /// # Errors
    /// Usage errors that name the flag and the remedy.
    pub fn of(
        args: &BestOfArgs,
        (otherwise, data): (Option<&str>, DataRecipe),
        sampling: &Sampling,
        device: &Device,
    ) -> Result<Option<Self>> {
        match (args.best_of, &args.best_by) {
            (0, _) => return Err(usage("--best-of is 0: draw at least 1 completion")),
            (1, None) => return Ok(None),
            (1, Some(_)) => {
                return Err(usage("--best-by chooses of several completions: give --best-of, too"));
            }
            (2.., _) => {}
        }
        if sampling.temperature == 0.0 {
            return Err(usage(
                "--best-of of greedy completions, which are all the same: give a --temperature",
            ));
        }
        let kind = args.best_by.as_deref().or(otherwise).ok_or_else(|| {
            usage("--best-of needs to know what is best: name a reward with --best-by")
        })?;
        let recipe = RewardRecipe {
            kind: kind.to_owned(),
            model: args.best_by_model.clone(),
            ..RewardRecipe::default()
        };
        let of = Recipe { data, ..Recipe::default() };
        Ok(Some(Self { count: args.best_of, by: one_reward(&recipe, (&of, device))? }))
    }

    /// As [`Self::of`], for `eval`: the metric chooses where no reward is named.
    ///
    /// # Errors
    /// Usage errors that name the flag and the remedy.
    pub fn of_eval(
        args: &EvalArgs,
        metric: &dyn Reward,
        sampling: &Sampling,
        policy: &Policy,
    ) -> Result<Option<Self>> {
        let data = DataRecipe {
            tasks: args.task.iter().cloned().collect(),
            dataset: args.dataset.clone(),
            ..DataRecipe::default()
        };
        let otherwise = (Some(metric.name()), data);
        Self::of(&args.best_of, otherwise, sampling, &policy.model.device())
    }

    /// What every completion earns; `items` has one entry a completion. A reward that does not apply is no number.
    pub fn rewards(&self, policy: &Policy, items: &[&Item], rollout: &Rollout) -> Vec<f64> {
        let scores = scores(policy, items, rollout, self.by.as_ref());
        scores.into_iter().map(|score| score.map_or(f64::NAN, f64::from)).collect()
    }

    /// The place of the best of each prompt's completions, which are neighbors; the first where the reward does not
    /// apply.
    pub fn kept(&self, rewards: &[f64]) -> Vec<usize> {
        let groups = rewards.chunks(self.count).enumerate();
        groups.map(|(group, part)| group * self.count + best(part).unwrap_or(0)).collect()
    }

    /// The best of several completions of each item, judged; and what the best of k is expected to earn by the
    /// reward that chose, for k from 1 on, as a mean over the items that it applies to.
    ///
    /// # Errors
    /// If the device fails.
    pub fn evaluate(
        &self,
        policy: &Policy,
        items: &[(Item, Vec<u32>)],
        metric: &dyn Reward,
        draws: (&Sampling, u64),
    ) -> Result<(Evaluation, Vec<f64>)> {
        let rollout = held_out(policy, items, self.count, draws)?;
        let of_items = items.iter().flat_map(|(item, _)| std::iter::repeat_n(item, self.count));
        let rewards = self.rewards(policy, &of_items.collect::<Vec<_>>(), &rollout);
        let groups = rewards.chunks(self.count).filter(|group| !group[0].is_nan());
        let expected: Vec<Vec<f64>> = groups.map(expected_best).collect();
        let mean =
            |k: usize| expected.iter().map(|of_k| of_k[k]).sum::<f64>() / expected.len() as f64;
        let means = (0..self.count).map(mean).filter(|mean| mean.is_finite()).collect();
        let kept = chosen(&rollout, &self.kept(&rewards));
        Ok((judge(policy, items, metric, kept), means))
    }
}

/// `count` completions of each held-out item, one after the other.
///
/// # Errors
/// If the device fails.
pub(crate) fn held_out(
    policy: &Policy,
    items: &[(Item, Vec<u32>)],
    count: usize,
    (sampling, seed): (&Sampling, u64),
) -> Result<Rollout> {
    let stop = policy.stop_tokens();
    let prompts = items.iter().flat_map(|(_, prompt)| std::iter::repeat_n(prompt.clone(), count));
    let coins = Coins::new(seed, HELD_OUT_STEP);
    let generation = Generation { sampling, stop: &stop, coins, first_index: 0 };
    complete(policy, &prompts.collect::<Vec<_>>(), &generation)
}

/// What the best of 1 to n earns, as a line under a result; nothing where one was drawn.
pub fn in_words(expected: &[f64]) -> String {
    let means: String = expected.iter().map(|mean| format!(" {mean:.4}")).collect();
    match expected.len() {
        0 => String::new(),
        n => format!("\nexpected reward of the best of 1 to {n}:{means}"),
    }
}

/// What a reward says of each completion; `items` has one entry a completion.
pub fn scores(
    policy: &Policy,
    items: &[&Item],
    rollout: &Rollout,
    reward: &dyn Reward,
) -> Vec<Option<f32>> {
    let texts: Vec<String> =
        rollout.completions.iter().map(|ids| policy.tokenizer.decode(ids)).collect();
    reward.score_all(&completions(items.iter().copied(), &texts, rollout))
}

/// What rewards read of a rollout; `items` and `texts` have one entry a completion.
pub fn completions<'a>(
    items: impl Iterator<Item = &'a Item>,
    texts: &'a [String],
    rollout: &Rollout,
) -> Vec<Completion<'a>> {
    let of = |(row, (item, text)): (usize, (&'a Item, &'a String))| Completion {
        prompt: &item.prompt,
        text,
        references: &item.references,
        ended: rollout.end_reasons[row] == EndReason::Stop,
        n_tokens: rollout.completions[row].len(),
        extra: &item.extra,
    };
    items.zip(texts).enumerate().map(of).collect()
}

/// The completions at these places.
pub fn chosen(rollout: &Rollout, places: &[usize]) -> Rollout {
    fn at<T: Clone>(all: &[T], places: &[usize]) -> Vec<T> {
        places.iter().map(|place| all[*place].clone()).collect()
    }
    Rollout {
        prompts: at(&rollout.prompts, places),
        completions: at(&rollout.completions, places),
        logprobs_drawn: at(&rollout.logprobs_drawn, places),
        logprobs_full: at(&rollout.logprobs_full, places),
        end_reasons: at(&rollout.end_reasons, places),
    }
}
