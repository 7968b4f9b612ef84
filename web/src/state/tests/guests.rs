//! Laws of policies that meet the one at hand: what is fetched and loaded, which device writes, what
//! happens when a policy or an engine is lost.

use kudos_schema::{Failure, FailureKind, PairChoice};

use super::asked::{asks_for, note, query, takes, visit};
use super::*;
use crate::state::asked::QueryNote;
use crate::state::engines::{GPU_GAINS_FROM, Phase};
use crate::state::problem::GpuNote;

#[test]
fn a_policy_that_the_engine_refuses_is_skipped_and_the_one_at_hand_stays() {
    let check = |cause, expected, asked: &[&str]| {
        let mut visit = visit();
        asks_for(&mut visit, query(&["b"]));
        visit.send(Event::GuestDownload(DownloadEvent::Done));
        let failure = Failure { id: None, cause, detail: String::new() };
        let effects = visit.reply(EngineKind::Cpu, Reply::Failed(failure));
        assert_eq!(asks(&effects), asked);
        assert_eq!((note(&visit), &visit.state.problem), (Some(expected), &None));
        visit
    };
    let visit = check(FailureKind::WrongHash, QueryNote::NotLoaded, &[]);
    assert!(visit.state.is_able());
    let restart = ["kill Cpu", "start Cpu"];
    let mut visit = check(FailureKind::OutOfMemory, QueryNote::TooLarge, &restart);
    assert_eq!(asks(&visit.reply(EngineKind::Cpu, ready("cpu"))), ["load Cpu"]);
    takes(&mut visit, EngineKind::Cpu, ("a", -1.0));
    assert!(visit.state.is_able());
}

#[test]
fn a_policy_too_large_beside_the_one_at_hand_is_not_fetched() {
    // Either alone fits 4 GiB.
    let mut visit = Visit::ready_with(Opening::default(), catalog(600_000_000, Some(COLLECTOR)));
    assert!(asks_for(&mut visit, query(&["b"])).iter().all(|it| matches!(it, Effect::Announce(_))));
    assert_eq!(note(&visit), Some(QueryNote::TooLarge));
}

#[test]
fn an_engine_that_died_takes_both_policies_again_and_loses_no_text() {
    let mut visit = visit();
    asks_for(&mut visit, query(&["a", "b"]));
    visit.send(Event::GuestDownload(DownloadEvent::Done));
    takes(&mut visit, EngineKind::Cpu, ("b", -1.0));
    visit.writes(&["left"]);
    visit.begins(&["right"]);
    visit.send(Event::EngineDied(EngineKind::Cpu, "trap".into()));
    visit.reply(EngineKind::Cpu, ready("cpu"));
    assert_eq!(asks(&takes(&mut visit, EngineKind::Cpu, ("a", -1.0)))[0], "load Cpu");
    assert_eq!(asks(&takes(&mut visit, EngineKind::Cpu, ("b", -1.0))), ["write Cpu"]);
    assert_eq!(visit.asked().1.begin, [10], "it goes on after what stands there");
}

#[test]
fn an_earlier_text_is_looked_at_with_the_policy_that_wrote_it() {
    let mut visit = visit();
    visit.pair();
    visit.send(Event::PairJudged(PairChoice::Left));
    visit.send(Event::PolicyChosen(1));
    visit.reply(EngineKind::Cpu, ready("cpu"));
    visit.send(Event::Download(DownloadEvent::Done));
    takes(&mut visit, EngineKind::Cpu, ("b", -1.0));
    visit.send(Event::UndoPressed);
    visit.send(Event::TokenChosen(0, 0));
    visit.send(Event::GuestDownload(DownloadEvent::Done));
    let before = visit.effects.len();
    takes(&mut visit, EngineKind::Cpu, ("a", -1.0));
    let asked = visit.effects[before..].iter().find_map(|effect| {
        let Effect::Ask(_, Request::Alternatives(request)) = effect else { return None };
        Some(request.policy.clone())
    });
    assert_eq!(asked, Some("a".repeat(64)));
}

/// A page whose GPU writes with `a`; its adapter binds so many bytes.
fn on_gpu(max_binding_bytes: u64) -> Visit {
    let adapter = Some(adapter(max_binding_bytes));
    let opening = Opening { has_webgpu: true, adapter, ..Opening::default() };
    let mut visit = Visit::ready_with(opening, catalog(GPU_GAINS_FROM, Some(COLLECTOR)));
    let ready = Reply::Ready { backend: "webgpu".into(), adapter: None };
    visit.reply(EngineKind::Gpu, ready);
    visit.reply(EngineKind::Gpu, loaded(&visit.state));
    visit.reply(EngineKind::Gpu, probed(vec![-1.0, -2.0], 900.0));
    assert_eq!(visit.state.active(), EngineKind::Gpu);
    visit
}

#[test]
fn both_texts_are_written_by_one_device_that_agrees_on_both_policies() {
    let check = |mut visit: Visit, logprob, expected: &[&str]| {
        asks_for(&mut visit, query(&["a", "b"]));
        let before = visit.effects.len();
        visit.send(Event::GuestDownload(DownloadEvent::Done));
        takes(&mut visit, EngineKind::Cpu, ("b", -1.0));
        if visit.state.engines.gpu.phase == Phase::Loading {
            takes(&mut visit, EngineKind::Gpu, ("b", logprob));
        }
        visit.writes(&["left"]);
        assert_eq!(asks(&visit.effects[before..]), expected);
        visit
    };
    let large = 8 * GPU_GAINS_FROM + (1 << 20);
    let cpu = ["load Cpu", "probe Cpu"];
    let gpu = ["load Gpu", "probe Gpu"];
    check(on_gpu(large), -1.0, &[&cpu[..], &gpu, &["write Gpu"; 2]].concat());
    let disagrees = [&cpu[..], &gpu, &["kill Gpu"], &["write Cpu"; 2]].concat();
    let visit = check(on_gpu(large), -1.1, &disagrees);
    assert!(matches!(visit.state.engines.gpu_note, Some(GpuNote::Disagrees { .. })));
    let small = 8 * GPU_GAINS_FROM;
    check(on_gpu(small), -1.0, &[&cpu[..], &["write Cpu"; 2]].concat());
}
