//! Distillation: a student's distribution at each token drawn to a teacher's.
//!
//! Measures: how far the student p is from the teacher q, token by token, both at a temperature.
//! Formula: generalized Jensen-Shannon divergence with the mixture `m = (1 - beta) p + beta q`:
//! `beta KL(q | m) + (1 - beta) KL(p | m)`; beta 0 is taken as the forward `KL(q | p)`, beta 1 as the
//! reverse `KL(p | q)`, which are not its limits (those are 0). No factor for the temperature.
//! Range: 0 or more, in nats; at most ln 2 within.
//! Of the teacher the k likeliest tokens are known and what the others have together: both
//! distributions are compared over these k + 1 classes, which never makes the divergence larger. With
//! k = V it is exact.
//! Misleads when: k is small, since how the student spreads the rest is then free; or the teacher
//! itself is wrong.
//! Reference: Hinton et al. 2015 (temperature); Agarwal et al. 2024 (GKD), as TRL computes it.

use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData, activation};
use serde::{Deserialize, Serialize};

use super::scores::{chosen_logits, chosen_logits_by_block};
use crate::first_order::{constant, with_gradient_of};
use crate::model::{Tape, Transformer};

/// The smallest probability that a class is taken to have: its logarithm is finite in f32.
const LEAST: f64 = 1e-30;

/// How student and teacher are compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Distil {
    /// 0 = forward KL, which covers what the teacher does; 1 = reverse KL, which keeps to what it does
    /// most; between them the generalized Jensen-Shannon divergence.
    pub beta: f64,
    /// Divides the logits of both.
    pub temperature: f64,
}

impl Default for Distil {
    fn default() -> Self {
        Self { beta: 0.0, temperature: 1.0 }
    }
}

/// What a teacher says at N places: its k likeliest tokens.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Told {
    /// How many tokens are known at each place: k.
    pub top_k: usize,
    /// Those tokens, the likeliest first: N times k of them.
    pub ids: Vec<u32>,
    /// Their log-probabilities in nats, then that of all others together: N times k + 1.
    pub log_probs: Vec<f32>,
}

/// A completion with what the teacher says at each of its tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesson {
    /// The prompt.
    pub prompt: Vec<u32>,
    /// The tokens after it.
    pub completion: Vec<u32>,
    /// Share of each token in the loss of the whole batch.
    pub weights: Vec<f32>,
    /// One place for each token of the completion.
    pub told: Told,
}

impl Told {
    /// Puts the places of `other`, of the same k, behind these.
    pub fn append(&mut self, other: Self) {
        self.top_k = other.top_k;
        self.ids.extend(other.ids);
        self.log_probs.extend(other.log_probs);
    }

    /// The k likeliest of each row of log-probabilities over a vocabulary of this size; equals by their
    /// number.
    ///
    /// # Panics
    /// If k is 0 or larger than the vocabulary.
    pub fn of_rows(log_probs: &[f32], vocabulary: usize, top_k: usize) -> Self {
        let mut told = Self { top_k, ..Self::default() };
        let mut order: Vec<u32> = Vec::with_capacity(vocabulary);
        for row in log_probs.chunks_exact(vocabulary) {
            let likelier =
                |a: &u32, b: &u32| row[*b as usize].total_cmp(&row[*a as usize]).then(a.cmp(b));
            order.clear();
            order.extend(0..vocabulary as u32);
            order.select_nth_unstable_by(top_k - 1, likelier);
            let (top, rest) = order.split_at_mut(top_k);
            top.sort_unstable_by(likelier);
            let rest: f64 = rest.iter().map(|id| f64::from(row[*id as usize]).exp()).sum();
            told.ids.extend_from_slice(top);
            told.log_probs.extend(top.iter().map(|id| row[*id as usize].max(LEAST.ln() as f32)));
            told.log_probs.push(rest.max(LEAST).ln() as f32);
        }
        told
    }
}

/// What `teacher` says of completions after their prompts, on the host, completion after completion.
///
/// `teacher` should live on a device without autodiff.
///
/// # Errors
/// What the device reports when it does not return it.
///
/// # Panics
/// If a prompt is empty, no completion has a token, a sequence does not fit the context, or k is 0 or
/// larger than the vocabulary.
pub async fn tell(
    teacher: &Transformer,
    pairs: &[(&[u32], &[u32])],
    (top_k, temperature): (usize, f64),
) -> Result<Vec<Told>, String> {
    let logits = chosen_logits(teacher, pairs);
    let [_, vocabulary] = logits.dims();
    let log_probs = activation::log_softmax(logits.div_scalar(temperature), 1);
    let data = log_probs.into_data_async().await.map_err(|error| format!("{error:?}"))?;
    let flat = data.try_to_vec::<f32>().expect("log-probabilities are f32");
    let mut rest = flat.as_slice();
    let mut all = Vec::with_capacity(pairs.len());
    for (_, completion) in pairs {
        let (own, others) = rest.split_at(completion.len() * vocabulary);
        all.push(Told::of_rows(own, vocabulary, top_k));
        rest = others;
    }
    Ok(all)
}

impl Distil {
    /// The part of the loss of `lessons`: parts add up to the loss of the batch. `-> [1]`
    ///
    /// # Panics
    /// If there is no lesson, a sequence does not fit the context, or what was told is of another length.
    pub fn loss(&self, student: &Transformer, lessons: &[Lesson]) -> Tensor<1> {
        self.loss_at(chosen_logits(student, &pairs(lessons)), lessons)
    }

    /// [`Self::loss`] on the way forward of a student that goes back block by block. `-> [1]`
    pub(crate) fn loss_by_block(
        &self,
        student: &Transformer,
        lessons: &[Lesson],
    ) -> (Tensor<1>, Tape) {
        let (logits, tape) = chosen_logits_by_block(student, &pairs(lessons));
        (self.loss_at(logits, lessons), tape)
    }

    /// `[N, V] -> [1]`
    fn loss_at(&self, logits: Tensor<2>, lessons: &[Lesson]) -> Tensor<1> {
        let mut told = Told::default();
        lessons.iter().for_each(|one| told.append(one.told.clone()));
        let weights: Vec<f32> = lessons.iter().flat_map(|one| &one.weights).copied().collect();
        let weights = TensorData::new(weights, [logits.dims()[0]]);
        let weights = Tensor::from_data(weights, &logits.device());
        (self.divergences(logits, &told) * weights).sum()
    }

    /// How far the student is from what it was told at each place, in nats. `[N, V] -> [N]`
    ///
    /// The value and its slope by each logit are computed once, untracked: over classes c with the
    /// student's p and a loss of derivative g by p, the slope by a logit of class c is
    /// `p_v (g_c - sum p g)`. It is g = `-q / p` (forward), `log p / q` (reverse),
    /// `(1 - beta) log p / m` (between), but for a constant that falls out.
    ///
    /// # Panics
    /// If what was told is of another number of places.
    pub fn divergences(&self, logits: Tensor<2>, told: &Told) -> Tensor<1> {
        let [count, _] = logits.dims();
        let (device, k) = (logits.clone().without_autodiff().device(), told.top_k);
        let ids: Vec<i32> = told.ids.iter().map(|id| *id as i32).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [count, k]), &device);
        let log_q = TensorData::new(told.log_probs.clone(), [count, k + 1]);
        let log_q = Tensor::<2>::from_data(log_q, &device);
        let logits = logits.div_scalar(self.temperature);
        let fixed = logits.clone().without_autodiff();
        let p = activation::softmax(fixed, 1);
        let top = p.clone().gather(1, ids.clone());
        // What is left where the known are taken out: one minus their sum would lose its digits.
        let others = p.clone().scatter(1, ids.clone(), top.clone().neg(), IndexingUpdateOp::Add);
        let rest = others.clone().sum_dim(1).clamp_min(LEAST);
        let classes = Tensor::cat(vec![top, rest.clone()], 1).clamp_min(LEAST);
        let (value, weighted) = self.of_classes(classes.clone(), log_q);
        if !logits.is_autodiff() {
            return value.reshape([count]);
        }
        // p_v g_c is a class's p g, shared out by p_v / p_c.
        let mean = weighted.clone().sum_dim(1);
        let (known, left) = (weighted.clone().narrow(1, 0, k), weighted.narrow(1, k, 1));
        let slope = others * (left / rest) - p * mean;
        let slope = slope.scatter(1, ids, known, IndexingUpdateOp::Add);
        let linear = (logits.clone() * constant(slope, &logits)).sum_dim(1);
        with_gradient_of(value, linear).reshape([count])
    }

    /// The divergence, and p g of each class. `[N, C], [N, C] -> [N, 1], [N, C]`
    fn of_classes(&self, p: Tensor<2>, log_q: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let log_p = p.clone().log();
        let q = log_q.clone().exp();
        if self.beta == 0.0 {
            return ((q.clone() * (log_q - log_p)).sum_dim(1), q.neg());
        }
        if self.beta == 1.0 {
            let weighted = p * (log_p - log_q);
            return (weighted.clone().sum_dim(1), weighted);
        }
        let beta = self.beta;
        let mixture = p.clone().mul_scalar(1.0 - beta) + q.clone().mul_scalar(beta);
        let log_m = mixture.log();
        let weighted = (p * (log_p - log_m.clone())).mul_scalar(1.0 - beta);
        let value = weighted.clone().sum_dim(1) + (q * (log_q - log_m)).sum_dim(1).mul_scalar(beta);
        (value, weighted)
    }
}

fn pairs(lessons: &[Lesson]) -> Vec<(&[u32], &[u32])> {
    lessons.iter().map(|one| (one.prompt.as_slice(), one.completion.as_slice())).collect()
}
