//! The page as a tree, made anew from the state.
//!
//! Elements that may be missing have an id or stand behind those that stay, so that what is drawn is
//! found again and the focus stays where it is.

mod asked;
mod completions;
mod consent;
mod control;
mod desk;
mod graph;
mod help;
mod looking;
mod picture;
mod rating;
mod ratings;
mod settings;
mod status;

#[cfg(test)]
mod tests;

use crate::event::{Event, Locale, Panel, StorageState};
use crate::node::{Handler, Node};
use crate::state::State;
use crate::words::fill;
use control::{button, pressed};

/// The page.
pub fn view(state: &State) -> Node {
    let words = state.words();
    Node::new("div")
        .with("id", "page")
        .with("lang", language(state.locale()))
        .child(Node::new("a").with("class", "skip").with("href", "#desk").text(words.page.skip))
        .child(header(state))
        .child(main(state))
        .child(Node::new("footer").child(Node::new("p").text(words.page.footer)))
        .child(consent::dialog(state))
}

/// The language as HTML names it.
fn language(locale: Locale) -> &'static str {
    match locale {
        Locale::English => "en",
        Locale::Chinese => "zh-Hans",
    }
}

fn header(state: &State) -> Node {
    let words = state.words();
    let toggle = |panel: Panel, id: &'static str, text: &str| {
        let open = state.panel == Some(panel);
        button(id, text, Event::PanelToggled(panel))
            .with("aria-expanded", if open { "true" } else { "false" })
            .with("aria-controls", id.strip_suffix("-toggle").unwrap_or(id))
    };
    let panels = Node::new("nav").with("aria-label", words.page.preferences).children([
        toggle(Panel::Settings, "settings-toggle", words.settings.heading),
        toggle(Panel::Ratings, "ratings-toggle", words.ratings.heading),
        toggle(Panel::Help, "help-toggle", words.help.heading),
    ]);
    let locale = |locale: Locale, id: &'static str, name: &str| {
        let chosen = (state.locale() == locale).then_some(());
        pressed(button(id, name, Event::LocaleChosen(locale)), chosen)
            .with("lang", language(locale))
    };
    let locales = Node::new("div")
        .with("class", "locales")
        .with("role", "group")
        .with("aria-label", words.page.language)
        .child(locale(Locale::English, "locale-en", "English"))
        .child(locale(Locale::Chinese, "locale-zh", "中文"));
    let title = Node::new("div")
        .with("class", "title")
        .child(Node::new("h1").text(words.page.title))
        .child(Node::new("p").text(words.page.tagline));
    Node::new("header").child(title).child(panels).child(locales)
}

fn main(state: &State) -> Node {
    Node::new("main")
        .with("id", "main")
        .child(notices(state))
        .child(status::section(state))
        .child(status::error(state))
        .child(panel(state, Panel::Settings, "settings"))
        .child(panel(state, Panel::Ratings, "ratings"))
        .child(panel(state, Panel::Help, "help"))
        .child(desk::section(state))
        .child(completions::section(state))
        .child(looking::panel(state))
        .child(rating::section(state))
}

/// What the visitor should know and can go on with.
fn notices(state: &State) -> Node {
    let words = state.words();
    let notice = |id: &'static str, text: &str| {
        Node::new("p").with("class", "notice").with("id", id).text(text)
    };
    let mut notices = Vec::new();
    if state.update_waits {
        let button = button("update", words.page.update_button, Event::UpdateAccepted);
        notices.push(notice("update-notice", words.page.update).text(" ").child(button));
    }
    if state.offline {
        notices.push(notice("offline-notice", words.page.offline));
    }
    if state.storage == StorageState::Refused {
        notices.push(notice("storage-notice", words.page.storage_refused));
    }
    Node::new("div").with("class", "notices").with("id", "notices").children(notices)
}

/// A panel with its heading and what is in it; closed, it is empty and hidden.
fn panel(state: &State, panel: Panel, id: &'static str) -> Node {
    let words = state.words();
    let (heading, inside) = match panel {
        _ if state.panel != Some(panel) => {
            return Node::new("section").with("id", id).with("hidden", "");
        }
        Panel::Settings => (words.settings.heading, settings::inside(state)),
        Panel::Ratings => (words.ratings.heading, ratings::inside(state)),
        Panel::Help => (words.help.heading, help::inside(state)),
    };
    let close = Node::new("button")
        .with("type", "button")
        .with("class", "close")
        .with("aria-label", fill("{}: {}", &[words.page.close, heading]))
        .text("×")
        .on("click", Handler::Send(Event::PanelToggled(panel)));
    Node::new("section")
        .with("id", id)
        .with("class", "panel")
        .with("tabindex", "-1")
        .with("aria-label", heading)
        .child(Node::new("h2").text(heading))
        .child(close)
        .children(inside)
}
