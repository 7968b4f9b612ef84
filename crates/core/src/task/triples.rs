//! `triples`: a text about one subject to its knowledge-graph triples.
//!
//! Prompt: the system message `triples` and the text. Reference: one line a triple, `subject |
//! relation | object`, in the order of the file. The source is the subject, so texts about one name
//! never cross splits.
//! Dropped: rows whose text and reference are longer than [`MAX_BYTES`] together; with a vocabulary
//! of 2,048 the rest fits 256 tokens.
//!
//! Source of the data: glosses and relations of WordNet 3.0.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::dataset::{DatasetError, rows};
use super::split::Shares;
use super::{Gathered, Item, Prompt, Source, Task};
use crate::text::chat::Message;

/// The longest text and reference together.
pub const MAX_BYTES: usize = 480;

/// The task of extracting triples.
#[derive(Clone, Copy, Debug)]
pub struct Triples;

#[derive(Deserialize)]
struct Row {
    text: String,
    triples: Vec<[String; 3]>,
}

impl Task for Triples {
    fn name(&self) -> &'static str {
        "triples"
    }

    fn file(&self) -> &'static str {
        "kg.jsonl"
    }

    /// 8 percent test: at 5 percent fewer than 300 items would be held out.
    fn shares(&self) -> Shares {
        Shares { validation_permille: 50, test_permille: 80 }
    }

    fn sources(&self, text: &str) -> Result<Gathered, DatasetError> {
        let mut gathered = Gathered::default();
        let mut n_of_subject: BTreeMap<String, usize> = BTreeMap::new();
        for (line, row) in rows::<Row>(text, self.file())? {
            let Some([subject, _, _]) = row.triples.first() else {
                return Err(DatasetError::WrongType {
                    file: self.file().to_owned(),
                    line,
                    field: "triples",
                    expected: "at least one [subject, relation, object]",
                });
            };
            let reference = lines(&row.triples);
            if row.text.len() + reference.len() > MAX_BYTES {
                gathered.n_dropped += 1;
                continue;
            }
            let n = n_of_subject.entry(subject.clone()).or_default();
            *n += 1;
            let id = if *n == 1 { subject.clone() } else { format!("{subject}#{n}") };
            gathered.sources.push(source(id, subject.clone(), row.text, reference));
        }
        Ok(gathered)
    }
}

/// Triples as the policy writes them.
fn lines(triples: &[[String; 3]]) -> String {
    triples.iter().map(|triple| triple.join(" | ")).collect::<Vec<_>>().join("\n")
}

fn source(id: String, subject: String, text: String, reference: String) -> Source {
    let messages = vec![Message::new("system", "triples"), Message::new("user", text.clone())];
    Source {
        document: format!("{text}\n{reference}"),
        compared: vec![text],
        items: vec![Item {
            id,
            prompt: Prompt::Messages(messages),
            references: vec![reference],
            extra: Map::from_iter([("subject".to_owned(), Value::from(subject.clone()))]),
        }],
        key: subject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "{\"text\":\"Actium: a battle\",\
        \"triples\":[[\"Actium\",\"is_a\",\"battle\"],[\"Actium\",\"region\",\"Greece\"]]}";

    #[test]
    fn a_row_becomes_one_line_a_triple() {
        let gathered = Triples.sources(&format!("{ROW}\n{ROW}\n")).unwrap();
        let items: Vec<&Item> = gathered.sources.iter().flat_map(|source| &source.items).collect();
        assert_eq!(items[0].references, ["Actium | is_a | battle\nActium | region | Greece"]);
        assert_eq!((items[0].id.as_str(), items[1].id.as_str()), ("Actium", "Actium#2"));
        assert!(gathered.sources.iter().all(|source| source.key == "Actium"));
    }

    #[test]
    fn long_rows_are_dropped_and_counted() {
        let long = ROW.replace("a battle", &"b".repeat(MAX_BYTES));
        let gathered = Triples.sources(&format!("{ROW}\n{long}")).unwrap();
        assert_eq!((gathered.sources.len(), gathered.n_dropped), (1, 1));
    }

    #[test]
    fn a_row_without_triples_is_named() {
        let empty = r#"{"text":"x","triples":[]}"#;
        let message = Triples.sources(&format!("{ROW}\n{empty}")).unwrap_err().to_string();
        assert!(message.starts_with("kg.jsonl:2: "), "{message}");
    }
}
