//! Writing: asking for completions, taking their tokens in, stopping, and going on after an engine is
//! lost.

use kudos_schema::{Arm, EndReason, PolicyId, Request, WriteRequest, Written};

use super::asked::{self, QueryNote};
use super::desk::{Form, form, prompts, shortened};
use super::engines::Phase;
use super::problem::Problem;
use super::round::{Completion, Fixed, Round, Stage};
use super::settings::SEEDS;
use super::turn::Turn;
use super::{State, guests};
use crate::event::{Effect, EngineKind, Mode};

/// The longest name in a rating, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// How a completion ended.
#[derive(Debug)]
pub(super) struct End {
    /// Which.
    pub(super) id: u64,
    /// Why.
    pub(super) reason: EndReason,
    /// Text that only the end completed.
    pub(super) rest: String,
    /// Seconds from the first token on.
    pub(super) seconds: f64,
    /// Times the device was read.
    pub(super) reads: u64,
}

/// How fast the last completion was drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Speed {
    /// What drew it.
    pub(crate) engine: EngineKind,
    /// Tokens a second.
    pub(crate) tokens_per_second: f64,
    /// Times the device was read for each token.
    pub(crate) reads_per_token: f64,
}

/// Begins a round with what stands on the desk.
pub(super) fn write(state: &mut State, turn: &mut Turn<'_>) {
    if state.is_busy() || !state.is_able() {
        return;
    }
    if state.desk.prompt.trim().is_empty() {
        state.problem = Some(Problem::EmptyPrompt);
        turn.ask(Effect::Focus("prompt"));
        return;
    }
    if state.lacks_picture() {
        state.problem = Some(Problem::NoPicture);
        turn.ask(Effect::Focus("picture-file"));
        return;
    }
    let (sampling, seed) = match (state.desk.settings.sampling(), state.desk.settings.seed()) {
        (Ok(sampling), Ok(seed)) => (sampling, seed),
        (Err(setting), _) | (_, Err(setting)) => {
            state.problem = Some(Problem::Setting(setting));
            return;
        }
    };
    state.problem = None;
    state.inspection = None;
    state.query_note = None;
    settle(state);
    let seed = seed.unwrap_or_else(|| turn.below(SEEDS));
    let arm = Arm { policy: policy(state), sampling };
    let (completions, order) = places(state.memory.mode, seed, &arm, turn);
    let mut round = Round::new(state.desk.task.clone(), completions, state.active());
    (round.messages, round.text) = state.desk.asked();
    round.picture = state.picture();
    round.typed = state.desk.prompt.clone();
    round.order = order;
    state.round = Some(round);
    if form(&state.desk.task) == Form::Conversation {
        state.desk.prompt.clear();
    }
}

/// The policy at hand, as a rating names it.
fn policy(state: &State) -> PolicyId {
    let name = state.bundle.manifest.as_ref().map(|manifest| manifest.name.trim());
    let name = name.filter(|name| !name.is_empty()).unwrap_or("unnamed");
    let sha256 = state.bundle.sha256.clone();
    PolicyId { name: shortened(name, MAX_NAME_BYTES), sha256, adapter: None }
}

/// Empty completions in the order shown, and their places in the order of writing. Which seed stands on
/// the left is a coin of its own.
fn places(mode: Mode, seed: u64, arm: &Arm, turn: &mut Turn<'_>) -> (Vec<Completion>, Vec<usize>) {
    let of_seed = |seed| Completion::new(arm.clone(), seed);
    match mode {
        Mode::Single => (vec![of_seed(seed)], vec![0]),
        Mode::Pair => match turn.below(2) {
            0 => (vec![of_seed(seed), of_seed(seed + 1)], vec![0, 1]),
            _ => (vec![of_seed(seed + 1), of_seed(seed)], vec![1, 0]),
        },
    }
}

/// Writes the round at hand anew, after its engine failed.
pub(super) fn write_again(state: &mut State, turn: &mut Turn<'_>) {
    if let Some(round) = state.round.take_if(|round| !round.is_ratable()) {
        put_back(state, round);
    }
    write(state, turn);
}

/// Puts the round away; in a dialogue, its reply becomes a turn.
pub(super) fn settle(state: &mut State) {
    let Some(round) = state.round.take() else { return };
    let goes_on = round.query.is_none() && round.task == state.desk.task;
    if goes_on && form(&round.task) == Form::Conversation {
        state.desk.conversation.extend(round.turns().into_iter().flatten());
    }
}

/// Asks the engine for the next completion, if it is free.
pub(super) fn pump(state: &mut State, turn: &mut Turn<'_>) {
    if state.stopping.is_some() {
        return;
    }
    let Some(round) = &mut state.round else { return };
    if round.completions.iter().any(|completion| completion.stage == Stage::Writing) {
        return;
    }
    let waits = |place: &&usize| round.completions[**place].stage == Stage::Waiting;
    let Some(place) = round.order.iter().find(waits).copied() else { return };
    // The GPU may have been lost, or put away by the visitor, since the round began.
    if state.engines.get(round.engine).phase == Phase::Off {
        round.engine = EngineKind::Cpu;
    }
    let engine = state.engines.get(round.engine);
    if engine.phase != Phase::Able || !engine.holds(round.completions[place].policy()) {
        return;
    }
    let backend = engine.backend.clone();
    let drawn = round.completions[place].tokens.len();
    let mut sampling = round.completions[place].arm.sampling.clone();
    if drawn >= sampling.max_completion_length {
        round.completions[place].stage = Stage::Ended(EndReason::Length);
        note_shown(state, turn);
        return;
    }
    sampling.max_completion_length -= drawn;
    let seed = match drawn {
        0 => round.completions[place].seed,
        // A request counts its coins from 0: the same seed would use the first coins again.
        _ => turn.below(SEEDS),
    };
    let completion = &mut round.completions[place];
    state.next_id += 1;
    completion.id = state.next_id;
    completion.stage = Stage::Writing;
    if !completion.backends.contains(&backend) {
        completion.backends.push(backend);
    }
    let fixed = completion.fixed.iter().map(|fixed| fixed.id);
    let request = WriteRequest {
        id: completion.id,
        policy: completion.policy().to_owned(),
        messages: round.messages.clone(),
        text: round.text.clone(),
        picture: round.picture.clone(),
        begin: fixed.chain(completion.tokens.iter().map(|token| token.id)).collect(),
        sampling,
        seed,
    };
    turn.ask(Effect::Ask(round.engine, Request::Write(request)));
}

/// An engine began to write.
pub(super) fn began(state: &mut State, id: u64, prompt_ids: Vec<u32>, turn: &mut Turn<'_>) {
    let Some(round) = &mut state.round else { return };
    // After a lost device the prompt that is reported holds tokens that were drawn: the first one counts.
    let Some(completion) = round.written_by(id).filter(|it| it.tokens.is_empty()) else { return };
    completion.prompt_ids.clone_from(&prompt_ids);
    // Policies that meet have read the same, or what they wrote cannot be compared.
    let reads_other =
        |other: &Completion| !other.prompt_ids.is_empty() && other.prompt_ids != prompt_ids;
    if round.completions.iter().any(reads_other) {
        discard(state, turn);
        asked::say(state, QueryNote::OtherTokens, turn);
    }
}

/// Tokens were written.
pub(super) fn wrote(state: &mut State, id: u64, tokens: Vec<Written>) {
    if let Some(completion) = state.round.as_mut().and_then(|round| round.written_by(id)) {
        completion.tokens.extend(tokens);
    }
}

/// A completion ended.
pub(super) fn ended(state: &mut State, end: End, turn: &mut Turn<'_>) {
    if has_stopped(state, end.id) {
        return;
    }
    let Some(round) = &mut state.round else { return };
    let meet = round.policies().is_some_and(|(_, rival)| rival.is_some());
    let engine = round.engine;
    let Some(completion) = round.written_by(end.id) else { return };
    completion.stage = Stage::Ended(end.reason);
    completion.rest = end.rest;
    completion.seconds += end.seconds;
    completion.reads += end.reads;
    let tokens = completion.tokens.len() as f64;
    // How fast each of two policies wrote could tell which is which.
    if !meet && tokens > 0.0 && completion.seconds > 0.0 {
        state.speed = Some(Speed {
            engine,
            tokens_per_second: tokens / completion.seconds,
            reads_per_token: completion.reads as f64 / tokens,
        });
    }
    note_shown(state, turn);
}

/// Notes the moment when all texts stood there.
pub(super) fn note_shown(state: &mut State, turn: &mut Turn<'_>) {
    let Some(round) = &mut state.round else { return };
    if !round.is_busy() && round.shown_ms.is_none() {
        round.shown_ms = Some(turn.around.now_ms);
        turn.ask(Effect::Announce(state.words().status.written.to_owned()));
    }
}

/// Stops writing: what is there stays, and what arrives later is ignored.
pub(super) fn stop(state: &mut State, turn: &mut Turn<'_>) {
    asked::cancel(state);
    let Some(round) = state.round.as_mut().filter(|round| round.is_busy()) else { return };
    for completion in &mut round.completions {
        match completion.stage {
            Stage::Writing => {
                turn.ask(Effect::Ask(round.engine, Request::Stop { id: completion.id }));
                state.stopping = Some((round.engine, completion.id));
                completion.stage = Stage::Ended(EndReason::Interrupted);
            }
            Stage::Waiting => completion.stage = Stage::Ended(EndReason::Interrupted),
            Stage::Ended(_) | Stage::Failed => {}
        }
    }
    note_shown(state, turn);
}

/// Whether the completion `id` is the one that was stopped; then its engine is free again.
fn has_stopped(state: &mut State, id: u64) -> bool {
    state.stopping.take_if(|(_, stopped)| *stopped == id).is_some()
}

/// Puts the round away without a word, stopping it where it is written.
pub(super) fn discard(state: &mut State, turn: &mut Turn<'_>) {
    stop(state, turn);
    drop_round(state);
}

/// Puts the round away where its engine is stopped anyway.
pub(super) fn drop_round(state: &mut State) {
    asked::cancel(state);
    state.round = None;
    state.inspection = None;
}

/// The engine that was writing is no more: what it was writing waits, with the tokens that it has.
pub(super) fn recover(state: &mut State, kind: EngineKind) {
    // It answers no stop any more.
    state.stopping.take_if(|(engine, _)| *engine == kind);
    let Some(round) = state.round.as_mut().filter(|round| round.engine == kind) else { return };
    for completion in &mut round.completions {
        if completion.stage == Stage::Writing {
            completion.stage = Stage::Waiting;
        }
    }
}

/// No engine is left: texts that have begun end here, the others fail.
pub(super) fn give_up(state: &mut State) {
    asked::cancel(state);
    let Some(round) = &mut state.round else { return };
    for completion in &mut round.completions {
        if matches!(completion.stage, Stage::Waiting | Stage::Writing) {
            completion.stage = match completion.tokens.is_empty() {
                true => Stage::Failed,
                false => Stage::Ended(EndReason::Interrupted),
            };
        }
    }
    take_back(state);
}

/// A completion could not be written: so cannot the others of the round.
pub(super) fn failed(state: &mut State, id: u64, problem: Problem, turn: &mut Turn<'_>) {
    if has_stopped(state, id) {
        return;
    }
    let Some(round) = &mut state.round else { return };
    if round.written_by(id).is_none() {
        return;
    }
    if round.query.is_some() {
        drop_round(state);
        asked::say(state, QueryNote::NotWritten, turn);
    } else {
        give_up(state);
        state.problem = Some(problem);
    }
}

/// Puts a round away of which nothing was written, and its prompt back into the field.
fn take_back(state: &mut State) {
    let nothing =
        |round: &Round| round.completions.iter().all(|completion| completion.tokens.is_empty());
    if let Some(round) = state.round.take_if(|round| nothing(round)) {
        put_back(state, round);
    }
}

/// Puts what was typed for a round back into the field, if nothing stands there.
fn put_back(state: &mut State, round: Round) {
    if state.desk.prompt.trim().is_empty() && state.desk.task == round.task {
        state.desk.prompt = round.typed;
    }
}

/// Takes up a task.
pub(super) fn choose_task(state: &mut State, task: String, turn: &mut Turn<'_>) {
    let Some(manifest) = state.bundle.manifest.as_ref() else { return };
    if task == state.desk.task || !manifest.tasks.contains(&task) {
        return;
    }
    state.desk.prompt = prompts(manifest, &task).first().cloned().unwrap_or_default();
    state.desk.task = task;
    state.desk.conversation.clear();
    state.problem = None;
    discard(state, turn);
}

/// Puts another of the policy's prompts into the field.
pub(super) fn another_prompt(state: &mut State, turn: &mut Turn<'_>) {
    let Some(manifest) = state.bundle.manifest.as_ref() else { return };
    let others: Vec<&String> = prompts(manifest, &state.desk.task)
        .iter()
        .filter(|prompt| **prompt != state.desk.prompt)
        .collect();
    if let Some(prompt) = others.get(turn.below(others.len() as u64) as usize) {
        state.desk.prompt = (*prompt).clone();
        state.problem = None;
    }
}

/// Begins the conversation anew.
pub(super) fn new_conversation(state: &mut State, turn: &mut Turn<'_>) {
    discard(state, turn);
    state.desk.conversation.clear();
    state.problem = None;
    turn.ask(Effect::Focus("prompt"));
}

/// Writes anew from a fixed beginning. A pair has one prompt, so both of its texts go on from there; what
/// comes of it is another rating.
pub(super) fn branch(state: &mut State, fixed: &[Fixed]) {
    let engine = state.round.as_ref().map(|round| guests::engine_for(state, round));
    let (Some(round), Some(engine)) = (&mut state.round, engine) else { return };
    for completion in &mut round.completions {
        let anew = Completion::new(completion.arm.clone(), completion.seed);
        *completion = Completion { fixed: fixed.to_vec(), ..anew };
    }
    round.engine = engine;
    round.shown_ms = None;
    round.reasons.clear();
    round.remark.clear();
    round.reported.clear();
    round.edit = None;
    round.judged = None;
}
