//! The page around the work: opening, connection, panels, export, what is remembered.

use kudos_schema::{ExportShape, export_rows};

use super::bundle::Fetch;
use super::desk::{MAX_PROMPT_BYTES, shortened};
use super::problem::{Problem, Retry};
use super::record::outgoing;
use super::turn::Turn;
use super::{State, bundle, engines, outbox, writing};
use crate::event::{
    DownloadError, Effect, EngineKind, Locale, Memory, Opening, Panel, Setting, Shortcuts,
    StorageState,
};

/// The page is up.
pub(super) fn opened(state: &mut State, opening: Opening, turn: &mut Turn<'_>) {
    let tag = opening.browser_locale.to_ascii_lowercase();
    state.browser_locale = match tag.split('-').next() {
        Some("zh") => Locale::Chinese,
        Some(_) | None => Locale::English,
    };
    state.memory = opening.memory;
    state.ratings = opening.ratings;
    state.storage = opening.storage;
    state.has_webgpu = opening.has_webgpu;
    state.adapter = opening.adapter;
    if state.memory.rater.is_empty() {
        state.memory.rater = turn.random_uuid();
        turn.ask(Effect::Remember(state.memory.clone()));
    }
    // The engine gets warm while the list and the policy are on their way.
    turn.ask(Effect::FetchCatalog);
    engines::start(state, EngineKind::Cpu, turn);
}

/// The browser is online again. What waited for the network is tried again without being asked for.
pub(super) fn online(state: &mut State, turn: &mut Turn<'_>) {
    state.offline = false;
    outbox::online(state, turn);
    let network = DownloadError::Network;
    let waited = [Problem::Catalog(network.clone()), Problem::Download(network)];
    if state.problem.as_ref().is_some_and(|problem| waited.contains(problem)) {
        try_again(state, turn);
    }
}

/// A rating was written to storage, or not.
pub(super) fn stored(state: &mut State, result: Result<(), String>) {
    if let Err(detail) = result {
        state.storage = StorageState::Refused;
        state.problem = Some(Problem::Storage { detail });
    }
}

/// The visitor tries again what failed.
pub(super) fn try_again(state: &mut State, turn: &mut Turn<'_>) {
    let Some(retry) = state.retry() else { return };
    state.problem = None;
    match retry {
        Retry::Catalog => turn.ask(Effect::FetchCatalog),
        Retry::Download => bundle::fetch(state, turn),
        Retry::Engine => {
            engines::try_again(state, turn);
            // The engine may have been given up before the bytes were there.
            if state.bundle.fetch != Fetch::Here {
                bundle::fetch(state, turn);
            }
        }
        Retry::Write => writing::write_again(state, turn),
    }
}

/// A prompt was picked; the entry of the list that only names it is none.
pub(super) fn pick_prompt(state: &mut State, text: &str) {
    if !text.is_empty() {
        prompt(state, text);
    }
}

/// The prompt was typed.
pub(super) fn prompt(state: &mut State, text: &str) {
    state.desk.prompt = shortened(text, MAX_PROMPT_BYTES);
    if state.problem == Some(Problem::EmptyPrompt) {
        state.problem = None;
    }
}

/// A setting was typed.
pub(super) fn setting(state: &mut State, setting: Setting, text: String) {
    *state.desk.settings.field(setting) = text;
    if matches!(state.problem, Some(Problem::Setting(_))) {
        state.problem = state.desk.settings.wrong().map(Problem::Setting);
    }
}

/// Changes what is remembered between visits.
pub(super) fn remember(state: &mut State, turn: &mut Turn<'_>, change: impl FnOnce(&mut Memory)) {
    change(&mut state.memory);
    turn.ask(Effect::Remember(state.memory.clone()));
}

/// Single keys do something, or no longer.
pub(super) fn toggle_shortcuts(state: &mut State, turn: &mut Turn<'_>) {
    remember(state, turn, |memory| {
        memory.shortcuts = match memory.shortcuts {
            Shortcuts::On => Shortcuts::Off,
            Shortcuts::Off => Shortcuts::On,
        };
    });
}

/// Whoever rates from now on is somebody else.
pub(super) fn new_rater(state: &mut State, turn: &mut Turn<'_>) {
    let rater = turn.random_uuid();
    remember(state, turn, |memory| memory.rater = rater);
    turn.ask(Effect::Announce(state.words().ratings.rater_is_new.to_owned()));
}

/// Opens a panel, or closes it.
pub(super) fn toggle_panel(state: &mut State, panel: Panel, turn: &mut Turn<'_>) {
    let (inside, button) = match panel {
        Panel::Settings => ("settings", "settings-toggle"),
        Panel::Ratings => ("ratings", "ratings-toggle"),
        Panel::Help => ("help", "help-toggle"),
    };
    if state.panel == Some(panel) {
        state.panel = None;
        turn.ask(Effect::Focus(button));
    } else {
        state.panel = Some(panel);
        turn.ask(Effect::Focus(inside));
    }
}

/// Hands the visitor their ratings in a shape, as they leave the page.
pub(super) fn export(state: &mut State, shape: ExportShape, turn: &mut Turn<'_>) {
    let rows =
        |stored: &crate::event::StoredRating| export_rows(&outgoing(&stored.rating), shape, None);
    let lines: Vec<String> = state.ratings.iter().flat_map(rows).collect();
    if lines.is_empty() {
        turn.ask(Effect::Announce(state.words().ratings.nothing_to_export.to_owned()));
        return;
    }
    let text: String = lines.into_iter().map(|line| line + "\n").collect();
    turn.ask(Effect::SaveFile { name: format!("kudos-{}.jsonl", shape.name()), text });
}
