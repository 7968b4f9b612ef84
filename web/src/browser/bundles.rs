//! The bytes of the policy at hand, downloaded or from the visitor's disk, and those of a guest, until
//! engines take them. They stay in JavaScript's memory: wasm memory never shrinks.

use std::cell::{Cell, RefCell};

use js_sys::ArrayBuffer;
use kudos_page::event::{DownloadEvent, EngineKind, Event, Shelf};
use kudos_schema::{Failure, FailureKind, Reply};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::{AbortController, File};

use super::download::{Course, Transfer, Wanted, told};
use super::page::Page;
use super::trouble::words;
use super::waiting::settled;

/// The bytes at hand, with the one download that may be under way.
#[derive(Default)]
pub(crate) struct Bundles {
    /// Counts what was begun; what is not the latest has no say any more.
    turn: Cell<u32>,
    under_way: RefCell<Option<AbortController>>,
    at_hand: RefCell<Option<Held>>,
    base: RefCell<Option<Held>>,
    guest: RefCell<Option<Held>>,
}

struct Held {
    /// None for a file of the visitor's own.
    sha256: Option<String>,
    bytes: ArrayBuffer,
}

impl Held {
    fn is(&self, sha256: &str) -> bool {
        self.sha256.as_deref() == Some(sha256)
    }
}

impl Bundles {
    /// Fetches a bundle; one under way is given up.
    pub(crate) fn download(&self, page: &Page, wanted: Wanted, shelf: Shelf) {
        let turn = self.begin();
        let has = |place: &RefCell<Option<Held>>| {
            place.borrow().as_ref().is_some_and(|held| held.is(&wanted.sha256))
        };
        // A policy that was at hand is now a base, or the other way round.
        let (here, other) = match shelf {
            Shelf::AtHand => (&self.at_hand, Some(&self.base)),
            Shelf::Base => (&self.base, Some(&self.at_hand)),
            Shelf::Adapter => (&self.at_hand, None),
            Shelf::Guest => (&self.guest, None),
        };
        if let Some(other) = other.filter(|other| has(other)) {
            here.swap(other);
        }
        if shelf == Shelf::AtHand {
            self.base.take();
        }
        if has(here) {
            page.send(told(shelf, DownloadEvent::Done));
            return;
        }
        // What was there before need not be in memory at once.
        here.take();
        if shelf != Shelf::Guest {
            self.guest.take();
        }
        let controller = AbortController::new().ok();
        let signal = controller.as_ref().map(AbortController::signal);
        self.under_way.replace(controller);
        let page = page.clone();
        spawn_local(async move {
            let sha256 = Some(wanted.sha256.clone());
            match Transfer::begin(&page, wanted, Course { turn, shelf, signal }) {
                Ok(transfer) => {
                    let Some((last, bytes)) = transfer.run().await else { return };
                    if page.bundles().is_current(turn) {
                        let held = bytes.map(|bytes| Held { sha256, bytes });
                        page.bundles().shelf(shelf).replace(held);
                        page.send(told(shelf, last));
                    }
                }
                Err(error) => page.send(failed(FailureKind::OutOfMemory, words(&error))),
            }
        });
    }

    /// Takes a bundle of the visitor's own; a download under way is given up.
    pub(crate) fn open(&self, page: &Page, file: File) {
        let turn = self.begin();
        let page = page.clone();
        spawn_local(async move {
            let read = settled(file.array_buffer()).await;
            if !page.bundles().is_current(turn) {
                return;
            }
            page.send(match read {
                Ok(bytes) => {
                    let bytes: ArrayBuffer = bytes.unchecked_into();
                    page.bundles().at_hand.replace(Some(Held { sha256: None, bytes }));
                    Event::OwnBundle { name: file.name(), bytes: file.size() as u64 }
                }
                Err(error) => failed(FailureKind::WrongBundle, words(&error)),
            });
        });
    }

    /// The bytes of this hash, those of the visitor's own file without one.
    pub(crate) fn bytes(&self, sha256: Option<&str>) -> Option<ArrayBuffer> {
        let own = |held: &Held| held.sha256.is_none() || sha256.is_some_and(|hash| held.is(hash));
        [&self.guest, &self.at_hand, &self.base].iter().find_map(|place| {
            let place = place.borrow();
            place.as_ref().filter(|held| own(held)).map(|held| held.bytes.clone())
        })
    }

    fn shelf(&self, shelf: Shelf) -> &RefCell<Option<Held>> {
        match shelf {
            Shelf::AtHand | Shelf::Adapter => &self.at_hand,
            Shelf::Base => &self.base,
            Shelf::Guest => &self.guest,
        }
    }

    /// Whether nothing was begun after this turn.
    pub(crate) fn is_current(&self, turn: u32) -> bool {
        self.turn.get() == turn
    }

    fn begin(&self) -> u32 {
        self.turn.set(self.turn.get() + 1);
        if let Some(controller) = self.under_way.take() {
            controller.abort();
        }
        self.turn.get()
    }
}

/// What the page says of bytes that never reached an engine.
fn failed(cause: FailureKind, detail: String) -> Event {
    let failed = Reply::Failed(Failure { id: None, cause, detail });
    Event::Engine(EngineKind::Cpu, Box::new(failed))
}
