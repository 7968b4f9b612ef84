//! Causal self-attention with grouped key-value heads.
//!
//! Source: Vaswani et al. 2017; Ainslie et al. 2023 for grouped queries.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Device, Int, Tensor, activation, module};

use super::cache::LayerCache;
use super::config::TransformerConfig;
use super::parameters::filled;
use super::projection::forward;
#[cfg(feature = "train")]
use super::ragged::Layout;
use super::rotary::Rotation;
use crate::first_order::{constant, with_gradient_of};
#[cfg(feature = "train")]
use crate::tuning::Prefix;

/// The four projections of one attention layer.
#[derive(Module, Debug)]
pub struct Attention {
    /// `[D, heads * d_head]`
    pub query: Linear,
    /// `[D, kv_heads * d_head]`
    pub key: Linear,
    /// `[D, kv_heads * d_head]`
    pub value: Linear,
    /// `[heads * d_head, D]`
    pub output: Linear,
    dropout: Dropout,
    n_kv_heads: usize,
    d_head: usize,
    /// Learned keys and values before the sequence, where it is tuned by them.
    #[cfg(feature = "train")]
    pub(crate) prefix: Option<Prefix>,
}

/// Which keys each query may see, prepared once a forward pass for all layers.
#[derive(Debug, Clone)]
pub struct Visibility {
    /// True where a key is hidden. `[B or 1, 1, T, S]`
    hidden: Tensor<4, Bool>,
    /// Zero where a key is seen, very negative where it is hidden. `[B or 1, 1, T, S]`
    bias: Tensor<4>,
}

/// How a batch is laid out in attention, and what is seen of it.
#[derive(Debug, Clone, Copy)]
pub enum Sight<'a> {
    /// One rectangle.
    Padded(&'a Visibility),
    /// Prompts and completions apart.
    #[cfg(feature = "train")]
    Ragged(&'a Layout),
}

impl<'a> From<&'a Visibility> for Sight<'a> {
    fn from(visibility: &'a Visibility) -> Self {
        Self::Padded(visibility)
    }
}

#[cfg(feature = "train")]
impl<'a> From<&'a Layout> for Sight<'a> {
    fn from(layout: &'a Layout) -> Self {
        Self::Ragged(layout)
    }
}

impl Visibility {
    /// From the mask of hidden keys. `[B or 1, 1, T, S]`
    pub fn new(hidden: Tensor<4, Bool>, like: &Tensor<3>) -> Self {
        let (dims, device, dtype) = (hidden.dims(), like.device(), like.dtype());
        // Finite, since shader languages have no infinities; half precision ends at 65504.
        let lowest = if dtype == burn::tensor::DType::F16 { -6e4 } else { -1e9 };
        let bias = Tensor::zeros(dims, (&device, dtype)).mask_fill(hidden.clone(), lowest);
        Self { hidden, bias }
    }

    /// The same for these sequences only. `[B]`
    pub(super) fn select(self, rows: &Tensor<1, Int>) -> Self {
        Self {
            hidden: self.hidden.select(0, rows.clone()),
            bias: self.bias.select(0, rows.clone()),
        }
    }

    /// The same behind `length` further keys that every query sees.
    #[cfg(feature = "train")]
    pub(super) fn after(self, length: usize) -> Self {
        if length == 0 {
            return self;
        }
        let [batch, _, time, _] = self.bias.dims();
        let options = (&self.bias.device(), self.bias.dtype());
        let seen = Tensor::<4>::zeros([batch, 1, time, length], options);
        // Not joined as truth values, which have another number type once sequences were selected.
        let bias = Tensor::cat(vec![seen, self.bias], 3);
        Self { hidden: bias.clone().lower_elem(-1.0), bias }
    }

    /// The same for the first `length` keys only.
    pub(super) fn narrow(&self, length: usize) -> Self {
        Self {
            hidden: self.hidden.clone().narrow(3, 0, length),
            bias: self.bias.clone().narrow(3, 0, length),
        }
    }
}

impl Attention {
    /// Projections of zeros.
    pub(super) fn init(config: &TransformerConfig, device: &Device) -> Self {
        let linear = |input, output| Linear {
            weight: filled([input, output], 0.0, device),
            bias: config.attention_bias.then(|| filled([output], 0.0, device)),
        };
        let d_queries = config.n_heads * config.d_head;
        let d_keys = config.n_kv_heads * config.d_head;
        Self {
            query: linear(config.d_model, d_queries),
            key: linear(config.d_model, d_keys),
            value: linear(config.d_model, d_keys),
            output: linear(d_queries, config.d_model),
            dropout: DropoutConfig::new(config.dropout).init(),
            n_kv_heads: config.n_kv_heads,
            d_head: config.d_head,
            #[cfg(feature = "train")]
            prefix: None,
        }
    }

    /// Attends within the sequence itself. `[B, T, D] -> [B, T, D]`
    pub fn forward<'s>(
        &self,
        input: Tensor<3>,
        rotation: Option<&Rotation>,
        sight: impl Into<Sight<'s>>,
    ) -> Tensor<3> {
        self.project_back(self.attend_within(input, rotation, sight.into()))
    }

    /// What is read of the sequence itself. `[B, T, D] -> [B, T, heads * d_head]`
    pub(super) fn attend_within(
        &self,
        input: Tensor<3>,
        rotation: Option<&Rotation>,
        sight: Sight<'_>,
    ) -> Tensor<3> {
        let (query, key, value) = self.project(input, rotation);
        match sight {
            Sight::Padded(visibility) => self.attend_padded([query, key, value], visibility),
            #[cfg(feature = "train")]
            Sight::Ragged(layout) => {
                layout.attend([query, key, value], |[query, key, value], visibility| {
                    merge(self.attend(query, key, value, Some(visibility)))
                })
            }
        }
    }

    /// Queries, keys and values of one rectangle, `[B, H, T, d_head]` each `-> [B, T, heads * d_head]`
    fn attend_padded(
        &self,
        [query, key, value]: [Tensor<4>; 3],
        visibility: &Visibility,
    ) -> Tensor<3> {
        let fused = !query.is_autodiff() && query.dims()[1] == self.n_kv_heads;
        #[cfg(feature = "train")]
        let ((key, value), fused) = (self.prefixed(key, value), fused && self.prefix.is_none());
        let context = if fused {
            let options = AttentionModuleOptions::default();
            module::attention(query, key, value, Some(visibility.hidden.clone()), None, options)
        } else {
            self.attend(query, key, value, Some(visibility))
        };
        merge(context)
    }

    /// `[B, T, heads * d_head] -> [B, T, D]`
    pub(super) fn project_back(&self, attended: Tensor<3>) -> Tensor<3> {
        forward(&self.output, attended)
    }

    /// Attends to the `length` positions in the cache and to the new ones, which are added to it.
    /// `[B, T, D] -> [B, T, D]`
    pub(super) fn forward_cached(
        &self,
        input: Tensor<3>,
        rotation: Option<&Rotation>,
        visibility: Option<&Visibility>,
        cache: (&mut LayerCache, usize),
    ) -> Tensor<3> {
        let (query, key, value) = self.project(input, rotation);
        let (layer, length) = cache;
        let (keys, values) = layer.append(length, key, value);
        #[cfg(feature = "train")]
        let (keys, values) = self.prefixed(keys, values);
        self.project_back(merge(self.attend(query, keys, values, visibility)))
    }

    /// Keys and values behind the learned ones. `[B, K, S, d_head]` each
    #[cfg(feature = "train")]
    fn prefixed(&self, key: Tensor<4>, value: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        match &self.prefix {
            None => (key, value),
            Some(prefix) => prefix.before(key, value),
        }
    }

    /// Queries, keys and values by head. `[B, T, D] -> [B, H, T, d_head]` each
    fn project(
        &self,
        input: Tensor<3>,
        rotation: Option<&Rotation>,
    ) -> (Tensor<4>, Tensor<4>, Tensor<4>) {
        let [batch, time, _] = input.dims();
        let heads = |projected: Tensor<3>| {
            projected.reshape([batch as i64, time as i64, -1, self.d_head as i64]).swap_dims(1, 2)
        };
        let query = heads(forward(&self.query, input.clone()));
        let key = heads(forward(&self.key, input.clone()));
        let value = heads(forward(&self.value, input));
        match rotation {
            Some(rotation) => (rotation.apply(query), rotation.apply(key), value),
            None => (query, key, value),
        }
    }

    /// Softmax attention in plain operations; query heads that share a key head are extra rows, so
    /// keys are never repeated. `[B, H, T, d], [B, K, S, d], [B, K, S, d] -> [B, H, T, d]`
    fn attend(
        &self,
        query: Tensor<4>,
        key: Tensor<4>,
        value: Tensor<4>,
        visibility: Option<&Visibility>,
    ) -> Tensor<4> {
        let [batch, n_heads, time, d_head] = query.dims();
        let (kv_heads, seen) = (self.n_kv_heads, key.dims()[2]);
        let group = n_heads / kv_heads;
        let rows = [batch, kv_heads, group * time, d_head];
        let query = query.mul_scalar((d_head as f64).powf(-0.5)).reshape(rows);
        let scores = query.matmul(key.swap_dims(2, 3));
        let scores = match visibility {
            None => scores,
            Some(Visibility { bias, .. }) if group == 1 => scores + bias.clone(),
            Some(Visibility { bias, .. }) => {
                let grouped = scores.reshape([batch, kv_heads, group, time, seen]);
                let bias: Tensor<5> = bias.clone().unsqueeze_dim(2);
                (grouped + bias).reshape([batch, kv_heads, group * time, seen])
            }
        };
        let weights = self.dropout.forward(softmax(scores));
        weights.matmul(value).reshape([batch, n_heads, time, d_head])
    }
}

/// Joins the heads. `[B, H, T, d_head] -> [B, T, H * d_head]`
fn merge(context: Tensor<4>) -> Tensor<3> {
    let [batch, n_heads, time, d_head] = context.dims();
    context.swap_dims(1, 2).reshape([batch, time, n_heads * d_head])
}

/// Softmax over the last dimension. `[B, H, T, S] -> [B, H, T, S]`
///
/// With automatic differentiation burn composes it of a scalar exponential and four more passes; here
/// the device's fused softmax gives the value, and the tracked part is its exact first-order form,
/// whose gradient is that of softmax: `p (s - sum(p s))`.
fn softmax(scores: Tensor<4>) -> Tensor<4> {
    if !scores.is_autodiff() {
        return activation::softmax(scores, 3);
    }
    let fixed = activation::softmax(scores.clone().without_autodiff(), 3);
    let p = constant(fixed.clone(), &scores);
    let expected = (scores.clone() * p.clone()).sum_dim(3);
    let linear = (scores - expected) * p;
    with_gradient_of(fixed, linear)
}
