//! The corpora inside the program, and users' files beside them.

use std::path::Path;

use anyhow::{Context, Result};
use kudos_core::task::game::words::Words;
use kudos_core::task::split::Shares;
use kudos_core::task::{self, Task, TaskData};

use crate::pictures;
use crate::usage::usage;

const TRIPLES: &str = include_str!("../../../data/kg.jsonl");
const SUMMARIES: &str = include_str!("../../../data/summaries_rustdoc.jsonl");
const DIALOGUE: &str = include_str!("../../../data/dialogue.jsonl");
const SENTENCES: &str = include_str!("../../../data/sentences.txt");
const EMOJIS: &str = include_str!("../../../data/emoji_captions.jsonl");
const STORIES: &str = include_str!("../../../data/stories_austen_pride_and_prejudice.txt");

/// The items of a built-in task, dealt into splits.
///
/// # Errors
/// If there is no such task.
pub fn task(name: &str) -> Result<TaskData> {
    let task = check_task(name)?;
    let text = match task.file() {
        "kg.jsonl" => TRIPLES,
        "summaries_rustdoc.jsonl" => SUMMARIES,
        "dialogue.jsonl" => DIALOGUE,
        "sentences.txt" => SENTENCES,
        "emoji_captions.jsonl" => EMOJIS,
        other => unreachable!("{other} is not embedded"),
    };
    let data = task::load(task, text);
    let mut data = data.with_context(|| format!("the built-in data of `{name}`"))?;
    if task::PICTURE_TASKS.iter().any(|about| about.name() == name) {
        data.pictures = pictures::emojis()?;
    }
    Ok(data)
}

/// The built-in task called `name`.
///
/// # Errors
/// If there is none.
pub fn check_task(name: &str) -> Result<&'static dyn Task> {
    let names: Vec<&str> =
        task::TASKS.iter().chain(&task::PICTURE_TASKS).map(|t| t.name()).collect();
    task::task(name).ok_or_else(|| {
        usage(format!("there is no task `{name}`: choose one of {}", names.join(", ")))
    })
}

/// The items of a user's JSON Lines file, dealt into splits.
///
/// # Errors
/// If the file cannot be read, or a row is not of a known shape: file and line are named.
pub fn dataset(path: &Path) -> Result<TaskData> {
    dealt(path, Shares::default())
}

/// The same to be judged: no row is held out, all are in the part to train on, in the file's order.
///
/// # Errors
/// As [`dataset`].
pub fn to_judge(path: &Path) -> Result<TaskData> {
    dealt(path, Shares::NONE)
}

fn dealt(path: &Path, shares: Shares) -> Result<TaskData> {
    let label = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| usage(format!("{label}: {error}; give an existing JSON Lines file")))?;
    let data = task::dataset::load(&text, &label, shares);
    let mut data = data.map_err(|error| usage(error.to_string()))?;
    pictures::of_rows(&mut data, path.parent().unwrap_or(Path::new("")))?;
    Ok(data)
}

/// The same data, if it has no pictures.
///
/// # Errors
/// If it has.
pub fn of_texts(data: TaskData) -> Result<TaskData> {
    match data.pictures.is_empty() {
        true => Ok(data),
        false => Err(usage(format!(
            "{} has pictures, which only sft and reinforce learn from",
            data.name
        ))),
    }
}

/// The references of each item to learn from, by which `cider` knows rare words; nothing for other rewards.
pub fn documents_for(reward: &str, data: &TaskData) -> Vec<Vec<String>> {
    let items = if reward == "cider" { data.train.as_slice() } else { &[] };
    let said = items.iter().map(|item| item.references.clone());
    said.filter(|references| !references.is_empty()).collect()
}

/// Words of Wordle without a list of one's own.
const WORDS: usize = 400;

/// The words of Wordle: those of a file, one a line, or the most frequent of the built-in sentences.
///
/// # Errors
/// If the file cannot be read or is no list of five-letter words.
pub fn words(path: Option<&Path>) -> Result<Words> {
    let words = match path {
        None => Words::frequent(SENTENCES, WORDS).context("the built-in sentences")?,
        Some(path) => {
            let label = path.display();
            let text = std::fs::read_to_string(path)
                .map_err(|error| usage(format!("{label}: {error}; give a list of words")))?;
            Words::parse(&text).map_err(|error| usage(format!("{label}: {error}")))?
        }
    };
    Ok(words)
}

/// Everything to pretrain on: the training sources of all tasks and the stories.
///
/// # Errors
/// If the built-in data is damaged.
pub fn documents() -> Result<Vec<String>> {
    let tasks = task::TASKS.map(|each| task(each.name()));
    let tasks = tasks.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(task::documents(&tasks, STORIES))
}
