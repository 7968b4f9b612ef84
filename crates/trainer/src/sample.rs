//! `trainer sample`: let a policy write, with the probabilities of what it wrote.

use anyhow::Result;
use kudos_core::model::vision::patches;
use kudos_core::model::{Transformer, VisionError};
use kudos_core::rollout::{Coins, Generation, Rollout, generate};
use kudos_core::task::{Item, Prompt};
use kudos_core::text::chat::Message;
use kudos_schema::{Sample, Sampling};
use pollster::block_on;

use crate::args::{SampleArgs, WeightsAs};
use crate::best_of::{BestOf, chosen};
use crate::evaluate::policy_files;
use crate::host::in_eight_bits;
use crate::policy::Policy;
use crate::recipe::DataRecipe;
use crate::usage::usage;
use crate::{open_device, output, pictures, tuned};

/// Draws and prints completions.
///
/// # Errors
/// Usage errors, or a failing device.
pub fn run(args: &SampleArgs) -> Result<()> {
    let sampling = args.sampling.on(Sampling::default());
    sampling.validate().map_err(|error| usage(error.to_string()))?;
    let selected = open_device::open(&args.device)?;
    let files = policy_files(args.model.as_deref())?;
    let policy = files.load(&selected.device).map_err(|error| usage(error.to_string()))?;
    let said = args.prompt.as_deref().unwrap_or("?");
    let prompt = match &args.task {
        None => Prompt::Text(said.to_owned()),
        Some(task) => Prompt::Messages(vec![
            Message::new("system", task.as_str()),
            Message::new("user", said),
        ]),
    };
    let (policy, patches) = looking(policy, args)?;
    let ids = [patches, policy.encode_prompt(&prompt)?].concat();
    let stop = policy.stop_tokens();
    let coins = Coins::new(args.seed, 0);
    let generation = Generation { sampling: &sampling, stop: &stop, coins, first_index: 0 };
    let best_of =
        BestOf::of(&args.best_of, (None, DataRecipe::default()), &sampling, &selected.device)?;
    let count = best_of.as_ref().map_or(1, |best_of| best_of.count);
    let prompts = vec![ids; args.num_generations * count];
    let asked = Asked { args, prompt, best_of };
    if args.adapter.is_empty() {
        return write(&policy, &prompts, &generation, &asked);
    }
    // One base for all: an adapter is put at it, writes, and is gone.
    for folder in &args.adapter {
        let tuned = tuned::with_adapter(&policy, folder)?;
        write(&tuned, &prompts, &generation, &asked)?;
    }
    Ok(())
}

/// The policy with the picture before its eyes, and the ids of that picture; none without one.
fn looking(policy: Policy, args: &SampleArgs) -> Result<(Policy, Vec<u32>)> {
    let Some(path) = &args.image else { return Ok((policy, Vec::new())) };
    let vision = policy.config().vision.ok_or_else(|| usage(VisionError::Blind.to_string()))?;
    let picture = pictures::read(path, vision.image_size)?;
    let model = pictures::shown(policy.model, &picture)?;
    Ok((Policy { model, ..policy }, patches(0, vision)))
}

/// What is written for.
struct Asked<'a> {
    args: &'a SampleArgs,
    prompt: Prompt,
    best_of: Option<BestOf>,
}

impl Asked<'_> {
    /// The completions that are printed.
    fn kept(&self, policy: &Policy, rollout: Rollout) -> Result<Rollout> {
        let Some(best_of) = &self.best_of else { return Ok(rollout) };
        let item = Item {
            id: String::new(),
            prompt: self.prompt.clone(),
            references: Vec::new(),
            extra: serde_json::Map::new(),
        };
        let rewards = best_of.rewards(policy, &vec![&item; rollout.completions.len()], &rollout);
        if rewards.iter().any(|reward| reward.is_nan()) {
            return Err(usage(format!(
                "reward `{}` compares with a reference, and a prompt alone has none: take another --best-by",
                best_of.by.name()
            )));
        }
        Ok(chosen(&rollout, &best_of.kept(&rewards)))
    }
}

fn write(
    policy: &Policy,
    prompts: &[Vec<u32>],
    generation: &Generation<'_>,
    asked: &Asked<'_>,
) -> Result<()> {
    let args = asked.args;
    let rollout = match args.weights {
        WeightsAs::Stored => drawn(&policy.model, prompts, generation)?,
        // Inside the pool, so that no product waits for a thread from outside it to be woken.
        WeightsAs::Int8 => {
            rayon::scope(|_| one_by_one(&in_eight_bits(policy.model.clone()), prompts, generation))?
        }
    };
    let rollout = asked.kept(policy, rollout)?;
    for row in 0..rollout.completions.len() {
        let sample = Sample {
            text: policy.tokenizer.decode(&rollout.completions[row]),
            token_ids: rollout.completions[row].clone(),
            logprobs_drawn: rollout.logprobs_drawn[row].clone(),
            logprobs_full: rollout.logprobs_full[row].clone(),
            end_reason: rollout.end_reasons[row],
            sampling: generation.sampling.clone(),
            seed: args.seed,
        };
        let line = if args.json { serde_json::to_string(&sample)? } else { sample.text };
        output::result(&line);
    }
    Ok(())
}

fn drawn(
    model: &Transformer,
    prompts: &[Vec<u32>],
    generation: &Generation<'_>,
) -> Result<Rollout> {
    block_on(generate(model, prompts, generation)).map_err(|error| usage(error.to_string()))
}

/// The same, each with the coins of its place.
fn one_by_one(
    model: &Transformer,
    prompts: &[Vec<u32>],
    generation: &Generation<'_>,
) -> Result<Rollout> {
    let mut all = Rollout::default();
    for (place, prompt) in prompts.iter().enumerate() {
        let own = Generation { first_index: generation.first_index + place, ..generation.clone() };
        all.append(drawn(model, std::slice::from_ref(prompt), &own)?);
    }
    Ok(all)
}
