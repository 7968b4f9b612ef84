//! Laws of adapters: what is fetched of them and their base, and in which order.

use kudos_schema::Adapts;

use super::asked::{asks_for, note, query, takes};
use super::*;
use crate::event::{DownloadError, Shelf};
use crate::state::asked::QueryNote;
use crate::state::bundle::Fetch;

/// A catalog of `a`, `b`, and adapters `d` and `e` of `a`.
fn with_adapters() -> Catalog {
    let mut catalog = catalog(1000, Some(COLLECTOR));
    for sha in ["d", "e"] {
        let mut entry = catalog.policies[0].clone();
        (entry.file, entry.bytes, entry.sha256) = (format!("{sha}.bundle"), 10, sha.repeat(64));
        entry.manifest.adapts = Some(Adapts { base: "a".repeat(64), scale: 2.0 });
        catalog.policies.push(entry);
    }
    catalog
}

fn visit() -> Visit {
    Visit::ready_with(Opening::default(), with_adapters())
}

/// What is to be fetched: the letters of the hashes, and where the bytes go.
fn fetched(effects: &[Effect]) -> Vec<(String, Shelf)> {
    let one = |effect: &Effect| {
        let Effect::Download { sha256, shelf, .. } = effect else { return None };
        Some((sha256[..1].to_owned(), *shelf))
    };
    effects.iter().filter_map(one).collect()
}

/// The base that the engine was last told to lay what it takes upon.
fn base(visit: &Visit) -> Option<String> {
    let load = |effect: &Effect| {
        let Effect::Ask(_, Request::Load { base, .. }) = effect else { return None };
        Some(base.clone())
    };
    visit.effects.iter().rev().find_map(load).expect("something was loaded")
}

#[test]
fn an_adapter_is_fetched_after_its_base_and_laid_upon_it() {
    let mut visit = visit();
    assert_eq!(base(&visit), None);
    assert_eq!(fetched(&visit.send(Event::PolicyChosen(2))), [("a".into(), Shelf::Base)]);
    assert_eq!(visit.state.shown_fetch(), (Fetch::Running { bytes: 0 }, 1000));
    visit.reply(EngineKind::Cpu, ready("cpu"));
    let effects = visit.send(Event::Download(DownloadEvent::Done));
    assert_eq!(fetched(&effects), [("d".into(), Shelf::Adapter)]);
    assert_eq!(visit.state.shown_fetch(), (Fetch::Running { bytes: 0 }, 10));
    assert_eq!(asks(&visit.send(Event::Download(DownloadEvent::Done))), ["load Cpu"]);
    assert_eq!(base(&visit), Some("a".repeat(64)));
    takes(&mut visit, EngineKind::Cpu, ("d", -1.0));
    assert!(visit.state.is_able());
    assert_eq!(fetched(&visit.send(Event::PolicyChosen(1))), [("b".into(), Shelf::AtHand)]);
}

#[test]
fn a_part_that_does_not_come_is_tried_again_where_it_was() {
    let mut visit = visit();
    let failed = DownloadEvent::Failed(DownloadError::Network);
    visit.send(Event::PolicyChosen(3));
    visit.send(Event::Download(failed.clone()));
    assert_eq!(fetched(&visit.send(Event::RetryPressed)), [("a".into(), Shelf::Base)]);
    visit.send(Event::Download(DownloadEvent::Done));
    visit.send(Event::Download(failed));
    assert_eq!(fetched(&visit.send(Event::RetryPressed)), [("e".into(), Shelf::Adapter)]);
}

#[test]
fn an_adapter_that_meets_its_base_is_laid_upon_what_is_here() {
    let mut visit = visit();
    assert_eq!(fetched(&asks_for(&mut visit, query(&["d"]))), [("d".into(), Shelf::Guest)]);
    visit.send(Event::GuestDownload(DownloadEvent::Done));
    assert_eq!(base(&visit), Some("a".repeat(64)));
}

#[test]
fn an_adapter_whose_base_is_not_here_meets_nobody() {
    let mut visit = visit();
    visit.send(Event::PolicyChosen(1));
    visit.reply(EngineKind::Cpu, ready("cpu"));
    visit.send(Event::Download(DownloadEvent::Done));
    takes(&mut visit, EngineKind::Cpu, ("b", -1.0));
    assert_eq!(fetched(&asks_for(&mut visit, query(&["d"]))), []);
    assert_eq!(note(&visit), Some(QueryNote::NotLoaded));
}
