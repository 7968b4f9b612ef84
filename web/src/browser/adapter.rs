//! What the browser says of its graphics adapter before any engine runs.

use js_sys::{Function, Promise, Reflect};
use kudos_schema::AdapterInfo;
use wasm_bindgen::{JsCast, JsValue};

use super::screen::window;
use super::waiting::settled_within;

/// The page does not wait longer for it: the engine asks again.
const LIMIT_MS: i32 = 700;

/// The browser's WebGPU, if it has it.
pub(crate) fn webgpu() -> Option<JsValue> {
    let gpu = Reflect::get(&window().navigator(), &"gpu".into()).ok()?;
    gpu.is_object().then_some(gpu)
}

/// Asks the browser for its adapter; the answer comes while other things are done.
pub(crate) fn ask() -> Option<Promise> {
    let gpu = webgpu()?;
    // WebGPU is still called unstable by the bindings: these few names are asked for by hand.
    let ask: Function = Reflect::get(&gpu, &"requestAdapter".into()).ok()?.dyn_into().ok()?;
    ask.call0(&gpu).ok()?.dyn_into().ok()
}

/// What the browser tells of the adapter that it was asked for, if it does in time.
pub(crate) async fn told(asked: Promise) -> Option<AdapterInfo> {
    let adapter = settled_within(asked, LIMIT_MS).await.ok().filter(JsValue::is_object)?;
    let limits = field(&adapter, "limits");
    let info = field(&adapter, "info");
    let bytes = field(&limits, "maxStorageBufferBindingSize").as_f64()?;
    let name = name(&info);
    let fallback = |of: &JsValue| field(of, "isFallbackAdapter").is_truthy();
    let software =
        fallback(&info) || fallback(&adapter) || name.to_ascii_lowercase().contains("swiftshader");
    Some(AdapterInfo { name, max_binding_bytes: bytes as u64, software })
}

fn name(info: &JsValue) -> String {
    let text = |of: &str| field(info, of).as_string().filter(|text| !text.is_empty());
    let parts = ["vendor", "architecture"].map(text);
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    text("description").unwrap_or_else(|| parts.join(" "))
}

fn field(of: &JsValue, name: &str) -> JsValue {
    Reflect::get(of, &JsValue::from_str(name)).unwrap_or_default()
}
