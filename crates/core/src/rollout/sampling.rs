//! From logits to the distribution drawn from, and one draw from it, all on the device.
//!
//! Nothing is sorted on the host: top-k takes the device's own kernel, top-p finds its threshold by
//! bisection, and the draw inverts the cumulative distribution at a given coin.
//!
//! Source: Fan et al. 2018 (top-k), Holtzman et al. 2020 (top-p), Nguyen et al. 2024 (min-p),
//! Keskar et al. 2019 (repetition penalty).

use burn::tensor::{Bool, Int, Tensor, activation};
use kudos_schema::Sampling;

/// Halvings that narrow a probability threshold below the resolution of f32 in [0, 1].
const TOP_P_HALVINGS: usize = 26;

/// Stands for minus infinity, which shader languages lack; `exp` of it is zero.
const LOWEST: f32 = -1e9;

/// What one step of decoding drew.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// The chosen token. `[B, 1]`
    pub token: Tensor<2, Int>,
    /// Its log-probability under the distribution drawn from, in nats. `[B, 1]`
    pub logprob_drawn: Tensor<2>,
    /// Its log-probability under the full softmax at the sampling temperature, in nats. `[B, 1]`
    pub logprob_full: Tensor<2>,
}

/// Lowers the logits of tokens that were already seen. `[B, V], [B, V] -> [B, V]`
pub fn penalize(logits: Tensor<2>, seen: &Tensor<2, Bool>, sampling: &Sampling) -> Tensor<2> {
    let penalty = sampling.repetition_penalty as f32;
    if penalty == 1.0 {
        return logits;
    }
    let negative = logits.clone().lower_elem(0.0);
    let lowered =
        logits.clone().div_scalar(penalty).mask_where(negative, logits.clone().mul_scalar(penalty));
    logits.mask_where(seen.clone(), lowered)
}

/// Log-probabilities of the full softmax at the sampling temperature, 1 when greedy.
/// `[B, V] -> [B, V]`
pub fn log_probs(logits: Tensor<2>, sampling: &Sampling) -> Tensor<2> {
    let temperature = if sampling.temperature == 0.0 { 1.0 } else { sampling.temperature };
    let scaled = if temperature == 1.0 { logits } else { logits.div_scalar(temperature) };
    activation::log_softmax(scaled, 1)
}

/// Log-probabilities of the distribution drawn from, renormalized after every cut; tokens cut off
/// stand at -1e9 or below. `[B, V] -> [B, V]`, from log-probabilities at the temperature.
pub fn distribution(log_probs: Tensor<2>, sampling: &Sampling) -> Tensor<2> {
    let [_, vocabulary] = log_probs.dims();
    let mut kept = log_probs;
    if sampling.top_k > 0 && sampling.top_k < vocabulary {
        let (best, _) = kept.clone().topk_with_indices(sampling.top_k, 1);
        let threshold = best.narrow(1, sampling.top_k - 1, 1);
        kept = keep(kept, threshold);
    }
    if sampling.top_p < 1.0 {
        let threshold = nucleus_threshold(&kept, sampling.top_p);
        kept = keep(kept, threshold);
    }
    if sampling.min_p > 0.0 {
        let threshold = kept.clone().max_dim(1).add_scalar(sampling.min_p.ln());
        kept = keep(kept, threshold);
    }
    kept
}

/// Cuts what is below the threshold and renormalizes. `[B, V], [B, 1] -> [B, V]`
fn keep(log_probs: Tensor<2>, threshold: Tensor<2>) -> Tensor<2> {
    let dims = log_probs.dims();
    let cut = log_probs.clone().lower(threshold.expand(dims));
    activation::log_softmax(log_probs.mask_fill(cut, LOWEST), 1)
}

/// The largest log-probability threshold such that the tokens at or above it reach `top_p`;
/// ties with the last token are kept. `[B, V] -> [B, 1]`
fn nucleus_threshold(log_probs: &Tensor<2>, top_p: f64) -> Tensor<2> {
    let dims = log_probs.dims();
    let probs = log_probs.clone().exp();
    // Keeping all reaches top_p, keeping nothing above the maximum does not.
    let mut enough = probs.clone().max_dim(1).zeros_like();
    let mut too_high = probs.clone().max_dim(1).mul_scalar(1.0 + 1e-6);
    for _ in 0..TOP_P_HALVINGS {
        let middle = (enough.clone() + too_high.clone()).mul_scalar(0.5);
        let below = probs.clone().lower(middle.clone().expand(dims));
        let mass = probs.clone().mask_fill(below, 0.0).sum_dim(1);
        let reached = mass.greater_equal_elem(top_p as f32);
        enough = enough.mask_where(reached.clone(), middle.clone());
        too_high = middle.mask_where(reached, too_high);
    }
    // The least kept probability itself, so that the threshold does not depend on the halvings.
    let below = probs.clone().lower(enough.expand(dims));
    log_probs.clone().mask_fill(below, -LOWEST).min_dim(1)
}

/// Draws one token of each row. `[B, V], [B, 1] -> [B, 1]` three times; `full` and `kept` are the
/// log-probabilities of [`log_probs`] and [`distribution`], `coins` uniform in [0, 1).
pub fn draw(full: &Tensor<2>, kept: &Tensor<2>, coins: Tensor<2>, sampling: &Sampling) -> Drawn {
    let greedy = sampling.temperature == 0.0;
    let token = if greedy { kept.clone().argmax(1) } else { invert(kept, coins) };
    let logprob_full = pick(full, &token);
    let logprob_drawn = if greedy { logprob_full.zeros_like() } else { pick(kept, &token) };
    Drawn { token, logprob_drawn, logprob_full }
}

/// The value at each row's token. `[B, V], [B, 1] -> [B, 1]`
///
/// Not `gather`: fused with the reduction that found the token, it read another place in the last step
/// before a read (burn-fusion 0.22.1, LOG.md).
fn pick(values: &Tensor<2>, token: &Tensor<2, Int>) -> Tensor<2> {
    let dims = values.dims();
    let ids = Tensor::<1, Int>::arange(0..dims[1] as i64, &values.device());
    let others = ids.unsqueeze::<2>().expand(dims).not_equal(token.clone().expand(dims));
    values.clone().mask_fill(others, 0.0).sum_dim(1)
}

/// The first token whose cumulative probability exceeds the coin. `[B, V], [B, 1] -> [B, 1]`
fn invert(log_probs: &Tensor<2>, coins: Tensor<2>) -> Tensor<2, Int> {
    let [batch, vocabulary] = log_probs.dims();
    let cumulative = log_probs.clone().exp().cumsum(1);
    // The sum of f32 probabilities is not exactly one: stretch the coin to it, so that no coin
    // falls beyond the last token that has any probability.
    let total = cumulative.clone().narrow(1, vocabulary - 1, 1);
    let target = (coins * total).expand([batch, vocabulary]);
    let passed = cumulative.lower_equal(target).int().sum_dim(1);
    passed.clamp(0, vocabulary as i64 - 1)
}
