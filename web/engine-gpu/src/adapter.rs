//! What the browser tells of its graphics adapter, before burn asks for a device.

use engine::AdapterInfo;
use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// The adapter that a device would be made of.
///
/// # Errors
/// There is none: in words.
pub(crate) async fn find() -> Result<AdapterInfo, String> {
    let navigator = get(&js_sys::global(), "navigator");
    let gpu = get(&navigator, "gpu");
    let request: Function = get(&gpu, "requestAdapter")
        .dyn_into()
        .map_err(|_| "this browser has no WebGPU in workers".to_owned())?;
    let promise = request.call0(&gpu).map_err(words)?;
    let promise: Promise = promise.dyn_into().map_err(words)?;
    let adapter = JsFuture::from(promise).await.map_err(words)?;
    if adapter.is_null() || adapter.is_undefined() {
        return Err("the browser hands out no graphics adapter".to_owned());
    }
    let info = get(&adapter, "info");
    let told = ["vendor", "architecture", "description"].map(|name| get(&info, name).as_string());
    let name: Vec<String> = told.into_iter().flatten().filter(|word| !word.is_empty()).collect();
    let is = |object: &JsValue, name| get(object, name).as_bool() == Some(true);
    let name = if name.is_empty() { "unnamed adapter".to_owned() } else { name.join(" ") };
    Ok(AdapterInfo {
        software: is(&info, "isFallbackAdapter")
            || is(&adapter, "isFallbackAdapter")
            || name.to_lowercase().contains("swiftshader"),
        name,
        max_binding_bytes: get(&get(&adapter, "limits"), "maxStorageBufferBindingSize")
            .as_f64()
            .unwrap_or(0.0) as u64,
    })
}

/// A property; undefined where there is none.
fn get(object: &JsValue, name: &str) -> JsValue {
    if !object.is_instance_of::<Object>() {
        return JsValue::UNDEFINED;
    }
    Reflect::get(object, &name.into()).unwrap_or(JsValue::UNDEFINED)
}

fn words(error: JsValue) -> String {
    format!("{error:?}")
}
