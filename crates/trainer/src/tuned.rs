//! The table `[tuning]` at work: what learns, what a checkpoint keeps, what a run leaves.
//!
//! A run that tunes small parameters leaves them in `adapter/`, in PEFT's form where it has one, and the
//! policy with them in its weights in `model/`, where that is possible.

use std::path::Path;

use anyhow::Result;
use burn::module::Module;
use burn::tensor::Device;
use kudos_core::learn::Activations;
use kudos_core::model::hugging_face::StoredAs;
use kudos_core::optim::AdamW;
use kudos_core::tuning::{
    self, AdapterFiles, Allocator, Base, Tuning, install, merge, pack_base, read_adapter,
    small_to_bytes, write_adapter,
};
use pollster::block_on;

use crate::batches::{Purpose, coins};
use crate::policy::{self, Policy, PolicyFiles};
use crate::recipe::{Precision, Recipe, Stage};
use crate::store::{FillError, read_text, write_folder};
use crate::usage::usage;

/// The small parameters of a checkpoint, under our own names: what a run is resumed from.
pub const SMALL: &str = "tuned.safetensors";
/// The folder of the policy.
const MODEL: &str = "model";
/// The folder of the small parameters for others.
const ADAPTER: &str = "adapter";
/// Its files, as PEFT calls them.
const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// Which coins the small parameters start from; those of index 0 make a new policy.
const START: u64 = 1;

/// Refuses a table that this recipe cannot follow.
///
/// # Errors
/// A usage error that names the field and the remedy.
pub fn check(recipe: &Recipe) -> Result<()> {
    recipe.tuning.check().map_err(usage)?;
    let whole = match recipe.stage {
        Stage::Pretrain | Stage::Reward => true,
        Stage::Sft
        | Stage::Reinforce
        | Stage::OffPolicy
        | Stage::Dpo
        | Stage::Kto
        | Stage::Distill
        | Stage::SelfPlay => false,
    };
    if whole && !recipe.tuning.is_full() {
        let verb = recipe.stage.name();
        return Err(usage(format!("{verb} trains whole models: leave [tuning] out")));
    }
    check_base(recipe)?;
    if let Tuning::Adalora(ada) = &recipe.tuning
        && ada.t_init + ada.t_final >= recipe.steps
    {
        return Err(usage(format!(
            "tuning.t_init and tuning.t_final together are {}: give fewer than the {} steps of the run, so \
             that some remain to prune in",
            ada.t_init + ada.t_final,
            recipe.steps
        )));
    }
    Ok(())
}

/// Refuses what a packed base, or going back block by block, cannot follow.
fn check_base(recipe: &Recipe) -> Result<()> {
    let packed = recipe.tuning.base() != Base::F32;
    if packed && recipe.optimizer.precision != Precision::F32 {
        return Err(usage(
            "tuning.base is packed: it is unpacked in f32, leave optimizer.precision at f32",
        ));
    }
    let dropout = match &recipe.tuning {
        Tuning::Lora(lora) => lora.dropout,
        Tuning::Adalora(ada) => ada.dropout,
        Tuning::Full {}
        | Tuning::Ia3(_)
        | Tuning::Bottleneck(_)
        | Tuning::Prefix(_)
        | Tuning::Prompt(_) => 0.0,
    };
    let by_block = packed || recipe.optimizer.activations == Activations::Blocks;
    if by_block && (dropout > 0.0 || recipe.architecture.dropout > 0.0) {
        return Err(usage(
            "blocks are passed again on the way back, and dropout would draw anew: set dropout to 0, or leave \
             tuning.base at f32 and optimizer.activations at keep",
        ));
    }
    let whole = matches!(recipe.stage, Stage::Reward);
    if recipe.optimizer.activations == Activations::Blocks && whole {
        return Err(usage(
            "reward models keep activations: set optimizer.activations to keep or recompute",
        ));
    }
    Ok(())
}

/// A policy as it is, for reading, and as the recipe tunes it, on a device that trains. Both hold the same
/// weights until they learn.
///
/// # Errors
/// Usage errors: a file is damaged, or the learned positions leave none for tokens.
pub fn start(files: &PolicyFiles, recipe: &Recipe, device: &Device) -> Result<(Policy, Policy)> {
    let loaded = files.load(device).map_err(|error| usage(error.to_string()))?;
    let loaded = packed(loaded, recipe)?;
    let before = Policy { model: loaded.model.valid(), ..loaded.clone() };
    Ok((before, installed(loaded, recipe)?))
}

/// The policy with its base as the recipe holds it.
fn packed(policy: Policy, recipe: &Recipe) -> Result<Policy> {
    let model = policy.model.passing(recipe.optimizer.activations.passes());
    Ok(Policy { model: block_on(pack_base(model, recipe.tuning.base()))?, ..policy })
}

/// The policy as the recipe tunes it.
///
/// # Errors
/// If the learned positions leave none for tokens, or the device fails.
pub fn begin(policy: Policy, recipe: &Recipe) -> Result<Policy> {
    installed(packed(policy, recipe)?, recipe)
}

fn installed(policy: Policy, recipe: &Recipe) -> Result<Policy> {
    let context = policy.config().context_length;
    if let Tuning::Prefix(tokens) | Tuning::Prompt(tokens) = &recipe.tuning
        && tokens.num_virtual_tokens >= context
    {
        return Err(usage(format!(
            "tuning.num_virtual_tokens is {}: the context holds {context} tokens, leave some for text",
            tokens.num_virtual_tokens
        )));
    }
    let mut coins = coins(recipe.seed, Purpose::Weights, START);
    let model = install(policy.model, &recipe.tuning, &mut coins);
    Ok(Policy { model, ..policy })
}

/// The optimizer of a new run.
pub fn optimizer(recipe: &Recipe) -> AdamW {
    let optimizer = AdamW::new(recipe.optimizer.adamw);
    match allocator(recipe) {
        None => optimizer,
        Some(allocator) => optimizer.allocating(allocator),
    }
}

/// The optimizer of a resumed run with what its file says of pruning.
///
/// # Errors
/// If the file is damaged.
pub fn remembering(
    optimizer: AdamW,
    recipe: &Recipe,
    (bytes, device): (&[u8], &Device),
) -> Result<AdamW> {
    Ok(match allocator(recipe) {
        None => optimizer,
        Some(allocator) => optimizer.allocating(allocator.remembering(bytes, device)?),
    })
}

fn allocator(recipe: &Recipe) -> Option<Allocator> {
    match &recipe.tuning {
        Tuning::Adalora(ada) => Some(Allocator::new(ada.clone(), recipe.steps)),
        Tuning::Full {}
        | Tuning::Lora(_)
        | Tuning::Ia3(_)
        | Tuning::Bottleneck(_)
        | Tuning::Prefix(_)
        | Tuning::Prompt(_) => None,
    }
}

/// Bytes in which the frozen projections of the policy that a run starts from are held; none where all learns.
pub fn base_bytes(recipe: &Recipe, before: &Policy) -> Option<u64> {
    (!recipe.tuning.is_full()).then(|| tuning::base_bytes(&before.model) as u64)
}

/// Writes what a checkpoint keeps of a policy into its folder: all of it, or its small parameters, for us and for others.
///
/// # Errors
/// If the device does not return it, or the disk is full.
pub fn keep(policy: &Policy, tuning: &Tuning, folder: &Path) -> Result<(), FillError> {
    if tuning.is_full() {
        let model = folder.join(MODEL);
        std::fs::create_dir(&model)?;
        return policy::save(policy, StoredAs::F32, &model);
    }
    let adapter = folder.join(ADAPTER);
    std::fs::create_dir(&adapter)?;
    fill(&block_on(write_adapter(&policy.model, tuning))?, &adapter)?;
    Ok(std::fs::write(folder.join(SMALL), block_on(small_to_bytes(&policy.model))?)?)
}

/// Leaves the small parameters of a finished run in `adapter/`, if it has some.
///
/// # Errors
/// If the device does not return them or the disk is full.
pub fn write(folder: &Path, policy: &Policy, recipe: &Recipe) -> Result<()> {
    if recipe.tuning.is_full() {
        return Ok(());
    }
    let files = block_on(write_adapter(&policy.model, &recipe.tuning))?;
    Ok(write_folder(&folder.join(ADAPTER), |folder| fill(&files, folder))?)
}

/// Leaves the policy of a finished run in `model/`, if its small parameters are in its weights.
///
/// # Errors
/// If the device does not return the weights, or the disk is full.
pub fn write_model(folder: &Path, policy: &Policy, recipe: &Recipe) -> Result<()> {
    if recipe.tuning.merges() {
        let stored_as = recipe.watch.model_dtype;
        write_folder(&folder.join(MODEL), |folder| policy::save(policy, stored_as, folder))?;
    }
    Ok(())
}

/// SHA-256 of the weights that a finished run leaves, or would leave if its small parameters were in them.
///
/// # Errors
/// If the file cannot be read, or the device does not return the weights.
pub fn sha256(folder: &Path, policy: &Policy, recipe: &Recipe) -> Result<String> {
    Ok(match recipe.tuning.merges() {
        true => policy::read(&folder.join(MODEL))?.sha256()?,
        false => block_on(policy.files(recipe.watch.model_dtype))?.sha256()?,
    })
}

/// Where the result of a run is, in words.
pub fn place(folder: &Path, recipe: &Recipe) -> String {
    let folder = folder.display();
    match (recipe.tuning.is_full(), recipe.tuning.merges()) {
        (true, _) => format!("the policy is in {folder}/model"),
        (false, true) => {
            format!("the policy is in {folder}/model, what it learned alone in {folder}/{ADAPTER}")
        }
        (false, false) => format!(
            "what the policy learned is in {folder}/{ADAPTER}: give it as --adapter beside the --model \
             that the run started from"
        ),
    }
}

/// A policy with an adapter of ours or of PEFT, in its weights as far as that is possible. The policy
/// that is given stays as it is, so that several adapters can be put at it.
///
/// # Errors
/// A usage error that names the file.
pub fn with_adapter(policy: &Policy, folder: &Path) -> Result<Policy> {
    let (label, files) = (folder.display(), adapter_files(folder)?);
    let model =
        read_adapter(&policy.model, &files).map_err(|error| usage(format!("{label}: {error}")))?;
    Ok(Policy { model: merge(model), ..policy.clone() })
}

/// The files of an adapter of ours or of PEFT.
///
/// # Errors
/// A usage error that names the folder.
pub fn adapter_files(folder: &Path) -> Result<AdapterFiles> {
    let read = || -> Result<AdapterFiles> {
        let config = read_text(&folder.join(CONFIG))?;
        Ok(AdapterFiles { config, weights: policy::read_bytes(&folder.join(WEIGHTS))? })
    };
    read().map_err(|error| {
        let label = folder.display();
        usage(format!("{label}: {error:#}; an adapter is a folder with {CONFIG} and {WEIGHTS}"))
    })
}

fn fill(files: &AdapterFiles, folder: &Path) -> Result<(), FillError> {
    std::fs::write(folder.join(CONFIG), &files.config)?;
    Ok(std::fs::write(folder.join(WEIGHTS), &files.weights)?)
}
