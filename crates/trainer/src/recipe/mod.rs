//! A run as a TOML file: every choice with its default, nothing unknown accepted.

mod critic;
mod distil;
mod feedback;
mod optimizer;
mod self_play;

pub use critic::CriticRecipe;
pub use distil::{CutOff, DistilRecipe, Level};
pub use feedback::{FeedbackRecipe, TrunkUse};
pub use optimizer::{OptimizerRecipe, Precision};
pub use self_play::{Pairing, SelfPlay, SelfPlayRecipe};

use std::path::PathBuf;

use kudos_core::model::hugging_face::StoredAs;
use kudos_core::model::{TransformerConfig, VisionConfig};
use kudos_core::objective::{Aggregation, Baseline, KlPlacement, PolicyGradient};
use kudos_core::tuning::Tuning;
use kudos_schema::Sampling;
use serde::{Deserialize, Serialize};

/// Everything that determines a run but the device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// What the run does.
    pub stage: Stage,
    /// Folder of the policy to start from; without it, `pretrain` starts anew and the other stages
    /// start from the policy that ships with the program.
    pub model: Option<PathBuf>,
    /// Where items come from.
    pub data: DataRecipe,
    /// Seed of every coin.
    pub seed: u64,
    /// Optimizer steps.
    pub steps: usize,
    /// How many sequences a step learns from.
    pub batch: BatchRecipe,
    /// The sizes of a new policy.
    pub architecture: Architecture,
    /// The eyes that `sft` gives a policy without, where it learns from pictures.
    pub vision: VisionConfig,
    /// Which parameters learn.
    pub tuning: Tuning,
    /// How weights move.
    pub optimizer: OptimizerRecipe,
    /// How completions are drawn.
    pub sampling: Sampling,
    /// What is minimized in `reinforce` and `off-policy`.
    pub objective: PolicyGradient,
    /// How a critic learns, where the objective's baseline is `value`.
    pub critic: CriticRecipe,
    /// What completions earn in `reinforce` and `self-play`, and by what the teacher's are chosen in `distill`.
    pub reward: Vec<RewardRecipe>,
    /// What people said, and how it is learned from, in `off-policy`, `dpo`, `kto` and `reward`.
    pub feedback: FeedbackRecipe,
    /// Who teaches in `distill`, and what of it is learned.
    pub distil: DistilRecipe,
    /// Against whom a policy plays in `self-play`.
    pub self_play: SelfPlayRecipe,
    /// When the run looks at itself and saves.
    pub watch: WatchRecipe,
}

/// The verbs that train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Next-token prediction on plain text, from a random start.
    Pretrain,
    /// Imitation of references.
    Sft,
    /// Policy gradient on rewards.
    #[default]
    Reinforce,
    /// Importance-weighted policy gradient on rated completions.
    OffPolicy,
    /// Preference loss on pairs.
    Dpo,
    /// Preference loss on single completions, good or bad.
    Kto,
    /// A reward model from verdicts.
    Reward,
    /// Imitation of a larger policy.
    Distill,
    /// Preference loss on the policy's own samples, or a game of it with itself.
    SelfPlay,
}

impl Stage {
    /// The verb.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pretrain => "pretrain",
            Self::Sft => "sft",
            Self::Reinforce => "reinforce",
            Self::OffPolicy => "off-policy",
            Self::Dpo => "dpo",
            Self::Kto => "kto",
            Self::Reward => "reward",
            Self::Distill => "distill",
            Self::SelfPlay => "self-play",
        }
    }
}

/// Where items come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataRecipe {
    /// Names of built-in tasks; several only in `sft`. Unused in `pretrain`.
    pub tasks: Vec<String>,
    /// A JSON Lines file instead of a task.
    pub dataset: Option<PathBuf>,
    /// Prompts longer than this many tokens are left out.
    pub max_prompt_length: usize,
    /// Share of the windows of text in `pretrain` that are one passage over and over, which teaches
    /// to copy: names, numbers, what was said before.
    pub repeat_share: f64,
    /// By how much of its size each picture is shifted and scaled anew at every step of `sft`, and of their strength its
    /// colors changed, so that drawings are learned and not pixels; 0 = not at all.
    pub picture_variation: f64,
}

/// How many sequences a step learns from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchRecipe {
    /// Prompts (or text sequences) a gradient.
    pub prompts: usize,
    /// Completions of each prompt in `reinforce` and `self-play`.
    pub num_generations: usize,
    /// Sequences in one forward and backward pass; changes memory and time, not the result.
    pub micro_batch_size: usize,
    /// Gradients added up in one step.
    pub gradient_accumulation_steps: usize,
    /// How often `reinforce` learns from the completions of a step.
    pub num_iterations: usize,
    /// Parts that the completions of a step are dealt into, each an update of its own.
    pub mini_batches: usize,
    /// Length of the windows of text in `pretrain`, in tokens; 0 = the whole context.
    pub max_length: usize,
}

/// What a new policy is: its family, its sizes and its vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Architecture {
    /// How its blocks are made and how it tells positions apart.
    pub family: Family,
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Longest sequence in tokens.
    pub context_length: usize,
    /// Blocks.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Inner width of the feed-forward layer.
    pub d_ff: usize,
    /// Dropout while training.
    pub dropout: f64,
}

/// Families of new policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// RMSNorm, rotary positions, SwiGLU.
    Llama,
    /// LayerNorm, learned positions, GELU, biases: every place of a text is known from the start, none behind the context.
    Gpt2,
}

/// One reward and its share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardRecipe {
    /// Its name, as `trainer score` and the docs list them.
    pub kind: String,
    /// Its factor in the sum.
    pub weight: f64,
    /// The regular expression of `format`.
    pub pattern: Option<String>,
    /// The wanted number of words or tokens of `length`.
    pub target: Option<usize>,
    /// The folder of `learned`, that `trainer reward` wrote, or of the sentence encoder of `embedding` and `bert_score`.
    pub model: Option<PathBuf>,
}

/// When the run looks at itself and saves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchRecipe {
    /// Held-out items judged before and after the run.
    pub eval_items: usize,
    /// Steps between two looks at validation items; 0 = never.
    pub eval_every: usize,
    /// Validation items of such a look.
    pub validation_items: usize,
    /// Steps between two checkpoints; 0 = only at the end.
    pub save_every: usize,
    /// Checkpoints kept, beside the best.
    pub keep: usize,
    /// Number type of the weights in the final `model/` folder.
    pub model_dtype: StoredAs,
}

impl Recipe {
    /// What a verb does where no recipe is given.
    pub fn of(stage: Stage) -> Self {
        let recipe = Self { stage, ..Self::default() };
        match stage {
            Stage::Pretrain | Stage::Sft | Stage::Reinforce | Stage::Distill => recipe,
            // The sum over a completion's tokens, divided by the number of completions: unbiased. The
            // baseline was taken off before.
            Stage::OffPolicy => Self {
                objective: PolicyGradient {
                    baseline: Baseline::None,
                    aggregation: Aggregation::Constant(1),
                    kl_placement: KlPlacement::LossK2,
                    ..PolicyGradient::reinforce()
                },
                ..recipe.gentle()
            },
            Stage::Dpo | Stage::Kto | Stage::Reward | Stage::SelfPlay => recipe.gentle(),
        }
    }

    /// With the learning rate of small changes.
    fn gentle(mut self) -> Self {
        self.optimizer.learning_rate = 1e-4;
        self.optimizer.adamw.weight_decay = 0.0;
        self
    }
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            stage: Stage::default(),
            model: None,
            data: DataRecipe::default(),
            seed: 1,
            steps: 100,
            batch: BatchRecipe::default(),
            architecture: Architecture::default(),
            vision: VisionConfig::default(),
            tuning: Tuning::default(),
            optimizer: OptimizerRecipe::default(),
            sampling: Sampling::default(),
            objective: PolicyGradient::default(),
            critic: CriticRecipe::default(),
            reward: Vec::new(),
            feedback: FeedbackRecipe::default(),
            distil: DistilRecipe::default(),
            self_play: SelfPlayRecipe::default(),
            watch: WatchRecipe::default(),
        }
    }
}

impl Default for DataRecipe {
    fn default() -> Self {
        Self {
            tasks: Vec::new(),
            dataset: None,
            max_prompt_length: 192,
            repeat_share: 0.0,
            picture_variation: 0.0,
        }
    }
}

impl Default for BatchRecipe {
    fn default() -> Self {
        Self {
            prompts: 16,
            num_generations: 8,
            micro_batch_size: 32,
            gradient_accumulation_steps: 1,
            num_iterations: 1,
            mini_batches: 1,
            max_length: 0,
        }
    }
}

impl Default for Architecture {
    fn default() -> Self {
        Self {
            family: Family::Llama,
            vocab_size: 2048,
            context_length: 256,
            n_layers: 6,
            d_model: 192,
            n_heads: 6,
            n_kv_heads: 6,
            d_ff: 480,
            dropout: 0.0,
        }
    }
}

impl Default for RewardRecipe {
    fn default() -> Self {
        Self { kind: String::new(), weight: 1.0, pattern: None, target: None, model: None }
    }
}

impl Default for WatchRecipe {
    fn default() -> Self {
        Self {
            eval_items: 400,
            eval_every: 0,
            validation_items: 100,
            save_every: 50,
            keep: 2,
            model_dtype: StoredAs::F32,
        }
    }
}

impl Architecture {
    /// The transformer's configuration for a vocabulary of this size.
    pub fn transformer(&self, vocab_size: usize) -> TransformerConfig {
        let family = match self.family {
            Family::Llama => TransformerConfig::llama,
            Family::Gpt2 => TransformerConfig::gpt2,
        };
        TransformerConfig {
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            d_head: self.d_model.checked_div(self.n_heads).unwrap_or(0),
            d_ff: self.d_ff,
            dropout: self.dropout,
            ..family(vocab_size, self.context_length, self.n_layers, self.d_model)
        }
    }
}
