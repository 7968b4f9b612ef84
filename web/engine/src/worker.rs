//! The session in a Web Worker: messages `{ json, bytes?, base? }` in and out.

use std::cell::Cell;
use std::rc::Rc;

use burn::tensor::Device;
use futures_channel::mpsc::{UnboundedReceiver, unbounded};
use futures_util::StreamExt;
use js_sys::{ArrayBuffer, Function, Object, Promise, Reflect, Uint8Array};
use kudos_core::model::Transformer;
use kudos_schema::{AdapterInfo, Failure, FailureKind, Reply, Request};
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{DedicatedWorkerGlobalScope, MessageChannel, MessageEvent};

use crate::session::{Host, Reads, Session, failure_of_panic};

/// A device that is up.
#[derive(Debug)]
pub struct Started {
    /// The device.
    pub device: Device,
    /// It in words.
    pub backend: String,
    /// The graphics adapter, if that computes.
    pub adapter: Option<AdapterInfo>,
    /// What reading from it costs.
    pub reads: Reads,
    /// How it wants the weights of a model laid out.
    pub prepare: fn(Transformer) -> Transformer,
}

/// A message with the bytes that came beside it.
type Mail = (Request, Vec<Vec<u8>>);

/// Answers messages for as long as the worker lives; `device` fails with words if there is none.
pub fn start(device: impl Future<Output = Result<Started, String>> + 'static) {
    // The program aborts after a panic: what it says is the last message.
    std::panic::set_hook(Box::new(|panic| {
        let detail = panic.to_string();
        let cause = failure_of_panic(&detail);
        post(&Reply::Failed(Failure { id: None, cause, detail }));
    }));
    let stopped = Rc::new(Cell::new(None));
    let mail = listen(Rc::clone(&stopped));
    spawn_local(async move {
        match device.await {
            Ok(started) => serve(started, mail, stopped).await,
            Err(detail) => {
                let cause = FailureKind::NoAdapter;
                post(&Reply::Failed(Failure { id: None, cause, detail }));
            }
        }
    });
}

async fn serve(
    started: Started,
    mut mail: UnboundedReceiver<Mail>,
    stopped: Rc<Cell<Option<u64>>>,
) {
    let Started { device, backend, adapter, reads, prepare } = started;
    post(&Reply::Ready { backend, adapter });
    let host = Worker { stopped, breath: Breath::new() };
    let mut session = Session::new(device, reads, host).preparing(prepare);
    while let Some((request, bytes)) = mail.next().await {
        let bundles: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        session.handle(request, &bundles).await;
    }
}

/// Puts every message into the queue; a wish to stop is heard at once.
fn listen(stopped: Rc<Cell<Option<u64>>>) -> UnboundedReceiver<Mail> {
    let (sender, receiver) = unbounded();
    let hear = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        let data = event.data();
        let json = Reflect::get(&data, &"json".into()).ok().and_then(|json| json.as_string());
        let bytes = ["bytes", "base"].iter().filter_map(|name| {
            let bytes = Reflect::get(&data, &(*name).into()).ok()?;
            let bytes = bytes.dyn_into::<ArrayBuffer>().ok()?;
            Some(Uint8Array::new(&bytes).to_vec())
        });
        let bytes = bytes.collect();
        match serde_json::from_str(&json.unwrap_or_default()) {
            Ok(Request::Stop { id }) => stopped.set(Some(id)),
            Ok(request) => drop(sender.unbounded_send((request, bytes))),
            Err(error) => {
                let (cause, detail) = (FailureKind::Defect, error.to_string());
                post(&Reply::Failed(Failure { id: None, cause, detail }));
            }
        }
    });
    scope().set_onmessage(Some(hear.as_ref().unchecked_ref()));
    hear.forget();
    receiver
}

fn scope() -> DedicatedWorkerGlobalScope {
    js_sys::global().unchecked_into()
}

fn post(reply: &Reply) {
    let json = serde_json::to_string(reply).expect("replies are JSON");
    let message = Object::new();
    // A plain object takes properties, and a string can be cloned.
    let _ = Reflect::set(&message, &"json".into(), &json.into());
    let _ = scope().post_message(&message);
}

#[derive(Debug)]
struct Worker {
    /// The completion that was asked to stop last.
    stopped: Rc<Cell<Option<u64>>>,
    breath: Breath,
}

impl Host for Worker {
    fn post(&self, reply: Reply) {
        post(&reply);
    }

    fn now_ms(&self) -> f64 {
        scope().performance().map_or(0.0, |clock| clock.now())
    }

    async fn breathe(&self) {
        self.breath.take().await;
    }

    fn is_stopped(&self, id: u64) -> bool {
        self.stopped.get() == Some(id)
    }
}

/// Lets the event loop turn once: a message to oneself comes after the messages that wait. Timers
/// would do the same, but browsers round them up to four milliseconds.
#[derive(Debug)]
struct Breath {
    channel: MessageChannel,
}

impl Breath {
    fn new() -> Self {
        Self { channel: MessageChannel::new().expect("workers have message channels") }
    }

    async fn take(&self) {
        let turned = Promise::new(&mut |resolve: Function, _| {
            self.channel.port1().set_onmessage(Some(&resolve));
        });
        if self.channel.port2().post_message(&JsValue::NULL).is_ok() {
            // A promise that is only resolved does not fail.
            let _ = JsFuture::from(turned).await;
        }
    }
}
