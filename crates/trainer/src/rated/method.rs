//! What `off-policy`, `dpo` and `kto` have in common: examples, a gradient of some of them, a judgement of
//! those held out.

use anyhow::Result;
use kudos_core::learn::Learned;
use kudos_core::model::Transformer;
use kudos_core::objective::{Experience, Linear, Side};
use kudos_core::optim::AdamW;

use crate::parallel::Workers;
use crate::recipe::Recipe;
use crate::session::Examples;
use crate::supervised::{number, schedule};

/// Sequences scored together.
pub(crate) const SCORING_BATCH: usize = 64;

/// A way to learn from what people said.
pub(crate) trait Method {
    /// How many examples there are to learn from.
    fn count(&self) -> usize;

    /// The rating, or the row, that an example is from.
    fn name(&self, index: usize) -> &str;

    /// What a step learns from the examples at `indices`.
    ///
    /// # Errors
    /// A failing device.
    fn learn(&self, at: &At<'_>, indices: &[usize]) -> Result<Taught>;

    /// What the held-out examples say of a policy.
    ///
    /// # Errors
    /// A failing device.
    fn judge(&self, models: &Models<'_>) -> Result<Vec<Point>>;

    /// What [`Self::judge`] measures.
    fn measure(&self) -> &'static str;

    /// The prompts held out.
    fn prompts(&self) -> Vec<&[u32]>;

    /// What a resumed run must find unchanged.
    fn examples(&self) -> Examples;
}

/// A policy beside the frozen one that it started from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Models<'a> {
    /// The policy, without gradients.
    pub(crate) policy: &'a Transformer,
    /// What it started from.
    pub(crate) reference: &'a Transformer,
    /// Who computes.
    pub(crate) workers: Workers,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    /// The policy to take the gradient of.
    pub(crate) tracked: &'a Transformer,
    /// The same, for reading.
    pub(crate) models: Models<'a>,
    /// The run.
    pub(crate) recipe: &'a Recipe,
}

/// What a step found.
#[derive(Debug)]
pub(crate) struct Taught {
    /// The gradient; none where the batch teaches nothing.
    pub(crate) learned: Option<Learned>,
    /// What the run is about.
    pub(crate) headline: (&'static str, f64),
    /// What the live line shows beside it.
    pub(crate) figures: Vec<(&'static str, f64)>,
    /// What only the journal takes.
    pub(crate) others: Vec<(&'static str, f64)>,
    /// Completion tokens learned from.
    pub(crate) tokens: usize,
    /// What the user should know, with a remedy; shown once a run.
    pub(crate) advice: Option<String>,
}

/// A held-out example's part of a weighted mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    /// What is averaged.
    pub(crate) value: f64,
    /// How much it counts.
    pub(crate) weight: f64,
}

/// A prompt with a completion.
pub(crate) type Pair<'a> = (&'a [u32], &'a [u32]);

impl Models<'_> {
    /// Summed log-probability of each completion under the policy and under the reference, in nats.
    ///
    /// # Errors
    /// A failing device.
    pub(crate) fn sums(&self, pairs: &[Pair<'_>]) -> Result<Vec<(f64, f64)>> {
        let of = |model| -> Result<Vec<f64>> {
            let rows = self.workers.log_probs(model, pairs, 1.0, SCORING_BATCH)?;
            Ok(rows.iter().map(|row| row.iter().map(|value| f64::from(*value)).sum()).collect())
        };
        Ok(of(self.policy)?.into_iter().zip(of(self.reference)?).collect())
    }

    /// Each completion as a preference loss sees it.
    ///
    /// # Errors
    /// A failing device.
    pub(crate) fn sides(&self, pairs: &[Pair<'_>]) -> Result<Vec<Side>> {
        let sums = self.sums(pairs)?.into_iter().zip(pairs);
        Ok(sums
            .map(|((policy, reference), (_, completion))| Side {
                policy,
                reference,
                tokens: completion.len(),
            })
            .collect())
    }
}

impl At<'_> {
    /// The gradient of a loss that has these slopes by the completions' log-probabilities.
    pub(crate) fn follow(&self, pairs: &[Pair<'_>], slopes: &[f64]) -> Learned {
        let experiences = Linear::experiences(pairs, slopes);
        self.minimize(experiences, &Linear { temperature: 1.0 })
    }

    /// The gradient of an objective over experience.
    pub(crate) fn minimize(
        &self,
        mut experiences: Vec<Experience>,
        objective: &dyn kudos_core::objective::Objective,
    ) -> Learned {
        experiences.sort_by_key(|one| one.prompt.len() + one.completion.len());
        let size = self.recipe.batch.micro_batch_size;
        self.models.workers.learn(self.tracked, &experiences, objective, size)
    }
}

/// Moves the weights along a gradient, if there is one; what the journal takes of it.
///
/// # Errors
/// A failing device.
pub(crate) fn moved(
    learned: Option<Learned>,
    (model, optimizer): (&mut Transformer, &mut AdamW),
    recipe: &Recipe,
    step: usize,
) -> Result<Vec<(String, f64)>> {
    let learning_rate = schedule(recipe).learning_rate(step);
    let mut numbers = vec![("learning_rate".to_owned(), learning_rate)];
    if let Some(mut learned) = learned {
        optimizer.regularize(model, &mut learned.gradients);
        let norm = learned.gradients.clip(recipe.optimizer.max_grad_norm);
        *model = optimizer.step(model.clone(), learned.gradients, learning_rate);
        numbers.push(("grad_norm".to_owned(), number(norm)?));
    }
    Ok(numbers)
}

/// Tokens of the completions.
pub(crate) fn tokens(pairs: &[Pair<'_>]) -> usize {
    pairs.iter().map(|(_, completion)| completion.len()).sum()
}
