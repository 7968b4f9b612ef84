//! What the visitor does, as events: the reactions that a node names, and keys outside of text fields.

use js_sys::Reflect;
use kudos_page::event::Event;
use kudos_page::node::Handler;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{Element, HtmlElement, HtmlInputElement, KeyboardEvent};

use super::page::Page;
use super::pictures;
use super::screen::{document, window};
use kudos_page::keys::{KeyTarget, is_for_page};

/// Does what a node's handler says.
pub(crate) fn react(page: &Page, handler: Handler, event: &web_sys::Event) {
    match handler {
        Handler::Send(event) => page.send_of_visitor(event),
        Handler::Instead(instead) => {
            event.prevent_default();
            page.send_of_visitor(instead);
        }
        Handler::Value(make) => {
            let target = event.target().expect("an event of an element has a target");
            let value = Reflect::get(&target, &"value".into()).ok();
            page.send_of_visitor(make(
                value.and_then(|value| value.as_string()).unwrap_or_default(),
            ));
        }
        Handler::File => {
            let target = event.target().expect("an event of an element has a target");
            let Ok(input) = target.dyn_into::<HtmlInputElement>() else { return };
            if let Some(file) = input.files().and_then(|files| files.get(0)) {
                page.bundles().open(page, file);
            }
            // The same file, chosen again, is a change again.
            input.set_value("");
        }
        Handler::Picture(size) => pictures::take(page, event, size),
        Handler::Pen(pen) => pictures::draw(page, event, pen),
    }
}

/// Listens to keys, to the connection.
pub(crate) fn listen(page: &Page) {
    let sender = page.clone();
    on(&document(), "keydown", move |event| {
        let event: &KeyboardEvent = event.unchecked_ref();
        if is_plain(event) && is_outside(event) {
            sender.send_of_visitor(Event::Key(event.key()));
        }
    });
    for (name, online) in [("online", true), ("offline", false)] {
        let sender = page.clone();
        on(&window(), name, move |_| sender.send(Event::Online(online)));
    }
}

/// Whether a key is pressed alone and once: held keys repeat, and one key is one rating.
fn is_plain(event: &KeyboardEvent) -> bool {
    let with_other = event.ctrl_key() || event.meta_key() || event.alt_key();
    !with_other && !event.repeat() && !event.is_composing() && !event.default_prevented()
}

fn is_outside(event: &KeyboardEvent) -> bool {
    let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    let Some(element) = target else { return true };
    if element.dyn_ref::<HtmlElement>().is_some_and(HtmlElement::is_content_editable) {
        return false;
    }
    let tag = element.tag_name().to_ascii_lowercase();
    let kind = element.get_attribute("type").unwrap_or_default().to_ascii_lowercase();
    is_for_page(&event.key(), KeyTarget { tag: &tag, kind: &kind })
}

/// Calls `callback` on events of this name as long as the page lives.
pub(crate) fn on(
    target: &web_sys::EventTarget,
    name: &str,
    callback: impl Fn(&web_sys::Event) + 'static,
) {
    let closure = Closure::<dyn Fn(web_sys::Event)>::new(move |event| callback(&event));
    let added = target.add_event_listener_with_callback(name, closure.as_ref().unchecked_ref());
    added.expect("any name is allowed");
    closure.forget();
}
