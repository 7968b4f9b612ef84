//! From experience to new weights: several passes over the completions of a step, in parts, against the
//! log-probabilities that they were collected with.

use anyhow::Result;
use kudos_core::learn::Learned;
use kudos_core::model::Transformer;
use kudos_core::objective::{Coefficients, Experience, Prepared};
use kudos_core::optim::AdamW;

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
    /// Updates made; 0 where nothing could be learned.
    pub(super) updates: usize,
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
}

/// Where a step stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct AtStep<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) index: usize,
    pub(super) now: Coefficients,
    pub(super) learning_rate: f64,
}

/// Moves the weights along every mini-batch of every pass.
///
/// # Errors
/// A failing device.
pub(super) fn update(
    at: &AtStep<'_>,
    prepared: &Prepared,
    (model, optimizer): (&mut Transformer, &mut AdamW),
) -> Result<Updated> {
    let AtStep { recipe, index, .. } = *at;
    seed_device(&model.device(), recipe.seed, index);
    let mut all = Sums::default();
    for iteration in 0..recipe.batch.num_iterations {
        let count = prepared.experiences.len();
        let parts = mini_batches(recipe.seed, (index, iteration), count, recipe.batch.mini_batches);
        for part in parts {
            let experiences = dealt(at, prepared, &part);
            if experiences.is_empty() {
                continue;
            }
            let working = working(model, recipe.optimizer.precision);
            let objective = recipe.objective.at(at.now);
            let size = recipe.batch.micro_batch_size;
            let workers = Workers::of(&working.device());
            let mut learned = workers.learn(&working, &experiences, &objective, size);
            optimizer.regularize(model, &mut learned.gradients);
            let norm = number(learned.gradients.clip(recipe.optimizer.max_grad_norm))?;
            all.add(norm, &learned)?;
            *model = optimizer.step(model.clone(), learned.gradients, at.learning_rate);
        }
    }
    Ok(all.means())
}

/// The completions of a mini-batch that are learned from, each token with its share, shortest first.
fn dealt(at: &AtStep<'_>, prepared: &Prepared, part: &[usize]) -> Vec<Experience> {
    let mut experiences: Vec<Experience> =
        part.iter().map(|place| prepared.experiences[*place].clone()).collect();
    let included: Vec<bool> = part.iter().map(|place| prepared.included[*place]).collect();
    at.recipe.objective.share_out(&mut experiences, &included);
    let mut included = included.into_iter();
    experiences.retain(|one| included.next().unwrap_or(false) && !one.completion.is_empty());
    experiences.sort_by_key(|one| one.prompt.len() + one.completion.len());
    experiences
}

/// Sums over updates.
#[derive(Debug, Default)]
struct Sums {
    loss: f64,
    norm: f64,
    entropy: f64,
    /// As [`Learned::clipping`].
    clipping: Option<[f64; 4]>,
    updates: usize,
}

impl Sums {
    fn add(&mut self, norm: f64, learned: &Learned) -> Result<()> {
        self.loss += number(learned.loss.clone())?;
        self.norm += norm;
        self.entropy += learned.entropy.clone().map_or(Ok(0.0), number)?;
        if let Some(clipping) = &learned.clipping {
            let parts = self.clipping.get_or_insert([0.0; 4]);
            for (place, sum) in parts.iter_mut().enumerate() {
                *sum += number(clipping.clone().narrow(0, place, 1))?;
            }
        }
        self.updates += 1;
        Ok(())
    }

    fn means(self) -> Updated {
        let mean = |sum: f64| sum / self.updates.max(1) as f64;
        let held = self.clipping.map(|[low, high, moved, tokens]| {
            let share = |sum: f64| sum / tokens.max(1.0);
            Held { low: share(low), high: share(high), moved_nats: share(moved) }
        });
        Updated {
            loss: mean(self.loss),
            grad_norm: mean(self.norm),
            entropy: mean(self.entropy),
            held,
            updates: self.updates,
        }
    }
}
