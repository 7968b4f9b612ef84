//! What a browser tells of its graphics adapter: the page asks before any engine runs, the engine before burn asks for a device.
//!
//! WebGPU is still called unstable by the bindings: its few names are asked for by hand.
#![cfg(target_arch = "wasm32")]

use js_sys::{Function, Promise, Reflect};
use kudos_schema::AdapterInfo;
use wasm_bindgen::{JsCast, JsValue};

/// The browser's WebGPU, if it has it here: some have it in pages and not in workers.
#[must_use]
pub fn webgpu() -> Option<JsValue> {
    let gpu = field(&field(&js_sys::global(), "navigator"), "gpu");
    gpu.is_object().then_some(gpu)
}

/// Asks for the adapter that a device would be made of, which [`told`] reads; none where there is no WebGPU.
#[must_use]
pub fn ask() -> Option<Promise> {
    let gpu = webgpu()?;
    let ask: Function = field(&gpu, "requestAdapter").dyn_into().ok()?;
    ask.call0(&gpu).ok()?.dyn_into().ok()
}

/// What the browser tells of the adapter that it handed out; none if it handed out none.
#[must_use]
pub fn told(adapter: &JsValue) -> Option<AdapterInfo> {
    let info = field(adapter, "info");
    let bytes = field(&field(adapter, "limits"), "maxStorageBufferBindingSize").as_f64()?;
    let name = name(&info);
    let fallback = |of: &JsValue| field(of, "isFallbackAdapter").is_truthy();
    let software =
        fallback(&info) || fallback(adapter) || name.to_ascii_lowercase().contains("swiftshader");
    Some(AdapterInfo { name, max_binding_bytes: bytes as u64, software })
}

/// Firefox tells nothing of what it has.
fn name(info: &JsValue) -> String {
    let text = |of: &str| field(info, of).as_string().filter(|text| !text.is_empty());
    let parts: Vec<String> =
        ["vendor", "architecture", "description"].into_iter().filter_map(text).collect();
    if parts.is_empty() { "unnamed adapter".to_owned() } else { parts.join(" ") }
}

/// A property; undefined where there is none.
fn field(of: &JsValue, name: &str) -> JsValue {
    Reflect::get(of, &JsValue::from_str(name)).unwrap_or_default()
}
