//! One scorer of a reward model in training.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::Result;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Device;
use kudos_core::learn::{head_scores, learn_head};
use kudos_core::model::{Scorer, Trunk};
use kudos_core::optim::{AdamW, Gradients};
use pollster::block_on;
use rand::RngExt;

use super::model::BATCH;
use crate::batches::{Purpose, coins};
use crate::parallel::Workers;
use crate::recipe::{Recipe, TrunkUse};

/// What a frozen trunk makes of each text, computed once for all members.
pub(super) type Features = Arc<HashMap<Vec<u32>, Vec<f32>>>;

/// A scorer in training.
pub(super) struct Member {
    pub(super) learner: Learner,
    pub(super) optimizer: AdamW,
    /// How much each judgement counts for it, beside the judgement's own weight.
    pub(super) drawn: Vec<f64>,
}

/// The part of a scorer that learns.
#[derive(Clone)]
pub(super) enum Learner {
    /// Trunk and head.
    Whole(Box<Scorer>),
    /// The head on a frozen trunk.
    Head(Linear, Features),
}

impl Learner {
    /// What learns, with a head of zeros.
    ///
    /// # Errors
    /// A failing device.
    pub(super) fn new(
        trunk: Trunk,
        texts: &[&[u32]],
        (how, device): (TrunkUse, &Device),
    ) -> Result<Self> {
        match how {
            TrunkUse::Tuned => Ok(Self::Whole(Box::new(Scorer::zeroed(trunk).fork(device)))),
            TrunkUse::Frozen => {
                let head = Scorer::zeroed_head(trunk.width(), device);
                // Each text once, in an order of their own, so that rounding is the same in every run.
                let once: BTreeSet<&[u32]> = texts.iter().copied().collect();
                let once: Vec<&[u32]> = once.into_iter().collect();
                let features = Workers::of(&trunk.device()).features(&trunk, &once, BATCH)?;
                let texts = once.into_iter().map(<[u32]>::to_vec);
                Ok(Self::Head(head, Arc::new(texts.zip(features).collect())))
            }
        }
    }

    /// The device that it learns on.
    pub(super) fn device(&self) -> Device {
        match self {
            Self::Whole(scorer) => scorer.trunk.device(),
            Self::Head(head, _) => head.weight.device(),
        }
    }

    /// The score of each text.
    ///
    /// # Errors
    /// A failing device.
    pub(super) fn scores(&self, texts: &[&[u32]], size: usize) -> Result<Vec<f64>> {
        match self {
            Self::Whole(scorer) => {
                Workers::of(&scorer.trunk.device()).scores(&scorer.valid(), texts, size)
            }
            Self::Head(head, features) => {
                let scores = block_on(head_scores(&head.valid(), &rows(features, texts)));
                let scores = scores.map_err(anyhow::Error::msg)?;
                Ok(scores.into_iter().map(f64::from).collect())
            }
        }
    }

    /// The gradient of a loss that has these slopes by the texts' scores.
    pub(super) fn learn(&self, texts: &[&[u32]], slopes: &[f64], size: usize) -> Gradients {
        match self {
            Self::Whole(scorer) => {
                Workers::of(&scorer.trunk.device()).learn_scores(scorer, texts, slopes, size)
            }
            Self::Head(head, features) => learn_head(head, &rows(features, texts), slopes),
        }
    }

    /// One step of the optimizer.
    pub(super) fn step(&self, optimizer: &mut AdamW, gradients: Gradients, rate: f64) -> Self {
        match self {
            Self::Whole(scorer) => {
                Self::Whole(Box::new(optimizer.step((**scorer).clone(), gradients, rate)))
            }
            Self::Head(head, features) => {
                Self::Head(optimizer.step(head.clone(), gradients, rate), Arc::clone(features))
            }
        }
    }
}

fn rows<'a>(features: &'a Features, texts: &[&[u32]]) -> Vec<&'a [f32]> {
    texts.iter().map(|text| features[*text].as_slice()).collect()
}

impl Member {
    /// The `place`-th member, which learns `judgements` as drawn anew for it.
    pub(super) fn new(
        learner: Learner,
        judgements: usize,
        (recipe, place): (&Recipe, usize),
    ) -> Self {
        let mut coins = coins(recipe.seed, Purpose::Members, place as u64);
        let drawn = (0..judgements).map(|_| match recipe.feedback.members {
            1 => 1.0,
            _ => poisson(coins.random_range(0.0..1.0)),
        });
        Self { drawn: drawn.collect(), learner, optimizer: AdamW::new(recipe.optimizer.adamw) }
    }
}

/// The Poisson deviate of mean 1 that belongs to a uniform one, by inversion.
fn poisson(uniform: f64) -> f64 {
    let (mut count, mut probability) = (0.0, (-1.0f64).exp());
    let mut below = probability;
    while uniform >= below && probability > 1e-12 {
        count += 1.0;
        probability /= count;
        below += probability;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poisson_weights_have_mean_and_variance_one() {
        let count = 10_000;
        let of = |place: usize| poisson((place as f64 + 0.5) / f64::from(count));
        let values: Vec<f64> = (0..count as usize).map(of).collect();
        let mean = values.iter().sum::<f64>() / f64::from(count);
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(count);
        assert!((mean - 1.0).abs() < 1e-3 && (variance - 1.0).abs() < 1e-2, "{mean} {variance}");
        assert_eq!((poisson(0.0), poisson(0.5)), (0.0, 1.0));
    }
}
