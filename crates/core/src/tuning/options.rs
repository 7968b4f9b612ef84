//! The table `[tuning]` of a recipe: one method with its options.

use serde::{Deserialize, Serialize};

use super::packed_base::Base;
use super::target::Target;
use crate::model::TransformerConfig;

/// Which parameters are trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case", deny_unknown_fields)]
pub enum Tuning {
    /// All of them.
    Full {},
    /// A low-rank sum beside each target (Hu et al. 2022).
    Lora(Lora),
    /// The same as a singular value decomposition whose ranks are pruned on the way (Zhang et al. 2023).
    Adalora(AdaLora),
    /// A learned factor for each activation (Liu et al. 2022).
    Ia3(Ia3),
    /// A small network behind each sub-layer (Houlsby et al. 2019).
    Bottleneck(BottleneckOptions),
    /// Learned keys and values before the sequence in every layer (Li and Liang 2021).
    Prefix(VirtualTokens),
    /// Learned embeddings before the sequence (Lester et al. 2021).
    Prompt(VirtualTokens),
}

/// The options of LoRA.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lora {
    /// Rank of the sum.
    pub rank: usize,
    /// Its factor is `alpha / rank`.
    pub alpha: f64,
    /// Probability of dropping an input of the sum while training.
    pub dropout: f64,
    /// The projections that get one.
    pub target_modules: Vec<Target>,
    /// The factor is `alpha / sqrt(rank)` instead (Kalajdzievski 2023).
    pub use_rslora: bool,
    /// Length and direction of each column are learned apart (Liu et al. 2024).
    pub use_dora: bool,
    /// How frozen weights are held.
    pub base: Base,
}

/// The options of AdaLoRA.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaLora {
    /// Rank of every target at first.
    pub init_rank: usize,
    /// Mean rank of the targets at last.
    pub target_rank: usize,
    /// The factor is `alpha / init_rank`.
    pub alpha: f64,
    /// Probability of dropping an input of the sum while training.
    pub dropout: f64,
    /// The projections that get one.
    pub target_modules: Vec<Target>,
    /// Steps before pruning starts.
    pub t_init: usize,
    /// Steps at the end of the run with the final ranks.
    pub t_final: usize,
    /// Steps between two prunings.
    pub delta_t: usize,
    /// Decay of the mean sensitivity.
    pub beta_1: f64,
    /// Decay of the mean uncertainty.
    pub beta_2: f64,
    /// Weight of the penalty that keeps singular vectors orthogonal.
    pub orthogonality: f64,
    /// How frozen weights are held.
    pub base: Base,
}

/// The options of (IA)3.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ia3 {
    /// The projections whose outputs are scaled; of `down` the inputs.
    pub target_modules: Vec<Target>,
    /// How frozen weights are held.
    pub base: Base,
}

/// The options of bottleneck adapters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BottleneckOptions {
    /// Inner width.
    pub width: usize,
    /// The sub-layers that one follows.
    pub after: Vec<SubLayer>,
    /// How frozen weights are held.
    pub base: Base,
}

/// The two parts of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubLayer {
    /// Mixes positions.
    Attention,
    /// Transforms each position.
    FeedForward,
}

/// The options of prefix and of prompt tuning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VirtualTokens {
    /// Learned positions before the sequence; the context is as much shorter.
    pub num_virtual_tokens: usize,
    /// How frozen weights are held.
    pub base: Base,
}

impl Default for Tuning {
    fn default() -> Self {
        Self::Full {}
    }
}

impl Default for Lora {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            dropout: 0.0,
            target_modules: Target::ALL.to_vec(),
            use_rslora: false,
            use_dora: false,
            base: Base::F32,
        }
    }
}

impl Default for AdaLora {
    fn default() -> Self {
        Self {
            init_rank: 12,
            target_rank: 8,
            alpha: 16.0,
            dropout: 0.0,
            target_modules: Target::ALL.to_vec(),
            t_init: 0,
            t_final: 0,
            delta_t: 1,
            beta_1: 0.85,
            beta_2: 0.85,
            orthogonality: 0.5,
            base: Base::F32,
        }
    }
}

impl Default for Ia3 {
    fn default() -> Self {
        Self { target_modules: vec![Target::Key, Target::Value, Target::Down], base: Base::F32 }
    }
}

impl BottleneckOptions {
    /// How many numbers the networks have in a model of these sizes; none where no memory holds them.
    pub fn numbers(&self, config: &TransformerConfig) -> Option<usize> {
        let places = [SubLayer::Attention, SubLayer::FeedForward];
        let places = places.iter().filter(|place| self.after.contains(place)).count();
        let matrices = self.width.checked_mul(2 * config.d_model)?;
        let own = matrices.checked_add(self.width)?.checked_add(config.d_model)?;
        own.checked_mul(places * config.n_layers)
    }
}

impl Default for BottleneckOptions {
    fn default() -> Self {
        Self { width: 16, after: vec![SubLayer::Attention, SubLayer::FeedForward], base: Base::F32 }
    }
}

impl Default for VirtualTokens {
    fn default() -> Self {
        Self { num_virtual_tokens: 16, base: Base::F32 }
    }
}

impl Lora {
    /// The factor of the sum.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }
}

impl AdaLora {
    /// The factor of the sum. As PEFT has it, which divides by the rank and a little more.
    pub fn scale(&self) -> f64 {
        self.alpha / (self.init_rank as f64 + 1e-5)
    }
}

impl Tuning {
    /// Whether the small parameters can become part of the weights, exactly.
    pub fn merges(&self) -> bool {
        match self {
            Self::Full {} | Self::Lora(_) | Self::Adalora(_) | Self::Ia3(_) => true,
            Self::Bottleneck(_) | Self::Prefix(_) | Self::Prompt(_) => false,
        }
    }

    /// How frozen weights are held.
    pub fn base(&self) -> Base {
        match self {
            Self::Full {} => Base::F32,
            Self::Lora(lora) => lora.base,
            Self::Adalora(ada) => ada.base,
            Self::Ia3(ia3) => ia3.base,
            Self::Bottleneck(bottleneck) => bottleneck.base,
            Self::Prefix(tokens) | Self::Prompt(tokens) => tokens.base,
        }
    }

    /// The same with frozen weights held like this; `full` has none.
    #[must_use]
    pub fn with_base(mut self, base: Base) -> Self {
        match &mut self {
            Self::Full {} => {}
            Self::Lora(lora) => lora.base = base,
            Self::Adalora(ada) => ada.base = base,
            Self::Ia3(ia3) => ia3.base = base,
            Self::Bottleneck(bottleneck) => bottleneck.base = base,
            Self::Prefix(tokens) | Self::Prompt(tokens) => tokens.base = base,
        }
        self
    }

    /// Whether all parameters are trained.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full {})
    }

    /// What is wrong with the options, as field and remedy.
    ///
    /// # Errors
    /// The first option out of its range.
    pub fn check(&self) -> Result<(), String> {
        let rules: Vec<(&str, bool, &str)> = match self {
            Self::Full {} => Vec::new(),
            Self::Lora(lora) => vec![
                ("rank", lora.rank > 0, "at least 1"),
                ("alpha", lora.alpha.is_finite() && lora.alpha > 0.0, "above 0"),
                ("dropout", (0.0..1.0).contains(&lora.dropout), "from 0 to below 1"),
                ("target_modules", !lora.target_modules.is_empty(), "some projections"),
            ],
            Self::Adalora(ada) => vec![
                ("init_rank", ada.init_rank > 0, "at least 1"),
                ("target_rank", ada.target_rank <= ada.init_rank, "at most init_rank"),
                ("alpha", ada.alpha.is_finite() && ada.alpha > 0.0, "above 0"),
                ("dropout", (0.0..1.0).contains(&ada.dropout), "from 0 to below 1"),
                ("target_modules", !ada.target_modules.is_empty(), "some projections"),
                ("delta_t", ada.delta_t > 0, "at least 1"),
                ("beta_1", ada.beta_1 > 0.0 && ada.beta_1 < 1.0, "between 0 and 1"),
                ("beta_2", ada.beta_2 > 0.0 && ada.beta_2 < 1.0, "between 0 and 1"),
                ("orthogonality", ada.orthogonality >= 0.0, "0 or more"),
            ],
            Self::Ia3(ia3) => {
                vec![("target_modules", !ia3.target_modules.is_empty(), "some projections")]
            }
            Self::Bottleneck(bottleneck) => vec![
                ("width", bottleneck.width > 0, "at least 1"),
                ("after", !bottleneck.after.is_empty(), "attention, feed_forward or both"),
            ],
            Self::Prefix(tokens) | Self::Prompt(tokens) => {
                vec![("num_virtual_tokens", tokens.num_virtual_tokens > 0, "at least 1")]
            }
        };
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            None => Ok(()),
            Some((field, _, range)) => Err(format!("tuning.{field} must be {range}")),
        }
    }
}
