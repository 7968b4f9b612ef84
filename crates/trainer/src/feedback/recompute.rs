//! The log-probabilities that a policy gives to what is said to be its sample: one forward pass over
//! prompt and completion.
//!
//! The same functions as in `generate` make them, without its cache and its coins, so that they
//! differ from an honest browser's by rounding alone.

use burn::tensor::{DType, Int, Tensor, TensorData};
use kudos_core::model::{PaddingSide, Tokens, Transformer};
use kudos_core::rollout::{distribution, log_probs, penalize};
use kudos_schema::{Sample, Sampling};

/// Positions whose logits are held at once: `[64, V]` is small for any vocabulary.
const ROWS: usize = 64;

/// Log-probability in nats of each token of a completion; empty if it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Recomputed {
    /// Under the full softmax at the sampling temperature.
    pub(super) full: Vec<f32>,
    /// Under the distribution drawn from; -1e9 or below where it cuts the token off.
    pub(super) drawn: Vec<f32>,
}

/// Where the distribution drawn from is cut. At the very edge of top-k, top-p or min-p, rounding moves a
/// token in or out, and with it all others by its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cut {
    /// As the sampling says.
    Exact,
    /// Keeping more: thresholds moved by this share.
    Looser(f64),
    /// Keeping less.
    Tighter(f64),
    /// As the sampling says, the token itself more likely by as many nats: it passes its equals.
    Lifted(f64),
}

impl Cut {
    fn sampling(self, exact: &Sampling) -> Sampling {
        let share = match self {
            Self::Exact | Self::Lifted(_) => return exact.clone(),
            Self::Looser(share) => share,
            Self::Tighter(share) => -share,
        };
        let off = exact.top_p == 1.0;
        Sampling {
            top_p: if off { 1.0 } else { (exact.top_p * (1.0 + share)).min(1.0) },
            min_p: exact.min_p * (1.0 - share),
            ..exact.clone()
        }
    }
}

/// What the policy gives. When greedy, `drawn` is how far the token lies below the most likely one.
///
/// # Panics
/// If there is no prompt, a token is none of the vocabulary, or all do not fit the context.
pub(super) fn recompute(
    model: &Transformer,
    prompt: &[u32],
    sample: &Sample,
    cut: Cut,
) -> Recomputed {
    let mut recomputed = Recomputed::default();
    let Some((_, read)) = sample.token_ids.split_last() else { return recomputed };
    let sequence = [prompt, read].concat();
    let tokens = Tokens::new(&[&sequence], PaddingSide::Left, &model.device());
    let hidden = model.hidden(&tokens, None);
    let count = sample.token_ids.len();
    for first in (0..count).step_by(ROWS) {
        let rows = ROWS.min(count - first);
        let logits = model.logits(hidden.clone().narrow(1, prompt.len() - 1 + first, rows));
        let [_, _, vocabulary] = logits.dims();
        let logits = logits.reshape([rows, vocabulary]).cast(DType::F32);
        let full = log_probs(logits.clone(), &sample.sampling);
        let base = if sample.sampling.repetition_penalty == 1.0 {
            full.clone()
        } else {
            let seen = seen(&sequence[..prompt.len() + first + rows - 1], (rows, vocabulary));
            let seen = Tensor::from_data(seen, &logits.device());
            log_probs(penalize(logits, &seen, &sample.sampling), &sample.sampling)
        };
        let chosen = chosen(&sample.token_ids[first..first + rows], &full);
        recomputed.full.extend(read_back(full.gather(1, chosen.clone())));
        recomputed.drawn.extend(read_back(drawn(base, chosen, &sample.sampling, cut)));
    }
    recomputed
}

/// Log-probability of the chosen tokens under the distribution drawn from. `[R, V], [R, 1] -> [R, 1]`
fn drawn(base: Tensor<2>, chosen: Tensor<2, Int>, sampling: &Sampling, cut: Cut) -> Tensor<2> {
    if sampling.temperature == 0.0 {
        return base.clone().gather(1, chosen) - base.max_dim(1);
    }
    let base = match cut {
        Cut::Exact | Cut::Looser(_) | Cut::Tighter(_) => base,
        Cut::Lifted(nats) => {
            let dims = base.dims();
            let ids = Tensor::<1, Int>::arange(0..dims[1] as i64, &base.device());
            let ids = ids.unsqueeze::<2>().expand(dims);
            let is_chosen = ids.equal(chosen.clone().expand(dims));
            base.clone().mask_where(is_chosen, base.add_scalar(nats))
        }
    };
    distribution(base, &cut.sampling(sampling)).gather(1, chosen)
}

/// `[R, 1]`
fn chosen(ids: &[u32], like: &Tensor<2>) -> Tensor<2, Int> {
    let ids: Vec<i32> = ids.iter().map(|id| *id as i32).collect();
    let shape = [ids.len(), 1];
    Tensor::from_data(TensorData::new(ids, shape), &like.device())
}

/// Which tokens each of the last `rows` positions has before it, itself included. `[R, V]`
fn seen(sequence: &[u32], (rows, vocabulary): (usize, usize)) -> TensorData {
    let mut row = vec![false; vocabulary];
    let mut all: Vec<bool> = Vec::with_capacity(rows * vocabulary);
    for (place, id) in sequence.iter().enumerate() {
        // A patch of a picture is no token.
        if let Some(seen) = row.get_mut(*id as usize) {
            *seen = true;
        }
        if place + rows >= sequence.len() {
            all.extend(&row);
        }
    }
    TensorData::new(all, [rows, vocabulary])
}

fn read_back(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("log-probabilities are f32")
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// The log-probability of the third of four tokens, whose probabilities are 0.4, 0.2, hardly less, 0.2.
    fn third(sampling: &Sampling, cut: Cut) -> f32 {
        let base = [0.4f32.ln(), 0.2f32.ln(), 0.2f32.ln() - 1e-5, 0.2f32.ln()];
        let base = Tensor::<2>::from_data([base], &Device::flex());
        let chosen = chosen(&[2], &base);
        read_back(drawn(base, chosen, sampling, cut))[0]
    }

    #[test]
    fn a_token_as_likely_as_the_last_kept_could_have_been_kept() {
        let check = |sampling: Sampling, mass: f32| {
            assert!(third(&sampling, Cut::Exact) < -1e8, "{sampling:?}");
            let found = third(&sampling, Cut::Lifted(1e-3));
            assert!((found - (0.2 / mass).ln()).abs() < 2e-3, "{sampling:?}: {found}");
        };
        // Not lifted, it lies behind two equals; lifted, it is kept alone beside the most likely one.
        check(Sampling { top_k: 2, ..Sampling::default() }, 0.6);
        check(Sampling { top_p: 0.5, ..Sampling::default() }, 0.6);
    }

    #[test]
    fn thresholds_move_both_ways() {
        let check = |sampling: Sampling, exact: f32, looser: f32| {
            let near = |found: f32, expected: f32| (found - expected).abs() < 1e-3;
            let found = third(&sampling, Cut::Exact);
            assert!(near(found, exact) || (exact < -1e8 && found < -1e8), "{sampling:?}: {found}");
            assert!(near(third(&sampling, Cut::Looser(1e-3)), looser), "{sampling:?}");
            assert!(third(&sampling, Cut::Tighter(1e-3)) < -1e8, "{sampling:?}");
        };
        let all = 0.2f32.ln();
        check(Sampling { min_p: 0.5, ..Sampling::default() }, -1e9, all);
        check(Sampling { min_p: 0.4999, ..Sampling::default() }, all, all);
        check(Sampling { top_p: 0.7999, ..Sampling::default() }, -1e9, all);
        check(Sampling { top_p: 0.80001, ..Sampling::default() }, all, all);
    }
}
