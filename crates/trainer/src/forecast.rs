//! `trainer plan`: the memory of a run before it is started, and what would fit where it does not.

use anyhow::Result;
use burn::tensor::Device;
use kudos_core::learn::Activations;
use kudos_core::model::hugging_face::config_from_json;
use kudos_core::model::{Transformer, TransformerConfig};
use kudos_core::task::{Item, TaskData};
use kudos_core::text::chat::ChatTemplate;
use kudos_core::text::tokenizer::Tokenizer;
use kudos_core::tuning::{Base, Lora, Tuning};
use serde_json::json;

use crate::args::PlanArgs;
use crate::batches::items_of_step;
use crate::evaluate::{fitting, policy_files};
use crate::interrupt::Interrupt;
use crate::memory::{Memory, Setting, estimate};
use crate::parallel::Workers;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::recipe::{Recipe, Stage};
use crate::usage::usage;
use crate::{data, open_device, output};

const MIB: usize = 1 << 20;

/// A change of a recipe that takes less memory.
type Change = fn(&mut Recipe);

/// Prints what a run would take.
///
/// # Errors
/// Usage errors: a recipe that is none, or one whose run does not fit, with the nearest that does.
pub fn run(args: &PlanArgs) -> Result<()> {
    let plan = Plan::new(&args.run, None, Interrupt::install()?)?;
    let selected = open_device::open(&args.run.device)?;
    let (config, longest) = sizes(&plan.recipe)?;
    let workers = Workers::of(&selected.device).count();
    let setting = Setting { recipe: &plan.recipe, config: &config, longest, workers };
    let found = estimate(&setting);
    let limit =
        args.memory.or_else(|| free_memory().filter(|_| crate::parallel::is_cpu(&selected.device)));
    output::result(&if args.json {
        json!({ "parts": found, "peak": found.peak(), "limit": limit }).to_string()
    } else {
        table(&found, limit)
    });
    match limit {
        Some(limit) if found.peak() > limit => Err(usage(refusal(&setting, limit))),
        Some(_) | None => Ok(()),
    }
}

/// The sizes of a run's policy, and the tokens of its longest prompt and completion.
fn sizes(recipe: &Recipe) -> Result<(TransformerConfig, (usize, usize))> {
    if recipe.stage == Stage::Distill {
        return Err(usage(
            "plan counts no teacher, and so no distillation: plan the student as `sft`",
        ));
    }
    if recipe.stage == Stage::Pretrain {
        let config = recipe.architecture.transformer(recipe.architecture.vocab_size);
        let window = match recipe.batch.max_length {
            0 => config.context_length,
            length => length.min(config.context_length),
        };
        return Ok((config, (1, window - 1)));
    }
    let files = policy_files(recipe.model.as_deref())?;
    let config = config_from_json(&files.config).map_err(|error| usage(error.to_string()))?;
    // Weights are made when they are first asked for, and here nobody asks.
    let policy = Policy {
        model: Transformer::zeroed(&config, &Device::flex()),
        tokenizer: Tokenizer::from_json(&files.tokenizer)
            .map_err(|error| usage(error.to_string()))?,
        template: ChatTemplate::from_tokenizer_config(&files.tokenizer_config)
            .map_err(|error| usage(error.to_string()))?,
    };
    let most = (recipe.data.max_prompt_length, recipe.sampling.max_completion_length);
    let longest = match recipe.stage {
        Stage::Reinforce | Stage::SelfPlay => (longest_prompt(recipe, &policy, most)?, most.1),
        Stage::Sft => longest_pair(recipe, &policy)?,
        Stage::Pretrain
        | Stage::Distill
        | Stage::OffPolicy
        | Stage::Dpo
        | Stage::Kto
        | Stage::Reward => most,
    };
    Ok((config, longest))
}

/// Tokens of the longest prompt that the steps of a run draw: the same that it will draw.
fn longest_prompt(
    recipe: &Recipe,
    policy: &Policy,
    (most, drawn): (usize, usize),
) -> Result<usize> {
    let most = most.min(policy.config().context_length.saturating_sub(drawn));
    let prompts = fitting(policy, &items(recipe)?, (most, 0))?;
    let lengths: Vec<(usize, usize)> =
        prompts.iter().map(|(_, prompt)| (prompt.len(), 0)).collect();
    Ok(longest_drawn(recipe, &lengths).0)
}

/// Tokens of the longest example that the steps of imitation take.
fn longest_pair(recipe: &Recipe, policy: &Policy) -> Result<(usize, usize)> {
    let context = policy.config().context_length;
    let mut lengths = Vec::new();
    for item in items(recipe)? {
        let pair = policy.encode_item(&item)?.map(|(prompt, text)| (prompt.len(), text.len()));
        lengths.extend(pair.filter(|(prompt, text)| *prompt > 0 && prompt + text <= context));
    }
    Ok(longest_drawn(recipe, &lengths))
}

fn longest_drawn(recipe: &Recipe, lengths: &[(usize, usize)]) -> (usize, usize) {
    if lengths.is_empty() {
        return (1, 1);
    }
    let count = recipe.batch.prompts * recipe.batch.gradient_accumulation_steps;
    let drawn = (0..recipe.steps)
        .flat_map(|step| items_of_step(recipe.seed, step, count, lengths.len()))
        .map(|place| lengths[place]);
    drawn.max_by_key(|(prompt, text)| prompt + text).unwrap_or((1, 1))
}

fn items(recipe: &Recipe) -> Result<Vec<Item>> {
    let sources: Vec<TaskData> = match &recipe.data.dataset {
        Some(path) => vec![data::dataset(path)?],
        None => recipe.data.tasks.iter().map(|name| data::task(name)).collect::<Result<_>>()?,
    };
    Ok(sources.into_iter().flat_map(|source| source.train).collect())
}

fn table(found: &Memory, limit: Option<usize>) -> String {
    let rows = [
        ("program", found.program),
        ("weights", found.weights),
        ("optimizer", found.optimizer),
        ("gradients", found.gradients),
        ("activations", found.activations),
        ("logits", found.logits),
        ("drawing, with its cache", found.drawing),
        ("writing", found.writing),
        ("at once", found.peak()),
    ];
    let lines = rows.map(|(name, bytes)| format!("{name:<24}{:>9} MiB", bytes.div_ceil(MIB)));
    let there = limit.map_or_else(
        || "how much memory there is is not known: give --memory".to_owned(),
        |limit| format!("{:<24}{:>9} MiB", "there is", limit / MIB),
    );
    format!("{}\n{there}", lines.join("\n"))
}

/// Why a run does not fit, and what would.
fn refusal(setting: &Setting<'_>, limit: usize) -> String {
    let mib = |bytes: usize| bytes.div_ceil(MIB);
    let (takes, limit_mib) = (mib(estimate(setting).peak()), limit / MIB);
    match nearest(setting, limit) {
        Some((changes, found)) => format!(
            "the run takes {takes} MiB of {limit_mib}: set {}, which takes {} MiB",
            changes.join(", "),
            mib(found.peak())
        ),
        None => format!(
            "the run takes {takes} MiB of {limit_mib}, and no setting of the same policy fits: take a smaller one"
        ),
    }
}

/// The first recipe that fits, as changes: those come first that change memory and time but no result.
fn nearest(setting: &Setting<'_>, limit: usize) -> Option<(Vec<String>, Memory)> {
    let mut recipe = setting.recipe.clone();
    let mut changes = Vec::new();
    let steps: [(&str, Change); 5] = [
        ("", |_| {}),
        ("optimizer.activations = \"recompute\"", |recipe| {
            recipe.optimizer.activations = Activations::Recompute;
        }),
        ("tuning.method = \"lora\"", |recipe| recipe.tuning = Tuning::Lora(Lora::default())),
        ("optimizer.activations = \"blocks\"", |recipe| {
            recipe.optimizer.activations = Activations::Blocks;
        }),
        ("tuning.base = \"int8\"", |recipe| {
            recipe.tuning = recipe.tuning.clone().with_base(Base::Int8);
        }),
    ];
    for (name, change) in steps {
        let before = recipe.clone();
        change(&mut recipe);
        if recipe != before {
            // A later choice of the same field replaces the earlier.
            let field = name.split(" = ").next();
            changes.retain(|one: &String| one.split(" = ").next() != field);
            changes.push(name.to_owned());
        }
        let mut size = setting.recipe.batch.micro_batch_size;
        loop {
            recipe.batch.micro_batch_size = size;
            let found = estimate(&Setting { recipe: &recipe, ..*setting });
            if found.peak() <= limit {
                if size != setting.recipe.batch.micro_batch_size {
                    changes.insert(0, format!("batch.micro_batch_size = {size}"));
                }
                return Some((changes, found));
            }
            if size == 1 {
                break;
            }
            size /= 2;
        }
    }
    None
}

/// Memory that the system says is free.
fn free_memory() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_fits_and_changes_nothing_that_it_need_not() {
        let recipe = Recipe::default();
        let config = TransformerConfig::llama(2048, 256, 6, 192);
        let setting = Setting { recipe: &recipe, config: &config, longest: (128, 64), workers: 2 };
        let peak = estimate(&setting).peak();
        assert_eq!(nearest(&setting, peak).unwrap().0, Vec::<String>::new());
        let (changes, found) = nearest(&setting, peak - 1).unwrap();
        assert_eq!(changes, ["batch.micro_batch_size = 16"]);
        assert!(found.peak() < peak);
        assert!(nearest(&setting, 1000).is_none());
        assert!(refusal(&setting, 1000).contains("take a smaller one"));
    }
}
