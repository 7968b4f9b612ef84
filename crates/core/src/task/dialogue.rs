//! `dialogue`: the turns so far to the next one.
//!
//! Prompt: the system message `dialogue`, then turns of `user` and `assistant` in alternation,
//! ending with the user's; the reference is the assistant's reply. Every turn but the first is a
//! reply once. Of a long conversation the prompt keeps the latest turns within
//! [`MAX_CONTEXT_BYTES`], beginning with a user's. Conversations that give the same prompt give one
//! item with several references. People's ratings of a conversation are in `extra` (1-10; nothing
//! is left out for a low one).
//! Dropped: replies longer than [`MAX_REPLY_BYTES`] and replies to a turn longer than
//! [`MAX_CONTEXT_BYTES`].
//!
//! Source of the data: chatterbot-corpus and chitchat-dataset.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::dataset::{DatasetError, rows};
use super::{Gathered, Item, Prompt, Source, Task};
use crate::text::chat::Message;

/// The longest prompt.
pub const MAX_CONTEXT_BYTES: usize = 400;
/// The longest reply.
pub const MAX_REPLY_BYTES: usize = 200;

/// The task of replying.
#[derive(Clone, Copy, Debug)]
pub struct Dialogue;

#[derive(Deserialize)]
struct Row {
    turns: Vec<String>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl Task for Dialogue {
    fn name(&self) -> &'static str {
        "dialogue"
    }

    fn file(&self) -> &'static str {
        "dialogue.jsonl"
    }

    fn sources(&self, text: &str) -> Result<Gathered, DatasetError> {
        let mut gathered = Gathered::default();
        let mut asked: HashMap<String, (usize, usize)> = HashMap::new();
        for (line, row) in rows::<Row>(text, self.file())? {
            let mut source = Source {
                key: format!("conversation {line}"),
                compared: Vec::new(),
                document: row.turns.join("\n"),
                items: Vec::new(),
            };
            for position in 1..row.turns.len() {
                let Some(item) = item(&row, line, position) else {
                    gathered.n_dropped += 1;
                    continue;
                };
                let prompt = item.prompt.text();
                source.compared.push(prompt.clone());
                let own = gathered.sources.len();
                let Some(&(holder, index)) = asked.get(&prompt) else {
                    asked.insert(prompt, (own, source.items.len()));
                    source.items.push(item);
                    continue;
                };
                let holder =
                    if holder == own { &mut source } else { &mut gathered.sources[holder] };
                merge(&mut holder.items[index].references, item.references);
            }
            gathered.sources.push(source);
        }
        Ok(gathered)
    }
}

/// Adds the references that are new.
fn merge(references: &mut Vec<String>, others: Vec<String>) {
    for other in others {
        if !references.contains(&other) {
            references.push(other);
        }
    }
}

/// The reply at `position`; none if it or what it answers is too long.
fn item(row: &Row, line: usize, position: usize) -> Option<Item> {
    let reply = &row.turns[position];
    let context = latest(&row.turns[..position]);
    if context.is_empty() || reply.len() > MAX_REPLY_BYTES || reply.trim().is_empty() {
        return None;
    }
    let mut messages = vec![Message::new("system", "dialogue")];
    // The context has an odd number of turns: the user opens and asks last.
    let roles = ["user", "assistant"].into_iter().cycle();
    messages.extend(roles.zip(context).map(|(role, turn)| Message::new(role, turn)));
    Some(Item {
        id: format!("conversation {line} turn {position}"),
        prompt: Prompt::Messages(messages),
        references: vec![reply.clone()],
        extra: row.extra.clone(),
    })
}

/// The latest odd number of turns that fits.
fn latest(turns: &[String]) -> &[String] {
    let fits = |n_turns: &usize| {
        let kept = &turns[turns.len() - n_turns..];
        kept.iter().map(String::len).sum::<usize>() <= MAX_CONTEXT_BYTES
    };
    let n_kept = (1..=turns.len()).step_by(2).take_while(fits).last().unwrap_or(0);
    &turns[turns.len() - n_kept..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> Vec<Item> {
        Dialogue
            .sources(text)
            .unwrap()
            .sources
            .into_iter()
            .flat_map(|source| source.items)
            .collect()
    }

    #[test]
    fn every_turn_but_the_first_is_a_reply_and_the_user_asks_last() {
        let items = items(r#"{"src":"s","turns":["a","b","c","d"],"ratings":{"witty":3}}"#);
        let said: Vec<String> = items.iter().map(|item| item.prompt.text()).collect();
        assert_eq!(said, ["a", "b", "a\nb\nc"]);
        for item in &items {
            let Prompt::Messages(messages) = &item.prompt else {
                panic!("dialogue prompts are messages")
            };
            assert_eq!((messages[0].role.as_str(), messages[1].role.as_str()), ("system", "user"));
            assert_eq!(messages.last().unwrap().role, "user");
            assert_eq!(item.extra["ratings"]["witty"], 3);
        }
    }

    #[test]
    fn conversations_with_one_question_give_one_item_with_their_answers() {
        let items = items("{\"turns\":[\"Hi\",\"Hello\"]}\n{\"turns\":[\"Hi\",\"Hey\"]}");
        assert_eq!(items.len(), 1);
        assert_eq!(items[0].references, ["Hello", "Hey"]);
    }

    #[test]
    fn a_prompt_keeps_the_latest_turns_that_fit() {
        let turns: Vec<String> = (0..9).map(|i| i.to_string().repeat(100)).collect();
        let starts: String = latest(&turns).iter().map(|turn| &turn[..1]).collect();
        assert_eq!(starts, "678"); // four would fit, but the user opens
        assert!(latest(&["x".repeat(MAX_CONTEXT_BYTES + 1)]).is_empty());
    }
}
