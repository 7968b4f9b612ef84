//! The shape of a transformer: one configuration that spans the GPT-2 and the Llama families.
//!
//! Source: Radford et al. 2019 (GPT-2), Touvron et al. 2023 (Llama).

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::vision::{VisionConfig, VisionError};

/// The most cosines and sines of a rotary table: 262,144 positions of heads 128 wide. It is made from the configuration
/// alone, before any stored tensor is looked at.
const MOST_ROTARY: usize = 1 << 25;

/// Everything that fixes the sizes and the layers of a [`Transformer`](super::Transformer).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// Number of distinct tokens (V).
    pub vocab_size: usize,
    /// Longest sequence, in tokens.
    pub context_length: usize,
    /// Number of blocks.
    pub n_layers: usize,
    /// Width of the residual stream (D).
    pub d_model: usize,
    /// Number of query heads.
    pub n_heads: usize,
    /// Number of key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of one head.
    pub d_head: usize,
    /// Inner width of the feed-forward layer.
    pub d_ff: usize,
    /// The normalization before each sub-layer and after the last block.
    pub norm: NormKind,
    /// Added under the root of the normalization.
    pub norm_epsilon: f64,
    /// How a token knows where it stands.
    pub positions: Positions,
    /// The feed-forward layer.
    pub feed_forward: FeedForwardKind,
    /// Biases in the four attention projections.
    pub attention_bias: bool,
    /// Biases in the feed-forward projections.
    pub feed_forward_bias: bool,
    /// The output head shares the token embedding's matrix.
    pub tied_head: bool,
    /// Probability of dropping an activation while training.
    #[serde(default)]
    pub dropout: f64,
    /// Eyes, where it has some.
    #[serde(default)]
    pub vision: Option<VisionConfig>,
}

/// Which normalization a block uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// Mean and variance, with gain and bias (GPT-2).
    LayerNorm,
    /// Root mean square, with gain only (Llama).
    RmsNorm,
}

/// How positions enter the model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// A learned vector for each position is added to the token's (GPT-2).
    Learned,
    /// Queries and keys are rotated (Su et al. 2021).
    Rotary {
        /// Base of the geometric series of wave lengths.
        theta: f64,
        /// Which pairs of features turn together.
        pairing: RotaryPairing,
    },
}

/// Which two features of a head form one rotating pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RotaryPairing {
    /// Features `i` and `i + d_head / 2`: Hugging Face's Llama.
    HalfSplit,
    /// Features `2i` and `2i + 1`: the original paper and GGUF.
    Interleaved,
}

/// The feed-forward layer of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedForwardKind {
    /// Two projections around GELU in its tanh form (GPT-2's `gelu_new`).
    Gelu,
    /// Three projections, the gate through SiLU (Shazeer 2020).
    SwiGlu,
}

/// What makes a configuration impossible.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ConfigError {
    /// A size that must be at least one is zero.
    #[error("{field} is 0: give it a positive size")]
    Zero {
        /// The field's name.
        field: &'static str,
    },
    /// A size is beyond all models: a damaged file.
    #[error("{field} is {size}, more than {most}: the configuration is damaged, take it anew")]
    TooLarge {
        /// The size's name.
        field: &'static str,
        /// The size given.
        size: usize,
        /// The largest that is taken.
        most: usize,
    },
    /// Query heads do not share key heads evenly.
    #[error("n_heads {n_heads} is not a multiple of n_kv_heads {n_kv_heads}: choose a divisor")]
    HeadsNotShared {
        /// Query heads.
        n_heads: usize,
        /// Key and value heads.
        n_kv_heads: usize,
    },
    /// Rotary positions turn pairs.
    #[error("d_head {d_head} is odd: rotary positions turn pairs of features, choose an even size")]
    OddHead {
        /// Width of one head.
        d_head: usize,
    },
    /// Dropout is a probability below one.
    #[error("dropout {dropout} is not in [0, 1): use 0 for none")]
    Dropout {
        /// The value given.
        dropout: f64,
    },
    /// Sizes that no eyes have.
    #[error("{0}")]
    Vision(#[from] VisionError),
}

impl TransformerConfig {
    /// A Llama-family configuration: RMSNorm, rotary positions, SwiGLU, no biases, tied head.
    pub fn llama(
        vocab_size: usize,
        context_length: usize,
        n_layers: usize,
        d_model: usize,
    ) -> Self {
        let n_heads = (d_model / 32).max(1);
        Self {
            vocab_size,
            context_length,
            n_layers,
            d_model,
            n_heads,
            n_kv_heads: n_heads,
            d_head: d_model / n_heads,
            d_ff: (d_model * 8 / 3).next_multiple_of(32),
            norm: NormKind::RmsNorm,
            norm_epsilon: 1e-5,
            positions: Positions::Rotary { theta: 1e4, pairing: RotaryPairing::HalfSplit },
            feed_forward: FeedForwardKind::SwiGlu,
            attention_bias: false,
            feed_forward_bias: false,
            tied_head: true,
            dropout: 0.0,
            vision: None,
        }
    }

    /// A GPT-2-family configuration: LayerNorm, learned positions, GELU, biases, tied head.
    pub fn gpt2(vocab_size: usize, context_length: usize, n_layers: usize, d_model: usize) -> Self {
        Self {
            d_ff: 4 * d_model,
            norm: NormKind::LayerNorm,
            positions: Positions::Learned,
            feed_forward: FeedForwardKind::Gelu,
            attention_bias: true,
            feed_forward_bias: true,
            ..Self::llama(vocab_size, context_length, n_layers, d_model)
        }
    }

    /// Checks that the sizes fit each other.
    ///
    /// # Errors
    /// The first contradiction found, with its remedy.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("context_length", self.context_length),
            ("n_layers", self.n_layers),
            ("d_model", self.d_model),
            ("n_heads", self.n_heads),
            ("n_kv_heads", self.n_kv_heads),
            ("d_head", self.d_head),
            ("d_ff", self.d_ff),
        ];
        if let Some((field, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
            return Err(ConfigError::Zero { field });
        }
        let mosts = [1 << 20, 1 << 18, 1 << 10, 1 << 16, 1 << 10, 1 << 10, 1 << 10, 1 << 18];
        for ((field, size), most) in sizes.into_iter().zip(mosts) {
            if size > most {
                return Err(ConfigError::TooLarge { field, size, most });
            }
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            return Err(ConfigError::HeadsNotShared {
                n_heads: self.n_heads,
                n_kv_heads: self.n_kv_heads,
            });
        }
        if matches!(self.positions, Positions::Rotary { .. }) {
            self.validate_rotary()?;
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(ConfigError::Dropout { dropout: self.dropout });
        }
        if let Some(vision) = self.vision {
            vision.validate()?;
        }
        Ok(())
    }

    fn validate_rotary(&self) -> Result<(), ConfigError> {
        if !self.d_head.is_multiple_of(2) {
            return Err(ConfigError::OddHead { d_head: self.d_head });
        }
        let size = self.context_length * self.d_head;
        if size > MOST_ROTARY {
            let field = "context_length times d_head";
            return Err(ConfigError::TooLarge { field, size, most: MOST_ROTARY });
        }
        Ok(())
    }
}
