//! The service worker: it serves the page without a network, and tells when a new version waits.

use js_sys::Reflect;
use kudos_page::event::{EngineKind, Event};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{ServiceWorker, ServiceWorkerContainer, ServiceWorkerRegistration};

use super::listen::on;
use super::page::Page;
use super::screen::window;
use super::waiting::settled;

const SCRIPT: &str = "./sw.js";
/// Messages that sw.js understands.
const TAKE_OVER: &str = "take-over";
const KEEP_GPU: &str = "keep-gpu";

/// The interface, where the browser has it: only on secure pages.
fn container() -> Option<ServiceWorkerContainer> {
    let found = Reflect::get(&window().navigator(), &"serviceWorker".into()).ok()?;
    found.dyn_into().ok()
}

/// An engine is up, so its files are here: now the service worker may fetch what it keeps without being in
/// the way of a first visit.
pub(crate) fn engine_is_up(page: &Page, kind: EngineKind) {
    match kind {
        EngineKind::Cpu => register(page),
        EngineKind::Gpu => keep_gpu(),
    }
}

fn register(page: &Page) {
    let Some(container) = container() else { return };
    let page = page.clone();
    spawn_local(async move {
        // Without it the page works, but not offline.
        let Ok(registration) = settled(container.register(SCRIPT)).await else { return };
        watch(&page, &container, registration.unchecked_into());
    });
}

fn watch(page: &Page, container: &ServiceWorkerContainer, registration: ServiceWorkerRegistration) {
    // What waits behind no version at all is the first one, no update.
    if registration.waiting().is_some() && container.controller().is_some() {
        page.send(Event::UpdateWaits);
    }
    let (page, container) = (page.clone(), container.clone());
    let found = registration.clone();
    on(&registration, "updatefound", move |_| {
        let Some(coming) = found.installing() else { return };
        let (page, container, worker) = (page.clone(), container.clone(), coming.clone());
        on(&coming, "statechange", move |_| {
            if is_installed(&worker) && container.controller().is_some() {
                page.send(Event::UpdateWaits);
            }
        });
    });
}

fn is_installed(worker: &ServiceWorker) -> bool {
    let state = Reflect::get(worker, &"state".into());
    state.ok().and_then(|state| state.as_string()).as_deref() == Some("installed")
}

/// Lets the waiting version take over and loads the page anew.
pub(crate) fn take_over() {
    spawn_local(async {
        if let Some(container) = container()
            && let Ok(found) = settled(container.get_registration()).await
            && let Ok(registration) = found.dyn_into::<ServiceWorkerRegistration>()
            && let Some(waiting) = registration.waiting()
        {
            on(&container, "controllerchange", |_| reload());
            if waiting.post_message(&JsValue::from_str(TAKE_OVER)).is_ok() {
                return;
            }
        }
        reload();
    });
}

fn reload() {
    window().location().reload().expect("a page may load itself anew");
}

/// Has the GPU engine, which not everybody needs, kept too.
fn keep_gpu() {
    spawn_local(async {
        if let Some(container) = container()
            && let Ok(ready) = container.ready()
            && let Ok(ready) = settled(ready).await
            && let Some(active) = ready.unchecked_into::<ServiceWorkerRegistration>().active()
        {
            // Not kept means only that it is fetched again.
            drop(active.post_message(&JsValue::from_str(KEEP_GPU)));
        }
    });
}
