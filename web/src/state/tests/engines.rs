//! Laws of the engines: which one starts, is trusted, is chosen, and what happens when one is lost.

use kudos_schema::{EndReason, Failure, FailureKind, PairChoice, Reply, Verdict};

use super::*;
use crate::event::{DownloadError, EngineChoice};
use crate::state::engines::{GPU_GAINS_FROM, Phase};
use crate::state::problem::{GpuNote, Problem, Retry};

fn with_gpu(parameters: u64) -> Visit {
    let adapter = Some(adapter(1 << 30));
    let opening = Opening { has_webgpu: true, adapter, ..Opening::default() };
    Visit::ready_with(opening, catalog(parameters, None))
}

/// The GPU engine is up and has the policy; its self-test is as given.
fn tested(visit: &mut Visit, logprobs: Vec<f32>, tokens_per_second: f64) -> Vec<Effect> {
    visit.reply(EngineKind::Gpu, ready_gpu());
    visit.reply(EngineKind::Gpu, loaded(&visit.state));
    visit.reply(EngineKind::Gpu, probed(logprobs, tokens_per_second))
}

fn failure(id: Option<u64>, cause: FailureKind) -> Reply {
    Reply::Failed(Failure { id, cause, detail: "words".into() })
}

#[test]
fn the_cpu_engine_gets_warm_before_anything_is_downloaded() {
    let visit = Visit::opened(Opening::default());
    assert_eq!(asks(&visit.effects), ["start Cpu"]);
    let visit = Visit::ready();
    assert_eq!(asks(&visit.effects), ["start Cpu", "load Cpu", "probe Cpu"]);
    assert!(visit.state.is_able());
}

#[test]
fn the_engine_may_also_be_the_last_to_come() {
    let mut visit = Visit::opened(Opening::default());
    visit.send(Event::CatalogCame(Ok(catalog(1000, None))));
    visit.send(Event::Download(DownloadEvent::Done));
    let effects = visit.reply(EngineKind::Cpu, ready("cpu"));
    assert_eq!(asks(&effects), ["load Cpu"]);
}

#[test]
fn the_gpu_engine_is_fetched_only_where_it_can_gain() {
    let check = |has_webgpu: bool, parameters, choice, expected: bool| {
        let memory = Memory { engine: choice, ..Memory::default() };
        let adapter = has_webgpu.then(|| adapter(1 << 30));
        let opening = Opening { has_webgpu, adapter, memory, ..Opening::default() };
        let visit = Visit::ready_with(opening, catalog(parameters, None));
        let started = asks(&visit.effects).contains(&"start Gpu".to_owned());
        assert_eq!(started, expected, "{has_webgpu} {parameters} {choice:?}");
    };
    let (small, large) = (GPU_GAINS_FROM - 1, GPU_GAINS_FROM);
    check(true, large, EngineChoice::Measured, true);
    check(true, small, EngineChoice::Measured, false);
    check(true, small, EngineChoice::Gpu, true);
    check(true, large, EngineChoice::Cpu, false);
    check(false, large, EngineChoice::Measured, false);
    check(false, large, EngineChoice::Gpu, false);
}

#[test]
fn without_an_adapter_the_gpu_engine_is_fetched_only_on_request() {
    for choice in [EngineChoice::Measured, EngineChoice::Gpu] {
        let memory = Memory { engine: choice, ..Memory::default() };
        let opening = Opening { has_webgpu: true, memory, ..Opening::default() };
        let visit = Visit::ready_with(opening, catalog(GPU_GAINS_FROM, None));
        let started = asks(&visit.effects).contains(&"start Gpu".to_owned());
        assert_eq!(started, choice == EngineChoice::Gpu);
    }
}

#[test]
fn an_adapter_too_small_for_the_policy_is_known_before_the_download() {
    let opening =
        |bytes| Opening { has_webgpu: true, adapter: Some(adapter(bytes)), ..Opening::default() };
    let mut visit = Visit::opened(opening(1 << 20));
    visit.send(Event::CatalogCame(Ok(catalog(GPU_GAINS_FROM, None))));
    let weights = 4 * GPU_GAINS_FROM;
    assert_eq!(visit.state.gpu_shortage(), Some((weights + 1024 * 256, 1 << 20)));
    let visit = Visit::ready_with(opening(1 << 20), catalog(GPU_GAINS_FROM, None));
    assert!(!asks(&visit.effects).contains(&"start Gpu".to_owned()));
    let visit = Visit::ready_with(opening(1 << 30), catalog(GPU_GAINS_FROM, None));
    assert!(asks(&visit.effects).contains(&"start Gpu".to_owned()));
}

#[test]
fn a_policy_that_no_browser_can_hold_is_not_downloaded() {
    let mut visit = Visit::opened(Opening::default());
    let effects = visit.send(Event::CatalogCame(Ok(catalog(2_000_000_000, None))));
    assert!(matches!(visit.state.problem, Some(Problem::TooLarge { .. })));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Download { .. })));
}

#[test]
fn the_faster_engine_writes() {
    for (gpu_speed, expected) in [(400.0, EngineKind::Gpu), (50.0, EngineKind::Cpu)] {
        let mut visit = with_gpu(GPU_GAINS_FROM);
        tested(&mut visit, vec![-1.001, -2.0], gpu_speed);
        visit.send(Event::WritePressed);
        assert_eq!(visit.asked().0, expected);
    }
}

#[test]
fn the_chosen_engine_writes_though_it_is_slower() {
    let mut visit = with_gpu(1000);
    visit.send(Event::EngineChosen(EngineChoice::Gpu));
    tested(&mut visit, vec![-1.0, -2.0], 1.0);
    visit.send(Event::WritePressed);
    assert_eq!(visit.asked().0, EngineKind::Gpu);
    visit.send(Event::StopPressed);
    visit.ends(EndReason::Interrupted);
    let effects = visit.send(Event::EngineChosen(EngineChoice::Cpu));
    assert_eq!(asks(&effects), ["kill Gpu"]);
    assert_eq!(visit.state.active(), EngineKind::Cpu);
}

#[test]
fn a_gpu_that_disagrees_is_refused_and_not_asked_again() {
    let wrong = [vec![-1.05, -2.0], vec![f32::NAN, -2.0], vec![-1.0], vec![]];
    for logprobs in wrong {
        let mut visit = with_gpu(GPU_GAINS_FROM);
        let effects = tested(&mut visit, logprobs.clone(), 900.0);
        assert_eq!(asks(&effects), ["kill Gpu"], "{logprobs:?}");
        assert!(matches!(visit.state.engines.gpu_note, Some(GpuNote::Disagrees { .. })));
        let effects = visit.send(Event::EngineChosen(EngineChoice::Gpu));
        assert!(asks(&effects).is_empty(), "{logprobs:?}");
    }
}

/// A visit that is writing the first text of a pair on the GPU.
fn writing_on_gpu() -> Visit {
    let mut visit = with_gpu(GPU_GAINS_FROM);
    tested(&mut visit, vec![-1.0, -2.0], 900.0);
    visit.send(Event::WritePressed);
    visit.begins(&["one", " two"]);
    visit
}

#[test]
fn a_lost_device_goes_on_with_the_cpu_and_loses_no_text() {
    let id = writing_on_gpu().asked().1.id;
    let losses = [
        Event::Engine(EngineKind::Gpu, Box::new(failure(Some(id), FailureKind::DeviceLost))),
        Event::Engine(EngineKind::Gpu, Box::new(failure(None, FailureKind::DeviceLost))),
        Event::Engine(EngineKind::Gpu, Box::new(failure(Some(id), FailureKind::OutOfMemory))),
        Event::EngineDied(EngineKind::Gpu, "killed".into()),
        Event::EngineChosen(EngineChoice::Cpu),
    ];
    for loss in losses {
        let mut visit = writing_on_gpu();
        let before = visit.asked().1;
        let effects = visit.send(loss.clone());
        assert_eq!(asks(&effects), ["kill Gpu", "write Cpu"], "{loss:?}");
        let (_, request) = visit.asked();
        assert_eq!(request.begin, [10, 11]);
        assert_ne!(request.seed, before.seed, "the first coins are not used twice");
        let left = before.sampling.max_completion_length - 2;
        assert_eq!(request.sampling.max_completion_length, left);
        visit.writes(&[" three"]);
        assert_eq!(visit.asked().0, EngineKind::Cpu, "the second text goes on there too");
        visit.writes(&["second"]);
        assert!(visit.place_texts().contains(&"one two three".to_owned()), "{loss:?}");
    }
}

#[test]
fn a_text_of_two_devices_is_ratable_and_says_so() {
    let mut visit = writing_on_gpu();
    let seed = visit.asked().1.seed;
    visit.send(Event::EngineDied(EngineKind::Gpu, String::new()));
    visit.writes(&[" three"]);
    visit.writes(&["second"]);
    visit.send(Event::PairJudged(PairChoice::Tie));
    let rating = visit.rating();
    assert_eq!(rating.validate(), Ok(()));
    assert_eq!(rating.backend.matches("webgpu").count(), 1);
    assert!(rating.backend.contains("cpu"));
    assert_eq!(rating.prompt.token_ids, [1, 2, 3], "tokens drawn are no part of the prompt");
    let sample = rating.samples.iter().find(|sample| sample.text == "one two three").unwrap();
    assert_eq!(sample.token_ids.len(), 3);
    assert_eq!(sample.seed, seed);
}

#[test]
fn a_dead_cpu_engine_is_started_once_more_and_then_the_page_says_so() {
    let mut visit = Visit::ready();
    visit.send(Event::WritePressed);
    visit.begins(&["one"]);
    let effects = visit.send(Event::EngineDied(EngineKind::Cpu, "trap".into()));
    assert_eq!(asks(&effects), ["kill Cpu", "start Cpu"]);
    assert_eq!(visit.state.problem, None);
    visit.reply(EngineKind::Cpu, ready("cpu"));
    visit.reply(EngineKind::Cpu, loaded(&visit.state));
    let effects = visit.reply(EngineKind::Cpu, probed(vec![-1.0, -2.0], 100.0));
    assert_eq!(asks(&effects), ["write Cpu"]);
    assert_eq!(visit.asked().1.begin, [10]);
    let effects = visit.send(Event::EngineDied(EngineKind::Cpu, "trap".into()));
    assert_eq!(asks(&effects), ["kill Cpu"]);
    assert!(matches!(visit.state.problem, Some(Problem::EngineDied { .. })));
    assert!(visit.place_texts().contains(&"one".to_owned()), "the text stays");
    let effects = visit.send(Event::RetryPressed);
    assert_eq!(asks(&effects), ["start Cpu"]);
}

#[test]
fn an_engine_that_wrote_may_die_again() {
    let mut visit = Visit::ready();
    for _ in 0..3 {
        visit.send(Event::EngineDied(EngineKind::Cpu, String::new()));
        assert_eq!(visit.state.problem, None);
        visit.reply(EngineKind::Cpu, ready("cpu"));
        visit.reply(EngineKind::Cpu, loaded(&visit.state));
        visit.reply(EngineKind::Cpu, probed(vec![-1.0], 100.0));
        visit.send(Event::PromptTyped("Hi".into()));
        visit.pair();
    }
}

#[test]
fn a_gpu_without_adapter_leaves_the_cpu_at_work() {
    let mut visit = with_gpu(GPU_GAINS_FROM);
    visit.reply(EngineKind::Gpu, failure(None, FailureKind::NoAdapter));
    assert_eq!(visit.state.engines.gpu_note, Some(GpuNote::NoAdapter));
    assert_eq!(visit.state.problem, None);
    visit.pair();
    visit.send(Event::PairJudged(PairChoice::Left));
    assert_eq!(visit.rating().verdict, Verdict::Pair(PairChoice::Left));
}

#[test]
fn wrong_bytes_are_fetched_again_on_request() {
    let mut visit = Visit::opened(Opening::default());
    visit.send(Event::CatalogCame(Ok(catalog(1000, None))));
    visit.reply(EngineKind::Cpu, ready("cpu"));
    visit.send(Event::Download(DownloadEvent::Done));
    visit.reply(EngineKind::Cpu, failure(None, FailureKind::WrongHash));
    assert_eq!(visit.state.retry(), Some(Retry::Download));
    let effects = visit.send(Event::RetryPressed);
    assert!(matches!(effects[..], [Effect::Download { .. }]), "{effects:?}");
}

#[test]
fn a_broken_download_is_tried_again_when_the_network_is_back() {
    let mut visit = Visit::opened(Opening::default());
    visit.send(Event::CatalogCame(Ok(catalog(1000, None))));
    visit.send(Event::Online(false));
    visit.send(Event::Download(DownloadEvent::Failed(DownloadError::Network)));
    assert_eq!(visit.state.problem, Some(Problem::Download(DownloadError::Network)));
    let effects = visit.send(Event::Online(true));
    assert!(matches!(effects[..], [Effect::Download { .. }]), "{effects:?}");
    assert_eq!(visit.state.problem, None);
}

#[test]
fn another_policy_starts_the_engine_anew_so_that_no_late_reply_is_mistaken() {
    let mut visit = Visit::ready();
    visit.pair();
    let effects = visit.send(Event::PolicyChosen(1));
    assert_eq!(asks(&effects), ["kill Cpu", "start Cpu"]);
    assert!(visit.state.round.is_none() && !visit.state.is_able());
    visit.reply(EngineKind::Cpu, loaded(&visit.state));
    assert_eq!(visit.state.engines.cpu.phase, Phase::Starting);
}

#[test]
fn the_speed_of_a_policy_goes_with_it() {
    let mut visit = Visit::ready();
    visit.pair();
    assert!(visit.state.speed.is_some());
    visit.send(Event::PolicyChosen(0));
    assert_eq!(visit.state.speed, None);
}

#[test]
fn a_policy_of_ones_own_needs_no_hash_and_says_what_it_is() {
    let mut visit = Visit::opened(Opening::default());
    visit.send(Event::CatalogCame(Err(DownloadError::Network)));
    visit.reply(EngineKind::Cpu, ready("cpu"));
    let effects = visit.send(Event::OwnBundle { name: "mine.bundle".into(), bytes: 10 });
    let load =
        Effect::Ask(EngineKind::Cpu, Request::Load { sha256: None, keep: vec![], base: None });
    assert_eq!(effects, [load]);
    visit.reply(EngineKind::Cpu, loaded(&visit.state));
    visit.reply(EngineKind::Cpu, probed(vec![-1.0], 10.0));
    assert_eq!(visit.state.desk.task, "dialogue");
    visit.pair();
    visit.send(Event::PairJudged(PairChoice::Left));
    visit.send(Event::ConsentGiven);
    assert_eq!(visit.rating().policy.sha256, "c".repeat(64));
}

#[test]
fn a_file_that_is_no_policy_is_named_and_another_can_be_opened() {
    let mut visit = Visit::ready();
    visit.send(Event::OwnBundle { name: "cat.jpg".into(), bytes: 10 });
    visit.reply(EngineKind::Cpu, ready("cpu"));
    visit.reply(EngineKind::Cpu, failure(None, FailureKind::WrongBundle));
    assert!(matches!(visit.state.problem, Some(Problem::Engine { .. })));
    assert_eq!(visit.state.retry(), None, "the same file stays wrong");
    visit.reply(EngineKind::Cpu, ready("cpu"));
    let effects = visit.send(Event::OwnBundle { name: "mine.bundle".into(), bytes: 10 });
    assert_eq!(asks(&effects), ["load Cpu"]);
    assert_eq!(visit.state.problem, None);
}
