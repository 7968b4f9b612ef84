//! Laws of the state, played as visits: events in, effects out.

mod adapters;
pub(crate) mod asked;
pub(crate) mod drawing;
mod engines;
mod guests;
mod judging;
mod outbox;
mod page;
mod writing;

use std::collections::BTreeMap;

use kudos_schema::{
    AdapterInfo, Catalog, CatalogEntry, EndReason, Loaded, PolicyManifest, Rating, Reply, Request,
    Sampling, WriteRequest, Written,
};

use super::{State, update};
use crate::event::{
    DownloadEvent, Effect, EngineKind, Event, Memory, Mode, Opening, StoredRating, Surroundings,
};

/// The address of the collector of these tests.
pub(crate) const COLLECTOR: &str = "https://collect.example/ratings";
/// The name of the policy of these tests, which occurs in no text of the page.
pub(crate) const POLICY: &str = "Zebra-7";

/// A visit: a page, a clock and dice that are never the same twice.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(crate) state: State,
    pub(crate) now_ms: f64,
    dice: u64,
    /// Everything that was asked of the browser.
    pub(crate) effects: Vec<Effect>,
}

pub(crate) fn manifest(parameters: u64) -> PolicyManifest {
    let prompts = [
        ("dialogue", vec!["Hello.", "What is a tree?"]),
        ("sentences", vec!["Once upon"]),
        ("triples", vec!["A cat is an animal."]),
        ("summary", vec!["A long text."]),
    ];
    let owned = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect();
    PolicyManifest {
        name: POLICY.into(),
        tasks: prompts.iter().map(|(task, _)| (*task).to_owned()).collect(),
        parameters,
        context_length: 256,
        cache_bytes_per_token: 1024,
        sampling: Sampling { top_k: 40, ..Sampling::default() },
        prompts: prompts.into_iter().map(|(task, list)| (task.to_owned(), owned(list))).collect(),
        ..PolicyManifest::default()
    }
}

pub(crate) fn catalog(parameters: u64, collector: Option<&str>) -> Catalog {
    let entry = |file: &str, sha: &str| CatalogEntry {
        file: file.to_owned(),
        bytes: 1000,
        sha256: sha.repeat(64),
        manifest: manifest(parameters),
    };
    Catalog {
        collector: collector.map(str::to_owned),
        policies: vec![entry("a.bundle", "a"), entry("b.bundle", "b")],
    }
}

/// A token whose log-probabilities are those of a probability of one half.
pub(crate) fn token(id: u32, text: &str) -> Written {
    Written { id, text: text.to_owned(), logprob_drawn: -0.5, logprob_full: -0.7 }
}

impl Visit {
    /// A page that is up and nothing else.
    pub(crate) fn opened(opening: Opening) -> Self {
        let now_ms = 1_795_500_000_000.0;
        let mut visit = Self { state: State::default(), now_ms, dice: 1, effects: Vec::new() };
        visit.send(Event::Opened(Box::new(opening)));
        visit
    }

    /// A page that can write on the CPU; consent is given.
    pub(crate) fn ready() -> Self {
        Self::ready_with(Opening::default(), catalog(1000, None))
    }

    pub(crate) fn ready_with(mut opening: Opening, catalog: Catalog) -> Self {
        opening.memory.consent = super::record::CONSENT_VERSION.to_owned();
        Self::before_consent(opening, catalog)
    }

    pub(crate) fn before_consent(opening: Opening, catalog: Catalog) -> Self {
        let mut visit = Self::opened(opening);
        visit.send(Event::CatalogCame(Ok(catalog)));
        visit.reply(EngineKind::Cpu, ready("cpu"));
        visit.send(Event::Download(DownloadEvent::Done));
        visit.reply(EngineKind::Cpu, loaded(&visit.state));
        visit.reply(EngineKind::Cpu, probed(vec![-1.0, -2.0], 100.0));
        visit
    }

    pub(crate) fn single() -> Opening {
        Opening { memory: Memory { mode: Mode::Single, ..Memory::default() }, ..Opening::default() }
    }

    /// Sends an event; what it asked for.
    pub(crate) fn send(&mut self, event: Event) -> Vec<Effect> {
        let surroundings = self.surroundings();
        let effects = update(&mut self.state, event, &surroundings);
        self.effects.extend(effects.clone());
        effects
    }

    fn surroundings(&mut self) -> Surroundings {
        let mut random = [0; 48];
        for byte in &mut random {
            // Knuth's multiplier: any fixed sequence will do.
            self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (self.dice >> 56) as u8;
        }
        self.now_ms += 1.0;
        Surroundings { now_ms: self.now_ms, now: "2026-11-24T10:00:00.123Z".into(), random }
    }

    /// Other dice from here on.
    pub(crate) fn shake(&mut self, dice: u64) {
        self.dice = dice;
    }

    pub(crate) fn reply(&mut self, kind: EngineKind, reply: Reply) -> Vec<Effect> {
        self.send(Event::Engine(kind, Box::new(reply)))
    }

    pub(crate) fn key(&mut self, key: &str) -> Vec<Effect> {
        self.send(Event::Key(key.to_owned()))
    }

    /// The last request to write, and whom it was put to.
    pub(crate) fn asked(&self) -> (EngineKind, WriteRequest) {
        let write = |effect: &Effect| {
            let Effect::Ask(kind, Request::Write(request)) = effect else { return None };
            Some((*kind, request.clone()))
        };
        self.effects.iter().rev().find_map(write).expect("something was to be written")
    }

    /// The engine writes these words as the text that was asked for last, and ends.
    pub(crate) fn writes(&mut self, words: &[&str]) {
        self.begins(words);
        self.ends(EndReason::Stop);
    }

    pub(crate) fn begins(&mut self, words: &[&str]) {
        let (kind, request) = self.asked();
        let prompt_ids = [1, 2, 3].into_iter().chain(request.begin).collect();
        self.reply(kind, Reply::Began { id: request.id, prompt_ids });
        let tokens = (10..).zip(words).map(|(id, word)| token(id, word)).collect();
        self.reply(kind, Reply::Wrote { id: request.id, tokens });
    }

    pub(crate) fn ends(&mut self, reason: EndReason) -> Vec<Effect> {
        let (kind, request) = self.asked();
        let (rest, seconds, reads) = (String::new(), 0.5, 2);
        self.reply(kind, Reply::Ended { id: request.id, reason, rest, seconds, reads })
    }

    /// Both texts of a pair stand there.
    pub(crate) fn pair(&mut self) {
        self.send(Event::WritePressed);
        self.writes(&["one", " text"]);
        self.writes(&["another", " text"]);
    }

    /// The one text stands there.
    pub(crate) fn one(&mut self) {
        self.send(Event::WritePressed);
        self.writes(&["one", " text"]);
    }

    /// The one rating that is there.
    pub(crate) fn rating(&self) -> &Rating {
        let [stored] = self.state.ratings.as_slice() else {
            panic!("{} ratings", self.state.ratings.len())
        };
        &stored.rating
    }

    pub(crate) fn place_texts(&self) -> Vec<String> {
        let round = self.state.round.as_ref().expect("there is a round");
        round.completions.iter().map(|completion| completion.whole()).collect()
    }
}

pub(crate) fn ready(backend: &str) -> Reply {
    Reply::Ready { backend: backend.to_owned(), adapter: None }
}

pub(crate) fn ready_gpu() -> Reply {
    Reply::Ready { backend: "webgpu".to_owned(), adapter: Some(adapter(1 << 30)) }
}

pub(crate) fn adapter(max_binding_bytes: u64) -> AdapterInfo {
    AdapterInfo { name: "Lavender".into(), max_binding_bytes, software: false }
}

pub(crate) fn loaded(state: &State) -> Reply {
    let manifest = state.bundle.manifest.clone().unwrap_or_else(|| manifest(1000));
    let sha256 = state.entry().map_or_else(|| "c".repeat(64), |entry| entry.sha256.clone());
    Reply::Loaded(Loaded { sha256, manifest, seconds: 0.1 })
}

pub(crate) fn probed(logprobs: Vec<f32>, tokens_per_second: f64) -> Reply {
    Reply::Probed { logprobs, tokens_per_second }
}

/// What was asked of the engines, in words.
pub(crate) fn asks(effects: &[Effect]) -> Vec<String> {
    let mut asked = Vec::new();
    for effect in effects {
        if let Effect::StartEngine(kind) = effect {
            asked.push(format!("start {kind:?}"));
        } else if let Effect::KillEngine(kind) = effect {
            asked.push(format!("kill {kind:?}"));
        } else if let Effect::Ask(kind, request) = effect {
            let what = match request {
                Request::Load { .. } => "load",
                Request::Probe => "probe",
                Request::Write(_) => "write",
                Request::Stop { .. } => "stop",
                Request::Alternatives(_) => "alternatives",
            };
            asked.push(format!("{what} {kind:?}"));
        }
    }
    asked
}

/// The ratings that were to be kept, each as it was the last time.
pub(crate) fn kept(effects: &[Effect]) -> Vec<&StoredRating> {
    let mut last = BTreeMap::new();
    for effect in effects {
        if let Effect::KeepRating(stored) = effect {
            last.insert(stored.rating.id.as_str(), &**stored);
        }
    }
    last.into_values().collect()
}
