//! Laws of the page around the work: opening, language, export, storage.

use kudos_schema::{ExportShape, PairChoice};

use super::*;
use crate::event::{DownloadError, Locale, StorageState};
use crate::state::problem::{Problem, Retry};

#[test]
fn a_first_visit_gets_a_random_number_and_a_later_one_keeps_it() {
    let visit = Visit::opened(Opening::default());
    let rater = visit.state.memory.rater.clone();
    assert_eq!((rater.len(), rater.as_bytes()[14]), (36, b'4'));
    assert!(visit.effects.contains(&Effect::Remember(visit.state.memory.clone())));
    let memory = visit.state.memory.clone();
    let mut again = Visit::opened(Opening { memory, ..Opening::default() });
    assert_eq!(again.state.memory.rater, rater);
    assert!(!again.effects.iter().any(|effect| matches!(effect, Effect::Remember(_))));
    again.send(Event::RaterReset);
    assert_ne!(again.state.memory.rater, rater);
}

#[test]
fn the_browser_chooses_the_language_until_the_visitor_does() {
    let check = |tag: &str, chosen, expected| {
        let memory = Memory { locale: chosen, ..Memory::default() };
        let opening = Opening { memory, browser_locale: tag.into(), ..Opening::default() };
        assert_eq!(Visit::opened(opening).state.locale(), expected, "{tag}");
    };
    check("zh-CN", None, Locale::Chinese);
    check("ZH", None, Locale::Chinese);
    check("zho", None, Locale::English);
    check("en-GB", None, Locale::English);
    check("", None, Locale::English);
    check("zh-CN", Some(Locale::English), Locale::English);
    check("de", Some(Locale::Chinese), Locale::Chinese);
}

#[test]
fn every_shape_is_exported_as_json_lines() {
    let mut visit = Visit::ready();
    visit.send(Event::PromptTyped("Ask ann@example.org".into()));
    visit.pair();
    visit.send(Event::PairJudged(PairChoice::Left));
    visit.send(Event::ModeChosen(Mode::Single));
    visit.send(Event::PromptTyped("More".into()));
    visit.one();
    visit.send(Event::Starred(5));
    let expected = [
        (ExportShape::Ratings, 2),
        (ExportShape::Preference, 1),
        (ExportShape::Unpaired, 1),
        (ExportShape::Scalar, 1),
        (ExportShape::Sft, 0),
    ];
    for (shape, rows) in expected {
        let effects = visit.send(Event::ExportPressed(shape));
        let file = effects.iter().find_map(|effect| {
            let Effect::SaveFile { name, text } = effect else { return None };
            Some((name.as_str(), text.as_str()))
        });
        let (name, text) = file.unwrap_or_default();
        assert_eq!(text.lines().count(), rows, "{shape:?}");
        assert!(rows == 0 || name == format!("kudos-{}.jsonl", shape.name()), "{name}");
        assert!(!text.contains("ann@"), "what leaves the page is masked");
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        if shape == ExportShape::Ratings {
            let read = |line| serde_json::from_str::<Rating>(line).unwrap();
            assert!(text.lines().map(read).all(|rating| rating.validate() == Ok(())));
        }
    }
}

#[test]
fn refused_storage_is_said_and_the_rating_stays_in_the_tab() {
    let mut visit = Visit::ready();
    visit.pair();
    visit.send(Event::PairJudged(PairChoice::Left));
    visit.send(Event::Stored(Err("quota".into())));
    assert_eq!(visit.state.storage, StorageState::Refused);
    assert!(matches!(visit.state.problem, Some(Problem::Storage { .. })));
    assert_eq!(visit.state.ratings.len(), 1);
}

#[test]
fn a_list_that_did_not_come_can_be_asked_for_again() {
    let mut visit = Visit::opened(Opening::default());
    visit.send(Event::CatalogCame(Err(DownloadError::Status(500))));
    assert_eq!(visit.state.retry(), Some(Retry::Catalog));
    assert_eq!(visit.send(Event::RetryPressed), [Effect::FetchCatalog]);
    visit.send(Event::CatalogCame(Ok(Catalog::default())));
    assert_eq!(visit.state.problem, Some(Problem::NoPolicies));
    visit.send(Event::CatalogCame(Ok(catalog(1000, None))));
    assert_eq!(visit.state.problem, None);
}

#[test]
fn what_is_chosen_is_remembered() {
    let mut visit = Visit::ready();
    for event in [
        Event::ModeChosen(Mode::Single),
        Event::ColorToggled,
        Event::LocaleChosen(Locale::Chinese),
        Event::ShortcutsToggled,
        Event::EngineChosen(crate::event::EngineChoice::Cpu),
    ] {
        let before = visit.state.memory.clone();
        let effects = visit.send(event.clone());
        assert!(effects.contains(&Effect::Remember(visit.state.memory.clone())), "{event:?}");
        assert_ne!(before, visit.state.memory, "{event:?}");
    }
}
