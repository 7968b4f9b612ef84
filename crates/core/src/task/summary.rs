//! `summary`: the body of a doc comment to its first line.
//!
//! Prompt: the system message `summary` and the body, cut after the last sentence that ends within
//! [`MAX_BYTES`] (after the last word, if the first sentence is longer). Reference: the first line.
//! Nothing is dropped.
//!
//! Source of the data: doc comments of permissively licensed crates; the license of each is in
//! `extra`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::dataset::{DatasetError, rows};
use super::{Gathered, Item, Prompt, Source, Task};
use crate::text::chat::Message;

/// The longest body.
pub const MAX_BYTES: usize = 600;

/// The task of summarizing in a line.
#[derive(Clone, Copy, Debug)]
pub struct Summary;

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "crate")]
    package: String,
    item: String,
    licence: String,
    text: String,
    summary: String,
}

impl Task for Summary {
    fn name(&self) -> &'static str {
        "summary"
    }

    fn file(&self) -> &'static str {
        "summaries_rustdoc.jsonl"
    }

    fn sources(&self, text: &str) -> Result<Gathered, DatasetError> {
        let mut gathered = Gathered::default();
        let mut n_of_key: BTreeMap<String, usize> = BTreeMap::new();
        for (_, row) in rows::<Row>(text, self.file())? {
            let key = format!("{}/{}", row.package, row.item);
            let n = n_of_key.entry(key.clone()).or_default();
            *n += 1;
            let id = if *n == 1 { key.clone() } else { format!("{key}#{n}") };
            gathered.sources.push(source(id, key, row));
        }
        Ok(gathered)
    }
}

fn source(id: String, key: String, row: Row) -> Source {
    let body = cut(&row.text, MAX_BYTES).to_owned();
    let columns = [("crate", row.package), ("item", row.item), ("licence", row.licence)];
    let extra = columns.map(|(name, value)| (name.to_owned(), Value::from(value)));
    let messages = vec![Message::new("system", "summary"), Message::new("user", body.clone())];
    Source {
        key,
        document: format!("{}\n{}", row.summary, row.text),
        compared: vec![row.text, body],
        items: vec![Item {
            id,
            prompt: Prompt::Messages(messages),
            references: vec![row.summary],
            extra: Map::from_iter(extra),
        }],
    }
}

/// The front of `text` of at most `max_bytes`, ending with a sentence or else with a word.
fn cut(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    // One byte more shows whether a sentence or a word ends exactly at the limit.
    let front = &text[..text.floor_char_boundary(max_bytes + 1)];
    let mut ends = front
        .match_indices(char::is_whitespace)
        .map(|(end, _)| end)
        .filter(|&end| end <= max_bytes);
    let ends_sentence = |end: usize| front[..end].ends_with(['.', '!', '?']);
    let sentence = ends.clone().rfind(|&end| ends_sentence(end));
    let end = sentence.or_else(|| ends.next_back()).unwrap_or(text.floor_char_boundary(max_bytes));
    text[..end].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_cut_after_a_sentence_or_else_after_a_word() {
        let cases = [
            ("Short.", 10, "Short."),
            ("One. Two. Three.", 10, "One. Two."),
            ("One. Two. Three.", 9, "One. Two."),
            ("One. Two. Three.", 8, "One."),
            ("version 1.5 of it. Yes", 16, "version 1.5 of"),
            ("abcdefghij", 4, "abcd"),
            ("東京東京", 4, "東"),
        ];
        for (text, max_bytes, expected) in cases {
            assert_eq!(cut(text, max_bytes), expected, "{text} at {max_bytes}");
        }
    }

    #[test]
    fn the_license_travels_with_the_item() {
        let row = r#"{"crate":"a-1","item":"f","licence":"MIT","text":"Body.","summary":"Line."}"#;
        let gathered = Summary.sources(row).unwrap();
        let item = &gathered.sources[0].items[0];
        assert_eq!((item.id.as_str(), &item.extra["licence"]), ("a-1/f", &Value::from("MIT")));
        assert_eq!((item.prompt.text().as_str(), item.references[0].as_str()), ("Body.", "Line."));
    }
}
