//! What a run learns from, before its first step: the student, its examples, what the teacher says of them.

use anyhow::Result;
use burn::tensor::Device;
use kudos_core::model::{Transformer, initialize};
use kudos_core::objective::Told;
use kudos_core::reward::Mix;
use kudos_core::task::{Item, Prompt, TaskData};
use kudos_core::text::chat::ChatTemplate;
use kudos_core::text::tokenizer::Tokenizer;
use serde_json::json;

use super::examples::{Answer, askable, asked, best, of_answers, of_data, rewarded};
use super::teacher::{Teacher, Writing};
use crate::batches::{Purpose, coins};
use crate::evaluate::policy_files;
use crate::policy::{Example, Policy};
use crate::recipe::{Level, Recipe};
use crate::usage::usage;

/// Tokens of a window of text that a student at `on_policy` goes on from.
const OPENING: usize = 8;
/// The stream of coins for held-out prompts: no training step reaches it.
pub(super) const HELD_OUT: u64 = u64::MAX;
/// The stream for the prompts that are learned from.
const LEARNED: u64 = u64::MAX - 1;

/// Everything before the first step.
pub(super) struct Material {
    pub(super) student: Policy,
    /// What is learned from, in the student's tokens.
    pub(super) examples: Vec<Example>,
    /// What the teacher says of each example at `token`, and on the other steps of `on_policy`.
    pub(super) told: Vec<Told>,
    /// Completions that judge both, in the student's tokens.
    pub(super) held_out: Vec<Example>,
    /// The same in the teacher's tokens.
    pub(super) held_out_of_teacher: Vec<Example>,
    /// Tokens that both can read: the longest sequence.
    pub(super) longest: usize,
    /// What is learned from, in words.
    pub(super) text: String,
    /// At `sequence` what the teacher wrote to learn from and to judge by, as rows of a dataset: JSON lines.
    pub(super) rows: String,
}

/// The student that is there before the teacher is asked: one of a folder, or a new one that reads the
/// teacher's tokens. None where its tokenizer is made of what the teacher writes.
pub(super) fn given(recipe: &Recipe, teacher: &Teacher, device: &Device) -> Result<Option<Policy>> {
    let (level, size) = (recipe.distil.level, teacher.config.vocab_size);
    if level.shares_tokens() && recipe.distil.top_k > size {
        return Err(usage(format!(
            "distil.top_k must be at most {size}, the teacher's vocabulary"
        )));
    }
    if let Some(model) = &recipe.model {
        let files = policy_files(Some(model))?;
        let student = files.load(device).map_err(|error| usage(error.to_string()))?;
        let same = student.tokenizer.to_json() == teacher.tokenizer.to_json()
            && student.config().vocab_size == teacher.config.vocab_size;
        if level.shares_tokens() && !same {
            return Err(usage(format!(
                "{} has another tokenizer than the teacher, whose distribution over tokens means nothing to it: \
                 take distil.level = \"sequence\", or leave the model out for a new student",
                model.display()
            )));
        }
        return Ok(Some(student));
    }
    Ok(level.shares_tokens().then(|| {
        let (tokenizer, template) = (teacher.tokenizer.clone(), teacher.template().clone());
        new_student(recipe, (tokenizer, template, teacher.config.vocab_size), device)
    }))
}

fn new_student(
    recipe: &Recipe,
    (tokenizer, template, vocab_size): (Tokenizer, ChatTemplate, usize),
    device: &Device,
) -> Policy {
    let config = recipe.architecture.transformer(vocab_size);
    let mut coins = coins(recipe.seed, Purpose::Weights, 0);
    let model = initialize(Transformer::zeroed(&config, device), &mut coins);
    Policy { model, tokenizer, template }
}

/// Asks the teacher, and makes of it what is learned.
pub(super) fn gather(
    recipe: &Recipe,
    (teacher, rewards): (&Teacher, Option<&Mix>),
    sources: &[TaskData],
    (given, device): (Option<Policy>, &Device),
) -> Result<Material> {
    let train: Vec<Item> = sources.iter().flat_map(|one| one.train.clone()).collect();
    let judged = validation(sources, recipe.watch.validation_items);
    if !recipe.distil.level.shares_tokens() {
        return of_sequences(recipe, (teacher, rewards), (&train, &judged), (given, device));
    }
    let student = given.expect("a student that shares tokens is there before");
    let length = longest(recipe, &[student.config().context_length, teacher.config.context_length]);
    let distil = &recipe.distil;
    let opening = if distil.level == Level::OnPolicy { OPENING } else { 1 };
    let examples = of_data(&student, &train, (length, opening))?;
    let held_out = of_data(&student, &judged, (length, opening))?;
    some(&examples)?;
    let told = match distil.level == Level::OnPolicy && distil.on_policy_share >= 1.0 {
        true => Vec::new(),
        false => teacher.tell(&examples, (distil.top_k, distil.divergence.temperature))?,
    };
    let text = format!("{} texts of the data", examples.len());
    let held_out_of_teacher = held_out.clone();
    Ok(Material {
        student,
        examples,
        told,
        held_out,
        held_out_of_teacher,
        longest: length,
        text,
        rows: String::new(),
    })
}

/// The level `sequence`.
fn of_sequences(
    recipe: &Recipe,
    (teacher, rewards): (&Teacher, Option<&Mix>),
    (train, judged): (&[Item], &[Item]),
    (given, device): (Option<Policy>, &Device),
) -> Result<Material> {
    let answers = answers(recipe, (teacher, rewards), (train, LEARNED))?;
    let written = answers.len();
    let kept = best(answers, &recipe.distil);
    let held_out = self::answers(recipe, (teacher, rewards), (judged, HELD_OUT))?;
    let student = match given {
        Some(student) => student,
        None => {
            let texts =
                kept.iter().flat_map(|one| [asked(one.item).text(), one.written.text.clone()]);
            let texts: Vec<String> = texts.collect();
            let texts = texts.iter().map(String::as_str);
            let tokenizer = Tokenizer::train(texts, recipe.architecture.vocab_size)
                .map_err(|error| usage(error.to_string()))?;
            let size = tokenizer.vocab_size();
            new_student(recipe, (tokenizer, ChatTemplate::default(), size), device)
        }
    };
    let length = longest(recipe, &[student.config().context_length]);
    let (examples, _) = of_answers(&student, &kept, length)?;
    // A row is read back with an end, which one that was cut off never had.
    let ended = kept.iter().chain(&held_out).filter(|answer| answer.written.ended);
    let rows = ended.map(row).collect();
    let (held_out, held_out_of_teacher) = of_answers(&student, &held_out, length)?;
    some(&examples)?;
    let text = format!("{} of {written} texts of the teacher", examples.len());
    Ok(Material {
        student,
        examples,
        told: Vec::new(),
        held_out,
        held_out_of_teacher,
        longest: length,
        text,
        rows,
    })
}

/// An answer as a row of a dataset.
fn row(answer: &Answer<'_>) -> String {
    let prompt = match asked(answer.item) {
        Prompt::Text(text) => json!(text),
        Prompt::Messages(messages) => json!(messages),
    };
    format!("{}\n", json!({"prompt": prompt, "completion": answer.written.text}))
}

/// What the teacher writes to the prompts of items, `num_generations` times each where it is learned.
pub(super) fn answers<'a>(
    recipe: &Recipe,
    (teacher, rewards): (&Teacher, Option<&Mix>),
    (items, stream): (&'a [Item], u64),
) -> Result<Vec<Answer<'a>>> {
    let room = teacher.config.context_length.saturating_sub(recipe.sampling.max_completion_length);
    let room = recipe.data.max_prompt_length.min(room);
    let (items, prompts) = askable(teacher, items, (room, &recipe.distil.instruction))?;
    let times = if stream == LEARNED { recipe.batch.num_generations } else { 1 };
    let rows = items.into_iter().zip(prompts);
    let (items, prompts): (Vec<&Item>, Vec<Vec<u32>>) =
        rows.flat_map(|row| std::iter::repeat_n(row, times)).unzip();
    let how = Writing { sampling: &recipe.sampling, seed: recipe.seed, stream };
    let written = teacher.write(&prompts, how)?;
    Ok(rewarded(&items, prompts.into_iter().zip(written).collect(), rewards))
}

/// Validation items spread evenly over all sources.
pub(super) fn validation(sources: &[TaskData], count: usize) -> Vec<Item> {
    let all: Vec<&Item> = sources.iter().flat_map(|source| &source.validation).collect();
    let stride = (all.len() / count.max(1)).max(1);
    all.into_iter().step_by(stride).take(count).cloned().collect()
}

fn longest(recipe: &Recipe, contexts: &[usize]) -> usize {
    let wanted = if recipe.batch.max_length == 0 { usize::MAX } else { recipe.batch.max_length };
    contexts.iter().copied().fold(wanted, usize::min)
}

fn some(examples: &[Example]) -> Result<()> {
    match examples.is_empty() {
        true => Err(usage(
            "nothing is left to learn: give data with references, longer contexts or softer bounds",
        )),
        false => Ok(()),
    }
}
