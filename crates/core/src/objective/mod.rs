//! What is minimized: every objective is a weighted sum over chosen tokens.
//!
//! The weights are fixed on the host for the whole batch before it is cut into micro-batches, so
//! that neither micro-batch size, accumulation, padding nor order changes the result. N counts the
//! chosen tokens of a micro-batch, sequence after sequence; there is no padding among them.

mod aggregation;
#[cfg(feature = "train")]
mod critic;
#[cfg(feature = "train")]
mod distil;
#[cfg(feature = "train")]
mod game;
mod importance;
mod linear;
mod policy_gradient;
mod preference;
mod reward_model;
mod scores;
mod supervised;
#[cfg(feature = "train")]
mod turns;
mod unpaired;
#[cfg(feature = "train")]
mod value;

pub use aggregation::Aggregation;
#[cfg(feature = "train")]
pub use critic::{CriticLoss, Judgement, JudgementBatch, ValueClip, explained_variance};
#[cfg(feature = "train")]
pub use distil::{Distil, Lesson, Told, tell};
#[cfg(feature = "train")]
pub use game::{Contest, Verdicts, nash_md};
pub use importance::{
    Importance, ImportanceReport, RatioBound, RatioLevel, Weighed, effective_share,
};
pub use linear::{Linear, Linearized};
pub use policy_gradient::{
    Algorithm, Baseline, Clip, Coefficients, Collected, Compat, Correction, Ddof, Deviation, Dual,
    EntropyBonus, FlatGroups, Guard, Kept, KlCoefficient, KlPlacement, PolicyGradient,
    PolicyGradientState, Prepared, Scale, Surrogate, Truncated, flat_groups,
    generalized_advantages,
};
pub use preference::{Pair, Preference, PreferenceLoss, PreferenceReport, Side};
pub use reward_model::{RewardFit, VerdictOn, Weighted};
#[cfg(feature = "train")]
pub(crate) use scores::score_by_block;
pub use scores::{EntropyUse, Scores, Scoring, score, score_logits};
pub use supervised::Supervised;
#[cfg(feature = "train")]
pub use turns::{Credit, GameLine, Lived, MiniBatch, whiten};
pub use unpaired::{Judged, Label, Unpaired};
#[cfg(feature = "train")]
pub use value::{Aims, Chosen, Method, ValueLearning, ValueLoss};

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// One completion with what each of its tokens is worth. Vectors have the completion's length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Experience {
    /// The prompt.
    pub prompt: Vec<u32>,
    /// The tokens chosen after it, the end token included.
    pub completion: Vec<u32>,
    /// Share of each token in the loss of the whole batch.
    pub weights: Vec<f32>,
    /// Advantage of each token.
    pub advantages: Vec<f32>,
    /// Log-probability of each token under the reference, in nats.
    pub reference: Vec<f32>,
    /// Log-probability of each token under the policy as it was when the completion was collected, in
    /// nats: what a ratio is taken to.
    pub old: Vec<f32>,
}

/// The per-token numbers of a micro-batch on the device.
#[derive(Debug, Clone)]
pub struct TokenBatch {
    /// Share in the loss. `[N]`
    pub weights: Tensor<1>,
    /// `[N]`
    pub advantages: Tensor<1>,
    /// Log-probability under the reference, in nats. `[N]`
    pub reference: Tensor<1>,
    /// Log-probability under the policy that collected, in nats. `[N]`
    pub old: Tensor<1>,
    /// Which completion each token is of. `[N]`
    pub places: Tensor<1, Int>,
    /// How many tokens that completion has. `[N]`
    pub lengths: Tensor<1>,
    /// B, the number of completions.
    pub completions: usize,
}

/// A loss over chosen tokens.
pub trait Objective: Sync {
    /// The micro-batch's part of the loss; parts add up to the loss of the batch.
    /// `[N], [N] -> [1]`
    fn loss(&self, scores: &Scores, batch: &TokenBatch) -> Tensor<1>;

    /// How the completions are scored for it.
    fn scoring(&self) -> Scoring;

    /// What a ratio's bounds held, in parts that add up: tokens held from below, tokens held from above,
    /// the sum of `log p_old - log p`, tokens of a ratio above 100, tokens; those without weight do not count. None
    /// without a ratio. `[N], [N] -> [5]`
    fn clipping(&self, _scores: &Scores, _batch: &TokenBatch) -> Option<Tensor<1>> {
        None
    }
}

impl TokenBatch {
    /// Uploads the numbers of `experiences`, one after the other.
    pub fn new(experiences: &[Experience], device: &Device) -> Self {
        let upload = |part: fn(&Experience) -> &Vec<f32>| {
            let values: Vec<f32> = experiences.iter().flat_map(part).copied().collect();
            let length = values.len();
            Tensor::from_data(TensorData::new(values, [length]), device)
        };
        let lengths = experiences.iter().map(|one| one.completion.len());
        let tokens = lengths.enumerate().flat_map(|token| std::iter::repeat_n(token, token.1));
        let (places, lengths): (Vec<i32>, Vec<f32>) =
            tokens.map(|(place, length)| (place as i32, length as f32)).unzip();
        let count = places.len();
        Self {
            weights: upload(|one| &one.weights),
            advantages: upload(|one| &one.advantages),
            reference: upload(|one| &one.reference),
            old: upload(|one| &one.old),
            places: Tensor::from_data(TensorData::new(places, [count]), device),
            lengths: Tensor::from_data(TensorData::new(lengths, [count]), device),
            completions: experiences.len(),
        }
    }
}
