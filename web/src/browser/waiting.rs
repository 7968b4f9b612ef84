//! Waiting for the browser: promises, with a limit where one may never settle.

use js_sys::{Array, Function, Promise};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::screen::window;

/// What `promise` becomes.
///
/// # Errors
/// What it was rejected with.
pub(crate) async fn settled(promise: Promise) -> Result<JsValue, JsValue> {
    JsFuture::from(promise).await
}

/// What `promise` becomes, or an error after `limit_ms`: some browsers leave a refused question open.
///
/// # Errors
/// What it was rejected with, or that the time is over.
pub(crate) async fn settled_within(promise: Promise, limit_ms: i32) -> Result<JsValue, JsValue> {
    let late = Promise::new(&mut |_resolve: Function, reject: Function| {
        start(&reject, limit_ms, &JsValue::from_str("the browser does not answer"));
    });
    settled(Promise::race(&Array::of2(&promise, &late))).await
}

/// Waits `pause_ms`.
pub(crate) async fn sleep(pause_ms: i32) {
    let over = Promise::new(&mut |resolve: Function, _reject: Function| {
        start(&resolve, pause_ms, &JsValue::UNDEFINED);
    });
    drop(settled(over).await);
}

fn start(callback: &Function, after_ms: i32, argument: &JsValue) {
    let (window, callback) = (window(), callback.unchecked_ref());
    let timer =
        window.set_timeout_with_callback_and_timeout_and_arguments_1(callback, after_ms, argument);
    timer.expect("a page may set timers");
}
