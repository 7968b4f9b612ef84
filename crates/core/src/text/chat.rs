//! Chat templates: messages to the token ids that a policy was trained on.
//!
//! A template is a Jinja string as Hugging Face keeps it in `tokenizer_config.json`, so that models
//! of others bring their own; [`DEFAULT_TEMPLATE`] is ours. Specials that the *template* writes
//! become special tokens; specials that a *message* contains stay text, for any template: before
//! rendering, each special name inside a message gets an invisible break after its first character,
//! after rendering the text is cut at the unbroken names, and then the breaks are taken out. So
//! trimming, splitting and comparing in the template see the message itself. Left out: tools,
//! documents, dates, and content that is not text.
//!
//! Source: `transformers`, `utils/chat_template_utils.py` (Jinja settings and variables).

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value as Jinja, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde_json::{Value, json};

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

/// Opens an escape inside a message; private use, and escaped itself where a message has it.
const ESCAPE: char = '\u{E000}';
/// After [`ESCAPE`]: the message really has that character.
const LITERAL: char = '\u{E001}';
/// After [`ESCAPE`]: nothing, it only breaks the name of a special token.
const BREAK: char = '\u{E002}';

/// Why messages cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The Jinja string is wrong or raised an exception.
    #[error("chat template: {0}: correct chat_template in tokenizer_config.json or the messages")]
    Template(String),
    /// The configuration is not JSON or lacks a template.
    #[error(
        "tokenizer_config.json has no chat_template ({0}): add one, or use the default template"
    )]
    NoTemplate(String),
}

/// How messages become one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatTemplate {
    /// The Jinja string.
    pub source: String,
    /// What the template may write as `bos_token`.
    pub bos_token: String,
    /// What the template may write as `eos_token`.
    pub eos_token: String,
}

/// What follows the last message.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// Nothing.
    Closed,
    /// The opening of a reply.
    Reply,
}

impl Default for ChatTemplate {
    fn default() -> Self {
        Self {
            source: DEFAULT_TEMPLATE.to_owned(),
            bos_token: String::new(),
            eos_token: "<|end|>".to_owned(),
        }
    }
}

impl ChatTemplate {
    /// Reads `chat_template`, `bos_token` and `eos_token` of a `tokenizer_config.json`.
    ///
    /// # Errors
    /// The text is not JSON, has no template, or the template is not valid Jinja.
    pub fn from_tokenizer_config(text: &str) -> Result<Self, ChatError> {
        let parts: Value =
            serde_json::from_str(text).map_err(|error| ChatError::NoTemplate(error.to_string()))?;
        let source = parts["chat_template"]
            .as_str()
            .ok_or_else(|| ChatError::NoTemplate("no such string".to_owned()))?;
        let token = |name: &str| {
            let plain = parts[name].as_str().or_else(|| parts[name]["content"].as_str());
            plain.unwrap_or_default().to_owned()
        };
        let template = Self {
            source: source.to_owned(),
            bos_token: token("bos_token"),
            eos_token: token("eos_token"),
        };
        environment().template_from_str(source).map_err(|error| in_words(&error))?;
        Ok(template)
    }

    /// The `tokenizer_config.json` with which Hugging Face libraries load a tokenizer of ours.
    pub fn to_tokenizer_config(&self, model_max_length: usize) -> String {
        let parts = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "chat_template": self.source,
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
    /// use kudos_core::text::{chat::{ChatTemplate, Message}, tokenizer::Tokenizer}; let tokenizer =
    /// Tokenizer::train(["hello"], 261)?; let prompt = ChatTemplate::default().prompt(&tokenizer,
    /// &[Message::new("user", "hi")])?; let (user, assistant) = (tokenizer.special_id("<|user|>"),
    /// tokenizer.special_id("<|assistant|>")); assert_eq!((prompt.first().copied(),
    /// prompt.last().copied()), (user, assistant));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prompt(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
    ) -> Result<Vec<u32>, ChatError> {
        self.encode(tokenizer, messages, Ending::Reply)
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
        self.encode(tokenizer, messages, Ending::Closed)
    }

    /// The prompt as text, to show to people; encode with [`Self::prompt`].
    ///
    /// # Errors
    /// The template refuses the messages.
    pub fn prompt_text(&self, messages: &[Message]) -> Result<String, ChatError> {
        self.render(messages, Ending::Reply)
    }

    /// The conversation as text, to show to people; encode with [`Self::conversation`].
    ///
    /// # Errors
    /// The template refuses the messages.
    pub fn conversation_text(&self, messages: &[Message]) -> Result<String, ChatError> {
        self.render(messages, Ending::Closed)
    }

    fn encode(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        ending: Ending,
    ) -> Result<Vec<u32>, ChatError> {
        let escaped: Vec<Message> = messages
            .iter()
            .map(|message| Message {
                role: escape(tokenizer, &message.role),
                content: escape(tokenizer, &message.content),
            })
            .collect();
        let rendered = self.render(&escaped, ending)?;
        let mut ids = Vec::new();
        for piece in tokenizer.split(&rendered) {
            match piece {
                Piece::Text(text) => ids.extend(tokenizer.encode(&unescape(text))),
                Piece::Special(id) => ids.push(id),
            }
        }
        Ok(ids)
    }

    fn render(&self, messages: &[Message], ending: Ending) -> Result<String, ChatError> {
        let turns: Vec<Jinja> = messages
            .iter()
            .map(|Message { role, content }| {
                context! { role => role.as_str(), content => content.as_str() }
            })
            .collect();
        let variables = context! {
            messages => turns,
            add_generation_prompt => matches!(ending, Ending::Reply),
            bos_token => self.bos_token.as_str(),
            eos_token => self.eos_token.as_str(),
            tools => (),
            documents => (),
        };
        environment().render_str(&self.source, variables).map_err(|error| in_words(&error))
    }
}

/// Jinja as `transformers` sets it up.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the standard delimiters are valid"));
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment
}

fn in_words(error: &Error) -> ChatError {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    ChatError::Template(error.line().map_or(what.clone(), |line| format!("line {line}: {what}")))
}

/// The text with every special name broken, so that none is cut out of it later.
fn escape(tokenizer: &Tokenizer, text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (start, letter) in text.char_indices() {
        escaped.push(letter);
        if letter == ESCAPE {
            escaped.push(LITERAL);
        }
        if tokenizer.special_names().any(|name| text[start..].starts_with(name)) {
            escaped.extend([ESCAPE, BREAK]);
        }
    }
    escaped
}

/// Takes back what [`escape`] did; an [`ESCAPE`] of the template's own stays.
fn unescape(text: &str) -> String {
    text.replace([ESCAPE, BREAK].iter().collect::<String>().as_str(), "")
        .replace([ESCAPE, LITERAL].iter().collect::<String>().as_str(), "\u{E000}")
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
            assert_eq!(case["prompt_text"], template.prompt_text(&messages).unwrap());
            assert_eq!(case["conversation_text"], template.conversation_text(&messages).unwrap());
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
        let check = |result: Result<String, ChatError>, words: &str| {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        };
        let robot = [Message::new("robot", "beep")];
        check(ChatTemplate::default().prompt_text(&robot), "role robot is unknown: use system");
        let broken = ChatTemplate { source: "{% if".to_owned(), ..ChatTemplate::default() };
        check(broken.prompt_text(&robot), "correct chat_template");
        let missing = ChatTemplate::from_tokenizer_config("{}").map(|template| template.source);
        check(missing, "no chat_template");
    }

    #[test]
    fn a_written_configuration_reads_back_the_same() {
        let ours = ChatTemplate::default();
        assert_eq!(
            ChatTemplate::from_tokenizer_config(&ours.to_tokenizer_config(512)).unwrap(),
            ours
        );
    }
}
