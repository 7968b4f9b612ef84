//! What the visitor asks: task, prompt, conversation.

use kudos_schema::{MAX_TEXT_BYTES, Message, PolicyManifest};

use super::drawing::Drawing;
use super::settings::Settings;

/// The longest prompt that can be typed, in bytes.
pub(crate) const MAX_PROMPT_BYTES: usize = 8 * 1024;
/// The longest conversation in bytes: masking what leaves the page can make it twice as long, and a
/// rating holds [`MAX_TEXT_BYTES`].
const MAX_CONVERSATION_BYTES: usize = MAX_TEXT_BYTES / 2;
/// The most earlier turns: a rating holds 64 messages.
const MAX_TURNS: usize = 60;

/// What the visitor asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desk {
    /// The task's name.
    pub(crate) task: String,
    /// What stands in the prompt field.
    pub(crate) prompt: String,
    /// What the policy is to look at, where it has eyes.
    pub(crate) drawing: Drawing,
    /// Turns so far, without the system message and without the round at hand.
    pub(crate) conversation: Vec<Message>,
    /// Sampling.
    pub(crate) settings: Settings,
}

/// What the policy is given for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Plain text is continued.
    Text,
    /// One message is answered.
    Message,
    /// A conversation goes on.
    Conversation,
}

/// What the policy is given for the task of this name; a task that the page does not know asks with one
/// message.
pub(crate) fn form(task: &str) -> Form {
    match task {
        "sentences" => Form::Text,
        "dialogue" => Form::Conversation,
        _ => Form::Message,
    }
}

impl Desk {
    /// What the policy is given: messages, or plain text.
    pub(crate) fn asked(&self) -> (Vec<Message>, String) {
        let system = Message::new("system", self.task.clone());
        let user = Message::new("user", self.prompt.trim());
        match form(&self.task) {
            Form::Text => (Vec::new(), self.prompt.trim_end().to_owned()),
            Form::Message => (vec![system, user], String::new()),
            Form::Conversation => {
                let mut messages = vec![system];
                messages.extend(self.recent(user.content.len()));
                messages.push(user);
                (messages, String::new())
            }
        }
    }

    /// As many of the last turns as a rating can hold beside `used` bytes; they begin with the visitor's.
    fn recent(&self, used: usize) -> Vec<Message> {
        let mut bytes = used;
        let mut from = self.conversation.len();
        while let Some(earlier) = from.checked_sub(2) {
            bytes += self.conversation[earlier..from]
                .iter()
                .map(|turn| turn.content.len())
                .sum::<usize>();
            if bytes > MAX_CONVERSATION_BYTES || self.conversation.len() - earlier > MAX_TURNS {
                break;
            }
            from = earlier;
        }
        self.conversation[from..].to_vec()
    }

    /// Takes a task that the policy knows, and its first prompt.
    pub(crate) fn take_policy(&mut self, manifest: &PolicyManifest) {
        self.settings = Settings::of(manifest);
        self.drawing.fit(manifest.image_size.unwrap_or(0));
        if !manifest.tasks.contains(&self.task) {
            self.task = manifest.tasks.first().cloned().unwrap_or_default();
            self.conversation.clear();
            self.prompt.clear();
        }
        if self.prompt.trim().is_empty() && self.conversation.is_empty() {
            self.prompt = prompts(manifest, &self.task).first().cloned().unwrap_or_default();
        }
    }
}

/// The prompts that a policy comes with for a task.
pub(crate) fn prompts<'a>(manifest: &'a PolicyManifest, task: &str) -> &'a [String] {
    manifest.prompts.get(task).map_or(&[], Vec::as_slice)
}

/// The beginning of `text` that is at most `most` bytes long.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}
