//! The browser side: it makes what the page shows true, does what the page asks, and tells what happened.
//!
//! Decisions that are pure live in modules of their own, which natively only their tests use.

#[cfg(any(test, target_arch = "wasm32"))]
mod keys;
#[cfg(any(test, target_arch = "wasm32"))]
mod ranges;

#[cfg(target_arch = "wasm32")]
mod adapter;
#[cfg(target_arch = "wasm32")]
mod attributes;
#[cfg(target_arch = "wasm32")]
mod bundles;
#[cfg(target_arch = "wasm32")]
mod collector;
#[cfg(target_arch = "wasm32")]
mod dom;
#[cfg(target_arch = "wasm32")]
mod download;
#[cfg(target_arch = "wasm32")]
mod engines;
#[cfg(target_arch = "wasm32")]
mod listen;
#[cfg(target_arch = "wasm32")]
mod offline;
#[cfg(target_arch = "wasm32")]
mod page;
#[cfg(target_arch = "wasm32")]
mod pieces;
#[cfg(target_arch = "wasm32")]
mod screen;
#[cfg(target_arch = "wasm32")]
mod storage;
#[cfg(target_arch = "wasm32")]
mod surroundings;
#[cfg(target_arch = "wasm32")]
mod trouble;
#[cfg(target_arch = "wasm32")]
mod waiting;

#[cfg(target_arch = "wasm32")]
pub(crate) use page::start;
