//! The page in every state that looks different.

use kudos_schema::{Alternative, EndReason, Failure, FailureKind, PairChoice, Reply};

use crate::event::{
    DownloadError, DownloadEvent, EngineKind, Event, Opening, Panel, PostError, Setting,
    StorageState,
};
use crate::state::State;
use crate::state::inspection::Answer;
use crate::state::tests::{COLLECTOR, Visit, adapter, asked, catalog, drawing};

/// The page in every state that looks different, by name.
pub(super) fn states() -> Vec<(&'static str, State)> {
    let mut states = vec![("before anything", State::default())];
    let gpu = Opening { has_webgpu: true, adapter: Some(adapter(1 << 20)), ..Opening::default() };
    let refused = Opening { storage: StorageState::Refused, ..Opening::default() };
    states.push(("opened", Visit::opened(refused).state));
    let mut visit = Visit::opened(gpu);
    visit.send(Event::CatalogCame(Ok(catalog(10_000_000, Some(COLLECTOR)))));
    for (name, event) in [
        ("downloading", DownloadEvent::Progress { bytes: 300 }),
        ("retrying", DownloadEvent::Retrying { attempt: 2 }),
        ("healing", DownloadEvent::Healing),
        ("failed", DownloadEvent::Failed(DownloadError::Status(404))),
    ] {
        visit.send(Event::Download(event));
        states.push((name, visit.state.clone()));
    }
    states.extend(problems());
    for panel in [Panel::Settings, Panel::Ratings, Panel::Help] {
        let mut visit = Visit::ready();
        visit.send(Event::SettingTyped(Setting::TopP, "x".into()));
        visit.send(Event::PanelToggled(panel));
        visit.send(Event::UpdateWaits);
        visit.send(Event::Online(false));
        states.push(("a panel", visit.state));
    }
    states.extend(rated());
    states.extend(asked());
    states.extend(seeing());
    states
}

/// A policy with eyes.
fn seeing() -> Vec<(&'static str, State)> {
    let mut visit = drawing::visit();
    let mut states = vec![("a blank picture", visit.state.clone())];
    visit.send(Event::WritePressed);
    states.push(("nothing to look at", visit.state.clone()));
    visit.send(Event::PictureCame(None));
    states.push(("no picture file", visit.state.clone()));
    drawing::draws(&mut visit);
    visit.pair();
    states.push(("a picture was looked at", visit.state.clone()));
    visit.send(Event::PairJudged(PairChoice::Tie));
    states.push(("a look was judged", visit.state));
    states
}

/// What the collector asks, from the question to the verdict.
fn asked() -> Vec<(&'static str, State)> {
    let mut visit = asked::visit();
    visit.send(Event::QueryWanted);
    let mut states = vec![("the collector is asked", visit.state.clone())];
    visit.send(Event::QueryCame(Ok(None)));
    states.push(("it asks nothing", visit.state.clone()));
    asked::asks_for(&mut visit, asked::query(&["a", "b"]));
    visit.send(Event::GuestDownload(DownloadEvent::Progress { bytes: 300 }));
    states.push(("a guest comes", visit.state.clone()));
    visit.send(Event::StopPressed);
    asked::asks_for(&mut visit, asked::with_samples(&["a", "b"]));
    states.push(("a query is shown", visit.state.clone()));
    visit.send(Event::PairJudged(PairChoice::Left));
    states.push(("a query is judged", visit.state));
    states
}

/// Everything that can go wrong.
fn problems() -> Vec<(&'static str, State)> {
    let mut states = Vec::new();
    let causes = [
        FailureKind::NoAdapter,
        FailureKind::WrongBundle,
        FailureKind::WrongHash,
        FailureKind::PromptTooLong,
        FailureKind::OutOfMemory,
        FailureKind::DeviceLost,
        FailureKind::Defect,
    ];
    for cause in causes {
        for kind in [EngineKind::Cpu, EngineKind::Gpu] {
            let mut visit = Visit::ready();
            visit.send(Event::WritePressed);
            let id = visit.asked().1.id;
            for id in [Some(id), None] {
                let mut visit = visit.clone();
                let failure = Failure { id, cause, detail: "some words".into() };
                visit.reply(kind, Reply::Failed(failure));
                states.push(("a failure", visit.state));
            }
        }
    }
    for error in [DownloadError::Network, DownloadError::Status(500), DownloadError::WrongHash] {
        let mut visit = Visit::opened(Opening::default());
        visit.send(Event::CatalogCame(Err(error.clone())));
        states.push(("no catalog", visit.state.clone()));
        visit.send(Event::CatalogCame(Ok(catalog(1000, None))));
        visit.send(Event::Download(DownloadEvent::Failed(error)));
        states.push(("no policy", visit.state));
    }
    let mut visit = Visit::opened(Opening::default());
    visit.send(Event::CatalogCame(Ok(catalog(u64::MAX / 8, None))));
    states.push(("too large", visit.state));
    let mut visit = Visit::ready();
    for _ in 0..2 {
        visit.send(Event::EngineDied(EngineKind::Cpu, "trap".into()));
    }
    states.push(("dead", visit.state));
    let mut visit = Visit::ready();
    visit.send(Event::Stored(Err("quota".into())));
    states.push(("not stored", visit.state.clone()));
    visit.send(Event::PromptTyped(String::new()));
    visit.send(Event::WritePressed);
    states.push(("no prompt", visit.state));
    states
}

/// Writing, looking and rating.
fn rated() -> Vec<(&'static str, State)> {
    let mut states = Vec::new();
    let mut visit = Visit::ready_with(Opening::default(), catalog(1000, Some(COLLECTOR)));
    visit.send(Event::TaskChosen("triples".into()));
    visit.send(Event::WritePressed);
    visit.begins(&["cat | is a | animal\n", " ", "cat | has | tail\n", ""]);
    states.push(("writing", visit.state.clone()));
    visit.ends(EndReason::Length);
    visit.writes(&["no fact"]);
    states.push(("written", visit.state.clone()));
    visit.send(Event::ColorToggled);
    visit.send(Event::TokenChosen(0, 0));
    states.push(("asking", visit.state.clone()));
    let Some(Answer::Asked(kind, id)) = visit.state.inspection.clone().map(|shown| shown.answer)
    else {
        panic!("the engine is asked")
    };
    let one = |id, text: &str, logprob_drawn| Alternative {
        id,
        text: text.into(),
        logprob_drawn,
        logprob_full: -1.0,
    };
    let list = vec![one(10, "dog", Some(-0.2)), one(12, "\n", None), one(10, " ", None)];
    visit.reply(kind, Reply::Alternatives { id, list });
    states.push(("looking", visit.state.clone()));
    visit.send(Event::PairJudged(PairChoice::Right));
    visit.send(Event::ReportToggled(0));
    visit.send(Event::PanelToggled(Panel::Ratings));
    states.push(("judged", visit.state.clone()));
    visit.send(Event::SendPressed);
    states.push(("sending", visit.state.clone()));
    let id = visit.rating().id.clone();
    visit.send(Event::Posted(Err(PostError::Refused(vec![(id, "too old".into())]))));
    states.push(("refused", visit.state.clone()));
    visit.send(Event::RatingsDeleted);
    states.push(("deleted", visit.state));
    let mut visit = Visit::before_consent(Visit::single(), catalog(1000, None));
    visit.one();
    visit.send(Event::EditOpened);
    states.push(("editing", visit.state.clone()));
    visit.send(Event::Starred(4));
    states.push(("consent", visit.state.clone()));
    visit.send(Event::ConsentGiven);
    states.push(("starred", visit.state));
    states
}
