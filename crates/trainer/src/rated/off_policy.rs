//! `trainer off-policy`: policy gradient on completions that another policy wrote, with the
//! probabilities that it recorded.
//!
//! A verdict becomes a reward from 0 to 1; the mean reward of its kind (choices, thumbs, stars) is the
//! baseline, taken off once for the whole run. Greedy completions have no probability and are left out.

use std::collections::BTreeMap;

use anyhow::Result;
use kudos_core::learn::Learned;
use kudos_core::model::Transformer;
use kudos_core::objective::{Collected, Experience, Importance, ImportanceReport, PolicyGradient};
use kudos_core::rollout::Rollout;
use kudos_schema::{EndReason, Verdict};

use super::method::{At, Method, Models, Pair, Point, SCORING_BATCH, Taught};
use super::said::{Dealt, Drawn, Heard, LeftOut, deal, drawn};
use crate::parallel::Workers;
use crate::policy::Policy;
use crate::session::Examples;

/// A completion with what it earned.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rewarded {
    pub(crate) name: String,
    pub(crate) prompt: Vec<u32>,
    pub(crate) completion: Vec<u32>,
    /// Log-probability of each token under the distribution drawn from.
    pub(crate) behavior: Vec<f32>,
    /// At which it was drawn.
    pub(crate) temperature: f64,
    /// From 0 to 1.
    pub(crate) reward: f64,
    /// Reward minus the mean of its kind.
    pub(crate) advantage: f64,
    pub(crate) end_reason: EndReason,
    pub(crate) weight: f64,
}

/// Importance-weighted policy gradient.
#[derive(Debug)]
pub(crate) struct OffPolicy {
    data: Dealt<Rewarded>,
    importance: Importance,
    gradient: PolicyGradient,
}

impl OffPolicy {
    /// Completions that fit the policy.
    pub(crate) fn new(
        examples: Vec<Rewarded>,
        importance: Importance,
        gradient: PolicyGradient,
    ) -> Self {
        Self { data: deal(examples, |one| &one.prompt), importance, gradient }
    }

    /// The examples near enough to the current policy as experience, with the temperature of each.
    fn experiences(
        &self,
        at: &At<'_>,
        examples: &[&Rewarded],
        current: Vec<Vec<f32>>,
        factors: &[Vec<f32>],
    ) -> Result<Vec<(f64, Experience)>> {
        let reference = if self.gradient.needs_reference() {
            log_probs(at.models.workers, at.models.reference, examples)?
        } else {
            current.clone()
        };
        let rollout = Rollout {
            prompts: examples.iter().map(|one| one.prompt.clone()).collect(),
            completions: examples.iter().map(|one| one.completion.clone()).collect(),
            logprobs_drawn: examples.iter().map(|one| one.behavior.clone()).collect(),
            logprobs_full: current,
            end_reasons: examples.iter().map(|one| one.end_reason).collect(),
        };
        let rewards: Vec<f32> = examples.iter().map(|one| one.advantage as f32).collect();
        let mut state = self.gradient.initial_state();
        let collected =
            Collected { reference: &reference, ..Collected::new(&rollout, &rewards, 1) };
        let prepared = self.gradient.prepare(&collected, &mut state);
        let rows = prepared.experiences.into_iter().zip(examples).zip(factors);
        Ok(rows
            .map(|((mut experience, example), factors)| {
                experience.advantages.iter_mut().zip(factors).for_each(|(a, factor)| *a *= factor);
                experience.weights.iter_mut().for_each(|weight| *weight *= example.weight as f32);
                (example.temperature, experience)
            })
            .collect())
    }

    /// The gradient over all temperatures.
    fn minimize(&self, at: &At<'_>, experiences: Vec<(f64, Experience)>) -> Option<Learned> {
        let now = self.gradient.coefficients(&self.gradient.initial_state());
        let parts = by_temperature(experiences).map(|(temperature, experiences)| {
            let gradient = PolicyGradient { temperature, ..self.gradient.clone() };
            at.minimize(experiences, &gradient.at(now))
        });
        parts.reduce(Learned::plus)
    }
}

impl Method for OffPolicy {
    fn count(&self) -> usize {
        self.data.train.len()
    }

    fn name(&self, index: usize) -> &str {
        &self.data.train[index].name
    }

    fn learn(&self, at: &At<'_>, indices: &[usize]) -> Result<Taught> {
        let examples: Vec<&Rewarded> =
            indices.iter().map(|index| &self.data.train[*index]).collect();
        let current = log_probs(at.models.workers, at.models.policy, &examples)?;
        let behavior: Vec<Vec<f32>> = examples.iter().map(|one| one.behavior.clone()).collect();
        let weighed = self.importance.weigh(&current, &behavior);
        let enough = weighed.report.effective_share >= self.importance.min_effective_share
            && weighed.report.effective_share > 0.0;
        let value = self_normalized(&examples, &weighed.factors);
        let near: Vec<usize> = (0..examples.len()).filter(|row| weighed.included[*row]).collect();
        let examples: Vec<&Rewarded> = near.iter().map(|row| examples[*row]).collect();
        let current: Vec<Vec<f32>> = near.iter().map(|row| current[*row].clone()).collect();
        let factors: Vec<Vec<f32>> = near.iter().map(|row| weighed.factors[*row].clone()).collect();
        let tokens = examples.iter().map(|one| one.completion.len()).sum();
        let learned = if enough {
            self.minimize(at, self.experiences(at, &examples, current, &factors)?)
        } else {
            None
        };
        Ok(taught(learned, value, &weighed.report, tokens))
    }

    fn judge(&self, models: &Models<'_>) -> Result<Vec<Point>> {
        let examples: Vec<&Rewarded> = self.data.held_out.iter().collect();
        let current = log_probs(models.workers, models.policy, &examples)?;
        let behavior: Vec<Vec<f32>> = examples.iter().map(|one| one.behavior.clone()).collect();
        let factors = self.importance.weigh(&current, &behavior).factors;
        let rows = examples.iter().zip(factors);
        Ok(rows
            .map(|(one, factors)| Point { value: one.reward, weight: one.weight * mean(&factors) })
            .collect())
    }

    fn measure(&self) -> &'static str {
        "reward that held-out ratings say the policy would have earned (self-normalized importance weights)"
    }

    fn prompts(&self) -> Vec<&[u32]> {
        self.data.held_out.iter().map(|one| one.prompt.as_slice()).collect()
    }

    fn examples(&self) -> Examples {
        self.data.examples()
    }
}

fn taught(
    learned: Option<Learned>,
    value: f64,
    report: &ImportanceReport,
    tokens: usize,
) -> Taught {
    let skipped = f64::from(u8::from(learned.is_none()));
    Taught {
        learned,
        headline: ("reward", value),
        figures: vec![
            ("rollout_corr/eff_sample_size", report.effective_share),
            ("rollout_corr/kl", report.kl_nats),
        ],
        others: vec![
            ("sampling/importance_sampling_ratio/min", report.ratio_min),
            ("sampling/importance_sampling_ratio/mean", report.ratio_mean),
            ("sampling/importance_sampling_ratio/max", report.ratio_max),
            ("rollout_corr/stale", report.stale as f64),
            ("rollout_corr/skipped", skipped),
        ],
        tokens,
        advice: None,
    }
}

/// The reward of the batch as the current policy would weigh it; 0 without weight.
fn self_normalized(examples: &[&Rewarded], factors: &[Vec<f32>]) -> f64 {
    let weights = examples.iter().zip(factors).map(|(one, factors)| one.weight * mean(factors));
    let sums = weights.zip(examples).fold((0.0, 0.0), |(value, all), (weight, one)| {
        (value + weight * one.reward, all + weight)
    });
    if sums.1 > 0.0 { sums.0 / sums.1 } else { 0.0 }
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len().max(1) as f64
}

/// Things by the temperature that each was drawn at.
pub(crate) fn by_temperature<T>(
    all: impl IntoIterator<Item = (f64, T)>,
) -> impl Iterator<Item = (f64, Vec<T>)> {
    let mut groups: BTreeMap<u64, Vec<T>> = BTreeMap::new();
    for (temperature, one) in all {
        groups.entry(temperature.to_bits()).or_default().push(one);
    }
    groups.into_iter().map(|(temperature, group)| (f64::from_bits(temperature), group))
}

/// Log-probabilities under the full softmax, each completion's at the temperature it was drawn at.
///
/// # Errors
/// A failing device.
pub(crate) fn log_probs(
    workers: Workers,
    model: &Transformer,
    examples: &[&Rewarded],
) -> Result<Vec<Vec<f32>>> {
    let places = examples.iter().enumerate().map(|(place, one)| (one.temperature, place));
    let mut all = vec![Vec::new(); examples.len()];
    for (temperature, places) in by_temperature(places) {
        let pairs: Vec<Pair<'_>> = places
            .iter()
            .map(|place| (&examples[*place].prompt[..], &examples[*place].completion[..]))
            .collect();
        let rows = workers.log_probs(model, &pairs, temperature, SCORING_BATCH)?;
        places.into_iter().zip(rows).for_each(|(place, row)| all[place] = row);
    }
    Ok(all)
}

/// The completions of ratings with what they earned.
pub(crate) fn of_ratings(heard: &[Heard], policy: &Policy, out: &mut LeftOut) -> Vec<Rewarded> {
    let drawn = drawn(heard, policy, out);
    let kinds: Vec<u8> = drawn.iter().map(|one| kind(&one.heard.rating.verdict)).collect();
    let mut rewarded: Vec<Rewarded> = drawn.into_iter().map(rewarded).collect();
    center(&mut rewarded, &kinds);
    rewarded
}

/// Without an advantage yet.
fn rewarded(Drawn { heard, place, reward }: Drawn<'_>) -> Rewarded {
    let Heard { rating, weight } = heard;
    let sample = &rating.samples[place];
    Rewarded {
        name: rating.id.clone(),
        prompt: rating.prompt.token_ids.clone(),
        completion: sample.token_ids.clone(),
        behavior: sample.logprobs_drawn.clone(),
        temperature: sample.sampling.temperature,
        reward,
        advantage: 0.0,
        end_reason: sample.end_reason,
        weight: *weight,
    }
}

fn kind(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Pair(_) => 0,
        Verdict::Thumbs(_) => 1,
        Verdict::Stars(_) => 2,
        Verdict::Edit(_) | Verdict::Report => 3,
    }
}

/// Takes the weighted mean reward of each kind off.
fn center(rewarded: &mut [Rewarded], kinds: &[u8]) {
    let mut sums: BTreeMap<u8, (f64, f64)> = BTreeMap::new();
    for (one, kind) in rewarded.iter().zip(kinds) {
        let sum = sums.entry(*kind).or_default();
        *sum = (sum.0 + one.weight * one.reward, sum.1 + one.weight);
    }
    for (one, kind) in rewarded.iter_mut().zip(kinds) {
        let (sum, all) = sums[kind];
        one.advantage = one.reward - if all > 0.0 { sum / all } else { 0.0 };
    }
}
