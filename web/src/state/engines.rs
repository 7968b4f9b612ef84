//! The two engines: starting, loading, comparing, choosing, and going on after one is lost.

use kudos_schema::{AdapterInfo, Failure, FailureKind, Loaded, PolicyManifest, Reply, Request};

use super::agreement::Held;
use super::bundle::{Bundle, Fetch, Source};
use super::problem::{GpuNote, Problem};
use super::turn::Turn;
use super::{State, agreement, guests, inspection, writing};
use crate::event::{Effect, EngineChoice, EngineKind};

/// From how many parameters on the GPU engine is fetched without being asked for: below, launching
/// kernels takes longer than the CPU takes for the whole token.
pub(crate) const GPU_GAINS_FROM: u64 = 5_000_000;

/// Both engines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Engines {
    /// `flex`.
    pub(crate) cpu: Engine,
    /// WebGPU.
    pub(crate) gpu: Engine,
    /// Why the GPU is not used, where it failed.
    pub(crate) gpu_note: Option<GpuNote>,
    /// Whether the CPU engine was started again since it last wrote something.
    restart: Restart,
}

/// One engine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Engine {
    /// How far it is.
    pub(crate) phase: Phase,
    /// The device in words.
    pub(crate) backend: String,
    /// The graphics adapter.
    pub(crate) adapter: Option<AdapterInfo>,
    /// The policies that it has, the one at hand first.
    pub(super) held: Vec<Held>,
    /// Speed of the self-test with the policy at hand.
    pub(crate) tokens_per_second: f64,
}

impl Engine {
    /// Whether it has the policy of this hash.
    pub(crate) fn holds(&self, policy: &str) -> bool {
        self.held.iter().any(|held| held.sha256 == policy)
    }

    /// Whether it takes or tests a policy beside the one at hand.
    pub(crate) fn is_taking_guest(&self) -> bool {
        match self.phase {
            Phase::Loading => !self.held.is_empty(),
            Phase::Probing => self.held.len() > 1,
            Phase::Off | Phase::Starting | Phase::Idle | Phase::Able => false,
        }
    }
}

/// How far an engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Phase {
    /// It does not run.
    #[default]
    Off,
    /// Its file is being fetched.
    Starting,
    /// It runs and has no policy.
    Idle,
    /// It takes the policy.
    Loading,
    /// It tests itself.
    Probing,
    /// It can write.
    Able,
}

/// Whether a dead CPU engine is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Restart {
    /// It is.
    #[default]
    Allowed,
    /// It was already, in vain.
    Used,
}

impl Engines {
    /// One of them.
    pub(crate) fn get(&self, kind: EngineKind) -> &Engine {
        match kind {
            EngineKind::Cpu => &self.cpu,
            EngineKind::Gpu => &self.gpu,
        }
    }

    fn get_mut(&mut self, kind: EngineKind) -> &mut Engine {
        match kind {
            EngineKind::Cpu => &mut self.cpu,
            EngineKind::Gpu => &mut self.gpu,
        }
    }
}

impl State {
    /// The engine that writes the next completion.
    pub(crate) fn active(&self) -> EngineKind {
        let Engines { cpu, gpu, .. } = &self.engines;
        let gpu_can = gpu.phase == Phase::Able && cpu.phase == Phase::Able;
        let gpu_wanted = match self.memory.engine {
            EngineChoice::Cpu => false,
            EngineChoice::Gpu => true,
            EngineChoice::Measured => gpu.tokens_per_second > cpu.tokens_per_second,
        };
        if gpu_can && gpu_wanted { EngineKind::Gpu } else { EngineKind::Cpu }
    }

    /// Whether something can be written now.
    pub(crate) fn is_able(&self) -> bool {
        self.engines.get(self.active()).phase == Phase::Able
    }

    /// What the policy would take of the GPU and what the adapter offers, in bytes, where that is less.
    ///
    /// WebGPU tells no free memory; the longest buffer that an adapter binds is the only measure of its
    /// size, and a policy whose weights fit into one buffer also fits tensor by tensor.
    pub(crate) fn gpu_shortage(&self) -> Option<(u64, u64)> {
        let needed = Bundle::gpu_bytes(self.bundle.manifest.as_ref()?);
        let adapter = self.known_adapter()?;
        (needed > adapter.max_binding_bytes).then_some((needed, adapter.max_binding_bytes))
    }

    /// The adapter as far as it is known: its engine knows more than the page.
    pub(crate) fn known_adapter(&self) -> Option<&AdapterInfo> {
        self.engines.gpu.adapter.as_ref().or(self.adapter.as_ref())
    }

    /// Whether the GPU engine should run. Who asks for the GPU gets it even if the adapter seems too
    /// small, or was not known in time.
    fn wants_gpu(&self) -> bool {
        let Some(manifest) = &self.bundle.manifest else { return false };
        let asked = match self.memory.engine {
            EngineChoice::Cpu => false,
            EngineChoice::Gpu => true,
            EngineChoice::Measured => {
                let fits = self.known_adapter().is_some() && self.gpu_shortage().is_none();
                manifest.parameters >= GPU_GAINS_FROM && fits
            }
        };
        asked && self.has_webgpu && self.engines.gpu_note.is_none()
    }
}

/// Starts the worker of an engine.
pub(super) fn start(state: &mut State, kind: EngineKind, turn: &mut Turn<'_>) {
    *state.engines.get_mut(kind) = Engine { phase: Phase::Starting, ..Engine::default() };
    turn.ask(Effect::StartEngine(kind));
}

/// Stops the worker of an engine; what it was writing waits for the other one.
pub(super) fn kill(state: &mut State, kind: EngineKind, turn: &mut Turn<'_>) {
    if state.engines.get(kind).phase != Phase::Off {
        turn.ask(Effect::KillEngine(kind));
    }
    gone(state, kind);
}

/// The worker of an engine is no more.
fn gone(state: &mut State, kind: EngineKind) {
    *state.engines.get_mut(kind) = Engine::default();
    writing::recover(state, kind);
    inspection::ask_again(state, kind);
}

/// The visitor wants this engine.
pub(super) fn choose(state: &mut State, choice: EngineChoice, turn: &mut Turn<'_>) {
    state.memory.engine = choice;
    turn.ask(Effect::Remember(state.memory.clone()));
    match choice {
        EngineChoice::Cpu => kill(state, EngineKind::Gpu, turn),
        EngineChoice::Gpu | EngineChoice::Measured => match state.engines.gpu_note {
            // Weights and adapter are the same: so would be the difference.
            Some(GpuNote::Disagrees { .. }) => {}
            Some(
                GpuNote::NoWebgpu
                | GpuNote::NoAdapter
                | GpuNote::Lost
                | GpuNote::OutOfMemory
                | GpuNote::Failed { .. },
            )
            | None => {
                let note = choice == EngineChoice::Gpu && !state.has_webgpu;
                state.engines.gpu_note = note.then_some(GpuNote::NoWebgpu);
            }
        },
    }
}

/// Does what can be done next: starts and loads engines.
pub(super) fn advance(state: &mut State, turn: &mut Turn<'_>) {
    if state.bundle.fetch != Fetch::Here {
        return;
    }
    if state.engines.cpu.phase == Phase::Idle {
        load(state, EngineKind::Cpu, turn);
    }
    // The CPU's self-test is over by then, so the two do not disturb each other's measurement.
    if state.engines.cpu.phase == Phase::Able && state.wants_gpu() {
        match state.engines.gpu.phase {
            Phase::Off => start(state, EngineKind::Gpu, turn),
            Phase::Idle => load(state, EngineKind::Gpu, turn),
            Phase::Starting | Phase::Loading | Phase::Probing | Phase::Able => {}
        }
    }
}

fn load(state: &mut State, kind: EngineKind, turn: &mut Turn<'_>) {
    let sha256 = match kind {
        EngineKind::Cpu => state.entry().map(|entry| entry.sha256.clone()),
        // The CPU has it already, so that its hash is known even for a file of the visitor's own.
        EngineKind::Gpu => Some(state.bundle.sha256.clone()),
    };
    let base = state.bundle.manifest.as_ref().and_then(PolicyManifest::base).map(str::to_owned);
    state.engines.get_mut(kind).phase = Phase::Loading;
    turn.ask(Effect::Ask(kind, Request::Load { sha256, keep: Vec::new(), base }));
}

/// Lets an engine take a policy beside those that it keeps.
pub(super) fn load_guest(
    state: &mut State,
    kind: EngineKind,
    (policy, keep): (String, Vec<String>),
    turn: &mut Turn<'_>,
) {
    let entry = state.catalog.as_ref().and_then(|catalog| catalog.entry(&policy));
    let base = entry.and_then(|entry| entry.manifest.base()).map(str::to_owned);
    let engine = state.engines.get_mut(kind);
    engine.phase = Phase::Loading;
    engine.held.retain(|held| keep.contains(&held.sha256));
    turn.ask(Effect::Ask(kind, Request::Load { sha256: Some(policy), keep, base }));
}

/// An engine said something.
pub(super) fn reply(state: &mut State, kind: EngineKind, reply: Reply, turn: &mut Turn<'_>) {
    match reply {
        Reply::Ready { backend, adapter } => {
            let engine = state.engines.get_mut(kind);
            if engine.phase == Phase::Starting {
                *engine = Engine { phase: Phase::Idle, backend, adapter, ..Engine::default() };
            }
        }
        Reply::Loaded(loaded) => has_loaded(state, kind, loaded, turn),
        Reply::Probed { logprobs, tokens_per_second } => {
            let engine = state.engines.get_mut(kind);
            if engine.phase == Phase::Probing {
                engine.phase = Phase::Able;
                if let [at_hand] = engine.held.as_mut_slice() {
                    at_hand.logprobs = logprobs;
                    engine.tokens_per_second = tokens_per_second;
                } else if let Some(guest) = engine.held.last_mut() {
                    guest.logprobs = logprobs;
                }
                agreement::compare(state, turn);
            }
        }
        Reply::Began { id, prompt_ids } => writing::began(state, id, prompt_ids, turn),
        Reply::Wrote { id, tokens } => writing::wrote(state, id, tokens),
        Reply::Ended { id, reason, rest, seconds, reads } => {
            state.engines.restart = Restart::Allowed;
            let end = writing::End { id, reason, rest, seconds, reads };
            writing::ended(state, end, turn);
        }
        Reply::Alternatives { id, list } => inspection::answered(state, id, list),
        Reply::Failed(failure) => failed(state, kind, failure, turn),
    }
}

fn has_loaded(state: &mut State, kind: EngineKind, loaded: Loaded, turn: &mut Turn<'_>) {
    if state.engines.get(kind).phase != Phase::Loading {
        return;
    }
    let is_first = state.engines.get(kind).held.is_empty();
    let held = Held { sha256: loaded.sha256.clone(), logprobs: Vec::new() };
    state.engines.get_mut(kind).held.push(held);
    if kind == EngineKind::Cpu && is_first {
        if matches!(state.bundle.source, Source::Own { .. }) && state.bundle.manifest.is_none() {
            state.desk.take_policy(&loaded.manifest);
        }
        state.bundle.sha256 = loaded.sha256;
        state.bundle.manifest = Some(loaded.manifest);
        state.problem = None;
    }
    state.engines.get_mut(kind).phase = Phase::Probing;
    turn.ask(Effect::Ask(kind, Request::Probe));
}

/// An engine could not do something.
fn failed(state: &mut State, kind: EngineKind, failure: Failure, turn: &mut Turn<'_>) {
    let Failure { id, cause, detail } = failure;
    if let Some(id) = id {
        if inspection::failed(state, id) {
            return;
        }
        // The GPU is given up for anything that the CPU may do better; a prompt is as long for both.
        let hopeless = kind == EngineKind::Cpu || cause == FailureKind::PromptTooLong;
        if hopeless && cause != FailureKind::DeviceLost {
            writing::failed(state, id, Problem::Writing { cause, detail }, turn);
            return;
        }
    } else if kind == EngineKind::Cpu && guests::failed(state, cause, turn) {
        return;
    }
    match kind {
        EngineKind::Gpu => lose_gpu(state, GpuNote::of(cause, detail), turn),
        EngineKind::Cpu => {
            kill(state, EngineKind::Cpu, turn);
            match cause {
                FailureKind::WrongBundle | FailureKind::WrongHash => {
                    state.bundle.fetch = Fetch::Failed;
                    start(state, EngineKind::Cpu, turn);
                }
                FailureKind::NoAdapter
                | FailureKind::PromptTooLong
                | FailureKind::OutOfMemory
                | FailureKind::DeviceLost
                | FailureKind::Defect => writing::give_up(state),
            }
            state.problem = Some(Problem::Engine { cause, detail });
        }
    }
}

/// An engine's file did not load, or its worker died.
pub(super) fn died(state: &mut State, kind: EngineKind, detail: String, turn: &mut Turn<'_>) {
    match kind {
        EngineKind::Gpu => lose_gpu(state, GpuNote::Failed { detail }, turn),
        EngineKind::Cpu if state.engines.cpu.is_taking_guest() => {
            guests::failed(state, FailureKind::Defect, turn);
        }
        EngineKind::Cpu => {
            kill(state, EngineKind::Cpu, turn);
            match state.engines.restart {
                Restart::Allowed => {
                    state.engines.restart = Restart::Used;
                    start(state, EngineKind::Cpu, turn);
                }
                Restart::Used => {
                    writing::give_up(state);
                    state.problem = Some(Problem::EngineDied { detail });
                }
            }
        }
    }
}

/// Goes on without the GPU.
fn lose_gpu(state: &mut State, note: GpuNote, turn: &mut Turn<'_>) {
    if state.engines.gpu.phase == Phase::Off {
        return;
    }
    let was_active = state.active() == EngineKind::Gpu;
    kill(state, EngineKind::Gpu, turn);
    if was_active {
        turn.ask(Effect::Announce(state.words().status.gpu_lost.to_owned()));
    }
    state.engines.gpu_note = Some(note);
}

/// Starts the CPU engine after it was given up.
pub(super) fn try_again(state: &mut State, turn: &mut Turn<'_>) {
    state.engines.restart = Restart::Allowed;
    kill(state, EngineKind::Cpu, turn);
    start(state, EngineKind::Cpu, turn);
}
