//! How far a policy is from the one it was made from, on real text.
//!
//! Measures: the divergence of the next token's distribution, at every position of what each text has to foretell: what
//! answers a prompt, or all but the beginning.
//! Formula: mean over positions of `sum_v p(v) (log p(v) - log q(v))`, p of the original, at temperature 1.
//! Range: 0 or more, in nats a token.
//! Misleads when: the texts are not like those that the policy will write.
//! Reference: Kullback and Leibler 1951.

use burn::tensor::{DType, Tensor, TensorData, activation};

use crate::model::{PaddingSide, Tokens, Transformer};

/// A text and how many tokens at its beginning nothing has to foretell: a prompt, the patches of a picture, one at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foretold {
    /// At most a context.
    pub tokens: Vec<u32>,
    /// 1 or more
    pub given: usize,
}

/// What the two say of texts, means a token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Divergence {
    /// Divergence of the changed from the original, in nats.
    pub kl_nats: f64,
    /// Negative log-likelihood by the original, in nats.
    pub original_nll_nats: f64,
    /// Negative log-likelihood by the changed, in nats.
    pub nll_nats: f64,
    /// Tokens foretold.
    pub tokens: usize,
}

/// Compares two policies over the same tokens.
///
/// # Errors
/// What the device reports when it does not return the numbers, or that no text has a token to foretell.
pub async fn divergence(
    original: &Transformer,
    changed: &Transformer,
    texts: &[Foretold],
) -> Result<Divergence, String> {
    let mut sums = [0.0; 3];
    let mut tokens = 0;
    for text in texts.iter().filter(|text| text.tokens.len() > text.given) {
        let (p, q) = (log_probs(original, text), log_probs(changed, text));
        let kl = (p.clone().exp() * (p.clone() - q.clone())).sum();
        let next: Vec<i32> = text.tokens[text.given..].iter().map(|id| *id as i32).collect();
        let count = next.len();
        let next = Tensor::from_data(TensorData::new(next, [count, 1]), &p.device());
        let nll = |log_probs: Tensor<2>| log_probs.gather(1, next.clone()).sum().neg();
        let all = Tensor::cat(vec![kl, nll(p), nll(q)], 0).into_data_async().await;
        let all = all.map_err(|error| format!("{error:?}"))?;
        let all: Vec<f32> = all.convert::<f32>().try_to_vec().expect("converted to f32");
        sums.iter_mut().zip(all).for_each(|(sum, part)| *sum += f64::from(part));
        tokens += count;
    }
    if tokens == 0 {
        return Err("no text has a token to foretell".to_owned());
    }
    let [kl_nats, original_nll_nats, nll_nats] = sums.map(|sum| sum / tokens as f64);
    Ok(Divergence { kl_nats, original_nll_nats, nll_nats, tokens })
}

/// Of each token that is not given. `-> [T - G, V]`
fn log_probs(model: &Transformer, text: &Foretold) -> Tensor<2> {
    let read = &text.tokens[..text.tokens.len() - 1];
    let tokens = Tokens::new(&[read], PaddingSide::Right, &model.device());
    let logits = model.forward(&tokens);
    let [_, time, vocabulary] = logits.dims();
    let first = text.given - 1;
    let logits = logits.reshape([time, vocabulary]).narrow(0, first, time - first);
    activation::log_softmax(logits.cast(DType::F32), 1)
}
