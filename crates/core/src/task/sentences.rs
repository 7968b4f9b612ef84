//! `sentences`: the first words of a sentence to the rest of it.
//!
//! Prompt: three to five words, as the sentence's hash says, as text without a template; at least
//! two words stay for the reference where the sentence has five or more, at least one in any case.
//! The prompt and the reference together are the sentence to the letter. Different sentences may
//! begin with the same words: what may not cross splits is the sentence.
//! Dropped: lines of fewer than four words.
//!
//! Source of the data: usage examples of WordNet 3.0.

use serde_json::Map;

use super::dataset::DatasetError;
use super::{Gathered, Item, Prompt, Source, Task, split};

/// The task of free continuation.
#[derive(Clone, Copy, Debug)]
pub struct Sentences;

impl Task for Sentences {
    fn name(&self) -> &'static str {
        "sentences"
    }

    fn file(&self) -> &'static str {
        "sentences.txt"
    }

    fn sources(&self, text: &str) -> Result<Gathered, DatasetError> {
        let mut gathered = Gathered::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match item(line) {
                Some(item) => gathered.sources.push(Source {
                    key: line.to_owned(),
                    compared: vec![line.to_owned()],
                    document: line.to_owned(),
                    items: vec![item],
                }),
                None => gathered.n_dropped += 1,
            }
        }
        Ok(gathered)
    }
}

fn item(sentence: &str) -> Option<Item> {
    // Where a word ends, and the last one with the sentence.
    let ends: Vec<usize> = sentence
        .char_indices()
        .zip(sentence.chars().skip(1))
        .filter(|((_, letter), next)| !letter.is_whitespace() && next.is_whitespace())
        .map(|((start, letter), _)| start + letter.len_utf8())
        .collect();
    let n_words = ends.len() + 1;
    if n_words < 4 {
        return None;
    }
    let wanted = 3 + usize::try_from(split::hash(sentence) % 3).expect("a remainder of three");
    let n_prompt = wanted.min(n_words - 2).max(3);
    let (prompt, rest) = sentence.split_at(ends[n_prompt - 1]);
    Some(Item {
        id: sentence.to_owned(),
        prompt: Prompt::Text(prompt.to_owned()),
        references: vec![rest.to_owned()],
        extra: Map::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompt_and_reference_are_the_sentence_and_both_have_their_words() {
        let cases = [
            "one two three four",
            "one two three four five",
            "a  b c d e f g h",
            "é è ê ë œ æ ø å",
        ];
        for sentence in cases {
            let item = item(sentence).unwrap();
            let prompt = item.prompt.text();
            assert_eq!(format!("{prompt}{}", item.references[0]), sentence);
            assert!((3..=5).contains(&prompt.split_whitespace().count()));
            assert!(item.references[0].starts_with(' '));
        }
    }

    #[test]
    fn short_lines_are_dropped_and_counted() {
        let gathered = Sentences.sources("just three words\n\none two three four\n").unwrap();
        assert_eq!((gathered.sources.len(), gathered.n_dropped), (1, 1));
    }
}
