//! Judging: from a verdict to a rating that is kept, and back again.

use kudos_schema::{PairChoice, Verdict};

use super::desk::{Form, form, shortened};
use super::problem::Problem;
use super::record::{CONSENT_VERSION, MAX_EDIT_BYTES, MAX_REMARK_BYTES, rating};
use super::round::{Judged, Round};
use super::turn::Turn;
use super::{State, outbox, writing};
use crate::event::{Effect, Mode, StoredRating};

/// How many rounds can be shown again; each holds its tokens.
const MAX_HISTORY: usize = 200;
/// Reasons that can be picked, by the name that a rating holds.
pub(crate) const REASONS: [&str; 8] =
    ["correct", "clear", "natural", "on-topic", "wrong", "repetitive", "confusing", "harmful"];

/// A verdict that waits for consent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pending {
    /// The verdict.
    verdict: Verdict,
    /// Seconds since all texts were shown.
    seconds: f64,
}

/// What can be done with the verdict of the round at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgeable {
    /// There is nothing to judge yet.
    NotYet,
    /// It can be given or changed.
    Open,
    /// It is sent, or on its way.
    Locked,
}

impl State {
    /// What can be done with the verdict of the round at hand.
    pub(crate) fn judgeable(&self) -> Judgeable {
        let Some(round) = &self.round else { return Judgeable::NotYet };
        match &round.judged {
            _ if !round.is_ratable() => Judgeable::NotYet,
            Some(judged) if self.is_locked(&judged.id) => Judgeable::Locked,
            Some(_) | None => Judgeable::Open,
        }
    }

    /// Whether a rating is sent or on its way.
    fn is_locked(&self, id: &str) -> bool {
        let sent = |stored: &StoredRating| stored.rating.id == id && stored.sent;
        self.outbox.in_flight.iter().any(|other| other == id) || self.ratings.iter().any(sent)
    }

    /// The last rating that can be taken back and whose texts can be shown again.
    fn last_open(&self) -> Option<&str> {
        let ids = self.ratings.iter().rev().map(|stored| stored.rating.id.as_str());
        let mut open = ids.filter(|id| !self.is_locked(id));
        open.find(|id| self.history.iter().any(|round| is_of(round, id)))
    }

    /// Whether there is something to take back.
    pub(crate) fn can_undo(&self) -> bool {
        !self.deleted.is_empty() || self.last_open().is_some()
    }

    /// Number of ratings made since the page was opened.
    pub(crate) fn n_of_session(&self) -> usize {
        let of_session = |stored: &&StoredRating| self.session.contains(&stored.rating.id);
        self.ratings.iter().filter(of_session).count()
    }
}

fn is_of(round: &Round, id: &str) -> bool {
    round.judged.as_ref().is_some_and(|judged| judged.id == id)
}

/// A verdict on the round at hand.
pub(super) fn judge(state: &mut State, verdict: Verdict, turn: &mut Turn<'_>) {
    match state.judgeable() {
        Judgeable::NotYet => return,
        Judgeable::Locked => {
            turn.ask(Effect::Announce(state.words().rating.locked.to_owned()));
            return;
        }
        Judgeable::Open => {}
    }
    let Some(round) = &state.round else { return };
    let fits = match &verdict {
        Verdict::Pair(_) => round.mode == Mode::Pair,
        Verdict::Thumbs(_) | Verdict::Edit(_) => round.mode == Mode::Single,
        Verdict::Stars(value) => round.mode == Mode::Single && (1..=5).contains(value),
        Verdict::Report => !round.reported.is_empty(),
    };
    if !fits {
        return;
    }
    let shown_ms = round.shown_ms.unwrap_or(turn.around.now_ms);
    // A clock that was put back in the meantime is no negative time.
    let seconds = ((turn.around.now_ms - shown_ms) / 1000.0).max(0.0);
    if state.memory.consent != CONSENT_VERSION {
        state.pending = Some(Pending { verdict, seconds });
        turn.ask(Effect::Focus("consent-yes"));
        return;
    }
    complete(state, Pending { verdict, seconds }, turn);
}

/// The visitor agreed: the verdict that waited is completed.
pub(super) fn consent(state: &mut State, turn: &mut Turn<'_>) {
    state.memory.consent = CONSENT_VERSION.to_owned();
    turn.ask(Effect::Remember(state.memory.clone()));
    if let Some(pending) = state.pending.take() {
        let focus = focus_of(&pending.verdict);
        complete(state, pending, turn);
        turn.ask(Effect::Focus(focus));
    }
}

/// The visitor did not agree: the verdict is forgotten.
pub(super) fn refuse(state: &mut State, turn: &mut Turn<'_>) {
    if let Some(pending) = state.pending.take() {
        turn.ask(Effect::Focus(focus_of(&pending.verdict)));
    }
}

/// The element with which a verdict is given.
fn focus_of(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Pair(PairChoice::Left) => "judge-left",
        Verdict::Pair(PairChoice::Right) => "judge-right",
        Verdict::Pair(PairChoice::Tie) => "judge-tie",
        Verdict::Pair(PairChoice::BothBad) => "judge-both-bad",
        Verdict::Thumbs(kudos_schema::Thumb::Up) => "thumb-up",
        Verdict::Thumbs(kudos_schema::Thumb::Down) => "thumb-down",
        Verdict::Stars(value) => {
            ["star-1", "star-2", "star-3", "star-4", "star-5"][usize::from(*value).clamp(1, 5) - 1]
        }
        Verdict::Edit(_) => "edit",
        Verdict::Report => "write",
    }
}

/// Makes the verdict a rating; one of the same round is replaced.
fn complete(state: &mut State, pending: Pending, turn: &mut Turn<'_>) {
    let Some(round) = &mut state.round else { return };
    let before = round.judged.as_ref().map(|judged| judged.id.clone());
    let judged = Judged {
        id: before.unwrap_or_else(|| turn.timed_uuid()),
        created: turn.around.now.clone(),
        verdict: pending.verdict,
        seconds: pending.seconds,
    };
    if !keep(state, judged, turn) {
        return;
    }
    if let Some(round) = &mut state.round {
        round.edit = None;
    }
    turn.ask(Effect::Announce(state.words().rating.kept.to_owned()));
    let reported = |judged: &Judged| judged.verdict == Verdict::Report;
    if state.round.as_ref().and_then(|round| round.judged.as_ref()).is_some_and(reported) {
        writing::settle(state);
        state.inspection = None;
    }
}

/// Keeps the rating of the round at hand, if it is one that anybody would accept.
fn keep(state: &mut State, judged: Judged, turn: &mut Turn<'_>) -> bool {
    let Some(round) = &state.round else { return false };
    let Some(rating) = rating(state, round, &judged) else { return false };
    if let Err(error) = rating.validate() {
        state.problem = Some(Problem::Unratable { detail: error.to_string() });
        return false;
    }
    let id = rating.id.clone();
    let stored = StoredRating { rating, sent: false };
    turn.ask(Effect::KeepRating(Box::new(stored.clone())));
    match state.ratings.iter_mut().find(|other| other.rating.id == id) {
        Some(other) => *other = stored,
        None => state.ratings.push(stored),
    }
    state.session.insert(id.clone());
    state.deleted.clear();
    if let Some(round) = &mut state.round {
        round.judged = Some(judged);
        state.history.retain(|other| !is_of(other, &id));
        state.history.push(round.clone());
        let surplus = state.history.len().saturating_sub(MAX_HISTORY);
        state.history.drain(..surplus);
    }
    outbox::changed(state, &id, turn);
    true
}

/// Keeps the rating again after what stands beside its verdict has changed.
fn keep_again(state: &mut State, turn: &mut Turn<'_>) {
    if let Some(judged) = state.round.as_ref().and_then(|round| round.judged.clone()) {
        keep(state, judged, turn);
    }
}

/// A reason was picked or dropped.
pub(super) fn toggle_reason(state: &mut State, reason: &str, turn: &mut Turn<'_>) {
    if state.judgeable() == Judgeable::Locked {
        return;
    }
    let Some(round) = &mut state.round else { return };
    match round.reasons.iter().position(|other| other == reason) {
        Some(place) => drop(round.reasons.remove(place)),
        None if REASONS.contains(&reason) => round.reasons.push(reason.to_owned()),
        None => {}
    }
    keep_again(state, turn);
}

/// The remark was typed.
pub(super) fn remark(state: &mut State, text: &str, turn: &mut Turn<'_>) {
    if state.judgeable() == Judgeable::Locked {
        return;
    }
    let Some(round) = &mut state.round else { return };
    round.remark = shortened(text, MAX_REMARK_BYTES);
    keep_again(state, turn);
}

/// A text was reported, or no longer.
pub(super) fn toggle_report(state: &mut State, place: usize, turn: &mut Turn<'_>) {
    if state.judgeable() == Judgeable::Locked {
        return;
    }
    let Some(round) = &mut state.round else { return };
    let toggled = |other: &usize| round.reported.contains(other) != (*other == place);
    round.reported = (0..round.completions.len()).filter(toggled).collect();
    keep_again(state, turn);
}

/// Opens the edit of the one text at hand.
pub(super) fn open_edit(state: &mut State, turn: &mut Turn<'_>) {
    if state.judgeable() != Judgeable::Open {
        return;
    }
    let Some(round) = state.round.as_mut().filter(|round| round.mode == Mode::Single) else {
        return;
    };
    let written = round.completions[0].drawn();
    let before = match round.judged.as_ref().map(|judged| &judged.verdict) {
        Some(Verdict::Edit(text)) => text.clone(),
        Some(Verdict::Pair(_) | Verdict::Thumbs(_) | Verdict::Stars(_) | Verdict::Report)
        | None => written,
    };
    round.edit = Some(shortened(&before, MAX_EDIT_BYTES));
    turn.ask(Effect::Focus("edit-text"));
}

/// The edited text so far.
pub(super) fn type_edit(state: &mut State, text: &str) {
    if let Some(edit) = state.round.as_mut().and_then(|round| round.edit.as_mut()) {
        *edit = shortened(text, MAX_EDIT_BYTES);
    }
}

/// The edit is done; an empty one says nothing.
pub(super) fn save_edit(state: &mut State, turn: &mut Turn<'_>) {
    let edit = state.round.as_ref().and_then(|round| round.edit.clone());
    if let Some(text) = edit.filter(|edit| !edit.trim().is_empty()) {
        turn.ask(Effect::Focus("edit"));
        judge(state, Verdict::Edit(text), turn);
    }
}

/// The edit is given up.
pub(super) fn close_edit(state: &mut State, turn: &mut Turn<'_>) {
    if state.round.as_mut().and_then(|round| round.edit.take()).is_some() {
        turn.ask(Effect::Focus("edit"));
    }
}

/// Nothing is said of the texts at hand, unless one was reported.
pub(super) fn skip(state: &mut State, turn: &mut Turn<'_>) {
    writing::stop(state, turn);
    let reported = state.round.as_ref().is_some_and(|round| {
        round.judged.is_none() && !round.reported.is_empty() && round.is_ratable()
    });
    if reported {
        judge(state, Verdict::Report, turn);
        return;
    }
    let asked = state.round.as_ref().is_some_and(|round| round.query.is_some());
    writing::settle(state);
    state.inspection = None;
    turn.ask(Effect::Focus(if asked { "ask" } else { "write" }));
}

/// Takes the last rating back that is not sent, and shows its texts again; brings deleted ratings back.
pub(super) fn undo(state: &mut State, turn: &mut Turn<'_>) {
    if !state.deleted.is_empty() {
        let deleted = std::mem::take(&mut state.deleted);
        let keep = |stored: &StoredRating| Effect::KeepRating(Box::new(stored.clone()));
        turn.effects.extend(deleted.iter().map(keep));
        state.ratings = deleted;
        outbox::resume(state, turn);
        return;
    }
    let Some(id) = state.last_open().map(str::to_owned) else { return };
    let Some(place) = state.history.iter().position(|round| is_of(round, &id)) else { return };
    writing::discard(state, turn);
    let mut round = state.history.remove(place);
    state.ratings.retain(|stored| stored.rating.id != id);
    outbox::forget(state, &id);
    turn.ask(Effect::ForgetRatings(vec![id]));
    round.judged = None;
    round.shown_ms = Some(turn.around.now_ms);
    // A query of the collector is no part of what the visitor was about.
    if round.query.is_none() {
        state.desk.task = round.task.clone();
        state.desk.conversation.clear();
        if form(&round.task) == Form::Conversation {
            let turns = round.messages.len().saturating_sub(1).max(1);
            state.desk.conversation = round.messages[1..turns].to_vec();
        }
    }
    state.round = Some(round);
    turn.ask(Effect::Announce(state.words().rating.undone.to_owned()));
}

/// Deletes every rating of this browser.
pub(super) fn delete_all(state: &mut State, turn: &mut Turn<'_>) {
    let ids = state.ratings.iter().map(|stored| stored.rating.id.clone()).collect();
    turn.ask(Effect::ForgetRatings(ids));
    state.deleted = std::mem::take(&mut state.ratings);
    state.history.clear();
    outbox::clear(state);
    if let Some(round) = &mut state.round {
        round.judged = None;
    }
    turn.ask(Effect::Announce(state.words().ratings.deleted.to_owned()));
}
