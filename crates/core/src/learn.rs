//! One gradient from a batch of experience, micro-batch by micro-batch.
//!
//! Mixed precision is a working copy of the model in half precision ([`cast`](crate::model::cast)):
//! losses and gradients come out in f32, for an optimizer whose own weights are f32.
//! Source: Micikevicius et al. 2018.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::model::{Critic, Passes, Places, Scorer, Tape, Transformer, Trunk, Valued, say};
use crate::objective::{
    Chosen, Distil, EntropyUse, Experience, Judgement, JudgementBatch, Lesson, Objective, Scoring,
    TokenBatch, ValueClip, ValueLearning, ValueLoss, score, score_by_block,
};
use crate::optim::Gradients;
use crate::rollout::Trajectory;

/// Factor of the loss in a backward pass in f16, whose smallest number is 6e-8: a power of two, so that
/// taking it out again is exact.
const F16_LOSS_SCALE: f64 = 1024.0;

/// The gradient of a batch and what it showed. Nothing is read back from the device.
#[derive(Debug)]
pub struct Learned {
    /// Gradient of the loss of the whole batch.
    pub gradients: Gradients,
    /// The loss. `[1]`
    pub loss: Tensor<1>,
    /// Weighted mean entropy of the chosen tokens in nats, where it was asked for. `[1]`
    pub entropy: Option<Tensor<1>>,
    /// What [`Objective::clipping`] says of the batch, where there is a ratio. `[5]`
    pub clipping: Option<Tensor<1>>,
}

/// Adds up the gradients of `experiences`, at most `micro_batch_size` sequences at a time.
///
/// `model` must live on an autodiff device.
///
/// # Panics
/// If there is no experience, or a sequence does not fit the context.
pub fn learn(
    model: &Transformer,
    experiences: &[Experience],
    objective: &dyn Objective,
    micro_batch_size: usize,
) -> Learned {
    let parts = experiences.chunks(micro_batch_size.max(1));
    let sum = parts.map(|part| learn_part(model, part, objective)).reduce(Learned::plus);
    sum.expect("a batch has experience")
}

impl Learned {
    /// With what another part of the same batch showed.
    pub fn plus(self, other: Self) -> Self {
        Self {
            gradients: self.gradients.plus(other.gradients),
            loss: self.loss + other.loss,
            entropy: self.entropy.zip(other.entropy).map(|(sum, part)| sum + part),
            clipping: self.clipping.zip(other.clipping).map(|(sum, part)| sum + part),
        }
    }
}

fn learn_part(model: &Transformer, part: &[Experience], objective: &dyn Objective) -> Learned {
    let (scores, tape) = match model.passes() {
        Passes::Whole => (score(model, &pairs(part), objective.scoring()), None),
        Passes::ByBlock => {
            let (scores, tape) = score_by_block(model, &pairs(part), objective.scoring());
            (scores, Some(tape))
        }
    };
    let batch = TokenBatch::new(part, &model.device());
    let loss = objective.loss(&scores, &batch);
    let clipping = objective.clipping(&scores, &batch);
    let weights = batch.weights.without_autodiff();
    // A sum, not a mean: a micro-batch may have no weight at all.
    let entropy =
        scores.entropy.map(|entropy| (entropy.without_autodiff() * weights.clone()).sum());
    drop(scores.log_probs);
    let (gradients, loss) = backward(model, loss, tape);
    Learned { gradients, loss, entropy, clipping }
}

/// The gradient of a loss, and the loss without it. `[1] -> [1]`
fn backward(model: &Transformer, loss: Tensor<1>, tape: Option<Tape>) -> (Gradients, Tensor<1>) {
    let scale = if model.dtype() == DType::F16 { F16_LOSS_SCALE } else { 1.0 };
    let fixed = loss.clone().without_autodiff();
    let above = loss.mul_scalar(scale).backward();
    let mut gradients = match tape {
        None => Gradients::of(model, above),
        Some(tape) => tape.backward(model, above),
    };
    if scale != 1.0 {
        gradients.scale(scale.recip());
    }
    (gradients, fixed)
}

/// Log-probability in nats of every completion's tokens, on the host, at a temperature.
///
/// `model` should live on a device without autodiff.
///
/// # Errors
/// What the device reports when it does not return them.
pub async fn log_probs(
    model: &Transformer,
    pairs: &[(&[u32], &[u32])],
    temperature: f64,
    micro_batch_size: usize,
) -> Result<Vec<Vec<f32>>, String> {
    let mut all = Vec::with_capacity(pairs.len());
    for part in pairs.chunks(micro_batch_size.max(1)) {
        let scoring = Scoring { temperature, entropy: EntropyUse::Skip };
        let scores = score(model, part, scoring).log_probs;
        all.extend(by_completion(scores, part).await?);
    }
    Ok(all)
}

/// Numbers of tokens on the host, cut into those of each completion. `[N]`
async fn by_completion(
    numbers: Tensor<1>,
    pairs: &[(&[u32], &[u32])],
) -> Result<Vec<Vec<f32>>, String> {
    let data = numbers.into_data_async().await.map_err(|error| format!("{error:?}"))?;
    let mut flat = data.try_to_vec::<f32>().expect("numbers are f32").into_iter();
    let own = |(_, completion): &(_, &[u32])| flat.by_ref().take(completion.len()).collect();
    Ok(pairs.iter().map(own).collect())
}

/// What a critic expects at every token of every completion, on the host.
///
/// `critic` should live on a device without autodiff.
///
/// # Errors
/// What the device reports when it does not return them.
pub async fn expectations(
    critic: &Critic,
    pairs: &[(&[u32], &[u32])],
    micro_batch_size: usize,
) -> Result<Vec<Vec<f32>>, String> {
    let mut all = Vec::with_capacity(pairs.len());
    for part in pairs.chunks(micro_batch_size.max(1)) {
        all.extend(by_completion(critic.forward(&Places::before(part)), part).await?);
    }
    Ok(all)
}

/// The gradient of a critic with what it showed. Nothing is read back from the device.
#[derive(Debug)]
pub struct Criticized {
    /// Gradient of the loss of the whole batch.
    pub gradients: Gradients,
    /// The loss. `[1]`
    pub loss: Tensor<1>,
    /// Tokens held by the clip, and tokens. `[2]`
    pub held: Tensor<1>,
}

impl Criticized {
    /// With what another part of the same batch showed.
    pub fn plus(self, other: Self) -> Self {
        Self {
            gradients: self.gradients.plus(other.gradients),
            loss: self.loss + other.loss,
            held: self.held + other.held,
        }
    }
}

/// Adds up the gradients of `judgements`, at most `micro_batch_size` sequences at a time.
///
/// `critic` must live on an autodiff device.
///
/// # Panics
/// If there is no judgement, or a sequence does not fit the context.
pub fn learn_critic(
    critic: &Critic,
    judgements: &[Judgement],
    clip: ValueClip,
    micro_batch_size: usize,
) -> Criticized {
    let parts = judgements.chunks(micro_batch_size.max(1)).map(|part| {
        let pairs: Vec<(&[u32], &[u32])> =
            part.iter().map(|one| (one.prompt.as_slice(), one.completion.as_slice())).collect();
        let values = critic.forward(&Places::before(&pairs));
        let batch = JudgementBatch::new(part, &critic.trunk.device());
        let loss = clip.loss(&values, &batch);
        let gradients = Gradients::of(critic, loss.loss.clone().backward());
        Criticized { gradients, loss: loss.loss.without_autodiff(), held: loss.held }
    });
    parts.reduce(Criticized::plus).expect("a batch has judgements")
}

/// The gradient of `sum_i slopes_i score_i` over texts, at most `micro_batch_size` at a time: that of a
/// loss of the scores with these slopes.
///
/// `model` must live on an autodiff device.
///
/// # Panics
/// If there is no text, or one does not fit the context.
pub fn learn_scores(
    model: &Scorer,
    texts: &[&[u32]],
    slopes: &[f64],
    micro_batch_size: usize,
) -> Gradients {
    let size = micro_batch_size.max(1);
    let parts = texts.chunks(size).zip(slopes.chunks(size)).map(|(texts, slopes)| {
        Gradients::of(model, weighted_sum(model.forward(texts), slopes).backward())
    });
    parts.reduce(Gradients::plus).expect("a batch has texts")
}

/// The gradient of `sum_i slopes_i score_i` by the head alone, from the features that a trunk made of
/// each text before.
///
/// `head` must live on an autodiff device.
///
/// # Panics
/// If the features are not as wide as the head.
pub fn learn_head(head: &Linear, features: &[&[f32]], slopes: &[f64]) -> Gradients {
    Gradients::of(head, weighted_sum(say(head, on_device(head, features)), slopes).backward())
}

/// What a head says of the features of each text, on the host.
///
/// # Errors
/// What the device reports when it does not return them.
pub async fn head_scores(head: &Linear, features: &[&[f32]]) -> Result<Vec<f32>, String> {
    let scores = say(head, on_device(head, features)).into_data_async().await;
    Ok(scores.map_err(|error| format!("{error:?}"))?.try_to_vec().expect("scores are f32"))
}

/// The gradient of a batch of trajectories by what choices are worth, at most `micro_batch_size` at a
/// time, with the loss, which has no gradient left.
///
/// `model` must live on an autodiff device, `copy`, which rates what comes next, on the same one without.
///
/// # Panics
/// If nothing was chosen in a part, or a sequence does not fit the context.
pub fn learn_values(
    (model, copy): (&Valued, &Valued),
    trajectories: &[Trajectory],
    learning: &ValueLearning,
    micro_batch_size: usize,
) -> (Gradients, ValueLoss) {
    let parts = trajectories.chunks(micro_batch_size.max(1));
    let sum = parts
        .map(|part| learn_values_part((model, copy), part, learning))
        .reduce(|(gradients, loss), (more, other)| (gradients.plus(more), loss.plus(other)));
    sum.expect("a batch has trajectories")
}

fn learn_values_part(
    (model, copy): (&Valued, &Valued),
    part: &[Trajectory],
    learning: &ValueLearning,
) -> (Gradients, ValueLoss) {
    let chosen = Chosen::of(part);
    let estimates = model.forward(&chosen.read);
    let mut own = estimates.fixed();
    let mut copied = own.clone();
    if learning.method.looks_ahead() {
        copied = copy.forward(&chosen.read);
        if !chosen.after.sequences.is_empty() {
            own = own.followed_by(model.valid().forward(&chosen.after));
            copied = copied.followed_by(copy.forward(&chosen.after));
        }
    }
    let aims = learning.aims(&own, &copied, &chosen);
    let loss = learning.loss(&estimates, &aims, &chosen);
    let gradients = Gradients::of(model, loss.total.clone().backward());
    (gradients, loss.fixed())
}

/// The gradient of a batch of lessons, at most `micro_batch_size` at a time, with the loss, which has no
/// gradient left. `-> [1]`
///
/// `student` must live on an autodiff device.
///
/// # Panics
/// If there is no lesson, or a sequence does not fit the context.
pub fn learn_lessons(
    student: &Transformer,
    lessons: &[Lesson],
    distil: &Distil,
    micro_batch_size: usize,
) -> (Gradients, Tensor<1>) {
    let parts = lessons.chunks(micro_batch_size.max(1));
    let sum = parts
        .map(|part| match student.passes() {
            Passes::Whole => backward(student, distil.loss(student, part), None),
            Passes::ByBlock => {
                let (loss, tape) = distil.loss_by_block(student, part);
                backward(student, loss, Some(tape))
            }
        })
        .reduce(|(gradients, loss), (more, other)| (gradients.plus(more), loss + other));
    sum.expect("a batch has lessons")
}

/// `[N] -> [1]`
fn weighted_sum(scores: Tensor<1>, weights: &[f64]) -> Tensor<1> {
    let weights: Vec<f32> = weights.iter().map(|weight| *weight as f32).collect();
    let weights = TensorData::new(weights, scores.dims());
    let weights = Tensor::<1>::from_data(weights, &scores.device());
    (scores * weights).sum()
}

/// Rows of features as a tensor. `-> [N, F]`
fn on_device(head: &Linear, features: &[&[f32]]) -> Tensor<2> {
    let shape = [features.len(), head.weight.dims()[0]];
    Tensor::from_data(TensorData::new(features.concat(), shape), &head.weight.device())
}

/// What a trunk makes of every text, on the host.
///
/// `trunk` should live on a device without autodiff.
///
/// # Errors
/// What the device reports when it does not return them.
pub async fn features(
    trunk: &Trunk,
    texts: &[&[u32]],
    micro_batch_size: usize,
) -> Result<Vec<Vec<f32>>, String> {
    let mut all = Vec::with_capacity(texts.len());
    for part in texts.chunks(micro_batch_size.max(1)) {
        let features = trunk.features(part).into_data_async().await;
        let features = features.map_err(|error| format!("{error:?}"))?;
        let flat = features.try_to_vec::<f32>().expect("features are f32");
        all.extend(flat.chunks_exact(trunk.width()).map(<[f32]>::to_vec));
    }
    Ok(all)
}

/// The score of every text, on the host.
///
/// `model` should live on a device without autodiff.
///
/// # Errors
/// What the device reports when it does not return them.
pub async fn scores(
    model: &Scorer,
    texts: &[&[u32]],
    micro_batch_size: usize,
) -> Result<Vec<f32>, String> {
    let mut all = Vec::with_capacity(texts.len());
    for part in texts.chunks(micro_batch_size.max(1)) {
        let scores = model.forward(part).into_data_async().await;
        let scores = scores.map_err(|error| format!("{error:?}"))?;
        all.extend(scores.try_to_vec::<f32>().expect("scores are f32"));
    }
    Ok(all)
}

fn pairs(experiences: &[Experience]) -> Vec<(&[u32], &[u32])> {
    experiences.iter().map(|one| (one.prompt.as_slice(), one.completion.as_slice())).collect()
}

/// The device that trains on `device`: with autodiff, and recomputing cheap activations if asked.
pub fn training_device(device: &Device, activations: Activations) -> Device {
    let device = device.clone().autodiff();
    match activations {
        Activations::Keep | Activations::Blocks => device,
        Activations::Recompute => device.gradient_checkpointing(),
    }
}

/// What happens to activations between the forward and the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activations {
    /// Kept in memory.
    Keep,
    /// Cheap ones are computed again in the backward pass: less memory, more time.
    Recompute,
    /// Only those between blocks are kept; the model, too, has to be told
    /// ([`passing`](Transformer::passing)).
    Blocks,
}

impl Activations {
    /// How a model is passed that learns so.
    pub fn passes(self) -> Passes {
        match self {
            Self::Keep | Self::Recompute => Passes::Whole,
            Self::Blocks => Passes::ByBlock,
        }
    }
}
