//! The engine for graphics adapters: burn's WebGPU device, in a worker.

/// Starts the worker's loop; natively there is nothing to run.
fn main() {
    #[cfg(target_arch = "wasm32")]
    engine::worker::start(async {
        let adapter = find_adapter().await?;
        let device = burn::tensor::Device::wgpu_options().init_async().await;
        Ok(engine::worker::Started {
            device: device.map_err(|error| error.to_string())?,
            backend: format!("WebGPU, {}", adapter.name),
            adapter: Some(adapter),
            reads: engine::Reads::Dear,
            prepare: |model| model,
        })
    });
}

/// What the browser tells of the adapter that a device would be made of.
#[cfg(target_arch = "wasm32")]
async fn find_adapter() -> Result<engine::AdapterInfo, String> {
    let asked = adapter::ask().ok_or("this browser has no WebGPU in workers")?;
    let handed_out = wasm_bindgen_futures::JsFuture::from(asked).await;
    let adapter = handed_out.map_err(|error| format!("{error:?}"))?;
    adapter::told(&adapter).ok_or_else(|| "the browser hands out no graphics adapter".to_owned())
}
