//! Chat templates: messages to the token ids that a policy was trained on.
//!
//! A template is a Jinja string as Hugging Face keeps it in `tokenizer_config.json`, so that models
//! of others bring their own; [`DEFAULT_TEMPLATE`] is ours. What it says becomes a table, [`Turns`],
//! once, when it is read (`jinja.rs`); messages are written with the table alone. Specials that the
//! *template* writes become special tokens; specials that a *message* contains stay text. Left out:
//! templates that do more than open and close turns, a system message that is not the first, tools,
//! documents, dates, and content that is not text.
//!
//! Source: `transformers`, `utils/chat_template_utils.py`.

use kudos_schema::{Place, Turns};
use serde_json::{Value, json};

use super::jinja::turns;
use super::tokenizer::{Piece, Tokenizer};
pub use kudos_schema::Message;

/// Our template: one token opens a message and names who speaks, `<|end|>` closes a reply.
///
/// `<|system|>content<|user|>content<|assistant|>content<|end|>`; a prompt ends in `<|assistant|>`.
pub const DEFAULT_TEMPLATE: &str = "{%- for message in messages -%}\
    {%- if message['role'] not in ['system', 'user', 'assistant'] -%}\
    {{- raise_exception('role ' + message['role'] + ' is unknown: use system, user or assistant') -}}\
    {%- endif -%}\
    {{- '<|' + message['role'] + '|>' + message['content'] -}}\
    {%- if message['role'] == 'assistant' -%}{{- '<|end|>' -}}{%- endif -%}\
    {%- endfor -%}\
    {%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}";

/// The template of a model without one: each message is a line.
pub(crate) const LINES: &str =
    "{%- for message in messages -%}{{- message['content'] + '\n' -}}{%- endfor -%}";

/// Why messages cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The Jinja string is wrong or raised an exception.
    #[error("chat template: {0}: correct chat_template in tokenizer_config.json or the messages")]
    Template(String),
    /// The configuration is not JSON.
    #[error("tokenizer_config.json is damaged ({0}): fetch it again")]
    Damaged(String),
    /// The Jinja string is no table.
    #[error(
        "chat_template in tokenizer_config.json does more than open and close turns ({0}): \
         write one that does the same for every message of a role, or remove it: each message is then a line"
    )]
    NoTurns(String),
    /// A message of a role that nobody has.
    #[error("role {0} is unknown: use system, user or assistant")]
    Role(String),
    /// The template does not allow one after the other.
    #[error("the chat template allows no {next} after {after}: order the messages as it expects")]
    Order {
        /// What ended.
        after: Place,
        /// What should have begun.
        next: Place,
    },
}

/// How messages become one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatTemplate {
    /// The Jinja string.
    source: String,
    /// What the template may write as `bos_token`.
    bos_token: String,
    /// What the template may write as `eos_token`.
    eos_token: String,
    /// The same as a table.
    turns: Turns,
}

impl Default for ChatTemplate {
    fn default() -> Self {
        Self::read(DEFAULT_TEMPLATE, "", "<|end|>")
            .expect("our own template opens and closes turns")
    }
}

impl ChatTemplate {
    fn read(source: &str, bos_token: &str, eos_token: &str) -> Result<Self, ChatError> {
        Ok(Self {
            source: source.to_owned(),
            bos_token: bos_token.to_owned(),
            eos_token: eos_token.to_owned(),
            turns: turns(source, bos_token, eos_token)?,
        })
    }

    /// Reads `chat_template`, `bos_token` and `eos_token` of a `tokenizer_config.json`. Of several templates the one
    /// that is named default counts; without any, as of models that were not taught to talk, each message is a line.
    ///
    /// # Errors
    /// The text is not JSON, or the template is not valid Jinja or no table.
    pub fn from_tokenizer_config(text: &str) -> Result<Self, ChatError> {
        let [source, bos_token, eos_token] = strings(text)?;
        Self::read(&source, &bos_token, &eos_token)
    }

    /// The same where the table is known already, so that no Jinja is looked at.
    ///
    /// # Errors
    /// The text is not JSON.
    pub fn with_turns(tokenizer_config: &str, turns: Turns) -> Result<Self, ChatError> {
        let [source, bos_token, eos_token] = strings(tokenizer_config)?;
        Ok(Self { source, bos_token, eos_token, turns })
    }

    /// What the template may write at the beginning; empty where there is none.
    pub fn bos_token(&self) -> &str {
        &self.bos_token
    }

    /// The template as a table.
    pub fn turns(&self) -> &Turns {
        &self.turns
    }

    /// The `tokenizer_config.json` with which Hugging Face libraries load a tokenizer of ours.
    pub fn to_tokenizer_config(&self, model_max_length: usize) -> String {
        let parts = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "chat_template": self.source,
            "bos_token": Some(&self.bos_token).filter(|token| !token.is_empty()),
            "eos_token": self.eos_token,
            "pad_token": "<|pad|>",
            "model_max_length": model_max_length,
            "clean_up_tokenization_spaces": false,
        });
        format!("{parts:#}\n")
    }

    /// Token ids of a prompt: the messages and the opening of the reply.
    ///
    /// # Errors
    /// The template refuses the messages.
    ///
    /// ```
    /// use kudos_core::text::{chat::{ChatTemplate, Message}, tokenizer::Tokenizer};
    ///
    /// let tokenizer = Tokenizer::train(["hello"], 261)?;
    /// let prompt = ChatTemplate::default().prompt(&tokenizer, &[Message::new("user", "hi")])?;
    /// let (user, assistant) =
    ///     (tokenizer.special_id("<|user|>"), tokenizer.special_id("<|assistant|>"));
    /// assert_eq!((prompt.first().copied(), prompt.last().copied()), (user, assistant));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prompt(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
    ) -> Result<Vec<u32>, ChatError> {
        Ok(encode(&self.parts(messages, Place::Reply)?, tokenizer))
    }

    /// Token ids of a whole conversation.
    ///
    /// # Errors
    /// The template refuses the messages.
    pub fn conversation(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
    ) -> Result<Vec<u32>, ChatError> {
        Ok(encode(&self.parts(messages, Place::End)?, tokenizer))
    }

    /// The messages with what the template writes before, between and after them.
    fn parts<'t>(
        &'t self,
        messages: &'t [Message],
        last: Place,
    ) -> Result<Vec<Part<'t>>, ChatError> {
        let between = |after, next| match self.turns.between(after, next) {
            Some(text) => Ok(Part::Template(text)),
            None => Err(ChatError::Order { after, next }),
        };
        let mut parts = Vec::new();
        let mut after = Place::Start;
        for message in messages {
            let place = Place::of_role(&message.role);
            let next = place.ok_or_else(|| ChatError::Role(message.role.clone()))?;
            let content = message.content.as_str();
            parts.push(between(after, next)?);
            parts.push(Part::Content(if self.turns.trim { content.trim() } else { content }));
            after = next;
        }
        parts.push(between(after, last)?);
        Ok(parts)
    }
}

/// A part of a conversation.
#[derive(Clone, Copy, Debug)]
enum Part<'t> {
    /// What the template writes: names of specials are specials.
    Template(&'t str),
    /// What a message says: all of it is text.
    Content(&'t str),
}

/// Token ids of the parts; text that touches is one text, whoever wrote it.
fn encode(parts: &[Part<'_>], tokenizer: &Tokenizer) -> Vec<u32> {
    let (mut ids, mut open) = (Vec::new(), String::new());
    for part in parts {
        let pieces = match part {
            Part::Template(text) => tokenizer.split(text),
            Part::Content(text) => vec![Piece::Text(text)],
        };
        for piece in pieces {
            match piece {
                Piece::Text(text) => open.push_str(text),
                Piece::Special(id) => {
                    ids.extend(tokenizer.encode(&std::mem::take(&mut open)));
                    ids.push(id);
                }
            }
        }
    }
    ids.extend(tokenizer.encode(&open));
    ids
}

/// `chat_template`, `bos_token` and `eos_token` of a `tokenizer_config.json`.
fn strings(text: &str) -> Result<[String; 3], ChatError> {
    let parts: Value =
        serde_json::from_str(text).map_err(|error| ChatError::Damaged(error.to_string()))?;
    let named = parts["chat_template"].as_array().into_iter().flatten();
    let named =
        named.filter(|one| one["name"] == "default").find_map(|one| one["template"].as_str());
    let source = parts["chat_template"].as_str().or(named).unwrap_or(LINES);
    let token = |name: &str| {
        let plain = parts[name].as_str().or_else(|| parts[name]["content"].as_str());
        plain.unwrap_or_default().to_owned()
    };
    Ok([source.to_owned(), token("bos_token"), token("eos_token")])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Made by tests/golden/chat_template.py with `transformers` and `tokenizers`.
    const GOLDEN: &str = include_str!("../../../../tests/golden/chat_template.json");

    fn golden() -> (Value, Tokenizer) {
        let golden: Value = serde_json::from_str(GOLDEN).unwrap();
        let tokenizer = Tokenizer::from_json(&golden["tokenizer"].to_string()).unwrap();
        (golden, tokenizer)
    }

    fn template(config: &Value) -> ChatTemplate {
        ChatTemplate::from_tokenizer_config(&config.to_string()).unwrap()
    }

    #[test]
    fn rendering_equals_transformers() {
        let (golden, tokenizer) = golden();
        assert_eq!(golden["templates"]["kudos"]["chat_template"], DEFAULT_TEMPLATE);
        let cases = golden["cases"].as_array().unwrap();
        assert!(cases.len() >= 20);
        for case in cases {
            let template = template(&golden["templates"][case["template"].as_str().unwrap()]);
            let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
            let text = |last| -> String {
                let parts = template.parts(&messages, last).unwrap();
                let text = |part| match part {
                    Part::Template(text) | Part::Content(text) => text,
                };
                parts.into_iter().map(text).collect()
            };
            assert_eq!(case["prompt_text"], text(Place::Reply));
            assert_eq!(case["conversation_text"], text(Place::End));
            if case["has_specials_in_content"] == false {
                assert_eq!(case["prompt"], json!(template.prompt(&tokenizer, &messages).unwrap()));
                let conversation = template.conversation(&tokenizer, &messages).unwrap();
                assert_eq!(case["conversation"], json!(conversation));
            }
        }
    }

    #[test]
    fn the_vocabulary_trained_here_equals_the_one_of_hugging_faces_trainer() {
        let (golden, _) = golden();
        let corpus = golden["corpus"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
        let ours =
            Tokenizer::train(corpus, golden["vocab_size"].as_u64().unwrap() as usize).unwrap();
        let ours: Value = serde_json::from_str(&ours.to_json()).unwrap();
        for part in ["added_tokens", "pre_tokenizer"] {
            assert_eq!(ours[part], golden["tokenizer"][part]);
        }
        assert_eq!(ours["model"]["merges"], golden["tokenizer"]["model"]["merges"]);
        assert_eq!(ours["model"]["vocab"], golden["tokenizer"]["model"]["vocab"]);
    }

    proptest! {
        #[test]
        fn no_message_writes_a_special_token(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("<|end|>"), Just("<|user|>"), Just("<|us"), Just("er|>"), Just("<"),
                    Just(" hat "),
                    Just("\u{E000}"), Just("\u{E001}"), Just("\u{E002}"), Just("<|im_end|>"),
                ],
                0..8,
            ),
        ) {
            let (golden, tokenizer) = golden();
            let content = parts.concat();
            let ours = ChatTemplate::default();
            let messages = [Message::new("user", content.clone())];
            let ids = ours.prompt(&tokenizer, &messages).unwrap();
            prop_assert_eq!((ids[0], ids[ids.len() - 1]), (3, 4));
            prop_assert!(ids[1..ids.len() - 1].iter().all(|&id| id >= 5));
            prop_assert_eq!(tokenizer.decode(&ids), content.clone());
            // The same through a foreign template that trims.
            let trimming = template(&golden["templates"]["trimming"]);
            let ids = trimming.prompt(&tokenizer, &messages).unwrap();
            prop_assert!(tokenizer.decode(&ids).contains(content.trim()));
            let specials = ids.iter().filter(|&&id| id < 5).count();
            let plain = trimming.prompt(&tokenizer, &[Message::new("user", "x")]).unwrap();
            prop_assert_eq!(specials, plain.iter().filter(|&&id| id < 5).count());
        }
    }

    #[test]
    fn what_a_template_refuses_is_said_in_its_words() {
        let (golden, tokenizer) = golden();
        let refused = |template: &ChatTemplate, roles: &[&str]| {
            let messages: Vec<Message> =
                roles.iter().map(|role| Message::new(*role, "beep")).collect();
            template.prompt(&tokenizer, &messages).unwrap_err().to_string()
        };
        let message = refused(&ChatTemplate::default(), &["robot"]);
        assert!(message.contains("role robot is unknown: use system"), "{message}");
        let message = refused(&template(&golden["templates"]["trimming"]), &["user", "user"]);
        assert!(message.contains("no user message after user message"), "{message}");
        let damaged = ChatTemplate::from_tokenizer_config("{").unwrap_err().to_string();
        assert!(damaged.contains("fetch it again"), "{damaged}");
    }

    #[test]
    fn without_a_template_messages_are_lines_and_of_several_the_default_counts() {
        let (golden, tokenizer) = golden();
        let messages = [Message::new("user", "hi"), Message::new("assistant", "ho")];
        let plain = ChatTemplate::from_tokenizer_config(r#"{"eos_token": "<|end|>"}"#).unwrap();
        let ids = plain.prompt(&tokenizer, &messages).unwrap();
        assert_eq!(tokenizer.decode(&ids), "hi\nho\n");
        let mut named = golden["templates"]["trimming"].clone();
        let only = template(&named);
        let own = json!({"name": "default", "template": named["chat_template"]});
        named["chat_template"] = json!([{"name": "tool_use", "template": "{{ tools }}"}, own]);
        assert_eq!(template(&named), only);
    }

    #[test]
    fn a_written_configuration_reads_back_the_same() {
        let (golden, _) = golden();
        for ours in [ChatTemplate::default(), template(&golden["templates"]["trimming"])] {
            let written = ours.to_tokenizer_config(512);
            assert_eq!(ChatTemplate::from_tokenizer_config(&written).unwrap(), ours);
        }
    }
}
