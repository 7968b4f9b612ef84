//! Laws of the view: what is named, what is hidden, what can be reached and heard, in every state and in
//! both languages.

mod laws;
mod shown;
mod states;

use super::view;
use crate::event::Locale;
use crate::node::{Child, Node};
use crate::state::State;
use states::states;

fn attribute<'a>(node: &'a Node, name: &str) -> Option<&'a str> {
    node.attributes.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
}

fn children(node: &Node) -> impl Iterator<Item = &Node> {
    node.children.iter().filter_map(|child| match child {
        Child::Node(node) => Some(node),
        Child::Text(_) => None,
    })
}

/// The node and everything inside of it, from the top.
fn all(node: &Node) -> Vec<&Node> {
    let mut found = vec![node];
    for child in children(node) {
        found.extend(all(child));
    }
    found
}

fn find<'a>(node: &'a Node, id: &str) -> Option<&'a Node> {
    all(node).into_iter().find(|node| attribute(node, "id") == Some(id))
}

fn text(node: &Node) -> String {
    let part = |child: &Child| match child {
        Child::Node(node) => text(node),
        Child::Text(text) => text.clone(),
    };
    node.children.iter().map(part).collect()
}

/// What assistive technology calls the control.
fn name(root: &Node, node: &Node) -> String {
    if let Some(label) = attribute(node, "aria-label") {
        return label.to_owned();
    }
    if let Some(label) = attribute(node, "aria-labelledby").and_then(|id| find(root, id)) {
        return text(label);
    }
    let id = attribute(node, "id");
    let is_label = |other: &&Node| other.tag == "label" && attribute(other, "for") == id;
    match node.tag {
        "button" | "a" | "summary" => text(node),
        _ => all(root).into_iter().find(is_label).map(text).unwrap_or_default(),
    }
}

/// The page in this language.
fn in_locale(state: &State, locale: Locale) -> Node {
    let mut state = state.clone();
    state.memory.locale = Some(locale);
    view(&state)
}

/// Every state in both languages.
fn in_both_languages() -> Vec<(String, Node)> {
    let pages = states().into_iter().flat_map(|(name, state)| {
        [Locale::English, Locale::Chinese]
            .map(|locale| (format!("{name}, {locale:?}"), in_locale(&state, locale)))
    });
    pages.collect()
}
