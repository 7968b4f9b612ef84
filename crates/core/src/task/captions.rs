//! `captions` and `keywords`: what an emoji shows, in a name or in words.
//!
//! Prompt: the picture, the system message of the task and no words but the task's own question. Reference
//! of `captions`: the name of CLDR, as `red apple`. Reference of `keywords`: its keywords in the alphabet's
//! order, as `apple, fruit, red`. Both tasks deal an emoji to the same split. Emojis that differ by who is
//! drawn (woman, man, person, skin) or by the direction are near-duplicates: they share the key that is left
//! of their names without these words. Nothing is dropped.
//!
//! Leaves out: the pixels, of which a row has only the place (`i`, the column
//! [`PICTURE`]).
//!
//! Source of the data: Noto Emoji (Apache-2.0), names and keywords of Unicode's CLDR.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::dataset::{DatasetError, rows};
use super::split::Shares;
use super::{Gathered, Item, PICTURE, Prompt, Source, Task};
use crate::text::chat::Message;

/// Words that say who is drawn or where to they look.
const VARIANTS: [&str; 14] = [
    "woman", "man", "person", "women", "men", "people", "girl", "boy", "child", "skin", "tone",
    "facing", "right", "left",
];

/// The task of naming an emoji.
#[derive(Clone, Copy, Debug)]
pub struct Captions;

/// The task of saying what an emoji is about.
#[derive(Clone, Copy, Debug)]
pub struct Keywords;

#[derive(Deserialize)]
struct Row {
    i: usize,
    codepoint: String,
    category: String,
    subcategory: String,
    caption: String,
    keywords: Vec<String>,
}

impl Task for Captions {
    fn name(&self) -> &'static str {
        "captions"
    }

    fn file(&self) -> &'static str {
        "emoji_captions.jsonl"
    }

    /// 80, 10 and 10 percent: there are few.
    fn shares(&self) -> Shares {
        Shares { validation_permille: 100, test_permille: 100 }
    }

    fn sources(&self, text: &str) -> Result<Gathered, DatasetError> {
        gather(self, text, |row| row.caption.clone())
    }
}

impl Task for Keywords {
    fn name(&self) -> &'static str {
        "keywords"
    }

    fn file(&self) -> &'static str {
        Captions.file()
    }

    fn shares(&self) -> Shares {
        Captions.shares()
    }

    fn sources(&self, text: &str) -> Result<Gathered, DatasetError> {
        gather(self, text, |row| row.keywords.join(", "))
    }
}

/// The prompt of a task about a picture.
pub fn prompt(task: &str) -> Prompt {
    Prompt::Messages(vec![Message::new("system", task), Message::new("user", "?")])
}

fn gather(
    task: &dyn Task,
    text: &str,
    answer: impl Fn(&Row) -> String,
) -> Result<Gathered, DatasetError> {
    let rows = rows::<Row>(text, task.file())?.into_iter();
    let sources = rows.map(|(_, row)| source(task.name(), answer(&row), row)).collect();
    Ok(Gathered { sources, n_dropped: 0 })
}

fn source(task: &str, reference: String, row: Row) -> Source {
    let key = without_variant(&row.caption);
    let columns = [("category", row.category), ("subcategory", row.subcategory)];
    let mut extra = Map::from_iter(columns.map(|(name, value)| (name.to_owned(), value.into())));
    extra.insert(PICTURE.to_owned(), Value::from(row.i));
    Source {
        compared: vec![key.clone()],
        key,
        document: format!("{}: {}", row.caption, row.keywords.join(", ")),
        items: vec![Item {
            id: row.codepoint,
            prompt: prompt(task),
            references: vec![reference],
            extra,
        }],
    }
}

/// A name without what only varies the drawing; the whole where nothing else is said.
fn without_variant(caption: &str) -> String {
    let words = caption.split([' ', ':', ',']).filter(|word| !word.is_empty());
    let kept: Vec<&str> = words.filter(|word| !VARIANTS.contains(word)).collect();
    if kept.is_empty() { caption.to_owned() } else { kept.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::load;

    const ROWS: &str = include_str!("../../../../data/emoji_captions.jsonl");

    #[test]
    fn who_is_drawn_does_not_make_another_emoji() {
        let check = |captions: &[&str], expected: &str| {
            for caption in captions {
                assert_eq!(without_variant(caption), expected, "{caption}");
            }
        };
        check(&["woman running", "man running", "person running facing right"], "running");
        check(&["woman: red hair", "man: red hair"], "red hair");
        check(&["woman"], "woman");
        check(&["keycap: 1"], "keycap 1");
    }

    #[test]
    fn variants_of_an_emoji_and_both_of_its_tasks_are_in_one_split() {
        let (named, described) = (load(&Captions, ROWS).unwrap(), load(&Keywords, ROWS).unwrap());
        let ids = |items: &[Item]| items.iter().map(|item| item.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&named.test), ids(&described.test));
        assert_eq!(ids(&named.validation), ids(&described.validation));
        let keys = |items: &[Item]| -> std::collections::BTreeSet<String> {
            items.iter().map(|item| without_variant(&item.references[0])).collect()
        };
        assert!(keys(&named.train).is_disjoint(&keys(&named.test)));
        assert!(keys(&named.train).is_disjoint(&keys(&named.validation)));
        assert_eq!(named.train.len() + named.validation.len() + named.test.len(), 1572);
    }

    #[test]
    fn an_item_says_which_picture_it_is_about() {
        let data = load(&Captions, ROWS).unwrap();
        let all = data.train.iter().chain(&data.validation).chain(&data.test);
        let mut pictures: Vec<usize> = all.map(|item| item.picture().unwrap()).collect();
        pictures.sort_unstable();
        assert_eq!(pictures, (0..1572).collect::<Vec<_>>());
    }
}
