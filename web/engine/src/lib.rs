//! A policy behind messages: what both engines of the page do in their workers.
//!
//! [`Session`] turns each [`Request`](kudos_schema::Request) into replies and is the same natively and
//! in a browser; `worker` joins it to a Web Worker. There is no model code here: writing is the core's
//! `generate`.

mod probe;
mod session;
#[cfg(target_arch = "wasm32")]
pub mod worker;

pub use kudos_schema::AdapterInfo;
pub use probe::probe_tokens;
pub use session::{Host, Reads, Session, failure_of_panic};
