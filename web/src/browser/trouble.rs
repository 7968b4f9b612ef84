//! What went wrong, in words.

use std::panic;

use wasm_bindgen::{JsCast, JsValue};

/// The browser's words for an error.
pub(crate) fn words(error: &JsValue) -> String {
    let message = error.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
    let message = message
        .or_else(|| error.dyn_ref::<web_sys::DomException>().map(web_sys::DomException::message))
        .or_else(|| error.as_string());
    message.unwrap_or_else(|| format!("{error:?}"))
}

/// Puts the words of a panic on the console; boot.js sees the error and tells the visitor what to do.
pub(crate) fn report_panics() {
    panic::set_hook(Box::new(|info| {
        web_sys::console::error_1(&JsValue::from_str(&info.to_string()));
    }));
}
