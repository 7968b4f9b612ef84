//! The core of Kudos: transformer, text, tasks, rollouts, rewards, objectives, optimizer.
//!
//! Tensors and bytes in, tensors and bytes out: no file, network, clock, environment, thread or
//! backend is known here. Devices, coins and data are arguments.
//!
//! Without the feature `train` there are no gradients: what an engine of the page needs.

pub mod bundle;
#[cfg(feature = "train")]
pub mod compress;
mod first_order;
#[cfg(feature = "train")]
pub mod gguf;
#[cfg(feature = "train")]
pub mod learn;
#[cfg(feature = "train")]
pub mod likeness;
pub mod model;
pub mod objective;
#[cfg(feature = "train")]
pub mod optim;
pub mod policy;
pub mod reward;
pub mod rollout;
#[cfg(feature = "train")]
pub mod sentence_encoder;
pub mod task;
pub mod text;
#[cfg(feature = "train")]
pub mod tuning;

pub use kudos_feedback as feedback;
