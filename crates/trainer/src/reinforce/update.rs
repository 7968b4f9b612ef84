//! From experience to new weights: several passes over the completions of a step, in parts, against the
//! log-probabilities that they were collected with.

use anyhow::Result;
use kudos_core::learn::Learned;
use kudos_core::model::Transformer;
use kudos_core::objective::{Coefficients, Experience, Judgement, Prepared, explained_variance};
use kudos_core::optim::AdamW;

use super::critic::{Apprentice, Judged};
use crate::batches::mini_batches;
use crate::parallel::Workers;
use crate::recipe::Recipe;
use crate::session::{seed_device, working};
use crate::supervised::number;

/// What the updates of a step showed: means over them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Updated {
    pub(super) loss: f64,
    pub(super) grad_norm: f64,
    pub(super) entropy: f64,
    /// What the bounds of the ratio held, where there is one.
    pub(super) held: Option<Held>,
    /// What the critic learned, where there is one.
    pub(super) critic: Option<Taught>,
    /// Updates made; 0 where nothing could be learned.
    pub(super) updates: usize,
}

/// What a critic's updates showed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Taught {
    /// Mean loss.
    pub(super) loss: f64,
    /// Mean norm of its gradient.
    pub(super) grad_norm: f64,
    /// Share of the tokens that its clip held.
    pub(super) clip_ratio: f64,
    /// Share of the spread of returns that it foresaw before the step.
    pub(super) explained_variance: f64,
}

/// What the bounds of a ratio held.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Held {
    /// Share of the tokens held from below.
    pub(super) low: f64,
    /// Share of the tokens held from above.
    pub(super) high: f64,
    /// Mean of `log p_old - log p`, in nats a token.
    pub(super) moved_nats: f64,
    /// Share of the tokens of a ratio above 100.
    pub(super) far: f64,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct AtStep<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) index: usize,
    pub(super) now: Coefficients,
    pub(super) learning_rate: f64,
    /// What the critic expected at each token; empty without one.
    pub(super) values: &'a [Vec<f32>],
}

/// What learns.
pub(super) struct Learners<'a> {
    pub(super) model: &'a mut Transformer,
    pub(super) optimizer: &'a mut AdamW,
    pub(super) critic: Option<&'a mut Apprentice>,
}

/// Moves the weights along every mini-batch of every pass.
///
/// # Errors
/// A failing device.
pub(super) fn update(
    at: &AtStep<'_>,
    prepared: &Prepared,
    mut learners: Learners<'_>,
) -> Result<Updated> {
    let AtStep { recipe, index, .. } = *at;
    seed_device(&learners.model.device(), recipe.seed, index);
    let mut all = Sums::default();
    for iteration in 0..recipe.batch.num_iterations {
        let count = prepared.experiences.len();
        let parts = mini_batches(recipe.seed, (index, iteration), count, recipe.batch.mini_batches);
        for part in parts {
            let (places, experiences) = dealt(at, prepared, &part);
            if experiences.is_empty() {
                continue;
            }
            learners.policy(at, &experiences, &mut all)?;
            if let Some(critic) = &mut learners.critic {
                let rows = places.iter().zip(&experiences).map(|(place, one)| {
                    Judgement::of(one, &at.values[*place], &prepared.returns[*place])
                });
                let judged = critic.learn(&rows.collect::<Vec<_>>(), index)?;
                all.critic = Some(all.critic.map_or(judged, |before| before.plus(judged)));
            }
        }
    }
    let mut updated = all.means();
    if let Some(taught) = &mut updated.critic {
        taught.explained_variance = explained(at.values, prepared);
    }
    Ok(updated)
}

impl Learners<'_> {
    /// One update of the policy.
    fn policy(
        &mut self,
        at: &AtStep<'_>,
        experiences: &[Experience],
        sums: &mut Sums,
    ) -> Result<()> {
        let recipe = at.recipe;
        let working = working(self.model, recipe.optimizer.precision);
        let objective = recipe.objective.at(at.now);
        let size = recipe.batch.micro_batch_size;
        let workers = Workers::of(&working.device());
        let mut learned = workers.learn(&working, experiences, &objective, size);
        self.optimizer.regularize(self.model, &mut learned.gradients);
        let norm = number(learned.gradients.clip(recipe.optimizer.max_grad_norm))?;
        sums.add(norm, &learned)?;
        *self.model = self.optimizer.step(self.model.clone(), learned.gradients, at.learning_rate);
        Ok(())
    }
}

/// What a critic foresaw of the completions that are learned from.
fn explained(values: &[Vec<f32>], prepared: &Prepared) -> f64 {
    let learned = |rows: &[Vec<f32>]| -> Vec<f32> {
        let rows = rows.iter().zip(&prepared.included).filter(|(_, included)| **included);
        rows.flat_map(|(row, _)| row).copied().collect()
    };
    explained_variance(&learned(values), &learned(&prepared.returns))
}

/// The completions of a mini-batch that are learned from, each token with its share, shortest first; and
/// their places in the step.
fn dealt(at: &AtStep<'_>, prepared: &Prepared, part: &[usize]) -> (Vec<usize>, Vec<Experience>) {
    let mut experiences: Vec<Experience> =
        part.iter().map(|place| prepared.experiences[*place].clone()).collect();
    let included: Vec<bool> = part.iter().map(|place| prepared.included[*place]).collect();
    at.recipe.objective.share_out(&mut experiences, &included);
    let all = part.iter().copied().zip(experiences).zip(included);
    let learned = all.filter(|((_, one), included)| *included && !one.completion.is_empty());
    let mut learned: Vec<_> = learned.map(|(one, _)| one).collect();
    learned.sort_by_key(|(_, one)| one.prompt.len() + one.completion.len());
    learned.into_iter().unzip()
}

/// Sums over updates.
#[derive(Debug, Default)]
struct Sums {
    loss: f64,
    norm: f64,
    entropy: f64,
    /// As [`Learned::clipping`].
    clipping: Option<[f64; 5]>,
    critic: Option<Judged>,
    updates: usize,
}

impl Sums {
    fn add(&mut self, norm: f64, learned: &Learned) -> Result<()> {
        self.loss += number(learned.loss.clone())?;
        self.norm += norm;
        self.entropy += learned.entropy.clone().map_or(Ok(0.0), number)?;
        if let Some(clipping) = &learned.clipping {
            let parts = self.clipping.get_or_insert([0.0; 5]);
            for (place, sum) in parts.iter_mut().enumerate() {
                *sum += number(clipping.clone().narrow(0, place, 1))?;
            }
        }
        self.updates += 1;
        Ok(())
    }

    fn means(self) -> Updated {
        let mean = |sum: f64| sum / self.updates.max(1) as f64;
        let held = self.clipping.map(|[low, high, moved, far, tokens]| {
            let share = |sum: f64| sum / tokens.max(1.0);
            Held { low: share(low), high: share(high), moved_nats: share(moved), far: share(far) }
        });
        Updated {
            loss: mean(self.loss),
            grad_norm: mean(self.norm),
            entropy: mean(self.entropy),
            held,
            critic: self.critic.map(|judged| Taught {
                loss: mean(judged.loss),
                grad_norm: mean(judged.grad_norm),
                clip_ratio: judged.held / judged.tokens.max(1.0),
                explained_variance: 0.0,
            }),
            updates: self.updates,
        }
    }
}
