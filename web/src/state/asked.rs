//! The collector's query: asking for one, getting its policies ready, showing it.
//!
//! Neither the policies nor the reason are shown before the verdict. A query that cannot be shown is
//! skipped with a sentence: nobody waits for its answer.

use kudos_schema::{AskedQuery, Query};

use super::engines::Phase;
use super::round::{Completion, Round};
use super::settings::SEEDS;
use super::turn::Turn;
use super::{State, guests, writing};
use crate::event::{Effect, EngineKind, QueryError};

/// What a rating of texts that are only shown names as the device.
pub(crate) const SHOWN: &str = "shown";

/// Whether the collector is asked.
#[derive(Debug, Clone, Default)]
pub(crate) enum Asking {
    /// It is not.
    #[default]
    Nothing,
    /// Its answer is on its way.
    Fetching,
    /// The policies of this query are on their way to the engine that will write.
    Preparing(Box<Query>, EngineKind),
}

/// Why nothing of the collector is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryNote {
    /// It asks nothing at present.
    Nothing,
    /// It does not answer.
    Unreachable,
    /// What it asks cannot be shown here.
    NotUnderstood,
    /// Its policies need more memory than there is.
    TooLarge,
    /// One of its policies did not come, or is damaged.
    NotLoaded,
    /// Its policies read the prompt differently.
    OtherTokens,
    /// One of its texts could not be written.
    NotWritten,
}

impl State {
    /// Whether a query is on its way.
    pub(crate) fn is_asking(&self) -> bool {
        match self.asking {
            Asking::Nothing => false,
            Asking::Fetching | Asking::Preparing(..) => true,
        }
    }

    /// Whether something is being written, or is about to be.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_asking() || self.round.as_ref().is_some_and(Round::is_busy)
    }

    /// Whether the collector can be asked now.
    pub(crate) fn can_ask(&self) -> bool {
        self.collector().is_some() && !self.offline && self.is_able() && !self.is_busy()
    }
}

/// The collector shall say what to rate.
pub(super) fn ask(state: &mut State, turn: &mut Turn<'_>) {
    let Some(url) = state.collector().map(str::to_owned).filter(|_| state.can_ask()) else {
        return;
    };
    writing::settle(state);
    state.inspection = None;
    state.problem = None;
    state.query_note = None;
    state.asking = Asking::Fetching;
    let (rater, task) = (state.memory.rater.clone(), state.desk.task.clone());
    turn.ask(Effect::FetchQuery { url, rater, task });
}

/// The collector answered, or did not.
pub(super) fn came(
    state: &mut State,
    answer: Result<Option<Box<Query>>, QueryError>,
    turn: &mut Turn<'_>,
) {
    if !matches!(state.asking, Asking::Fetching) {
        return;
    }
    state.asking = Asking::Nothing;
    let note = match answer {
        Ok(Some(query)) if is_sound(state, &query) => {
            let policies = policies(&query);
            if query.samples.is_empty() && guests::are_too_large(state, &policies) {
                QueryNote::TooLarge
            } else {
                let engine = guests::engine_of(state, &policies);
                state.asking = Asking::Preparing(query, engine);
                return;
            }
        }
        Ok(Some(_)) | Err(QueryError::Unreadable) => QueryNote::NotUnderstood,
        Ok(None) => QueryNote::Nothing,
        Err(QueryError::Unreachable) => QueryNote::Unreachable,
    };
    say(state, note, turn);
}

/// Whether the page can show it: it comes from elsewhere.
fn is_sound(state: &State, query: &Query) -> bool {
    let n = query.arms.len();
    let Query { prompt, arms, samples, .. } = query;
    let sound = prompt.picture.as_ref().is_none_or(|picture| picture.validate().is_ok());
    let usable = arms.iter().all(|arm| arm.sampling.validate().is_ok());
    let there = match samples.as_slice() {
        [] => {
            let known = |policy: &String| state.is_known(policy);
            // A policy is given either of them.
            let one = prompt.messages.is_empty() != prompt.text.is_empty();
            one && arms.iter().all(|arm| arm.policy.adapter.is_none())
                && policies(query).iter().all(known)
        }
        samples => samples.len() == n && !prompt.token_ids.is_empty(),
    };
    (1..=2).contains(&n) && sound && usable && there
}

/// SHA-256 of the policies that write; none where texts are only shown.
pub(super) fn policies(query: &Query) -> Vec<String> {
    let arms = query.arms.iter().filter(|_| query.samples.is_empty());
    arms.map(|arm| arm.policy.sha256.clone()).collect()
}

/// Shows the query as soon as its policies are there.
pub(super) fn advance(state: &mut State, turn: &mut Turn<'_>) {
    let Asking::Preparing(query, engine) = &mut state.asking else { return };
    if state.engines.get(*engine).phase == Phase::Off {
        *engine = EngineKind::Cpu;
    }
    let (policies, engine) = (policies(query), *engine);
    if guests::are_ready(state, engine, &policies)
        && let Asking::Preparing(query, _) = std::mem::take(&mut state.asking)
    {
        begin(state, *query, engine, turn);
    }
}

/// Begins the round of a query. Which arm stands on the left is a coin of the page; the left text is
/// written first, so that both come first equally often.
fn begin(state: &mut State, query: Query, engine: EngineKind, turn: &mut Turn<'_>) {
    let Query { id, reason, task, prompt, arms, samples } = query;
    let seed = turn.below(SEEDS);
    let mut samples = samples.into_iter();
    let write = |(place, arm)| match samples.next() {
        Some(sample) => Completion::shown(arm, sample, prompt.token_ids.clone()),
        None => Completion::new(arm, seed + place),
    };
    let mut completions: Vec<Completion> = (0..).zip(arms).map(write).collect();
    if turn.below(2) == 1 {
        completions.reverse();
    }
    let mut round = Round::new(task, completions, engine);
    (round.messages, round.text) = (prompt.messages, prompt.text);
    round.picture = prompt.picture;
    round.query = Some(AskedQuery { id, reason });
    state.round = Some(round);
    writing::note_shown(state, turn);
}

/// The query under way is not wanted any more.
pub(super) fn cancel(state: &mut State) {
    state.asking = Asking::Nothing;
}

/// Says why nothing is shown.
pub(super) fn say(state: &mut State, note: QueryNote, turn: &mut Turn<'_>) {
    state.query_note = Some(note);
    turn.ask(Effect::Announce(state.words().asked.note(note).to_owned()));
}
