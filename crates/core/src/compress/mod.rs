//! Smaller policies: weights in fewer bits, and fewer weights, with what that costs.
//!
//! `quantize` packs matrices into `blocks` of 8 or 4 bits, weight-only: they are unpacked when a policy is loaded, so
//! every device computes as before. `calibration` sees on real text which inputs of a matrix go together, so that by
//! `feedback` some make up for what rounding takes from others. `sparse` leaves the smallest weights out of a file.
//! `prune` leaves out what matters least, `vocabulary` tokens that texts do not use. `divergence` says what was lost.

mod blocks;
mod calibration;
mod divergence;
mod feedback;
mod prune;
mod quantize;
mod sparse;
mod vocabulary;

pub(crate) use blocks::{eight_bits, four_bits};
pub use calibration::{Moments, moments};
pub use divergence::{Divergence, Foretold, divergence};
pub use prune::{Importance, Without, importance, prune};
pub use quantize::{Packing, Storage, pack, pack_sparse};
pub use vocabulary::with_tokens;

use kudos_schema::patch_of;

/// How many tokens at the beginning of a text nothing foretells: the patches of a picture, else the first.
pub fn given(text: &[u32]) -> usize {
    text.iter().take_while(|id| patch_of(**id).is_some()).count().max(1)
}
