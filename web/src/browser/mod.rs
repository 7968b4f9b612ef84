//! The browser side: it makes what the page shows true, does what the page asks, and tells what happened.
//!
//! Decisions that are pure are the library's, where their tests run natively.

mod attributes;
mod bundles;
mod collector;
mod dom;
mod download;
mod engines;
mod listen;
mod offline;
mod page;
mod pictures;
mod pieces;
mod screen;
mod storage;
mod surroundings;
mod trouble;
mod waiting;

pub(crate) use page::start;
