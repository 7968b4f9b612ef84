//! Smaller policies: weights in fewer bits, and fewer weights, with what that costs.
//!
//! `quantize` packs matrices into blocks of 8 or 4 bits, weight-only: they are unpacked when a policy is
//! loaded, so every device computes as before. `calibration` sees on real text which inputs of a layer are
//! loud, where rounding hurts. `prune` leaves out what matters least. `divergence` says what was lost.

mod calibration;
mod divergence;
mod prune;
mod quantize;

pub use calibration::{Loudness, loudness};
pub use divergence::{Divergence, divergence};
pub use prune::{Importance, Without, importance, prune};
pub use quantize::{Packing, pack};
