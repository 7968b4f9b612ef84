//! Users' data sets: JSON lines in the shapes of TRL.
//!
//! `{"text"}`, `{"messages"}`, `{"prompt"}`, `{"prompt","completion"}`,
//! `{"prompt","chosen","rejected"}` and `{"prompt","completion","label"}`; a prompt is a string or
//! a list of messages, an answer a string or a list of one assistant message. All rows of a file
//! have one shape. `image` names a picture, which stands before the prompt. Other columns are kept in `extra` and reach the reward. Blank lines are skipped;
//! a wrong row is an error with the file and the line, never left out silently.
//!
//! Source: <https://huggingface.co/docs/trl/dataset_formats>.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::split::Shares;
use super::{Gathered, Item, Prompt, Source, TaskData};
use crate::text::chat::Message;

/// The column that names a picture's file, which stands before the prompt.
pub const IMAGE: &str = "image";

/// Why a data set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A line is no JSON object or lacks a column of its task.
    #[error(
        "{file}:{line}: {reason}: each line must be one JSON object with the columns of its task"
    )]
    NotARow {
        /// The file as the user named it.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What the JSON reader says.
        reason: String,
    },
    /// A row has no column to learn from, or half of a pair.
    #[error("{file}:{line}: field \"{field}\" is missing: {remedy}")]
    Missing {
        /// The file as the user named it.
        file: String,
        /// Counted from 1.
        line: usize,
        /// The column.
        field: &'static str,
        /// What to write.
        remedy: &'static str,
    },
    /// A column has another type.
    #[error("{file}:{line}: field \"{field}\" must be {expected}")]
    WrongType {
        /// The file as the user named it.
        file: String,
        /// Counted from 1.
        line: usize,
        /// The column.
        field: &'static str,
        /// The type it must have.
        expected: &'static str,
    },
    /// A row has another shape than the first.
    #[error(
        "{file}:{line}: the row is {found} but the first is {first}: give each shape its own file"
    )]
    Mixed {
        /// The file as the user named it.
        file: String,
        /// Counted from 1.
        line: usize,
        /// Columns of this row.
        found: &'static str,
        /// Columns of the first row.
        first: &'static str,
    },
    /// There is no row.
    #[error("{file} has no rows: write at least one JSON object a line")]
    Empty {
        /// The file as the user named it.
        file: String,
    },
    /// All rows were held out.
    #[error("all rows of {file} are held out for validation and test: add more rows")]
    NothingToTrainOn {
        /// The file as the user named it.
        file: String,
    },
}

/// A row in one of TRL's shapes.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Plain text to go on writing.
    Text(String),
    /// A conversation.
    Messages(Vec<Message>),
    /// Something to answer.
    Prompt(Prompt),
    /// An answer to imitate.
    Completion {
        /// What was asked.
        prompt: Prompt,
        /// The answer.
        completion: String,
    },
    /// Two answers, one better.
    Preference {
        /// What was asked.
        prompt: Prompt,
        /// The better answer.
        chosen: String,
        /// The worse answer.
        rejected: String,
    },
    /// An answer and whether it is good.
    Labeled {
        /// What was asked.
        prompt: Prompt,
        /// The answer.
        completion: String,
        /// Whether it is good.
        label: bool,
    },
}

impl Shape {
    /// The columns that make the shape.
    pub fn columns(&self) -> &'static str {
        match self {
            Self::Text(_) => "{text}",
            Self::Messages(_) => "{messages}",
            Self::Prompt(_) => "{prompt}",
            Self::Completion { .. } => "{prompt, completion}",
            Self::Preference { .. } => "{prompt, chosen, rejected}",
            Self::Labeled { .. } => "{prompt, completion, label}",
        }
    }
}

/// A row of a user's data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Where it stands in the file, from 1.
    pub line: usize,
    /// What there is to learn.
    pub shape: Shape,
    /// The other columns.
    pub extra: Map<String, Value>,
}

/// Reads a user's data set; `file` is the name that errors give.
///
/// # Errors
/// A row is not of a known shape or not of the first row's, or there is no row.
pub fn parse(text: &str, file: &str) -> Result<Vec<Row>, DatasetError> {
    let mut parsed: Vec<Row> = Vec::new();
    for (line, columns) in rows::<Map<String, Value>>(text, file)? {
        let mut reader = Columns { file, line, columns };
        let shape = reader.shape()?;
        let first = parsed.first().map_or(shape.columns(), |row| row.shape.columns());
        if shape.columns() != first {
            let (file, found) = (file.to_owned(), shape.columns());
            return Err(DatasetError::Mixed { file, line, found, first });
        }
        parsed.push(Row { line, shape, extra: reader.columns });
    }
    Ok(parsed)
}

/// A user's data set as a task: split by these shares like ours, near-duplicate prompts together.
///
/// # Errors
/// As [`parse`], or all rows are held out.
pub fn load(text: &str, file: &str, shares: Shares) -> Result<TaskData, DatasetError> {
    let sources = parse(text, file)?.into_iter().map(|row| source(row, file)).collect();
    super::deal(file, file, shares, Gathered { sources, n_dropped: 0 })
}

/// Each line that is not blank, with its number.
///
/// # Errors
/// A line cannot be read as `T`, or there is none.
pub(super) fn rows<T: DeserializeOwned>(
    text: &str,
    file: &str,
) -> Result<Vec<(usize, T)>, DatasetError> {
    let lines = (1..).zip(text.trim_start_matches('\u{FEFF}').lines());
    let rows: Vec<(usize, T)> = lines
        .filter(|(_, row)| !row.trim().is_empty())
        .map(|(line, row)| match serde_json::from_str(row) {
            Ok(row) => Ok((line, row)),
            Err(error) => {
                // The reader counts lines too, from the beginning of this one.
                let reason = error.to_string().replace(" at line 1 column ", " at column ");
                Err(DatasetError::NotARow { file: file.to_owned(), line, reason })
            }
        })
        .collect::<Result<_, _>>()?;
    if rows.is_empty() {
        return Err(DatasetError::Empty { file: file.to_owned() });
    }
    Ok(rows)
}

/// The columns of a row that are not read yet.
struct Columns<'a> {
    file: &'a str,
    line: usize,
    columns: Map<String, Value>,
}

impl Columns<'_> {
    fn shape(&mut self) -> Result<Shape, DatasetError> {
        let has = |name: &str| self.columns.contains_key(name);
        let (rated, labeled) =
            (has("chosen") || has("rejected"), has("label") && has("completion"));
        if !has("prompt") && !rated && !has("completion") {
            if has("messages") {
                return self.messages("messages").map(Shape::Messages);
            }
            if has("text") {
                return self.string("text").map(Shape::Text);
            }
        }
        let completed = has("completion");
        let prompt = self.prompt()?;
        if rated {
            let (chosen, rejected) = (self.answer("chosen")?, self.answer("rejected")?);
            return Ok(Shape::Preference { prompt, chosen, rejected });
        }
        if !completed {
            return Ok(Shape::Prompt(prompt));
        }
        let completion = self.answer("completion")?;
        if !labeled {
            return Ok(Shape::Completion { prompt, completion });
        }
        match self.take("label")? {
            Value::Bool(label) => Ok(Shape::Labeled { prompt, completion, label }),
            Value::Null
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => Err(self.wrong("label", "true or false")),
        }
    }

    fn take(&mut self, field: &'static str) -> Result<Value, DatasetError> {
        self.columns.remove(field).ok_or_else(|| DatasetError::Missing {
            file: self.file.to_owned(),
            line: self.line,
            field,
            remedy: "a row has text, messages, or prompt (with completion, or chosen and rejected)",
        })
    }

    fn wrong(&self, field: &'static str, expected: &'static str) -> DatasetError {
        DatasetError::WrongType { file: self.file.to_owned(), line: self.line, field, expected }
    }

    fn string(&mut self, field: &'static str) -> Result<String, DatasetError> {
        match self.take(field)? {
            Value::String(text) => Ok(text),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => Err(self.wrong(field, "a string")),
        }
    }

    fn messages(&mut self, field: &'static str) -> Result<Vec<Message>, DatasetError> {
        let expected = "a list, not empty, of messages {\"role\", \"content\"} that are strings";
        let messages: Vec<Message> =
            serde_json::from_value(self.take(field)?).map_err(|_| self.wrong(field, expected))?;
        if messages.is_empty() { Err(self.wrong(field, expected)) } else { Ok(messages) }
    }

    fn prompt(&mut self) -> Result<Prompt, DatasetError> {
        match self.columns.get("prompt") {
            Some(Value::Array(_)) => self.messages("prompt").map(Prompt::Messages),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
                Err(self.wrong("prompt", "a string or a list of messages"))
            }
            Some(Value::String(_)) | None => self.string("prompt").map(Prompt::Text),
        }
    }

    fn answer(&mut self, field: &'static str) -> Result<String, DatasetError> {
        if !self.columns.get(field).is_some_and(Value::is_array) {
            return self.string(field);
        }
        let mut messages = self.messages(field)?;
        match messages.pop() {
            Some(last) if messages.is_empty() && last.role == "assistant" => Ok(last.content),
            Some(_) | None => Err(self.wrong(field, "a string or a list of one assistant message")),
        }
    }
}

/// A row as something to ask. Good answers become references; a worse one, a label and an answer
/// labeled bad go to `extra`.
fn source(row: Row, file: &str) -> Source {
    let Row { line, shape, mut extra } = row;
    let (prompt, references) = match shape {
        Shape::Text(text) => (Prompt::Text(String::new()), vec![text]),
        Shape::Messages(messages) => ask(messages),
        Shape::Prompt(prompt) => (prompt, Vec::new()),
        Shape::Completion { prompt, completion } => (prompt, vec![completion]),
        Shape::Preference { prompt, chosen, rejected } => {
            extra.insert("rejected".to_owned(), Value::from(rejected));
            (prompt, vec![chosen])
        }
        Shape::Labeled { prompt, completion, label } => {
            extra.insert("label".to_owned(), Value::from(label));
            extra.insert("completion".to_owned(), Value::from(completion.clone()));
            (prompt, if label { vec![completion] } else { Vec::new() })
        }
    };
    let asked = prompt.text();
    let parts = [asked.clone(), references.concat()];
    let document = match prompt {
        Prompt::Text(_) => parts.concat(),
        Prompt::Messages(_) => parts.join("\n"),
    };
    let (key, compared) = match extra.get(IMAGE).and_then(Value::as_str) {
        // The same may be asked of many pictures; what is asked of one stays together.
        Some(image) => (image.to_owned(), Vec::new()),
        None if asked.is_empty() => (document.clone(), vec![document.clone()]),
        None => (asked.clone(), vec![asked]),
    };
    let id = format!("{file}:{line}");
    let items = vec![Item { id, prompt, references, extra }];
    Source { key, compared, document, items }
}

/// The last reply of a conversation is the reference, what was said before the prompt.
fn ask(mut messages: Vec<Message>) -> (Prompt, Vec<String>) {
    let reply = messages.pop_if(|last| last.role == "assistant").map(|last| last.content);
    (Prompt::Messages(messages), reply.into_iter().collect())
}

#[cfg(test)]
#[path = "dataset_tests.rs"]
mod tests;
