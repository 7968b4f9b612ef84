//! What a policy says of completions that are already there: log-probability and entropy of each
//! chosen token.

use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData, activation};

use crate::first_order::{constant, with_gradient_of};
use crate::model::{PaddingSide, Tokens, Transformer, indices};
#[cfg(feature = "train")]
use crate::model::{Ragged, Tape};

/// The current policy's view of the chosen tokens, sequence after sequence.
#[derive(Debug, Clone)]
pub struct Scores {
    /// Log-probability of each token in nats, tracked for gradients. `[N]`
    pub log_probs: Tensor<1>,
    /// Entropy in nats of the distribution each token was chosen from, where asked for. `[N]`
    pub entropy: Option<Tensor<1>>,
}

/// What is wanted of the entropy, which costs passes over `[N, V]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntropyUse {
    /// Nothing.
    Skip,
    /// Its value, as a metric.
    Measure,
    /// Its value and gradient, for a bonus.
    Learn,
}

/// How completions are scored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scoring {
    /// Divides the logits.
    pub temperature: f64,
    /// What is wanted of the entropy.
    pub entropy: EntropyUse,
}

/// Scores the completions after their prompts in one forward pass, at a temperature.
///
/// # Panics
/// If a prompt is empty, no completion has a token, or a sequence is longer than the context.
pub fn score(model: &Transformer, pairs: &[(&[u32], &[u32])], scoring: Scoring) -> Scores {
    scores_of(model, pairs, (chosen_logits(model, pairs), scoring))
}

/// [`score`] on the way forward of a model that goes back block by block.
///
/// # Panics
/// As [`score`].
#[cfg(feature = "train")]
pub(crate) fn score_by_block(
    model: &Transformer,
    pairs: &[(&[u32], &[u32])],
    scoring: Scoring,
) -> (Scores, Tape) {
    let (logits, tape) = chosen_logits_by_block(model, pairs);
    (scores_of(model, pairs, (logits, scoring)), tape)
}

fn scores_of(
    model: &Transformer,
    pairs: &[(&[u32], &[u32])],
    (logits, scoring): (Tensor<2>, Scoring),
) -> Scores {
    let targets: Vec<i32> =
        pairs.iter().flat_map(|(_, completion)| *completion).map(|id| *id as i32).collect();
    let count = targets.len();
    let targets = TensorData::new(targets, [count, 1]);
    score_logits(logits, Tensor::from_data(targets, &model.device()), scoring)
}

/// What the policy says at each place that chooses a token of a completion, in f32, sequence after
/// sequence. Only these places reach the output head. `-> [N, V]`
///
/// # Panics
/// If a prompt is empty, no completion has a token, or a sequence is longer than the context.
pub(super) fn chosen_logits(model: &Transformer, pairs: &[(&[u32], &[u32])]) -> Tensor<2> {
    #[cfg(feature = "train")]
    if let Some(ragged) = Ragged::of(model, pairs) {
        return logits(model, model.hidden_ragged(&ragged));
    }
    let inputs = inputs(pairs);
    let rows: Vec<&[u32]> = inputs.iter().map(Vec::as_slice).collect();
    let tokens = Tokens::new(&rows, PaddingSide::Right, &model.device());
    logits_at(model, pairs, model.hidden(&tokens, None))
}

/// [`chosen_logits`] on the way forward of a model that goes back block by block. `-> [N, V]`
#[cfg(feature = "train")]
pub(super) fn chosen_logits_by_block(
    model: &Transformer,
    pairs: &[(&[u32], &[u32])],
) -> (Tensor<2>, Tape) {
    let inputs = inputs(pairs);
    let rows: Vec<&[u32]> = inputs.iter().map(Vec::as_slice).collect();
    let (hidden, tape) = model.hidden_by_block(&rows);
    (logits_at(model, pairs, hidden), tape)
}

/// What is read of each pair.
fn inputs(pairs: &[(&[u32], &[u32])]) -> Vec<Vec<u32>> {
    // The last token is only ever chosen, never conditioned on.
    let conditions = |completion: &[u32]| completion[..completion.len().saturating_sub(1)].to_vec();
    pairs.iter().map(|(prompt, completion)| [*prompt, &conditions(completion)].concat()).collect()
}

/// Logits at the places that choose. `[B, T, D] -> [N, V]`
fn logits_at(model: &Transformer, pairs: &[(&[u32], &[u32])], hidden: Tensor<3>) -> Tensor<2> {
    let [batch, time, width] = hidden.dims();
    let places = pairs.iter().enumerate().flat_map(|(row, (prompt, completion))| {
        let first = row * time + prompt.len() - 1;
        first..first + completion.len()
    });
    let places = indices(places, &model.device());
    logits(model, hidden.reshape([batch * time, width]).select(0, places))
}

/// In f32. `[N, D] -> [N, V]`
fn logits(model: &Transformer, hidden: Tensor<2>) -> Tensor<2> {
    let logits = model.logits(hidden.unsqueeze::<3>()).squeeze_dim::<2>(0);
    logits.cast(burn::tensor::DType::F32)
}

/// Scores targets under logits. `[N, V], [N, 1] -> [N], [N]`
///
/// The softmax p is computed once, untracked, and the tracked values are its exact first-order forms:
/// the gradient of a log-probability is `onehot - p`, that of the entropy `-p (log p + H)`. Plain
/// automatic differentiation of log-softmax gives the same numbers in several times the passes over
/// `[N, V]`, which is most of a small model's memory.
pub fn score_logits(logits: Tensor<2>, targets: Tensor<2, Int>, scoring: Scoring) -> Scores {
    let [count, _] = logits.dims();
    let Scoring { temperature, entropy } = scoring;
    let logits = if temperature == 1.0 { logits } else { logits.div_scalar(temperature) };
    let fixed = logits.clone().without_autodiff();
    let targets = targets.without_autodiff();
    let p = activation::softmax(fixed.clone(), 1);
    // The logarithm of the sum of exponentials, by the likeliest token: its p is never small.
    let log_sum = fixed.clone().max_dim(1) - p.clone().max_dim(1).log();
    let log_prob = fixed.clone().gather(1, targets.clone()) - log_sum.clone();
    let uncertainty = (entropy != EntropyUse::Skip)
        .then(|| log_sum.clone() - (fixed.clone() * p.clone()).sum_dim(1));
    if !logits.is_autodiff() {
        return Scores {
            log_probs: log_prob.reshape([count]),
            entropy: uncertainty.map(|value| value.reshape([count])),
        };
    }
    // A tracked number with this value and this slope by each logit.
    let tracked = |value: Tensor<2>, slope: Tensor<2>| {
        let linear = (logits.clone() * constant(slope, &logits)).sum_dim(1);
        with_gradient_of(value, linear).reshape([count])
    };
    let entropy = uncertainty.map(|value| match entropy {
        EntropyUse::Skip | EntropyUse::Measure => constant(value.clone(), &logits).reshape([count]),
        EntropyUse::Learn => {
            let log_p = fixed - log_sum;
            tracked(value.clone(), (p.clone() * (log_p + value)).neg())
        }
    });
    let ones = log_prob.ones_like();
    let slope = p.neg().scatter(1, targets, ones, IndexingUpdateOp::Add);
    Scores { log_probs: tracked(log_prob, slope), entropy }
}
