//! The engine that runs in every browser: burn's flex device with SIMD, in a worker.

#[cfg(target_arch = "wasm32")]
mod row;

/// Starts the worker's loop; natively there is nothing to run.
fn main() {
    #[cfg(target_arch = "wasm32")]
    engine::worker::start(async {
        Ok(engine::worker::Started {
            device: burn::tensor::Device::flex(),
            backend: "flex, wasm with SIMD".to_owned(),
            adapter: None,
            reads: engine::Reads::Cheap,
            prepare: row::prepare,
        })
    });
}
