//! The keyboard: which event a single key stands for.

use kudos_schema::{PairChoice, Thumb};

use super::State;
use crate::event::{Event, Mode, Panel, Shortcuts};

/// The event that a key outside of a text field stands for, as things are.
pub(super) fn event(state: &State, key: &str) -> Option<Event> {
    if state.pending.is_some() {
        return (key == "Escape").then_some(Event::ConsentRefused);
    }
    if key == "Escape" {
        return escape(state);
    }
    match state.memory.shortcuts {
        Shortcuts::Off => None,
        Shortcuts::On => judging(state.shown_mode(), key).or_else(|| other(key)),
    }
}

/// Closes or stops the thing in front.
fn escape(state: &State) -> Option<Event> {
    let round = state.round.as_ref();
    if state.is_busy() {
        Some(Event::StopPressed)
    } else if state.inspection.is_some() {
        Some(Event::TokenClosed)
    } else if round.is_some_and(|round| round.edit.is_some()) {
        Some(Event::EditClosed)
    } else {
        state.panel.map(Event::PanelToggled)
    }
}

fn judging(mode: Mode, key: &str) -> Option<Event> {
    let event = match (mode, key) {
        (Mode::Pair, "ArrowLeft" | "1") => Event::PairJudged(PairChoice::Left),
        (Mode::Pair, "ArrowRight" | "2") => Event::PairJudged(PairChoice::Right),
        (Mode::Pair, "=") => Event::PairJudged(PairChoice::Tie),
        (Mode::Pair, "x") => Event::PairJudged(PairChoice::BothBad),
        (Mode::Single, "+") => Event::Thumbed(Thumb::Up),
        (Mode::Single, "-") => Event::Thumbed(Thumb::Down),
        (Mode::Single, "1") => Event::Starred(1),
        (Mode::Single, "2") => Event::Starred(2),
        (Mode::Single, "3") => Event::Starred(3),
        (Mode::Single, "4") => Event::Starred(4),
        (Mode::Single, "5") => Event::Starred(5),
        (Mode::Single, "e") => Event::EditOpened,
        (Mode::Pair, "R") => Event::ReportToggled(1),
        (Mode::Pair | Mode::Single, "r") => Event::ReportToggled(0),
        (Mode::Pair | Mode::Single, _) => return None,
    };
    Some(event)
}

fn other(key: &str) -> Option<Event> {
    let event = match key {
        "u" => Event::UndoPressed,
        "s" => Event::SkipPressed,
        "w" => Event::WritePressed,
        "q" => Event::QueryWanted,
        "n" => Event::AnotherPrompt,
        "c" => Event::ColorToggled,
        "?" => Event::PanelToggled(Panel::Help),
        _ => return None,
    };
    Some(event)
}
