//! The engines' workers: a message each way is `{ json, bytes?, base? }`.

use std::cell::RefCell;

use js_sys::{Object, Reflect};
use kudos_page::event::{EngineKind, Event};
use kudos_schema::{Reply, Request};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{ErrorEvent, MessageEvent, Worker, WorkerOptions, WorkerType};

use super::offline;
use super::page::Page;
use super::trouble::words;

/// The workers that run.
#[derive(Default)]
pub(crate) struct Engines {
    cpu: RefCell<Option<Running>>,
    gpu: RefCell<Option<Running>>,
}

struct Running {
    worker: Worker,
    /// What the worker calls as long as it runs.
    _callbacks: [Closure<dyn Fn(web_sys::Event)>; 2],
}

impl Engines {
    /// Starts the worker of an engine anew.
    pub(crate) fn start(&self, page: &Page, kind: EngineKind) {
        self.kill(kind);
        match Running::start(page, kind) {
            Ok(running) => drop(self.place(kind).replace(Some(running))),
            Err(error) => page.send(Event::EngineDied(kind, words(&error))),
        }
    }

    /// Ends the worker of an engine, if it runs.
    pub(crate) fn kill(&self, kind: EngineKind) {
        drop(self.place(kind).take());
    }

    /// Sends a request; one to an engine that has died meanwhile is lost like the engine.
    pub(crate) fn ask(&self, page: &Page, kind: EngineKind, request: &Request) {
        let place = self.place(kind).borrow();
        let Some(running) = place.as_ref() else { return };
        let sent = message(page, request).and_then(|message| running.worker.post_message(&message));
        drop(place);
        if let Err(error) = sent {
            // Too little memory for a copy of the bytes is what can happen here.
            self.kill(kind);
            page.send(Event::EngineDied(kind, words(&error)));
        }
    }

    fn place(&self, kind: EngineKind) -> &RefCell<Option<Running>> {
        match kind {
            EngineKind::Cpu => &self.cpu,
            EngineKind::Gpu => &self.gpu,
        }
    }
}

/// The file that starts the worker of an engine, beside the page.
fn loader(kind: EngineKind) -> &'static str {
    match kind {
        EngineKind::Cpu => "./engine-cpu_loader.js",
        EngineKind::Gpu => "./engine-gpu_loader.js",
    }
}

/// A request as the worker takes it. Bytes are copied on the way: the other engine needs them too.
fn message(page: &Page, request: &Request) -> Result<Object, JsValue> {
    let message = Object::new();
    let json = serde_json::to_string(request).expect("a request is JSON");
    Reflect::set(&message, &"json".into(), &json.into())?;
    match request {
        Request::Load { sha256, base, .. } => {
            let beside = |name: &str, sha256: Option<&str>| {
                let bytes = page.bundles().bytes(sha256);
                bytes.map_or(Ok(true), |bytes| Reflect::set(&message, &name.into(), &bytes))
            };
            beside("bytes", sha256.as_deref())?;
            if base.is_some() {
                beside("base", base.as_deref())?;
            }
        }
        Request::Probe | Request::Write(_) | Request::Stop { .. } | Request::Alternatives(_) => {}
    }
    Ok(message)
}

impl Running {
    fn start(page: &Page, kind: EngineKind) -> Result<Self, JsValue> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let worker = Worker::new_with_options(loader(kind), &options)?;
        let sender = page.clone();
        let heard = Closure::<dyn Fn(web_sys::Event)>::new(move |event: web_sys::Event| {
            hear(&sender, kind, event.unchecked_ref());
        });
        let sender = page.clone();
        let died = Closure::<dyn Fn(web_sys::Event)>::new(move |event: web_sys::Event| {
            let message = event.dyn_ref::<ErrorEvent>().map(ErrorEvent::message);
            let message = message.filter(|message| !message.is_empty());
            die(&sender, kind, message.unwrap_or_else(|| format!("{} did not load", loader(kind))));
        });
        worker.set_onmessage(Some(heard.as_ref().unchecked_ref()));
        worker.set_onmessageerror(Some(died.as_ref().unchecked_ref()));
        worker.set_onerror(Some(died.as_ref().unchecked_ref()));
        Ok(Self { worker, _callbacks: [heard, died] })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onmessageerror(None);
        self.worker.set_onerror(None);
        self.worker.terminate();
    }
}

fn hear(page: &Page, kind: EngineKind, event: &MessageEvent) {
    let json = Reflect::get(&event.data(), &"json".into()).ok().and_then(|json| json.as_string());
    match serde_json::from_str(&json.unwrap_or_default()) {
        Ok(reply) => {
            if matches!(reply, Reply::Ready { .. }) {
                offline::engine_is_up(page, kind);
            }
            page.send(Event::Engine(kind, Box::new(reply)));
        }
        Err(error) => die(page, kind, format!("a message that is none: {error}")),
    }
}

fn die(page: &Page, kind: EngineKind, reason: String) {
    page.engines().kill(kind);
    page.send(Event::EngineDied(kind, reason));
}
