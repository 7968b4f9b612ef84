//! Looking at a token: what else could have been drawn, and going on from there.

use kudos_schema::{Alternative, AlternativesRequest, EndReason, Request, Written};

use super::engines::Phase;
use super::round::{Fixed, Round};
use super::turn::Turn;
use super::{State, guests, writing};
use crate::event::{Effect, EngineKind};

/// How many alternatives are shown.
const COUNT: usize = 8;

/// The token that is looked at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Inspection {
    /// Place of its completion.
    pub(crate) sample: usize,
    /// Its place among the drawn tokens.
    pub(crate) token: usize,
    /// The token.
    pub(crate) written: Written,
    /// What is known of the others.
    pub(crate) answer: Answer,
}

/// What is known of the alternatives.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// The engine is not asked yet: it is busy.
    Waiting,
    /// It is asked.
    Asked(EngineKind, u64),
    /// It answered.
    Known(Vec<Alternative>),
    /// It could not.
    Failed,
}

/// The visitor wants to look at a token.
pub(super) fn choose(state: &mut State, sample: usize, token: usize, turn: &mut Turn<'_>) {
    let completion = state.round.as_ref().and_then(|round| round.completions.get(sample));
    let Some(written) = completion.and_then(|completion| completion.tokens.get(token)) else {
        return;
    };
    let written = written.clone();
    state.inspection = Some(Inspection { sample, token, written, answer: Answer::Waiting });
    turn.ask(Effect::Focus("token-panel"));
}

/// The visitor looked enough.
pub(super) fn close(state: &mut State, turn: &mut Turn<'_>) {
    if state.inspection.take().is_some() {
        turn.ask(Effect::Focus("color-toggle"));
    }
}

/// Asks the engine, once it is free.
pub(super) fn pump(state: &mut State, turn: &mut Turn<'_>) {
    let (Some(inspection), Some(round)) = (&state.inspection, &state.round) else { return };
    let kind = guests::engine_for(state, round);
    let engine = state.engines.get(kind);
    let free = engine.phase == Phase::Able && state.stopping.is_none();
    if inspection.answer != Answer::Waiting || !free || round.is_busy() {
        return;
    }
    let Some(completion) = round.completions.get(inspection.sample) else { return };
    if !engine.holds(completion.policy()) {
        return;
    }
    let before = completion.tokens.iter().take(inspection.token).map(|token| token.id);
    let id = state.next_id + 1;
    let request = AlternativesRequest {
        id,
        policy: completion.policy().to_owned(),
        picture: round.picture.clone(),
        token_ids: completion.prompt_ids.iter().copied().chain(before).collect(),
        sampling: completion.arm.sampling.clone(),
        count: COUNT,
    };
    state.next_id = id;
    if let Some(inspection) = &mut state.inspection {
        inspection.answer = Answer::Asked(kind, id);
    }
    turn.ask(Effect::Ask(kind, Request::Alternatives(request)));
}

/// The inspection that this question belongs to.
fn asked(state: &mut State, id: u64) -> Option<&mut Inspection> {
    let is_asked = |inspection: &&mut Inspection| match inspection.answer {
        Answer::Asked(_, asked) => asked == id,
        Answer::Waiting | Answer::Known(_) | Answer::Failed => false,
    };
    state.inspection.as_mut().filter(is_asked)
}

/// The engine answered.
pub(super) fn answered(state: &mut State, id: u64, list: Vec<Alternative>) {
    if let Some(inspection) = asked(state, id) {
        inspection.answer = Answer::Known(list);
    }
}

/// The engine could not answer; whether that was the question.
pub(super) fn failed(state: &mut State, id: u64) -> bool {
    let inspection = asked(state, id);
    let found = inspection.is_some();
    if let Some(inspection) = inspection {
        inspection.answer = Answer::Failed;
    }
    found
}

/// The engine is no more: the question is put to the other.
pub(super) fn ask_again(state: &mut State, kind: EngineKind) {
    if let Some(inspection) = &mut state.inspection {
        match inspection.answer {
            Answer::Asked(engine, _) if engine == kind => inspection.answer = Answer::Waiting,
            Answer::Asked(..) | Answer::Waiting | Answer::Known(_) | Answer::Failed => {}
        }
    }
}

impl State {
    /// Whether the text would end with this token, so that nothing goes on from it.
    pub(crate) fn ends_text(&self, token: u32) -> bool {
        let ends = |round: &Round| {
            round.completions.iter().any(|completion| {
                completion.ended() == Some(EndReason::Stop)
                    && completion.tokens.last().is_some_and(|last| last.id == token)
            })
        };
        self.round.as_ref().is_some_and(ends)
    }
}

/// Goes on with another token in the place of the one that is looked at.
pub(super) fn branch(state: &mut State, token: u32, turn: &mut Turn<'_>) {
    let (Some(inspection), Some(round)) = (&state.inspection, &state.round) else { return };
    let Answer::Known(list) = &inspection.answer else { return };
    let Some(alternative) = list.iter().find(|alternative| alternative.id == token) else { return };
    if round.is_busy() || state.ends_text(token) {
        return;
    }
    let Some(completion) = round.completions.get(inspection.sample) else { return };
    let drawn = completion.tokens.iter().take(inspection.token);
    let drawn = drawn.map(|token| Fixed { id: token.id, text: token.text.clone() });
    let mut fixed: Vec<Fixed> = completion.fixed.iter().cloned().chain(drawn).collect();
    fixed.push(Fixed { id: alternative.id, text: alternative.text.clone() });
    state.inspection = None;
    writing::branch(state, &fixed);
    turn.ask(Effect::Focus("stop"));
}
