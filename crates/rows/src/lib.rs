//! One token on plain slices: the arithmetic of decoding a single sequence.
//!
//! A crate of its own, so that it is compiled for speed where all around it is compiled for size. Four
//! numbers at once are spelled out: compilers that optimize for size find no vectors by themselves, and
//! the CPU device's own library takes a single row number by number in wasm. What a transformer is
//! stays with the core; there is no tensor here.

mod attention;
mod packed;
mod pointwise;
mod product;

pub use attention::{Heads, attend};
pub use packed::Packed;
pub use pointwise::{Halves, add, gelu_tanh, layer_norm, rms_norm, silu_times, turn};
pub use product::times;
