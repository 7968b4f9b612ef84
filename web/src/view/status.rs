//! What the page is doing, and what went wrong.

use kudos_schema::FailureKind;

use super::control::button;
use crate::event::{DownloadError, EngineKind, Event, Setting};
use crate::node::Node;
use crate::state::State;
use crate::state::asked::Asking;
use crate::state::bundle::Fetch;
use crate::state::engines::Phase;
use crate::state::problem::{GpuNote, Problem};
use crate::words::{ErrorWords, bytes, fill, number};

/// The live region with engine, adapter and speed, and the progress of the download.
pub(super) fn section(state: &State) -> Node {
    let words = state.words();
    let status = Node::new("div")
        .with("id", "status")
        .with("role", "status")
        .child(progressing(state).text(doing(state)))
        .child(Node::new("span").with("class", "engine").text(engine(state)))
        .child(speed(state));
    Node::new("section")
        .with("class", "status")
        .with("aria-label", words.status.heading)
        .child(status)
        .children(progress(state))
        .children(gpu_note(state).map(|note| Node::new("p").with("class", "note").text(note)))
}

/// Why the GPU is not used, although it could be expected.
pub(super) fn gpu_note(state: &State) -> Option<String> {
    let words = &state.words().gpu;
    let text = match state.engines.gpu_note.as_ref()? {
        GpuNote::NoWebgpu => words.no_webgpu.to_owned(),
        GpuNote::NoAdapter => words.no_adapter.to_owned(),
        GpuNote::Disagrees { difference } => {
            fill(words.disagrees, &[&number(f64::from(*difference))])
        }
        GpuNote::Lost => words.lost.to_owned(),
        GpuNote::OutOfMemory => words.memory.to_owned(),
        GpuNote::Failed { .. } => words.failed.to_owned(),
    };
    Some(text)
}

/// The element that says what the page is doing. Numbers that run are not spoken.
fn progressing(state: &State) -> Node {
    let node = Node::new("span").with("class", "doing");
    match state.shown_fetch().0 {
        Fetch::Running { .. } => node.with("aria-live", "off"),
        Fetch::Nothing | Fetch::Retrying { .. } | Fetch::Healing | Fetch::Here | Fetch::Failed => {
            node
        }
    }
}

fn doing(state: &State) -> String {
    let words = &state.words().status;
    let (fetch, whole) = state.shown_fetch();
    if matches!(state.asking, Asking::Fetching) {
        return state.words().asked.asking.to_owned();
    }
    if state.round.as_ref().is_some_and(|round| round.is_busy()) && state.is_able() {
        return words.working.to_owned();
    }
    match fetch {
        Fetch::Nothing if state.catalog.is_none() && state.problem.is_none() => {
            words.catalog.to_owned()
        }
        Fetch::Nothing => words.waiting.to_owned(),
        Fetch::Running { bytes: there } => fill(words.download, &[&bytes(there), &bytes(whole)]),
        Fetch::Retrying { bytes: there, attempt } => {
            fill(words.retrying, &[&attempt.to_string(), &bytes(there)])
        }
        Fetch::Healing => words.healing.to_owned(),
        Fetch::Failed => words.download_failed.to_owned(),
        Fetch::Here => match (state.engines.cpu.phase, state.engines.gpu.phase) {
            (Phase::Off, _) => words.waiting.to_owned(),
            (Phase::Starting, _) => words.engine.to_owned(),
            (Phase::Idle | Phase::Loading, _) => words.loading.to_owned(),
            (Phase::Probing, _) => words.probing.to_owned(),
            (Phase::Able, Phase::Off | Phase::Able) => words.ready.to_owned(),
            (Phase::Able, Phase::Starting | Phase::Idle | Phase::Loading | Phase::Probing) => {
                words.probing_gpu.to_owned()
            }
        },
    }
}

/// The device that computes, with its adapter.
fn engine(state: &State) -> String {
    let words = &state.words().status;
    if !state.is_able() {
        return String::new();
    }
    let on = match state.active() {
        EngineKind::Cpu => return words.on_cpu.to_owned(),
        EngineKind::Gpu => words.on_gpu,
    };
    match &state.engines.gpu.adapter {
        None => on.to_owned(),
        Some(adapter) => {
            let kind =
                if adapter.software { format!(", {}", words.software) } else { String::new() };
            format!("{on} ({}{kind})", fill(words.adapter, &[&adapter.name]))
        }
    }
}

/// Tokens a second of the last text, or of the self-test before the engine at hand wrote one. On the GPU, where each costs time,
/// also how often the device was read.
fn speed(state: &State) -> Node {
    let words = &state.words().status;
    let node = Node::new("span").with("class", "speed").with("aria-live", "off");
    if !state.is_able() {
        return node;
    }
    let active = state.active();
    let written = state.speed.filter(|speed| speed.engine == active);
    let tested = state.engines.get(active).tokens_per_second;
    let tokens = written.map_or(tested, |speed| speed.tokens_per_second);
    let node = node.text(fill(words.speed, &[&number(tokens)]));
    match written {
        Some(speed) if active == EngineKind::Gpu => node
            .child(Node::new("small").text(fill(words.reads, &[&number(speed.reads_per_token)]))),
        Some(_) | None => node,
    }
}

fn progress(state: &State) -> Option<Node> {
    let (fetch, whole) = state.shown_fetch();
    let there = match fetch {
        Fetch::Running { bytes } | Fetch::Retrying { bytes, .. } => bytes,
        Fetch::Healing => 0,
        Fetch::Nothing | Fetch::Here | Fetch::Failed => return None,
    };
    let progress = Node::new("progress")
        .with("id", "progress")
        .with("max", whole.max(1).to_string())
        .with("value", there.min(whole).to_string())
        .with("aria-label", state.words().status.progress);
    Some(progress)
}

/// What went wrong: a sentence with its remedy. The element is always there, so that what appears in it
/// is spoken.
pub(super) fn error(state: &State) -> Node {
    let words = &state.words().errors;
    let alert = Node::new("div").with("id", "error").with("role", "alert");
    let Some(problem) = &state.problem else { return alert.with("hidden", "") };
    let mut alert = alert
        .child(Node::new("strong").text(words.heading))
        .child(Node::new("p").text(sentence(words, problem)));
    if state.retry().is_some() {
        alert = alert.child(button("retry", words.retry, Event::RetryPressed));
    }
    if let Some(detail) = problem.detail() {
        let summary = Node::new("summary").text(words.detail);
        let detail = Node::new("p").with("lang", "en").text(detail);
        alert = alert.child(Node::new("details").child(summary).child(detail));
    }
    alert
}

fn sentence(words: &ErrorWords, problem: &Problem) -> String {
    let text = match problem {
        Problem::Catalog(DownloadError::Network) => words.catalog_network,
        Problem::Catalog(DownloadError::Status(status)) => {
            return fill(words.catalog_status, &[&status.to_string()]);
        }
        Problem::Catalog(DownloadError::WrongHash) => words.catalog_wrong,
        Problem::NoPolicies => words.no_policies,
        Problem::Download(DownloadError::Network) => words.download_network,
        Problem::Download(DownloadError::Status(status)) => {
            return fill(words.download_status, &[&status.to_string()]);
        }
        Problem::Download(DownloadError::WrongHash) => words.download_wrong,
        Problem::TooLarge { needed, offered } => {
            return fill(words.too_large, &[&bytes(*needed), &bytes(*offered)]);
        }
        Problem::Engine { cause, .. } => match cause {
            FailureKind::WrongBundle => words.engine_bundle,
            FailureKind::WrongHash => words.engine_hash,
            FailureKind::OutOfMemory => words.engine_memory,
            FailureKind::DeviceLost | FailureKind::NoAdapter => words.engine_lost,
            FailureKind::PromptTooLong => words.writing_long,
            FailureKind::Defect => words.engine_defect,
        },
        Problem::EngineDied { .. } => words.engine_died,
        Problem::Writing { cause, .. } => match cause {
            FailureKind::PromptTooLong => words.writing_long,
            FailureKind::OutOfMemory => words.writing_memory,
            FailureKind::NoAdapter
            | FailureKind::WrongBundle
            | FailureKind::WrongHash
            | FailureKind::DeviceLost
            | FailureKind::Defect => words.writing_other,
        },
        Problem::EmptyPrompt => words.empty_prompt,
        Problem::NoPicture => words.no_picture,
        Problem::NotAPicture => words.not_a_picture,
        Problem::Setting(setting) => wrong_setting(words, *setting),
        Problem::Unratable { .. } => words.unratable,
        Problem::Storage { .. } => words.storage,
    };
    text.to_owned()
}

/// What a setting must be.
pub(super) fn wrong_setting(words: &ErrorWords, setting: Setting) -> &'static str {
    match setting {
        Setting::Temperature => words.wrong_temperature,
        Setting::TopK => words.wrong_top_k,
        Setting::TopP => words.wrong_top_p,
        Setting::Length => words.wrong_length,
        Setting::Seed => words.wrong_seed,
    }
}
