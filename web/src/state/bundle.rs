//! The policy: which one, how far its bytes are, and whether it fits.

use kudos_schema::{Catalog, CatalogEntry, PolicyManifest};

use super::engines::{self, Phase};
use super::guests::Guest;
use super::problem::Problem;
use super::turn::Turn;
use super::{State, writing};
use crate::event::{DownloadError, DownloadEvent, Effect, EngineKind, Shelf};

/// What a wasm module can address: 4 GiB.
pub(crate) const CPU_MEMORY_BYTES: u64 = 1 << 32;

/// The policy at hand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bundle {
    /// Where it comes from.
    pub(crate) source: Source,
    /// How far its bytes are.
    pub(crate) fetch: Fetch,
    /// What it says of itself, as soon as that is known.
    pub(crate) manifest: Option<PolicyManifest>,
    /// Its hash; empty until it is known.
    pub(crate) sha256: String,
    /// Which bytes of it are on their way, or come next.
    part: Part,
}

/// What a policy is fetched in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Part {
    /// The policy that an adapter is laid upon.
    Base,
    /// Its own bundle.
    #[default]
    Own,
}

/// Where a bundle comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Source {
    /// None is chosen yet.
    #[default]
    None,
    /// The catalog, at this place.
    Catalog(usize),
    /// The visitor's disk.
    Own {
        /// File name.
        name: String,
    },
}

/// How far the bytes of a bundle are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fetch {
    /// Not asked for.
    #[default]
    Nothing,
    /// Under way.
    Running {
        /// Bytes there.
        bytes: u64,
    },
    /// The connection broke and is tried again.
    Retrying {
        /// Bytes there.
        bytes: u64,
        /// Number of the attempt.
        attempt: u32,
    },
    /// What was kept was damaged and is fetched anew.
    Healing,
    /// There.
    Here,
    /// Given up.
    Failed,
}

impl Bundle {
    /// Bytes of memory that weights, cache and the bundle itself take on the CPU.
    pub(crate) fn cpu_bytes(manifest: &PolicyManifest, bundle_bytes: u64) -> u64 {
        Self::gpu_bytes(manifest).saturating_add(bundle_bytes)
    }

    /// Bytes of memory that weights and cache take on a device, computing in f32.
    pub(crate) fn gpu_bytes(manifest: &PolicyManifest) -> u64 {
        let cache = manifest.cache_bytes_per_token.saturating_mul(manifest.context_length as u64);
        manifest.parameters.saturating_mul(4).saturating_add(cache)
    }
}

impl State {
    /// The entry of the catalog that is at hand.
    pub(crate) fn entry(&self) -> Option<&CatalogEntry> {
        match &self.bundle.source {
            Source::Catalog(place) => self.catalog.as_ref()?.policies.get(*place),
            Source::None | Source::Own { .. } => None,
        }
    }

    /// The entry of what the policy at hand is laid upon, if it is an adapter.
    fn base_entry(&self) -> Option<&CatalogEntry> {
        self.catalog.as_ref()?.entry(self.entry()?.manifest.base()?)
    }

    /// The entry whose bytes are on their way to the policy at hand, or come next.
    pub(crate) fn fetched_entry(&self) -> Option<&CatalogEntry> {
        match self.bundle.part {
            Part::Base => self.base_entry(),
            Part::Own => self.entry(),
        }
    }
}

/// The list of policies came, or did not.
pub(super) fn catalog_came(
    state: &mut State,
    catalog: Result<Catalog, DownloadError>,
    turn: &mut Turn<'_>,
) {
    match catalog {
        Err(error) => state.problem = Some(Problem::Catalog(error)),
        Ok(catalog) => {
            let empty = catalog.policies.is_empty();
            state.catalog = Some(catalog);
            super::outbox::resume(state, turn);
            // A file of the visitor's own, opened in the meantime, stays.
            if state.bundle.source != Source::None {
                return;
            }
            state.problem = empty.then_some(Problem::NoPolicies);
            choose(state, 0, turn);
        }
    }
}

/// Takes the policy at `place` of the catalog.
pub(super) fn choose(state: &mut State, place: usize, turn: &mut Turn<'_>) {
    let entry = state.catalog.as_ref().and_then(|catalog| catalog.policies.get(place));
    let Some(entry) = entry.cloned() else { return };
    put_away(state, turn);
    state.bundle = Bundle {
        source: Source::Catalog(place),
        fetch: Fetch::Nothing,
        manifest: Some(entry.manifest.clone()),
        sha256: String::new(),
        part: Part::Own,
    };
    if state.base_entry().is_some() {
        state.bundle.part = Part::Base;
    }
    state.desk.take_policy(&entry.manifest);
    fetch(state, turn);
}

/// Fetches the policy at hand, if it fits.
pub(super) fn fetch(state: &mut State, turn: &mut Turn<'_>) {
    let Some(entry) = state.fetched_entry() else { return };
    let needed = Bundle::cpu_bytes(&entry.manifest, entry.bytes);
    if needed > CPU_MEMORY_BYTES {
        state.problem = Some(Problem::TooLarge { needed, offered: CPU_MEMORY_BYTES });
        return;
    }
    turn.ask(Effect::Download {
        url: format!("policies/{}", entry.file),
        sha256: entry.sha256.clone(),
        bytes: entry.bytes,
        shelf: match state.bundle.part {
            Part::Base => Shelf::Base,
            Part::Own if entry.manifest.adapts.is_some() => Shelf::Adapter,
            Part::Own => Shelf::AtHand,
        },
    });
    state.problem = None;
    state.guest = Guest::default();
    state.bundle.fetch = Fetch::Running { bytes: 0 };
}

/// The visitor opened a bundle from their disk.
pub(super) fn own(state: &mut State, name: String, bytes: u64, turn: &mut Turn<'_>) {
    if bytes > CPU_MEMORY_BYTES {
        state.problem = Some(Problem::TooLarge { needed: bytes, offered: CPU_MEMORY_BYTES });
        return;
    }
    put_away(state, turn);
    state.problem = None;
    state.bundle = Bundle { source: Source::Own { name }, fetch: Fetch::Here, ..Bundle::default() };
}

impl Fetch {
    /// How far they are after this happened.
    pub(super) fn after(self, event: &DownloadEvent) -> Self {
        let bytes = match self {
            Self::Running { bytes } | Self::Retrying { bytes, .. } => bytes,
            Self::Nothing | Self::Healing | Self::Here | Self::Failed => 0,
        };
        match event {
            DownloadEvent::Progress { bytes } => Self::Running { bytes: *bytes },
            DownloadEvent::Retrying { attempt } => Self::Retrying { bytes, attempt: *attempt },
            DownloadEvent::Healing => Self::Healing,
            DownloadEvent::Done => Self::Here,
            DownloadEvent::Failed(_) => Self::Failed,
        }
    }
}

/// The download went on.
pub(super) fn download(state: &mut State, event: DownloadEvent, turn: &mut Turn<'_>) {
    // Of a download that was given up for the visitor's own file.
    if !matches!(state.bundle.source, Source::Catalog(_)) {
        return;
    }
    if state.bundle.part == Part::Base && event == DownloadEvent::Done {
        state.bundle.part = Part::Own;
        return fetch(state, turn);
    }
    state.bundle.fetch = state.bundle.fetch.after(&event);
    if let DownloadEvent::Failed(error) = event {
        state.problem = Some(Problem::Download(error));
    }
}

/// Puts the policy and everything under way with it away. An engine that holds weights, or is about to,
/// is started anew: so no reply about the old policy can be taken for one about the new.
fn put_away(state: &mut State, turn: &mut Turn<'_>) {
    writing::drop_round(state);
    state.desk.conversation.clear();
    state.guest = Guest::default();
    engines::kill(state, EngineKind::Gpu, turn);
    state.engines.gpu_note = None;
    state.speed = None;
    match state.engines.cpu.phase {
        Phase::Starting | Phase::Idle => {}
        Phase::Off | Phase::Loading | Phase::Probing | Phase::Able => {
            engines::kill(state, EngineKind::Cpu, turn);
            engines::start(state, EngineKind::Cpu, turn);
        }
    }
}
