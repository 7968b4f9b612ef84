//! A bidirectional encoder of the BERT family: texts in, hidden states out; it reads and does not write.
//!
//! Attention is the policy's without its causal mask; normalization stands behind each part instead of
//! before. Source: Devlin et al. 2019.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Embedding, Linear};
use burn::tensor::{Bool, DType, Device, Tensor, TensorData, activation};
use serde::{Deserialize, Serialize};

use super::attention::{Attention, Visibility};
use super::config::TransformerConfig;
use super::norm::Norm;
use super::parameters::filled;
use super::projection::forward;
use super::{PaddingSide, Tokens};
use crate::first_order::{constant, with_gradient_of};

/// The sizes of an [`Encoder`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// Tokens of the vocabulary.
    pub vocab_size: usize,
    /// Longest text in tokens.
    pub context_length: usize,
    /// Kinds of segment; all texts here are of the first.
    pub segments: usize,
    /// Layers.
    pub n_layers: usize,
    /// Width.
    pub d_model: usize,
    /// Heads of attention.
    pub n_heads: usize,
    /// Width within the feed-forward layer.
    pub d_ff: usize,
    /// Added to the variance.
    pub norm_epsilon: f64,
    /// Probability that an activation is dropped in training.
    pub dropout: f64,
}

impl EncoderConfig {
    /// The same sizes as those of a policy: what its layers are made from.
    pub(super) fn layers(&self) -> TransformerConfig {
        TransformerConfig {
            n_heads: self.n_heads,
            n_kv_heads: self.n_heads,
            d_head: self.d_model.checked_div(self.n_heads).unwrap_or(0),
            d_ff: self.d_ff,
            norm_epsilon: self.norm_epsilon,
            dropout: self.dropout,
            ..TransformerConfig::gpt2(
                self.vocab_size,
                self.context_length,
                self.n_layers,
                self.d_model,
            )
        }
    }
}

/// A stack of layers in which every token sees every other.
#[derive(Module, Debug)]
pub struct Encoder {
    /// `[V, D]`
    pub token_embedding: Embedding,
    /// `[T, D]`
    pub position_embedding: Embedding,
    /// Of the kinds of segment; only the first is used. `[S, D]`
    pub segment_embedding: Embedding,
    /// Of the sum of the three.
    pub embedding_norm: Norm,
    /// The layers, from the input up.
    pub blocks: Vec<EncoderBlock>,
    dropout: Dropout,
    #[module(skip)]
    config: EncoderConfig,
}

/// One layer: attention, then feed-forward, each added to the stream and the sum normalized.
#[derive(Module, Debug)]
pub struct EncoderBlock {
    /// Mixes positions.
    pub attention: Attention,
    /// Behind attention.
    pub attention_norm: Norm,
    /// `[D, d_ff]`
    pub up: Linear,
    /// `[d_ff, D]`
    pub down: Linear,
    /// Behind the feed-forward layer.
    pub output_norm: Norm,
    dropout: Dropout,
}

impl Encoder {
    /// The layers of `config` on `device`, gains one and everything else zero.
    ///
    /// # Panics
    /// If the sizes contradict each other.
    pub fn zeroed(config: &EncoderConfig, device: &Device) -> Self {
        let layers = config.layers();
        layers.validate().expect("the configuration was validated at the edge");
        let embedding = |rows| Embedding { weight: filled([rows, config.d_model], 0.0, device) };
        Self {
            token_embedding: embedding(config.vocab_size),
            position_embedding: embedding(config.context_length),
            segment_embedding: embedding(config.segments),
            embedding_norm: Norm::init(&layers, device),
            blocks: (0..config.n_layers).map(|_| EncoderBlock::init(&layers, device)).collect(),
            dropout: DropoutConfig::new(config.dropout).init(),
            config: config.clone(),
        }
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The device that holds the weights.
    pub fn device(&self) -> Device {
        self.token_embedding.weight.device()
    }

    /// Hidden states of texts: of the embeddings and behind each layer. `-> [B, T, D]` each
    ///
    /// # Panics
    /// If a text is longer than the context.
    pub fn layers(&self, texts: &[&[u32]]) -> Vec<Tensor<3>> {
        let tokens = Tokens::new(texts, PaddingSide::Right, &self.device());
        let [batch, time] = tokens.ids.dims();
        let context = self.config.context_length;
        assert!(time <= context, "{time} positions in a context of {context}");
        let segment = self.segment_embedding.weight.val().narrow(0, 0, 1).unsqueeze::<3>();
        let stream = self.token_embedding.forward(tokens.ids)
            + self.position_embedding.forward(tokens.positions)
            + segment;
        let stream = self.dropout.forward(self.embedding_norm.forward(stream));
        let hidden = match tokens.padding {
            Some(padding) => padding.reshape([batch, 1, 1, time]).expand([batch, 1, time, time]),
            None => Tensor::<4, Bool>::zeros([1, 1, time, time], &stream.device()),
        };
        let visibility = Visibility::new(hidden, &stream);
        let mut layers = vec![stream];
        for block in &self.blocks {
            let stream = layers[layers.len() - 1].clone();
            layers.push(block.forward(stream, &visibility));
        }
        layers
    }

    /// The mean over each text's tokens in every layer, from the embeddings up, in f32.
    /// `-> [B, (n_layers + 1) * D]`
    ///
    /// What an early layer knows is lost in a late one, so a linear reader gets all of them.
    ///
    /// # Panics
    /// As [`Self::layers`].
    pub fn features(&self, texts: &[&[u32]]) -> Tensor<2> {
        let means = self.layers(texts).into_iter().map(|layer| mean_over_tokens(layer, texts));
        Tensor::cat(means.collect(), 1)
    }

    /// One vector a text: the mean over its tokens in the last layer, of length one.
    /// `-> [B, D]`
    ///
    /// The cosine of two texts is the dot product of their vectors. Source: Reimers and Gurevych 2019.
    ///
    /// # Panics
    /// As [`Self::layers`].
    pub fn embed(&self, texts: &[&[u32]]) -> Tensor<2> {
        let last = self.layers(texts).pop().expect("there are embeddings at least");
        let mean = mean_over_tokens(last, texts);
        let length = mean.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
        mean / length
    }
}

impl EncoderBlock {
    fn init(config: &TransformerConfig, device: &Device) -> Self {
        let linear = |input, output| Linear {
            weight: filled([input, output], 0.0, device),
            bias: Some(filled([output], 0.0, device)),
        };
        Self {
            attention: Attention::init(config, device),
            attention_norm: Norm::init(config, device),
            up: linear(config.d_model, config.d_ff),
            down: linear(config.d_ff, config.d_model),
            output_norm: Norm::init(config, device),
            dropout: DropoutConfig::new(config.dropout).init(),
        }
    }

    /// `[B, T, D] -> [B, T, D]`
    fn forward(&self, input: Tensor<3>, visibility: &Visibility) -> Tensor<3> {
        let mixed = self.attention.forward(input.clone(), None, visibility);
        let stream = self.attention_norm.forward(input + self.dropout.forward(mixed));
        let inner = gelu(forward(&self.up, stream.clone()));
        let transformed = self.dropout.forward(forward(&self.down, inner));
        self.output_norm.forward(stream + transformed)
    }
}

/// The mean over each text's own tokens, in f32. `[B, T, D] -> [B, D]`
fn mean_over_tokens(hidden: Tensor<3>, texts: &[&[u32]]) -> Tensor<2> {
    let [batch, time, width] = hidden.dims();
    let share = |text: &&[u32]| {
        let part = 1.0 / text.len().max(1) as f32;
        (0..time).map(|place| if place < text.len() { part } else { 0.0 }).collect::<Vec<f32>>()
    };
    let shares: Vec<f32> = texts.iter().flat_map(share).collect();
    let shares = TensorData::new(shares, [batch, 1, time]);
    let shares = Tensor::<3>::from_data(shares, &hidden.device());
    shares.matmul(hidden.cast(DType::F32)).reshape([batch, width])
}

/// GELU in its exact form, `x P(x)` with the normal distribution's P. `[B, T, D] -> [B, T, D]`
///
/// With automatic differentiation the tracked part is its exact first-order form, so that the backward
/// pass is one product. Source: Hendrycks and Gimpel 2016.
fn gelu(input: Tensor<3>) -> Tensor<3> {
    if !input.is_autodiff() {
        return activation::gelu(input);
    }
    let fixed = input.clone().without_autodiff();
    let below = fixed.clone().mul_scalar(0.5f64.sqrt()).erf().add_scalar(1.0).mul_scalar(0.5);
    let density = fixed.clone().square().mul_scalar(-0.5).exp();
    let density = density.mul_scalar((0.5 * std::f64::consts::FRAC_1_PI).sqrt());
    let value = fixed.clone() * below.clone();
    let slope = constant(below + fixed * density, &input);
    with_gradient_of(value, input * slope)
}
