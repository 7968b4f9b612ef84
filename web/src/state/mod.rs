//! What the page knows, and how it changes.
//!
//! [`update`] is pure: clock and dice come in with each event, and what is to be done in the browser goes
//! out as effects. After each event the engines and the writing are carried on as far as they can be, so
//! no event has to know what waits for it.

mod agreement;
pub(crate) mod asked;
pub(crate) mod bundle;
pub(crate) mod desk;
pub(crate) mod drawing;
pub(crate) mod engines;
pub(crate) mod guests;
pub(crate) mod inspection;
pub(crate) mod judging;
mod keys;
pub(crate) mod outbox;
mod page;
pub(crate) mod problem;
pub(crate) mod record;
pub(crate) mod round;
pub(crate) mod settings;
mod turn;
pub(crate) mod writing;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;

use kudos_schema::{AdapterInfo, Catalog, Verdict};

use crate::event::{
    Effect, EngineKind, Event, Locale, Memory, Mode, Panel, StorageState, StoredRating,
    Surroundings, Timer,
};
use crate::words::{self, Words};
use asked::{Asking, QueryNote};
use bundle::{Bundle, Source};
use desk::Desk;
use engines::Engines;
use guests::Guest;
use inspection::Inspection;
use judging::Pending;
use outbox::Outbox;
use problem::{Problem, Retry};
use round::Round;
use turn::Turn;
use writing::Speed;

/// Everything the page knows.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// What is remembered between visits.
    pub(crate) memory: Memory,
    /// The language that the browser prefers.
    browser_locale: Locale,
    /// Whether the browser has WebGPU at all.
    pub(crate) has_webgpu: bool,
    /// The adapter, as far as it is known before an engine runs.
    adapter: Option<AdapterInfo>,
    /// Whether ratings survive the tab.
    pub(crate) storage: StorageState,
    /// Whether the browser said that it has no network.
    pub(crate) offline: bool,
    /// Whether a new version of the page waits.
    pub(crate) update_waits: bool,
    /// What can be loaded.
    pub(crate) catalog: Option<Catalog>,
    /// The policy at hand.
    pub(crate) bundle: Bundle,
    /// A policy that meets it.
    pub(crate) guest: Guest,
    /// What computes.
    pub(crate) engines: Engines,
    /// What the visitor asks.
    pub(crate) desk: Desk,
    /// Whether the collector is asked what to rate.
    pub(crate) asking: Asking,
    /// Why nothing of the collector is shown.
    pub(crate) query_note: Option<QueryNote>,
    /// The completions at hand.
    pub(crate) round: Option<Round>,
    /// A stopped completion whose engine has not said yet that it ended, and the engine.
    stopping: Option<(EngineKind, u64)>,
    /// How fast the last completion was drawn.
    pub(crate) speed: Option<Speed>,
    /// A verdict that waits for consent.
    pub(crate) pending: Option<Pending>,
    /// Ratings of this browser, oldest first.
    pub(crate) ratings: Vec<StoredRating>,
    /// Ratings just deleted, which can be brought back.
    pub(crate) deleted: Vec<StoredRating>,
    /// Ids of the ratings made since the page was opened.
    session: BTreeSet<String>,
    /// Rounds that were judged and whose ratings are not sent, the last one last.
    history: Vec<Round>,
    /// Ratings on their way.
    pub(crate) outbox: Outbox,
    /// The token that is looked at.
    pub(crate) inspection: Option<Inspection>,
    /// The panel that is open.
    pub(crate) panel: Option<Panel>,
    /// What went wrong last.
    pub(crate) problem: Option<Problem>,
    /// The last id of a completion or question.
    next_id: u64,
}

impl State {
    /// The language of the page.
    pub fn locale(&self) -> Locale {
        self.memory.locale.unwrap_or(self.browser_locale)
    }

    /// The name of the page in that language.
    pub fn title(&self) -> &'static str {
        self.words().page.title
    }

    /// The texts of that language.
    pub(crate) fn words(&self) -> &'static Words {
        words::of(self.locale())
    }

    /// Whether the texts at hand are a pair, or the next ones will be.
    pub(crate) fn shown_mode(&self) -> Mode {
        self.round.as_ref().map_or(self.memory.mode, |round| round.mode)
    }

    /// What trying again would do, where it can help.
    pub(crate) fn retry(&self) -> Option<Retry> {
        let retry = self.problem.as_ref()?.retry()?;
        // A file of the visitor's own does not get better: they choose another.
        let own = matches!(self.bundle.source, Source::Own { .. });
        (!own || retry != Retry::Download).then_some(retry)
    }
}

/// What `event` makes of `state`, and what is to be done in the browser.
pub fn update(state: &mut State, event: Event, surroundings: &Surroundings) -> Vec<Effect> {
    let mut turn = Turn::new(surroundings);
    happen(state, event, &mut turn);
    engines::advance(state, &mut turn);
    guests::advance(state, &mut turn);
    asked::advance(state, &mut turn);
    writing::pump(state, &mut turn);
    inspection::pump(state, &mut turn);
    turn.effects
}

/// Hands the event to whom it concerns.
fn happen(state: &mut State, event: Event, turn: &mut Turn<'_>) {
    match event {
        Event::Opened(opening) => page::opened(state, *opening, turn),
        Event::CatalogCame(catalog) => bundle::catalog_came(state, catalog, turn),
        Event::Download(event) => bundle::download(state, event, turn),
        Event::GuestDownload(event) => guests::download(state, &event, turn),
        Event::OwnBundle { name, bytes } => bundle::own(state, name, bytes, turn),
        Event::Engine(kind, reply) => engines::reply(state, kind, *reply, turn),
        Event::EngineDied(kind, detail) => engines::died(state, kind, detail, turn),
        Event::Timer(Timer::Send) => outbox::timer(state, turn),
        Event::Online(true) => page::online(state, turn),
        Event::Online(false) => state.offline = true,
        Event::Stored(result) => page::stored(state, result),
        Event::QueryCame(answer) => asked::came(state, answer, turn),
        Event::Posted(answer) => outbox::posted(state, answer, turn),
        Event::UpdateWaits => state.update_waits = true,
        Event::PolicyChosen(place) => bundle::choose(state, place, turn),
        Event::RetryPressed => page::try_again(state, turn),
        Event::TaskChosen(task) => writing::choose_task(state, task, turn),
        Event::PromptTyped(text) => page::prompt(state, &text),
        Event::PromptPicked(text) => page::pick_prompt(state, &text),
        Event::PenMoved(moved) => drawing::pen_moved(state, moved),
        Event::ColorChosen(place) => state.desk.drawing.take_color(place),
        Event::PictureCame(picture) => drawing::came(state, picture, turn),
        Event::PictureCleared => drawing::clear(state),
        Event::AnotherPrompt => writing::another_prompt(state, turn),
        Event::NewConversation => writing::new_conversation(state, turn),
        Event::QueryWanted => asked::ask(state, turn),
        Event::WritePressed => writing::write(state, turn),
        Event::StopPressed => writing::stop(state, turn),
        Event::ModeChosen(mode) => page::remember(state, turn, |memory| memory.mode = mode),
        Event::SettingTyped(setting, text) => page::setting(state, setting, text),
        Event::ConsentGiven => judging::consent(state, turn),
        Event::ConsentRefused => judging::refuse(state, turn),
        Event::PairJudged(value) => judging::judge(state, Verdict::Pair(value), turn),
        Event::Thumbed(value) => judging::judge(state, Verdict::Thumbs(value), turn),
        Event::Starred(value) => judging::judge(state, Verdict::Stars(value), turn),
        Event::EditOpened => judging::open_edit(state, turn),
        Event::EditTyped(text) => judging::type_edit(state, &text),
        Event::EditSaved => judging::save_edit(state, turn),
        Event::EditClosed => judging::close_edit(state, turn),
        Event::ReasonToggled(reason) => judging::toggle_reason(state, reason, turn),
        Event::RemarkTyped(text) => judging::remark(state, &text, turn),
        Event::ReportToggled(place) => judging::toggle_report(state, place, turn),
        Event::UndoPressed => judging::undo(state, turn),
        Event::SkipPressed => judging::skip(state, turn),
        Event::ColorToggled => page::remember(state, turn, |memory| memory.colored ^= true),
        Event::TokenChosen(sample, token) => inspection::choose(state, sample, token, turn),
        Event::TokenClosed => inspection::close(state, turn),
        Event::Branched(token) => inspection::branch(state, token, turn),
        Event::PanelToggled(panel) => page::toggle_panel(state, panel, turn),
        Event::ExportPressed(shape) => page::export(state, shape, turn),
        Event::SendPressed => outbox::send_now(state, turn),
        Event::RaterReset => page::new_rater(state, turn),
        Event::RatingsDeleted => judging::delete_all(state, turn),
        Event::LocaleChosen(to) => page::remember(state, turn, |memory| memory.locale = Some(to)),
        Event::EngineChosen(choice) => engines::choose(state, choice, turn),
        Event::UpdateAccepted => turn.ask(Effect::Reload),
        Event::ShortcutsToggled => page::toggle_shortcuts(state, turn),
        Event::Key(key) => press(state, &key, turn),
    }
}

/// A key does what the button for the same thing does.
fn press(state: &mut State, key: &str, turn: &mut Turn<'_>) {
    if let Some(event) = keys::event(state, key) {
        happen(state, event, turn);
    }
}
