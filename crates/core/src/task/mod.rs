//! Tasks: what a policy is asked, and what a good answer looks like.
//!
//! A task turns the text of one file of `data/` into [`Source`]s, and [`load`] deals these into
//! training, validation and test items so that nothing crosses (see [`split`]). A task is one file
//! here and one line in [`TASKS`]; users' own JSON lines are a task too ([`dataset`]). Reading
//! files is the caller's work; rewards are in `reward`.
//!
//! | task | prompt | reference |
//! |---|---|---|
//! | `triples` | a text | its knowledge-graph triples, `subject \| relation \| object` a line |
//! | `summary` | the body of a doc comment | its first line |
//! | `dialogue` | the turns so far | the reply |
//! | `sentences` | the first words of a sentence | the rest of it |
//! | `captions` | the picture of an emoji | its name |
//! | `keywords` | the picture of an emoji | words for it |
//!
//! A game is something else: it answers turn by turn, and has no references ([`game`]).

#[cfg(feature = "train")]
pub mod captions;
pub mod dataset;
pub mod dialogue;
#[cfg(feature = "train")]
pub mod game;
pub mod sentences;
pub mod split;
pub mod summary;
pub mod triples;

#[cfg(feature = "train")]
pub use game::{maze, wordle};

use serde_json::{Map, Value};

#[cfg(feature = "train")]
use crate::model::Pictures;
use crate::text::chat::Message;
use dataset::DatasetError;
use split::{Shares, Split};

/// The column of an item that says which of the pictures of its data it is about, from 0.
#[cfg(feature = "train")]
pub const PICTURE: &str = "picture";

/// What the policy is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Text that the completion goes on from, letter by letter; no template.
    Text(String),
    /// Messages for a chat template; the reply follows.
    Messages(Vec<Message>),
}

impl Prompt {
    /// What is said in the prompt, a message a line, without the system's.
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Messages(messages) => {
                let said = messages.iter().filter(|message| message.role != "system");
                said.map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n")
            }
        }
    }
}

/// One thing to ask, with the answers that are known to be good.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Unique within its task.
    pub id: String,
    /// What the policy is given.
    pub prompt: Prompt,
    /// Good answers, possibly none; after a [`Prompt::Text`] they begin with the space that
    /// separates them from it.
    pub references: Vec<String>,
    /// Columns of the data set that only a reward understands.
    pub extra: Map<String, Value>,
}

#[cfg(feature = "train")]
impl Item {
    /// Which of the pictures of its data it is about, if any.
    pub fn picture(&self) -> Option<usize> {
        self.extra.get(PICTURE).and_then(Value::as_u64).map(|place| place as usize)
    }
}

/// What the data set was made from: its items share facts and are never dealt to different splits.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Sources with equal keys are one.
    pub key: String,
    /// Sources are near-duplicates if any two of these texts are.
    pub compared: Vec<String>,
    /// The whole as plain text, for pretraining.
    pub document: String,
    /// What is asked about it.
    pub items: Vec<Item>,
}

/// The sources of one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gathered {
    /// In the order of the file.
    pub sources: Vec<Source>,
    /// Items that were left out, for the reason that the task's documentation gives.
    pub n_dropped: usize,
}

/// A task with a file in `data/`.
pub trait Task: std::fmt::Debug + Sync {
    /// What recipes call it.
    fn name(&self) -> &'static str;

    /// Its file in `data/`.
    fn file(&self) -> &'static str;

    /// How much is held out.
    fn shares(&self) -> Shares {
        Shares::default()
    }

    /// The sources in the text of the file.
    ///
    /// # Errors
    /// A row is not what the task expects: the file and the line are named.
    fn sources(&self, text: &str) -> Result<Gathered, DatasetError>;
}

/// Every task of texts that ships with the project.
pub static TASKS: [&dyn Task; 4] =
    [&triples::Triples, &summary::Summary, &dialogue::Dialogue, &sentences::Sentences];

/// The tasks whose prompts hold pictures: a policy that reads only texts cannot learn them.
#[cfg(feature = "train")]
pub static PICTURE_TASKS: [&dyn Task; 2] = [&captions::Captions, &captions::Keywords];

/// The task that recipes call `name`.
pub fn task(name: &str) -> Option<&'static dyn Task> {
    let known = TASKS.into_iter();
    #[cfg(feature = "train")]
    let mut known = known.chain(PICTURE_TASKS);
    #[cfg(not(feature = "train"))]
    let mut known = known;
    known.find(|task| task.name() == name)
}

/// The items of a task, dealt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskData {
    /// The task's name, or the label of the user's file.
    pub name: String,
    /// To learn from.
    pub train: Vec<Item>,
    /// To choose a checkpoint by.
    pub validation: Vec<Item>,
    /// To report; never looked at before.
    pub test: Vec<Item>,
    /// Plain texts of the training sources, for pretraining.
    pub documents: Vec<String>,
    /// Items that were left out.
    pub n_dropped: usize,
    /// What items with a [`PICTURE`] are about.
    #[cfg(feature = "train")]
    pub pictures: Pictures,
}

/// Deals the items of `task` from the text of its file.
///
/// # Errors
/// A row is not what the task expects, or nothing is left to train on.
pub fn load(task: &dyn Task, text: &str) -> Result<TaskData, DatasetError> {
    deal(task.name(), task.file(), task.shares(), task.sources(text)?)
}

/// Deals gathered sources; `file` is the label in errors.
///
/// # Errors
/// There is no item, or none to train on.
pub(crate) fn deal(
    name: &str,
    file: &str,
    shares: Shares,
    gathered: Gathered,
) -> Result<TaskData, DatasetError> {
    let Gathered { sources, n_dropped } = gathered;
    let mut data = TaskData { name: name.to_owned(), n_dropped, ..TaskData::default() };
    if sources.iter().all(|source| source.items.is_empty()) {
        return Err(DatasetError::Empty { file: file.to_owned() });
    }
    let splits = split::assign(&sources, shares);
    for (source, split) in sources.into_iter().zip(splits) {
        match split {
            Split::Train => {
                data.train.extend(source.items);
                data.documents.push(source.document);
            }
            Split::Validation => data.validation.extend(source.items),
            Split::Test => data.test.extend(source.items),
        }
    }
    if data.train.is_empty() {
        return Err(DatasetError::NothingToTrainOn { file: file.to_owned() });
    }
    Ok(data)
}

/// Documents to pretrain on: the training sources of `tasks` and the chapters of `stories`; never a
/// held-out item.
///
/// `stories` is prose wrapped at a fixed width with `Chapter` lines; a paragraph becomes one line.
pub fn documents(tasks: &[TaskData], stories: &str) -> Vec<String> {
    let mut documents: Vec<String> = chapters(stories);
    documents.extend(tasks.iter().flat_map(|data| data.documents.iter().cloned()));
    documents
}

fn chapters(stories: &str) -> Vec<String> {
    let mut chapters = vec![String::new()];
    for paragraph in stories.replace('\r', "").split("\n\n") {
        let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.starts_with("Chapter ") {
            chapters.push(String::new());
        }
        let chapter = chapters.last_mut().expect("there is always a chapter");
        if !chapter.is_empty() && !line.is_empty() {
            chapter.push('\n');
        }
        chapter.push_str(&line);
    }
    chapters.retain(|chapter| !chapter.is_empty());
    chapters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_found_by_its_name() {
        for known in TASKS {
            assert_eq!(task(known.name()).map(Task::name), Some(known.name()));
        }
        assert!(task("chess").is_none());
    }

    #[test]
    fn a_chapter_is_a_document_and_a_paragraph_a_line() {
        let stories =
            "TITLE\n\nBy A\n\n\n\nChapter 1\n\n\nIt is\na truth.\n\n\"Yes.\"\n\nChapter 2\n\nEnd";
        assert_eq!(
            chapters(stories),
            ["TITLE\nBy A", "Chapter 1\nIt is a truth.\n\"Yes.\"", "Chapter 2\nEnd"]
        );
    }

    #[test]
    fn documents_hold_nothing_but_training_sources() {
        let rows: Vec<String> =
            (0..400).map(|i| format!("zebra{i} eats grass{i} near lake{i}")).collect();
        let data = load(&sentences::Sentences, &rows.join("\n")).unwrap();
        assert_eq!(data.documents.len(), data.train.len());
        assert!(!data.test.is_empty() && !data.validation.is_empty());
        let documents = documents(std::slice::from_ref(&data), "").join("\n");
        for item in data.test.iter().chain(&data.validation) {
            assert!(!documents.contains(&item.prompt.text()), "{}", item.id);
        }
    }
}
