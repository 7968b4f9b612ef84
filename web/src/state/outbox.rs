//! The outbox: ratings on their way to the collector, where the catalog names one.
//!
//! A rating keeps its id, so sending it twice is sending it once; what is not known to have arrived is
//! sent again.

use kudos_schema::Rating;

use super::State;
use super::record::outgoing;
use super::turn::Turn;
use crate::event::{Effect, PostError, Timer};

/// Ratings sent at once.
const BATCH: usize = 10;
/// How long a rating can be changed before it is sent.
const GRACE_MS: u32 = 10_000;
/// The first pause after a failure; each further one is twice as long.
const FIRST_PAUSE_MS: u32 = 5_000;
/// The longest pause.
const LONGEST_PAUSE_MS: u32 = 3_600_000;

/// What is on its way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox {
    /// Ids of the ratings being posted.
    pub(crate) in_flight: Vec<String>,
    /// Ids that the collector refused, with its reason.
    pub(crate) refused: Vec<(String, String)>,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// When to send next, in milliseconds since 1970.
    due_ms: Option<f64>,
}

impl State {
    /// Where ratings are posted.
    pub(crate) fn collector(&self) -> Option<&str> {
        self.catalog.as_ref()?.collector.as_deref()
    }

    /// Ratings that are not sent.
    pub(crate) fn n_unsent(&self) -> usize {
        self.ratings.iter().filter(|stored| !stored.sent).count()
    }

    /// Whether a rating is to be sent without being asked for.
    fn has_waiting(&self) -> bool {
        self.waiting().next().is_some()
    }

    fn waiting(&self) -> impl Iterator<Item = &Rating> {
        let refused = |id: &str| self.outbox.refused.iter().any(|(other, _)| other == id);
        let waits = self.ratings.iter().filter(|stored| !stored.sent);
        waits.map(|stored| &stored.rating).filter(move |rating| !refused(&rating.id))
    }
}

/// A rating was made or changed: it is sent a moment later, also if it was refused before.
pub(super) fn changed(state: &mut State, id: &str, turn: &mut Turn<'_>) {
    state.outbox.refused.retain(|(other, _)| other != id);
    // While the collector does not answer, its pause goes on.
    if state.outbox.failures == 0 {
        send_after(state, GRACE_MS, turn);
    }
}

/// A rating is no more.
pub(super) fn forget(state: &mut State, id: &str) {
    state.outbox.refused.retain(|(other, _)| other != id);
}

/// No rating is left.
pub(super) fn clear(state: &mut State) {
    state.outbox = Outbox::default();
}

/// Sends what was left over, for instance from an earlier visit.
pub(super) fn resume(state: &mut State, turn: &mut Turn<'_>) {
    if state.has_waiting() {
        send_after(state, GRACE_MS, turn);
    }
}

fn send_after(state: &mut State, milliseconds: u32, turn: &mut Turn<'_>) {
    if state.collector().is_some() {
        state.outbox.due_ms = Some(turn.around.now_ms + f64::from(milliseconds));
        turn.ask(Effect::After(milliseconds, Timer::Send));
    }
}

/// A timer ran out; a later one may have taken its place.
pub(super) fn timer(state: &mut State, turn: &mut Turn<'_>) {
    // Timers are exact to a few milliseconds only.
    let is_due = state.outbox.due_ms.is_some_and(|due| turn.around.now_ms >= due - 50.0);
    if is_due {
        post(state, turn);
    }
}

/// The visitor wants everything to be sent now, refused ratings too.
pub(super) fn send_now(state: &mut State, turn: &mut Turn<'_>) {
    state.outbox.refused.clear();
    post(state, turn);
}

/// The browser is online again.
pub(super) fn online(state: &mut State, turn: &mut Turn<'_>) {
    state.outbox.failures = 0;
    resume(state, turn);
}

fn post(state: &mut State, turn: &mut Turn<'_>) {
    if !state.outbox.in_flight.is_empty() || state.offline {
        return;
    }
    let Some(url) = state.collector().map(str::to_owned) else { return };
    let ratings: Vec<Rating> = state.waiting().take(BATCH).map(outgoing).collect();
    if ratings.is_empty() {
        return;
    }
    state.outbox.due_ms = None;
    state.outbox.in_flight = ratings.iter().map(|rating| rating.id.clone()).collect();
    turn.ask(Effect::Post { url, ratings });
}

/// An answer of the collector, or none.
pub(super) fn posted(
    state: &mut State,
    answer: Result<Vec<String>, PostError>,
    turn: &mut Turn<'_>,
) {
    let in_flight = std::mem::take(&mut state.outbox.in_flight);
    let went_on = match answer {
        Ok(ids) => mark_sent(state, &ids, turn),
        Err(PostError::Later) => false,
        Err(PostError::Refused(refused)) => {
            let known = refused.into_iter().filter(|(id, _)| in_flight.contains(id));
            let before = state.outbox.refused.len();
            state.outbox.refused.extend(known);
            state.outbox.refused.len() > before
        }
    };
    if went_on {
        state.outbox.failures = 0;
        if state.has_waiting() {
            send_after(state, 0, turn);
        }
    } else {
        // Also an answer that names none of the ratings: without a pause it would be asked for ever.
        let pause = pause(state.outbox.failures, turn);
        state.outbox.failures = state.outbox.failures.saturating_add(1);
        send_after(state, pause, turn);
    }
}

/// Marks ratings as sent; whether there was one that was not.
fn mark_sent(state: &mut State, ids: &[String], turn: &mut Turn<'_>) -> bool {
    let mut marked = false;
    for stored in &mut state.ratings {
        if !stored.sent && ids.contains(&stored.rating.id) {
            stored.sent = true;
            marked = true;
            turn.ask(Effect::KeepRating(Box::new(stored.clone())));
        }
    }
    state
        .history
        .retain(|round| !round.judged.as_ref().is_some_and(|judged| ids.contains(&judged.id)));
    marked
}

/// The pause after so many failures before, up to a quarter longer by chance, so that the visitors of a
/// collector that was down do not come back all at once.
fn pause(failures: u32, turn: &mut Turn<'_>) -> u32 {
    let doubled = FIRST_PAUSE_MS.saturating_mul(2_u32.saturating_pow(failures));
    let pause = doubled.min(LONGEST_PAUSE_MS);
    pause + turn.below(u64::from(pause / 4)) as u32
}
