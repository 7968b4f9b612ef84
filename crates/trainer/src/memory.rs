//! How much memory a run takes, from its recipe and the sizes of its policy alone.
//!
//! Formula: what lasts (weights, what stands beside them, moments) plus the largest of what comes and goes: drawing
//! (a cache), scoring (logits), learning (activations, logits, gradients), and writing to the disk.
//! How many tensors a layer keeps was fitted to measured runs on the CPU (docs/models.md).
//! Misleads when a reward is a model of its own, which is not counted, when completions end early: they are
//! counted at their full length, and when completions share long prompts: each is counted with its own.

use kudos_core::learn::Activations;
use kudos_core::model::{FeedForwardKind, NormKind, Positions, TransformerConfig};
use kudos_core::tuning::{Base, Target, Tuning};
use serde::Serialize;

use crate::evaluate::{BATCH, CACHE};
use crate::parallel::LOGITS;
use crate::recipe::{Precision, Recipe, Stage};

/// Bytes of a number in f32.
const F32: usize = 4;
/// Bytes of the program, its tasks and a tokenizer, on the CPU.
const PROGRAM: usize = 168 << 20;
/// Tensors as large as the logits that learning from them holds at once.
const OF_LOGITS: usize = 4;
/// Tensors as large as the residual stream that a layer keeps of a position: inputs and outputs of norms, projections
/// and residual sums.
const OF_STREAM: usize = 10;
/// Tensors as large as the inner width that it keeps.
const OF_INNER: usize = 3;
/// Numbers that it keeps of each pair of positions in each head.
const OF_PAIRS: usize = 3;

/// What a run is to be judged by.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// The run.
    pub recipe: &'a Recipe,
    /// The sizes of its policy.
    pub config: &'a TransformerConfig,
    /// Tokens of the longest prompt, and of the longest completion.
    pub longest: (usize, usize),
    /// Threads that share a batch.
    pub workers: usize,
}

/// Bytes by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The program itself.
    pub program: usize,
    /// Weights, those of the policy that a run starts from, and copies in half precision.
    pub weights: usize,
    /// Moments of what is trained.
    pub optimizer: usize,
    /// Gradients of what is trained, one sum for each worker, and the weights that a step makes.
    pub gradients: usize,
    /// What the backward pass needs of a micro-batch, for each worker.
    pub activations: usize,
    /// Logits of a micro-batch and what is computed of them, for each worker.
    pub logits: usize,
    /// Keys and values while completions are drawn, and weights with small parameters in them.
    pub drawing: usize,
    /// Moments on their way to the disk, or weights with small parameters in them, one tensor at a time.
    pub writing: usize,
}

impl Memory {
    /// The most that is taken at once.
    pub fn peak(&self) -> usize {
        let learning = self.gradients + self.activations + self.logits;
        let passing = learning.max(self.drawing).max(self.writing);
        self.program + self.weights + self.optimizer + passing
    }
}

/// What a run takes.
pub fn estimate(setting: &Setting<'_>) -> Memory {
    let Setting { recipe, config, .. } = *setting;
    let (all, trained) = (parameters(config), trained(&recipe.tuning, config));
    let whole = recipe.tuning.is_full();
    let beside = recipe.stage != Stage::Pretrain && recipe.stage != Stage::Sft;
    let copies = 1 + usize::from(beside && whole);
    let halves = match recipe.optimizer.precision {
        Precision::F32 => 0,
        Precision::F16 | Precision::Bf16 => 2 * all * (1 + usize::from(beside)),
    };
    let (micro, chosen) = (micro_batch(setting), setting.longest.1);
    let length = setting.length();
    let merged = merged(&recipe.tuning, config) * F32;
    Memory {
        program: PROGRAM,
        weights: copies * all * F32 + halves - saved(&recipe.tuning, config),
        optimizer: 2 * trained * F32,
        gradients: (setting.workers + 1) * trained * F32,
        activations: setting.workers * micro * length * kept(setting, length),
        logits: setting.workers * micro * chosen * config.vocab_size * F32 * OF_LOGITS,
        drawing: if beside { merged + drawing(setting) } else { 0 },
        writing: (2 * trained * F32).max(merged + largest(config)),
    }
}

/// Bytes by which a packed base is smaller.
fn saved(tuning: &Tuning, config: &TransformerConfig) -> usize {
    let one = |target| {
        let (inputs, outputs) = sides(target, config);
        inputs * outputs * F32 - tuning.base().bytes([inputs, outputs])
    };
    config.n_layers * targets(config).into_iter().map(one).sum::<usize>()
}

/// Values of a policy.
pub fn parameters(config: &TransformerConfig) -> usize {
    let vectors = match config.norm {
        NormKind::LayerNorm => 2 * config.d_model,
        NormKind::RmsNorm => config.d_model,
    };
    let biased = |target: Target| {
        let attention =
            matches!(target, Target::Query | Target::Key | Target::Value | Target::Output);
        if attention { config.attention_bias } else { config.feed_forward_bias }
    };
    let of = |target: Target| {
        let (inputs, outputs) = sides(target, config);
        inputs * outputs + if biased(target) { outputs } else { 0 }
    };
    let layer = targets(config).into_iter().map(of).sum::<usize>() + 2 * vectors;
    let positions = match config.positions {
        Positions::Learned => config.context_length * config.d_model,
        Positions::Rotary { .. } => 0,
    };
    let tables = if config.tied_head { 1 } else { 2 } * config.vocab_size * config.d_model;
    tables + positions + config.n_layers * layer + vectors
}

/// Values that a tuning trains.
pub fn trained(tuning: &Tuning, config: &TransformerConfig) -> usize {
    let each = |chosen: &[Target], of: &dyn Fn(Target) -> usize| {
        let there = targets(config).into_iter().filter(|target| chosen.contains(target));
        config.n_layers * there.map(of).sum::<usize>()
    };
    let both = |target| {
        let (inputs, outputs) = sides(target, config);
        inputs + outputs
    };
    let keys = config.n_kv_heads * config.d_head;
    match tuning {
        Tuning::Full {} => parameters(config),
        Tuning::Lora(lora) => each(&lora.target_modules, &|target| {
            let lengths = if lora.use_dora { sides(target, config).1 } else { 0 };
            lora.rank * both(target) + lengths
        }),
        Tuning::Adalora(ada) => {
            each(&ada.target_modules, &|target| ada.init_rank * (both(target) + 1))
        }
        Tuning::Ia3(ia3) => each(&ia3.target_modules, &|target| match target {
            Target::Down => sides(target, config).0,
            Target::Query
            | Target::Key
            | Target::Value
            | Target::Output
            | Target::Gate
            | Target::Up => sides(target, config).1,
        }),
        Tuning::Bottleneck(options) => {
            options.numbers(config).expect("networks whose numbers can be counted")
        }
        Tuning::Prefix(tokens) => config.n_layers * tokens.num_virtual_tokens * 2 * keys,
        Tuning::Prompt(tokens) => tokens.num_virtual_tokens * config.d_model,
    }
}

/// Bytes of keys and values of one position in all layers.
pub fn cache_bytes_per_token(config: &TransformerConfig) -> usize {
    2 * F32 * config.n_layers * config.n_kv_heads * config.d_head
}

/// Values that are copied where small parameters become part of the weights.
fn merged(tuning: &Tuning, config: &TransformerConfig) -> usize {
    let chosen = match tuning {
        Tuning::Full {} | Tuning::Bottleneck(_) | Tuning::Prefix(_) | Tuning::Prompt(_) => {
            return 0;
        }
        Tuning::Lora(lora) => &lora.target_modules,
        Tuning::Adalora(ada) => &ada.target_modules,
        Tuning::Ia3(ia3) => &ia3.target_modules,
    };
    let there = targets(config).into_iter().filter(|target| chosen.contains(target));
    let size = |target| {
        let (inputs, outputs) = sides(target, config);
        inputs * outputs
    };
    config.n_layers * there.map(size).sum::<usize>()
}

/// The projections of a layer.
fn targets(config: &TransformerConfig) -> Vec<Target> {
    let gated = config.feed_forward == FeedForwardKind::SwiGlu;
    Target::ALL.into_iter().filter(|target| gated || *target != Target::Gate).collect()
}

/// Inputs and outputs of a projection.
fn sides(target: Target, config: &TransformerConfig) -> (usize, usize) {
    let (width, inner) = (config.d_model, config.d_ff);
    let queries = config.n_heads * config.d_head;
    match target {
        Target::Query => (width, queries),
        Target::Key | Target::Value => (width, config.n_kv_heads * config.d_head),
        Target::Output => (queries, width),
        Target::Gate | Target::Up => (width, inner),
        Target::Down => (inner, width),
    }
}

impl Setting<'_> {
    /// Tokens of the longest sequence.
    fn length(&self) -> usize {
        (self.longest.0 + self.longest.1).min(self.config.context_length)
    }
}

/// Sequences that a worker learns from at once.
fn micro_batch(setting: &Setting<'_>) -> usize {
    let batch = setting.recipe.batch;
    let each = if setting.recipe.stage == Stage::Reinforce { batch.num_generations } else { 1 };
    let all = batch.prompts * each * batch.gradient_accumulation_steps;
    batch.micro_batch_size.min(all.div_ceil(batch.mini_batches).div_ceil(setting.workers)).max(1)
}

/// Bytes that the backward pass needs of one position, in all layers.
fn kept(setting: &Setting<'_>, length: usize) -> usize {
    let Setting { recipe, config, .. } = *setting;
    let number = match recipe.optimizer.precision {
        Precision::F32 => F32,
        Precision::F16 | Precision::Bf16 => F32 / 2,
    };
    let packed = recipe.tuning.base() != Base::F32;
    let activations = if packed { Activations::Blocks } else { recipe.optimizer.activations };
    let (stream, inner) = match activations {
        Activations::Keep => (OF_STREAM, OF_INNER),
        // What is cheap is computed again: products, not sums or gates.
        Activations::Recompute => (OF_STREAM - 2, OF_INNER - 1),
        Activations::Blocks => (OF_STREAM, OF_INNER),
    };
    let layer = stream * config.d_model + inner * config.d_ff + OF_PAIRS * config.n_heads * length;
    match activations {
        Activations::Keep | Activations::Recompute => config.n_layers * layer * number,
        // One block at a time, behind the inputs of all.
        Activations::Blocks => (config.n_layers * config.d_model + layer) * number,
    }
}

/// The cache and the logits of completions that are drawn together, or of those that are scored together.
fn drawing(setting: &Setting<'_>) -> usize {
    let Setting { recipe, config, workers, .. } = *setting;
    let completion = setting.longest.1;
    let row = setting.length() * cache_bytes_per_token(config);
    let held_out = (CACHE / row.max(1)).clamp(1, BATCH).min(recipe.watch.eval_items.max(1));
    let batch = recipe.batch;
    let drawn = batch.prompts * batch.num_generations * batch.gradient_accumulation_steps;
    let together = if recipe.stage == Stage::Reinforce { drawn.max(held_out) } else { held_out };
    let scored = (LOGITS / (completion * config.vocab_size).max(1)).clamp(1, BATCH);
    let scored = workers * scored.min(together.div_ceil(workers)) * completion;
    // When half of the completions have ended, the other half is copied.
    let cache = together * row + together * row / 2;
    cache.max(scored * config.vocab_size * F32 * OF_LOGITS / 2)
}

/// Bytes of the largest tensor on its way to the disk, as numbers and as bytes.
fn largest(config: &TransformerConfig) -> usize {
    2 * F32 * config.vocab_size.max(config.d_ff) * config.d_model
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use kudos_core::model::{Transformer, parameters::count};
    use kudos_core::tuning::{self, AdaLora, BottleneckOptions, Ia3, Lora, VirtualTokens, install};

    fn gpt2() -> TransformerConfig {
        TransformerConfig::gpt2(50, 16, 3, 24)
    }

    fn llama() -> TransformerConfig {
        TransformerConfig {
            n_heads: 4,
            n_kv_heads: 2,
            d_head: 6,
            ..TransformerConfig::llama(50, 16, 3, 24)
        }
    }

    fn setting<'a>(recipe: &'a Recipe, config: &'a TransformerConfig) -> Setting<'a> {
        Setting { recipe, config, longest: (9, 7), workers: 2 }
    }

    #[test]
    fn parameters_are_counted_as_the_model_has_them() {
        let untied = TransformerConfig { tied_head: false, attention_bias: true, ..llama() };
        for config in [gpt2(), llama(), untied] {
            assert_eq!(parameters(&config), count(&Transformer::zeroed(&config, &Device::flex())));
        }
    }

    #[test]
    fn what_a_tuning_trains_is_counted_as_it_is_installed() {
        let tunings = [
            Tuning::Full {},
            Tuning::Lora(Lora { use_dora: true, ..Lora::default() }),
            Tuning::Adalora(AdaLora::default()),
            Tuning::Ia3(Ia3::default()),
            Tuning::Bottleneck(BottleneckOptions::default()),
            Tuning::Prefix(VirtualTokens::default()),
            Tuning::Prompt(VirtualTokens { num_virtual_tokens: 5, ..Default::default() }),
        ];
        for config in [gpt2(), TransformerConfig { context_length: 64, ..llama() }] {
            let config = TransformerConfig { context_length: 64, ..config };
            for tuning in &tunings {
                let model = Transformer::zeroed(&config, &Device::flex().autodiff());
                let mut coins = crate::batches::coins(1, crate::batches::Purpose::Weights, 1);
                let model = install(model, tuning, &mut coins);
                assert_eq!(trained(tuning, &config), tuning::trained(&model), "{tuning:?}");
            }
        }
    }

    #[test]
    fn a_packed_base_is_counted_as_it_is_held() {
        // Keys are no whole words of eight numbers, so some matrices stay as they are.
        let config = TransformerConfig { d_head: 12, n_kv_heads: 1, ..wide() };
        for base in [Base::F32, Base::Int8, Base::Int4] {
            let tuning = Tuning::Lora(Lora { base, ..Lora::default() });
            let model = Transformer::zeroed(&config, &Device::flex());
            let model = pollster::block_on(tuning::pack_base(model, base)).unwrap();
            let projections = config.n_layers
                * targets(&config)
                    .into_iter()
                    .map(|target| sides(target, &config))
                    .map(|(inputs, outputs)| inputs * outputs * F32)
                    .sum::<usize>();
            assert_eq!(projections - saved(&tuning, &config), tuning::base_bytes(&model));
        }
    }

    fn wide() -> TransformerConfig {
        TransformerConfig { n_heads: 4, d_ff: 96, ..TransformerConfig::llama(50, 16, 3, 64) }
    }

    #[test]
    fn less_at_once_takes_less_and_small_parameters_have_small_moments() {
        let (recipe, config) = (Recipe::default(), llama());
        let with = |change: &dyn Fn(&mut Recipe)| {
            let mut changed = recipe.clone();
            change(&mut changed);
            estimate(&setting(&changed, &config))
        };
        let plain = with(&|_| {});
        let fewer = with(&|recipe| recipe.batch.micro_batch_size = 1);
        assert!(fewer.activations < plain.activations && fewer.logits < plain.logits);
        let again = with(&|recipe| recipe.optimizer.activations = Activations::Recompute);
        assert!(again.activations < plain.activations);
        let blocks = with(&|recipe| recipe.optimizer.activations = Activations::Blocks);
        assert!(blocks.activations < again.activations);
        let lora =
            with(&|recipe| recipe.tuning = Tuning::Lora(Lora { rank: 1, ..Lora::default() }));
        assert!(lora.optimizer < plain.optimizer && lora.weights < plain.weights);
    }
}
