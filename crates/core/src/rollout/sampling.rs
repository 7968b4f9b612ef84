//! From logits to the distribution drawn from, and one draw from it, all on the device.
//!
//! Nothing is sorted: top-k and top-p find their thresholds by bisection, and the draw inverts the
//! cumulative distribution at a given coin.
//!
//! Of comparisons and extremes there is one kind each (`lower`, `equal`, `max_dim`): every further one
//! brings its kernels for all number types into the page.
//!
//! Source: Fan et al. 2018 (top-k), Holtzman et al. 2020 (top-p), Nguyen et al. 2024 (min-p),
//! Keskar et al. 2019 (repetition penalty).

use burn::tensor::{Bool, Int, Tensor, activation};
use kudos_schema::Sampling;

/// Halvings that narrow a threshold below the resolution of f32, for probabilities in [0, 1] as for
/// log-probabilities in [-400, 0].
const HALVINGS: usize = 32;
const LOWEST_HALVED: f32 = -400.0;

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

/// Which tokens of a vocabulary occur among ids, for [`penalize`]; a patch of a picture is nothing that could be repeated.
pub(super) fn occurring(ids: &[u32], vocabulary: usize) -> Vec<bool> {
    let mut row = vec![false; vocabulary];
    let tokens = ids.iter().filter(|id| (**id as usize) < vocabulary);
    tokens.for_each(|id| row[*id as usize] = true);
    row
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
        // Probabilities are zero long before: ties there do no harm, and a far outlier none to the halvings.
        let lowest = kept.clone().lower_elem(LOWEST_HALVED);
        let values = kept.clone().mask_fill(lowest, LOWEST_HALVED);
        let threshold = least_kept(&kept, (&values, &kept.ones_like()), sampling.top_k as f64);
        kept = keep(kept, threshold);
    }
    if sampling.top_p < 1.0 {
        let probs = kept.clone().exp();
        let threshold = least_kept(&kept, (&probs, &probs), sampling.top_p);
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

/// The least log-probability among the tokens of the greatest values whose weights reach `enough`;
/// ties with the last token are kept. `[B, V], ([B, V], [B, V]) -> [B, 1]`
fn least_kept(
    log_probs: &Tensor<2>,
    (values, weights): (&Tensor<2>, &Tensor<2>),
    enough: f64,
) -> Tensor<2> {
    let dims = values.dims();
    // Keeping all reaches it, keeping nothing above the maximum does not.
    let mut reaching = values.clone().neg().max_dim(1).neg();
    let mut too_high = values.clone().max_dim(1).add_scalar(1e-3);
    for _ in 0..HALVINGS {
        let middle = (reaching.clone() + too_high.clone()).mul_scalar(0.5);
        let below = values.clone().lower(middle.clone().expand(dims));
        let mass = weights.clone().mask_fill(below, 0.0).sum_dim(1);
        let reached = mass.lower_elem(enough as f32).bool_not();
        reaching = reaching.mask_where(reached.clone(), middle.clone());
        too_high = middle.mask_where(reached, too_high);
    }
    // The least kept one itself, so that the threshold does not depend on the halvings.
    let below = values.clone().lower(reaching.expand(dims));
    log_probs.clone().neg().mask_fill(below, LOWEST).max_dim(1).neg()
}

/// Draws one token of each row. `[B, V], [B, 1] -> [B, 1]` three times; `full` and `kept` are the
/// log-probabilities of [`log_probs`] and [`distribution`], `coins` uniform in [0, 1).
pub fn draw(full: &Tensor<2>, kept: &Tensor<2>, coins: Tensor<2>, sampling: &Sampling) -> Drawn {
    let greedy = sampling.temperature == 0.0;
    let token = if greedy { kept.clone().argmax(1) } else { invert(kept, coins) };
    // Not `gather`: fused with the reduction that found the token, it read another place in the last
    // step before a read (burn-fusion 0.22.1, LOG.md).
    let dims = full.dims();
    let ids = Tensor::<1, Int>::arange(0..dims[1] as i64, &full.device());
    let others = ids.unsqueeze::<2>().expand(dims).equal(token.clone().expand(dims)).bool_not();
    let at_token = |values: &Tensor<2>| values.clone().mask_fill(others.clone(), 0.0).sum_dim(1);
    let logprob_full = at_token(full);
    let logprob_drawn = if greedy { logprob_full.zeros_like() } else { at_token(kept) };
    Drawn { token, logprob_drawn, logprob_full }
}

/// The first token whose cumulative probability exceeds the coin. `[B, V], [B, 1] -> [B, 1]`
fn invert(log_probs: &Tensor<2>, coins: Tensor<2>) -> Tensor<2, Int> {
    let [batch, vocabulary] = log_probs.dims();
    let cumulative = log_probs.clone().exp().cumsum(1);
    // The sum of f32 probabilities is not exactly one: stretch the coin to it, so that no coin
    // falls beyond the last token that has any probability.
    let total = cumulative.clone().narrow(1, vocabulary - 1, 1);
    let target = (coins * total).expand([batch, vocabulary]);
    let passed = target.lower(cumulative).bool_not().int().sum_dim(1);
    passed.clamp(0, vocabulary as i64 - 1)
}
