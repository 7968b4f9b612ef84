//! A chat template as plain data: what stands between the contents of two messages.
//!
//! Templates are Jinja programs in the files of Hugging Face; almost all of them only open and close
//! turns. As a table, such a template needs no interpreter where it is used.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a content can begin or end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The beginning of the text.
    Start,
    /// A message of the system.
    System,
    /// A message of the user.
    User,
    /// A message of the assistant.
    Assistant,
    /// A reply that is to be written.
    Reply,
    /// The end of the text.
    End,
}

/// The text between two places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Between {
    /// What ends.
    pub after: Place,
    /// What begins.
    pub next: Place,
    /// What the template writes there; names of special tokens in it are those tokens.
    pub text: String,
}

/// A chat template.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turns {
    /// Whether white space around a content is taken off.
    pub trim: bool,
    /// Every pair of places that the template allows.
    pub between: Vec<Between>,
}

impl Turns {
    /// What stands between two places; none if the template refuses one after the other.
    pub fn between(&self, after: Place, next: Place) -> Option<&str> {
        let found = self.between.iter().find(|entry| (entry.after, entry.next) == (after, next));
        found.map(|entry| entry.text.as_str())
    }
}

impl Place {
    /// The place that a message of `role` takes.
    pub fn of_role(role: &str) -> Option<Self> {
        match role {
            "system" => Some(Self::System),
            "user" => Some(Self::User),
            "assistant" => Some(Self::Assistant),
            _ => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Start => "start",
            Self::System => "system message",
            Self::User => "user message",
            Self::Assistant => "assistant message",
            Self::Reply => "reply",
            Self::End => "end",
        })
    }
}
