//! Controls: buttons, fields and choices, each with a name that can be read and heard.

use crate::event::Event;
use crate::node::{Handler, Node};

/// Whether a control can be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usable {
    /// It can.
    Yes,
    /// It is shown and does nothing.
    No,
}

impl Usable {
    /// `Yes` if it holds.
    pub(super) fn when(holds: Option<()>) -> Self {
        match holds {
            Some(()) => Self::Yes,
            None => Self::No,
        }
    }
}

/// A button that sends an event.
pub(super) fn button(id: impl Into<String>, text: &str, event: Event) -> Node {
    Node::new("button")
        .with("type", "button")
        .with("id", id)
        .text(text)
        .on("click", Handler::Send(event))
}

/// The control, or the same one without effect.
pub(super) fn usable(control: Node, usable: Usable) -> Node {
    match usable {
        Usable::Yes => control,
        Usable::No => {
            let mut control = control.with("disabled", "");
            control.handlers.clear();
            control
        }
    }
}

/// The button as one that stays pressed.
pub(super) fn pressed(button: Node, pressed: Option<()>) -> Node {
    button.with("aria-pressed", if pressed.is_some() { "true" } else { "false" })
}

/// A name above a control; both in one block. The control has the id `id`.
pub(super) fn labelled(id: &'static str, label: &str, control: Node) -> Node {
    let label = Node::new("label").with("for", id).text(label);
    Node::new("div").with("class", "field").child(label).child(control)
}

/// One entry of a select.
pub(super) fn option(value: impl Into<String>, text: impl Into<String>) -> Node {
    Node::new("option").with("value", value).text(text)
}

/// A term and what is said of it.
pub(super) fn pair(term: &str, said: impl Into<String>) -> [Node; 2] {
    [Node::new("dt").text(term), Node::new("dd").text(said)]
}
