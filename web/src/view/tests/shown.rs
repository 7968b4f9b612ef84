//! What is shown of texts, devices and verdicts, and what the buttons do.

use std::collections::BTreeSet;

use kudos_schema::{PairChoice, Thumb, Verdict};

use super::*;
use crate::event::{
    DownloadEvent, Effect, EngineChoice, EngineKind, Event, Memory, Mode, Opening, Panel,
};
use crate::node::Handler;
use crate::state::tests::{COLLECTOR, Visit, adapter, catalog, loaded, probed, ready, ready_gpu};

/// The element with this id reacts to this DOM event.
fn press(visit: &mut Visit, id: &str) -> Vec<Effect> {
    let page = view(&visit.state);
    let node = find(&page, id).unwrap_or_else(|| panic!("there is no {id}"));
    let (_, handler) = node.handlers.first().unwrap_or_else(|| panic!("{id} does nothing"));
    let Handler::Send(event) = handler else { panic!("{id} is no button") };
    visit.send(event.clone())
}

#[test]
fn colored_tokens_are_buttons_and_others_are_not() {
    let mut visit = Visit::ready();
    visit.pair();
    let tokens = |visit: &Visit| {
        let page = view(&visit.state);
        let section = find(&page, "completions").unwrap();
        let is_text = |node: &&Node| attribute(node, "class") == Some("text");
        let texts: Vec<&Node> = all(section).into_iter().filter(is_text).collect();
        let tokens = texts.iter().flat_map(|text| children(text)).map(|token| {
            (token.tag, attribute(token, "class").unwrap_or_default().to_owned(), text(token))
        });
        tokens.collect::<Vec<_>>()
    };
    let plain = tokens(&visit);
    assert_eq!(plain.len(), 4);
    assert!(plain.iter().all(|(tag, class, _)| (*tag, class.as_str()) == ("span", "token")));
    visit.send(Event::ColorToggled);
    let colored = tokens(&visit);
    // exp(-0.7) = 0.497
    assert!(colored.iter().all(|(tag, class, _)| (*tag, class.as_str()) == ("button", "token p2")));
    let words = |tokens: &[(&str, String, String)]| {
        tokens.iter().map(|(_, _, text)| text.clone()).collect::<Vec<_>>()
    };
    assert_eq!(words(&plain), words(&colored), "color changes no text");
}

#[test]
fn triples_are_drawn_and_said() {
    let mut visit = Visit::ready();
    visit.send(Event::TaskChosen("triples".into()));
    visit.send(Event::WritePressed);
    visit.writes(&["cat | is a | animal\ncat | has | tail"]);
    visit.writes(&["nothing"]);
    let page = view(&visit.state);
    let drawing = all(&page).into_iter().find(|node| node.tag == "svg").expect("a graph is drawn");
    let count = |tag: &str| children(drawing).filter(|node| node.tag == tag).count();
    assert_eq!((count("circle"), count("path"), count("text")), (3, 2, 5));
    assert_eq!(attribute(drawing, "role"), Some("img"));
    let page_text = text(&page);
    assert!(page_text.contains("is a: cat → animal") && page_text.contains("has: cat → tail"));
}

#[test]
fn speed_adapter_and_progress_are_shown() {
    let opening =
        Opening { has_webgpu: true, adapter: Some(adapter(1 << 30)), ..Opening::default() };
    let mut visit = Visit::opened(opening);
    visit.send(Event::CatalogCame(Ok(catalog(10_000_000, None))));
    visit.send(Event::Download(DownloadEvent::Progress { bytes: 250 }));
    let page = view(&visit.state);
    let progress = find(&page, "progress").expect("progress is shown");
    assert_eq!(
        (attribute(progress, "value"), attribute(progress, "max")),
        (Some("250"), Some("1000"))
    );
    visit.reply(EngineKind::Cpu, ready("cpu"));
    visit.send(Event::Download(DownloadEvent::Done));
    visit.reply(EngineKind::Cpu, loaded(&visit.state));
    visit.reply(EngineKind::Cpu, probed(vec![-1.0], 100.0));
    visit.reply(EngineKind::Gpu, ready_gpu());
    visit.reply(EngineKind::Gpu, loaded(&visit.state));
    visit.reply(EngineKind::Gpu, probed(vec![-1.0], 300.0));
    let status = |visit: &Visit| {
        let page = view(&visit.state);
        let status = find(&page, "status").expect("the status is always there");
        assert_eq!(attribute(status, "role"), Some("status"));
        text(status)
    };
    assert!(find(&view(&visit.state), "progress").is_none());
    assert!(status(&visit).contains("Lavender") && status(&visit).contains("300 tokens/s"));
    visit.pair();
    // Two tokens in half a second, read twice.
    assert!(status(&visit).contains("4.00 tokens/s"), "{}", status(&visit));
    assert!(status(&visit).contains("1.00 reads"), "{}", status(&visit));
    visit.send(Event::EngineChosen(EngineChoice::Cpu));
    let on_cpu = status(&visit);
    assert!(
        on_cpu.contains("100 tokens/s"),
        "the GPU wrote the text, so the CPU's test counts: {on_cpu}"
    );
    assert!(!on_cpu.contains("reads"), "reading the CPU costs nothing: {on_cpu}");
}

#[test]
fn the_buttons_give_the_verdicts() {
    let check = |mode: Mode, id: &str, expected: Verdict| {
        let memory = Memory { mode, ..Memory::default() };
        let opening = Opening { memory, ..Opening::default() };
        let mut visit = Visit::ready_with(opening, catalog(1000, None));
        match mode {
            Mode::Pair => visit.pair(),
            Mode::Single => visit.one(),
        }
        press(&mut visit, id);
        assert_eq!(visit.rating().verdict, expected, "{id}");
        let page = view(&visit.state);
        let pressed = find(&page, id).and_then(|button| attribute(button, "aria-pressed"));
        assert_eq!(pressed, Some("true"), "{id}");
    };
    for (id, value) in [
        ("judge-left", PairChoice::Left),
        ("judge-right", PairChoice::Right),
        ("judge-tie", PairChoice::Tie),
        ("judge-both-bad", PairChoice::BothBad),
    ] {
        check(Mode::Pair, id, Verdict::Pair(value));
    }
    for (id, value) in [("thumb-up", Thumb::Up), ("thumb-down", Thumb::Down)] {
        check(Mode::Single, id, Verdict::Thumbs(value));
    }
    for value in 1..=5 {
        check(Mode::Single, &format!("star-{value}"), Verdict::Stars(value));
    }
}

#[test]
fn what_is_promised_to_tests_in_a_browser_is_there() {
    let mut visit = Visit::ready_with(Opening::default(), catalog(1000, Some(COLLECTOR)));
    visit.pair();
    visit.send(Event::PairJudged(PairChoice::Left));
    visit.send(Event::UpdateWaits);
    let mut found = BTreeSet::new();
    let mut look = |state: &State| {
        let page = view(state);
        found.extend(all(&page).into_iter().filter_map(|n| attribute(n, "id")).map(str::to_owned));
    };
    for panel in [Panel::Settings, Panel::Ratings, Panel::Help] {
        visit.send(Event::PanelToggled(panel));
        look(&visit.state);
    }
    for (_, state) in states() {
        look(&state);
    }
    let promised = "task prompt write stop another-prompt new-conversation mode-pair mode-single \
        judge-left judge-right judge-tie judge-both-bad thumb-up thumb-down star-1 star-5 edit \
        edit-text edit-save edit-cancel reason-clear reason-on-topic remark report-0 report-1 undo \
        skip consent consent-yes consent-no settings-toggle settings temperature top-k top-p length \
        seed engine-measured engine-cpu engine-gpu ratings-toggle ratings session-count \
        export-ratings export-preference export-unpaired export-scalar export-sft rater-reset \
        ratings-delete send-now preview help-toggle help locale-en locale-zh color-toggle \
        token-panel status progress error retry update own-bundle graph policy ask next-query \
        query-note";
    for id in promised.split_whitespace() {
        assert!(found.contains(id), "{id}");
    }
}
