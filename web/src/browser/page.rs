//! The loop: an event changes the state, what the page asks is done, and the page is drawn: at once what
//! the visitor did, all else at most once a frame.
//!
//! Every event, each message of an engine too, is taken at once and in a task of its own: an update is
//! short. What takes longer, to make the tree and to compare it, waits for the frame, however many
//! tokens came meanwhile; a hidden tab, which has no frames, still goes on loading.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use kudos_page::event::{Effect, Event, Opening, StorageState, Timer};
use kudos_page::{State, update, view};
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use wasm_bindgen_futures::spawn_local;

use super::bundles::Bundles;
use super::dom::Canvas;
use super::download::Wanted;
use super::engines::Engines;
use super::storage::Storage;
use super::surroundings::surroundings;
use super::waiting::{settled_within, sleep};
use super::{collector, listen, offline, screen, trouble};

/// The page does not wait longer for the graphics adapter: the engine asks again.
const ADAPTER_LIMIT_MS: i32 = 700;
/// The element of index.html that the page is drawn in.
const MOUNT: &str = "root";

/// The page, shared by everything that tells it what happened.
#[derive(Clone)]
pub(crate) struct Page(Rc<Inner>);

struct Inner {
    state: RefCell<State>,
    coming: RefCell<VecDeque<Event>>,
    /// Whether events are being taken further up the stack.
    taking: Cell<bool>,
    /// Whether something happened since the page was drawn.
    stale: Cell<bool>,
    /// Whether a frame is asked for.
    frame_asked: Cell<bool>,
    on_frame: OnceCell<Closure<dyn Fn()>>,
    canvas: OnceCell<RefCell<Canvas>>,
    /// Element that gets the focus with the next frame.
    focus: Cell<Option<&'static str>>,
    storage: Storage,
    bundles: Bundles,
    engines: Engines,
}

/// Starts the page.
pub(crate) fn start() {
    trouble::report_panics();
    spawn_local(async {
        // Both ask the browser's other processes: together.
        let asked = adapter::ask();
        let (storage, found) = Storage::open().await;
        let adapter = match asked {
            Some(asked) => match settled_within(asked, ADAPTER_LIMIT_MS).await {
                Ok(handed_out) => adapter::told(&handed_out),
                Err(_) => None,
            },
            None => None,
        };
        let state = if found.is_some() { StorageState::Kept } else { StorageState::Refused };
        let found = found.unwrap_or_default();
        let opening = Opening {
            memory: found.memory,
            ratings: found.ratings,
            browser_locale: screen::window().navigator().language().unwrap_or_default(),
            has_webgpu: adapter::webgpu().is_some(),
            adapter,
            storage: state,
        };
        Page::new(storage).open(opening);
    });
}

impl Page {
    fn new(storage: Storage) -> Self {
        let page = Self(Rc::new(Inner {
            state: RefCell::new(State::default()),
            coming: RefCell::default(),
            taking: Cell::new(false),
            stale: Cell::new(false),
            frame_asked: Cell::new(false),
            on_frame: OnceCell::new(),
            canvas: OnceCell::new(),
            focus: Cell::new(None),
            storage,
            bundles: Bundles::default(),
            engines: Engines::default(),
        }));
        let mount = screen::document().get_element_by_id(MOUNT);
        let mount = mount.expect("index.html has an element for the page");
        let reacting = page.clone();
        let react = Rc::new(move |handler, event: &_| listen::react(&reacting, handler, event));
        let canvas = RefCell::new(Canvas::new(screen::document(), mount, react));
        drop(page.0.canvas.set(canvas));
        let drawing = page.clone();
        drop(page.0.on_frame.set(Closure::new(move || {
            drawing.0.frame_asked.set(false);
            drawing.draw();
        })));
        page
    }

    fn open(&self, opening: Opening) {
        listen::listen(self);
        self.send(Event::Opened(Box::new(opening)));
        if !screen::window().navigator().on_line() {
            self.send(Event::Online(false));
        }
        // At once, not with the next frame: until now the visitor reads that the page starts.
        self.draw();
    }

    /// What is told happened: it is taken now, or after what is being taken.
    pub(crate) fn send(&self, event: Event) {
        self.0.coming.borrow_mut().push_back(event);
        if self.0.taking.replace(true) {
            return;
        }
        loop {
            let event = self.0.coming.borrow_mut().pop_front();
            let Some(event) = event else { break };
            let effects = update(&mut self.0.state.borrow_mut(), event, &surroundings());
            effects.into_iter().for_each(|effect| self.act(effect));
        }
        self.0.taking.set(false);
        self.0.stale.set(true);
        self.ask_for_frame();
    }

    /// What the visitor did is shown as soon as the browser has told it to everybody, not with the next
    /// frame: the second click of two finds the button as the first one left it.
    pub(crate) fn send_of_visitor(&self, event: Event) {
        self.send(event);
        let page = self.clone();
        spawn_local(async move { page.draw() });
    }

    /// The bytes of the policy.
    pub(crate) fn bundles(&self) -> &Bundles {
        &self.0.bundles
    }

    /// The workers.
    pub(crate) fn engines(&self) -> &Engines {
        &self.0.engines
    }

    fn act(&self, effect: Effect) {
        match effect {
            Effect::FetchCatalog => collector::fetch_catalog(self),
            Effect::Download { url, sha256, bytes, shelf } => {
                self.0.bundles.download(self, Wanted { url, sha256, bytes }, shelf);
            }
            Effect::StartEngine(kind) => self.0.engines.start(self, kind),
            Effect::KillEngine(kind) => self.0.engines.kill(kind),
            Effect::Ask(kind, request) => self.0.engines.ask(self, kind, &request),
            Effect::KeepRating(rating) => self.0.storage.keep_rating(self, &rating),
            Effect::ForgetRatings(ids) => self.0.storage.forget_ratings(self, &ids),
            Effect::Remember(memory) => self.0.storage.remember(&memory),
            Effect::SaveFile { name, text } => screen::save_file(&name, &text),
            Effect::FetchQuery { url, rater, task } => {
                collector::fetch_query(self, &url, (&rater, &task));
            }
            Effect::Post { url, ratings } => collector::post(self, &url, ratings),
            Effect::After(pause_ms, timer) => self.send_later(pause_ms, timer),
            Effect::Focus(id) => self.0.focus.set(Some(id)),
            Effect::Announce(text) => screen::announce(&text),
            Effect::Reload => offline::take_over(),
        }
    }

    fn send_later(&self, pause_ms: u32, timer: Timer) {
        let page = self.clone();
        spawn_local(async move {
            sleep(i32::try_from(pause_ms).unwrap_or(i32::MAX)).await;
            page.send(Event::Timer(timer));
        });
    }

    fn ask_for_frame(&self) {
        if self.0.frame_asked.replace(true) {
            return;
        }
        let callback = self.0.on_frame.get().expect("it is set when the page is made");
        let asked = screen::window().request_animation_frame(callback.as_ref().unchecked_ref());
        asked.expect("a page may ask for a frame");
    }

    fn draw(&self) {
        if !self.0.stale.replace(false) {
            return;
        }
        let state = self.0.state.borrow();
        let (node, title, locale) = (view(&state), state.title(), state.locale());
        drop(state);
        screen::set_language(locale, title);
        let canvas = self.0.canvas.get().expect("it is set when the page is made");
        canvas.borrow_mut().draw(node);
        if let Some(id) = self.0.focus.take() {
            screen::focus(id);
        }
    }
}
