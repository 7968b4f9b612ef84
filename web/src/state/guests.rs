//! Policies beside the one at hand: those of the collector's query, and those of earlier texts that are
//! looked at again. They are fetched and loaded one by one, and go when others come.

use kudos_schema::{FailureKind, PolicyManifest};

use super::asked::{self, Asking, QueryNote};
use super::bundle::{Bundle, CPU_MEMORY_BYTES, Fetch};
use super::engines::{self, Phase};
use super::inspection::Answer;
use super::round::{Completion, Round};
use super::turn::Turn;
use super::{State, writing};
use crate::event::{DownloadEvent, Effect, EngineKind, Shelf};

/// The guest that was fetched last, or is on its way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guest {
    /// SHA-256 of its bundle.
    sha256: String,
    /// How far its bytes are.
    pub(crate) fetch: Fetch,
}

impl Guest {
    /// Whether its bytes are on their way.
    pub(crate) fn is_under_way(&self) -> bool {
        match self.fetch {
            Fetch::Running { .. } | Fetch::Retrying { .. } | Fetch::Healing => true,
            Fetch::Nothing | Fetch::Here | Fetch::Failed => false,
        }
    }
}

impl State {
    /// How far the bytes of the policy are that is on its way, and how many they will be: a guest's
    /// first, since the policy at hand is here by then.
    pub(crate) fn shown_fetch(&self) -> (Fetch, u64) {
        let catalog = self.catalog.as_ref();
        let guest = catalog.and_then(|catalog| catalog.entry(&self.guest.sha256));
        match guest.filter(|_| self.guest.is_under_way()) {
            Some(entry) => (self.guest.fetch, entry.bytes),
            None => (self.bundle.fetch, self.fetched_entry().map_or(0, |entry| entry.bytes)),
        }
    }

    /// Whether the policy of this hash is at hand or can be fetched.
    pub(super) fn is_known(&self, policy: &str) -> bool {
        let listed = self.catalog.as_ref().is_some_and(|catalog| catalog.entry(policy).is_some());
        listed || policy == self.bundle.sha256
    }

    /// Manifest and length of every policy that is in memory where `policies` are guests.
    fn together<'a>(&'a self, policies: &[String]) -> Vec<(&'a PolicyManifest, u64)> {
        let at_hand = self.bundle.manifest.as_ref().map(|manifest| (manifest, 0));
        let entries = self.catalog.iter().flat_map(|catalog| &catalog.policies);
        let is_guest = |hash: &String| *hash != self.bundle.sha256 && policies.contains(hash);
        let guests = entries.filter(|entry| is_guest(&entry.sha256));
        at_hand.into_iter().chain(guests.map(|entry| (&entry.manifest, entry.bytes))).collect()
    }
}

/// The engine that writes with all of `policies`: the one that writes with the policy at hand, if they
/// fit it together.
pub(super) fn engine_of(state: &State, policies: &[String]) -> EngineKind {
    let together = state.together(policies);
    let needed: u64 = together.iter().map(|(manifest, _)| Bundle::gpu_bytes(manifest)).sum();
    let offered = state.known_adapter().map_or(0, |adapter| adapter.max_binding_bytes);
    // Who wants the GPU for the policy at hand gets it whatever the adapter says, but not for more.
    match state.active() {
        EngineKind::Gpu if together.len() < 2 || needed <= offered => EngineKind::Gpu,
        EngineKind::Gpu | EngineKind::Cpu => EngineKind::Cpu,
    }
}

/// The engine that goes on with a round.
pub(super) fn engine_for(state: &State, round: &Round) -> EngineKind {
    engine_of(state, &policies_of(round))
}

fn policies_of(round: &Round) -> Vec<String> {
    round.completions.iter().map(|completion| completion.policy().to_owned()).collect()
}

/// Whether they are too many bytes for the CPU engine.
pub(super) fn are_too_large(state: &State, policies: &[String]) -> bool {
    let together = state.together(policies);
    let weights: u64 = together.iter().map(|(manifest, _)| Bundle::gpu_bytes(manifest)).sum();
    let bundle = together.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    weights.saturating_add(bundle) > CPU_MEMORY_BYTES
}

/// Whether the engine can write with all of `policies` now.
pub(super) fn are_ready(state: &State, kind: EngineKind, policies: &[String]) -> bool {
    let engine = state.engines.get(kind);
    engine.phase == Phase::Able && policies.iter().all(|policy| engine.holds(policy))
}

/// The policies that something waits for, and the engine that is to write with them.
fn wanted(state: &State) -> Option<(EngineKind, Vec<String>)> {
    if let Asking::Preparing(query, engine) = &state.asking {
        return Some((*engine, asked::policies(query)));
    }
    let round = state.round.as_ref()?;
    if round.completions.iter().any(Completion::is_open) {
        return Some((round.engine, policies_of(round)));
    }
    let looking = state.inspection.as_ref().filter(|it| it.answer == Answer::Waiting)?;
    let policy = round.completions.get(looking.sample)?.policy().to_owned();
    Some((engine_for(state, round), vec![policy]))
}

/// Brings the next policy that something waits for. The CPU engine takes it too where the GPU writes:
/// what the GPU computes is compared with it.
pub(super) fn advance(state: &mut State, turn: &mut Turn<'_>) {
    let Some((kind, policies)) = wanted(state) else { return };
    let kinds: &[EngineKind] = match kind {
        EngineKind::Cpu => &[EngineKind::Cpu],
        EngineKind::Gpu => &[EngineKind::Cpu, EngineKind::Gpu],
    };
    let at_hand = state.bundle.sha256.clone();
    let guests: Vec<String> = policies.into_iter().filter(|policy| *policy != at_hand).collect();
    for policy in &guests {
        for kind in kinds {
            let engine = state.engines.get(*kind);
            match engine.phase {
                // A GPU that was lost: the CPU goes on alone.
                Phase::Off if *kind == EngineKind::Gpu => {}
                Phase::Off | Phase::Starting | Phase::Idle | Phase::Loading | Phase::Probing => {
                    return;
                }
                Phase::Able if engine.holds(policy) => {}
                Phase::Able
                    if state.guest.sha256 == *policy && state.guest.fetch == Fetch::Here =>
                {
                    let keep = std::iter::once(at_hand).chain(guests.clone()).collect();
                    return engines::load_guest(state, *kind, (policy.clone(), keep), turn);
                }
                Phase::Able => return fetch(state, policy, turn),
            }
        }
    }
}

fn fetch(state: &mut State, policy: &str, turn: &mut Turn<'_>) {
    if state.guest.sha256 == policy && state.guest.is_under_way() {
        return;
    }
    let entry = state.catalog.as_ref().and_then(|catalog| catalog.entry(policy));
    // An adapter is laid upon what is here already.
    let at_hand = &state.bundle;
    let below = at_hand.manifest.as_ref().and_then(PolicyManifest::base);
    let entry = entry.filter(|entry| {
        let base = entry.manifest.base();
        base.is_none() || base == below || base == Some(&at_hand.sha256)
    });
    let Some(entry) = entry else { return give_up(state, QueryNote::NotLoaded, turn) };
    turn.ask(Effect::Download {
        url: format!("policies/{}", entry.file),
        sha256: entry.sha256.clone(),
        bytes: entry.bytes,
        shelf: Shelf::Guest,
    });
    state.guest = Guest { sha256: policy.to_owned(), fetch: Fetch::Running { bytes: 0 } };
}

/// The download of a guest went on.
pub(super) fn download(state: &mut State, event: &DownloadEvent, turn: &mut Turn<'_>) {
    // Of one that was put away with the policy that it met.
    if state.guest.sha256.is_empty() {
        return;
    }
    state.guest.fetch = state.guest.fetch.after(event);
    if state.guest.fetch == Fetch::Failed {
        give_up(state, QueryNote::NotLoaded, turn);
    }
}

/// The CPU engine, or the memory before it, could not take a policy; whether that was a guest.
pub(super) fn failed(state: &mut State, cause: FailureKind, turn: &mut Turn<'_>) -> bool {
    let taking = state.engines.cpu.is_taking_guest();
    if !taking && !state.guest.is_under_way() {
        return false;
    }
    state.guest.fetch = Fetch::Failed;
    if taking {
        let refused = [FailureKind::WrongBundle, FailureKind::WrongHash].contains(&cause);
        if refused {
            state.engines.cpu.phase = Phase::Able;
        } else {
            engines::kill(state, EngineKind::Cpu, turn);
            engines::start(state, EngineKind::Cpu, turn);
        }
    }
    let memory = cause == FailureKind::OutOfMemory;
    give_up(state, if memory { QueryNote::TooLarge } else { QueryNote::NotLoaded }, turn);
    true
}

/// What waits for a guest waits no longer.
fn give_up(state: &mut State, note: QueryNote, turn: &mut Turn<'_>) {
    let is_open = |round: &Round| round.completions.iter().any(Completion::is_open);
    if state.is_asking() {
        asked::cancel(state);
        asked::say(state, note, turn);
    } else if state.round.as_ref().is_some_and(is_open) {
        let asked = state.round.as_ref().is_some_and(|round| round.query.is_some());
        writing::give_up(state);
        if asked {
            asked::say(state, note, turn);
        }
    } else if let Some(inspection) = &mut state.inspection {
        inspection.answer = Answer::Failed;
    }
}
