//! The bytes of the policy at hand, downloaded or from the visitor's disk, until engines take them. They
//! stay in JavaScript's memory: wasm memory never shrinks.

use std::cell::{Cell, RefCell};

use js_sys::ArrayBuffer;
use kudos_page::event::{DownloadEvent, EngineKind, Event};
use kudos_schema::{Failure, FailureKind, Reply};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::{AbortController, File};

use super::download::{Transfer, Wanted};
use super::page::Page;
use super::trouble::words;
use super::waiting::settled;

/// The bytes at hand, with the one download that may be under way.
#[derive(Default)]
pub(crate) struct Bundles {
    /// Counts what was begun; what is not the latest has no say any more.
    turn: Cell<u32>,
    under_way: RefCell<Option<AbortController>>,
    held: RefCell<Option<Held>>,
}

struct Held {
    /// None for a file of the visitor's own.
    sha256: Option<String>,
    bytes: ArrayBuffer,
}

impl Bundles {
    /// Fetches a bundle; one under way is given up.
    pub(crate) fn download(&self, page: &Page, wanted: Wanted) {
        let turn = self.begin();
        if self
            .held
            .borrow()
            .as_ref()
            .is_some_and(|held| held.sha256.as_ref() == Some(&wanted.sha256))
        {
            page.send(Event::Download(DownloadEvent::Done));
            return;
        }
        // Two policies need not be in memory at once.
        self.held.take();
        let controller = AbortController::new().ok();
        let signal = controller.as_ref().map(AbortController::signal);
        self.under_way.replace(controller);
        let page = page.clone();
        spawn_local(async move {
            let sha256 = Some(wanted.sha256.clone());
            match Transfer::begin(&page, wanted, turn, signal) {
                Ok(transfer) => {
                    let Some((last, bytes)) = transfer.run().await else { return };
                    if page.bundles().is_current(turn) {
                        page.bundles().held.replace(bytes.map(|bytes| Held { sha256, bytes }));
                        page.send(Event::Download(last));
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
                    page.bundles().held.replace(Some(Held { sha256: None, bytes }));
                    Event::OwnBundle { name: file.name(), bytes: file.size() as u64 }
                }
                Err(error) => failed(FailureKind::WrongBundle, words(&error)),
            });
        });
    }

    /// The bytes at hand.
    pub(crate) fn bytes(&self) -> Option<ArrayBuffer> {
        self.held.borrow().as_ref().map(|held| held.bytes.clone())
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
    Event::Engine(EngineKind::Cpu, Reply::Failed(Failure { id: None, cause, detail }))
}
