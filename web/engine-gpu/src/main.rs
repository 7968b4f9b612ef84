//! The engine for graphics adapters: burn's WebGPU device, in a worker.

#[cfg(target_arch = "wasm32")]
mod adapter;

/// Starts the worker's loop; natively there is nothing to run.
fn main() {
    #[cfg(target_arch = "wasm32")]
    engine::worker::start(async {
        let adapter = adapter::find().await?;
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
