//! The question before the first rating.

use super::control::button;
use crate::event::Event;
use crate::node::{Handler, Node};
use crate::state::State;
use crate::words::fill;

/// The dialog; the browser keeps the focus inside while it is open.
pub(super) fn dialog(state: &State) -> Node {
    let dialog = Node::new("dialog").with("id", "consent");
    if state.pending.is_none() {
        return dialog;
    }
    let words = &state.words().consent;
    let paragraph = |text: &str| Node::new("p").text(text);
    let goes = match state.collector() {
        None => words.stays.to_owned(),
        Some(collector) => fill(words.sent, &[collector]),
    };
    dialog
        .with("open", "")
        .with("role", "dialog")
        .with("aria-modal", "true")
        .with("aria-labelledby", "consent-heading")
        .with("aria-describedby", "consent-text")
        .on("cancel", Handler::Instead(Event::ConsentRefused))
        .child(Node::new("h2").with("id", "consent-heading").text(words.heading))
        .child(Node::new("div").with("id", "consent-text").children([
            paragraph(words.what),
            paragraph(&goes),
            paragraph(words.not_kept),
            paragraph(words.identity),
        ]))
        .child(Node::new("div").with("class", "row").children([
            button("consent-yes", words.yes, Event::ConsentGiven).with("class", "main"),
            button("consent-no", words.no, Event::ConsentRefused),
        ]))
}
