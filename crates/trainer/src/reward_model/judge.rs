//! `trainer judge`: what a reward model says of texts; `trainer feedback uncertainty`: about which prompts its
//! members disagree.

use anyhow::Result;
use kudos_core::rollout::{Coins, Generation};
use kudos_core::task::{Item, Prompt};
use kudos_schema::{JudgedRow, PoolPrompt, PromptUncertainty};

use super::RewardModel;
use crate::args::{JudgeArgs, UncertaintyArgs};
use crate::evaluate::{complete, fitting, policy_files};
use crate::store::write_file;
use crate::usage::usage;
use crate::{data, open_device, output};

/// Completions drawn of each prompt.
const DRAWN: usize = 4;

/// Judges every row of a file, and prints a line each.
///
/// # Errors
/// Usage errors; a failing device.
pub fn judge(args: &JudgeArgs) -> Result<()> {
    let selected = open_device::open(&args.device)?;
    let model = RewardModel::read(&args.reward, &selected.device)?;
    let items = data::to_judge(&args.dataset)?.train;
    let texts = items.iter().filter_map(|item| Some((&item.id, &item.prompt, completion(item)?)));
    let texts: Vec<(&String, &Prompt, &str)> = texts.collect();
    if texts.is_empty() {
        return Err(usage(format!(
            "{} has nothing to judge: give rows of {{text}} or {{prompt, completion}}",
            args.dataset.display()
        )));
    }
    let pairs: Vec<(&Prompt, &str)> =
        texts.iter().map(|(_, prompt, text)| (*prompt, *text)).collect();
    for ((id, ..), judged) in texts.iter().zip(model.judge(&pairs)?) {
        let row = JudgedRow {
            id: (*id).clone(),
            reward: judged.reward,
            uncertainty: judged.uncertainty,
            members: judged.members,
        };
        output::result(&serde_json::to_string(&row)?);
    }
    Ok(())
}

/// What is judged: the answer that is there.
fn completion(item: &Item) -> Option<&str> {
    let labeled = item.extra.get("completion").and_then(|text| text.as_str());
    labeled.or_else(|| item.references.first().map(String::as_str))
}

/// Draws completions of each prompt, and writes how far the members disagree about them.
///
/// # Errors
/// Usage errors; a failing device; a full disk.
pub fn uncertainty(args: &UncertaintyArgs) -> Result<()> {
    let selected = open_device::open(&args.device)?;
    let model = RewardModel::read(&args.reward, &selected.device)?;
    if model.members() < 2 {
        return Err(usage(
            "a single reward model disagrees with nobody: train several with feedback.members",
        ));
    }
    let files = policy_files(args.policy.as_deref())?;
    let policy = files.load(&selected.device).map_err(|error| usage(error.to_string()))?;
    let data = match (&args.dataset, &args.task) {
        (Some(path), _) => data::dataset(path)?,
        (None, Some(task)) => data::task(task)?,
        (None, None) => return Err(usage("nothing to ask about: give --task or --dataset")),
    };
    let task = args.task.clone().unwrap_or(data.name);
    let longest = policy
        .config()
        .context_length
        .saturating_sub(args.sampling.max_completion_length.unwrap_or(64));
    let items = fitting(&policy, &data.train, (longest, args.items))?;
    let stop = policy.stop_tokens();
    let sampling = args.sampling.on(kudos_schema::Sampling::default());
    sampling.validate().map_err(|error| usage(error.to_string()))?;
    let generation = Generation {
        sampling: &sampling,
        stop: &stop,
        coins: Coins::new(args.seed, 0),
        first_index: 0,
    };
    let prompts: Vec<Vec<u32>> =
        items.iter().flat_map(|(_, prompt)| std::iter::repeat_n(prompt.clone(), DRAWN)).collect();
    let rollout = complete(&policy, &prompts, &generation)?;
    let texts: Vec<String> =
        rollout.completions.iter().map(|ids| policy.tokenizer.decode(ids)).collect();
    let pairs = items.iter().flat_map(|(item, _)| std::iter::repeat_n(&item.prompt, DRAWN));
    let pairs: Vec<(&Prompt, &str)> = pairs.zip(texts.iter().map(String::as_str)).collect();
    let judged = model.judge(&pairs)?;
    let mut lines = String::new();
    for ((item, _), group) in items.iter().zip(judged.chunks(DRAWN)) {
        let uncertainty = group.iter().map(|one| one.uncertainty).sum::<f64>() / DRAWN as f64;
        let row =
            PromptUncertainty { task: task.clone(), prompt: asked(&item.prompt), uncertainty };
        lines += &(serde_json::to_string(&row)? + "\n");
    }
    write_file(&args.output, lines.as_bytes())?;
    output::result(&format!("{} prompts in {}", items.len(), args.output.display()));
    Ok(())
}

fn asked(prompt: &Prompt) -> PoolPrompt {
    match prompt {
        Prompt::Text(text) => PoolPrompt { text: text.clone(), ..PoolPrompt::default() },
        Prompt::Messages(messages) => {
            PoolPrompt { messages: messages.clone(), ..PoolPrompt::default() }
        }
    }
}
