//! The page as a pure function of what happened; the browser side is in `main.rs`.

pub mod effect;
pub mod event;
pub mod keys;
pub mod node;
pub mod ranges;
mod state;
mod view;
mod words;

pub use state::{State, update};
pub use view::view;
