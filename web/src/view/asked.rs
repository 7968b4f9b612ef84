//! What the collector asks: the buttons that ask for it, and what stands in the place of its texts.

use super::control::{Usable, button, usable};
use crate::event::Event;
use crate::node::Node;
use crate::state::State;

/// On the desk, where the catalog names a collector: a button, and what it does.
pub(super) fn on_desk(state: &State) -> Option<Node> {
    state.collector()?;
    let words = &state.words().asked;
    let ask = one(state, "ask", words.ask).with("aria-describedby", "ask-hint");
    let hint = Node::new("span").with("class", "hint").with("id", "ask-hint").text(words.hint);
    Some(Node::new("div").with("id", "asked").with("class", "row").child(ask).child(hint))
}

/// In the place of the texts: that something comes, or why it does not.
pub(super) fn note(state: &State) -> Option<Node> {
    let words = &state.words().asked;
    if state.is_asking() {
        return Some(Node::new("p").with("class", "hint").text(words.asking));
    }
    let note = words.note(state.query_note?);
    Some(Node::new("p").with("class", "notice").with("id", "query-note").text(note))
}

/// Below the verdict on a query: the next one.
pub(super) fn next(state: &State) -> Option<Node> {
    let asked = state.round.as_ref().is_some_and(|round| round.query.is_some());
    (asked || state.is_asking()).then(|| one(state, "next-query", state.words().asked.next))
}

fn one(state: &State, id: &'static str, text: &str) -> Node {
    let can = Usable::when(state.can_ask().then_some(()));
    usable(button(id, text, Event::QueryWanted), can)
}
