//! Efficient tuning: a policy learns by small parameters of its own beside frozen weights.
//!
//! Everything hangs on the model itself, where every walk over a module meets it: the low-rank family
//! and (IA)3 as reparameterizations of the projections' weights (burn's mechanism, with parameters of
//! our own: see `low_rank`), the others as parts that a block, its attention or the transformer has or
//! has not. The optimizer, half-precision copies, copies for other threads and checkpoints need no case
//! for any of it. Frozen weights require no gradient, so neither a gradient nor a state of the optimizer
//! is made for them.
//!
//! The frozen weights may be packed (`packed_base`). Leaves out: files; when to prune is [`Allocator`]'s, which the optimizer asks after each step.

mod allocator;
mod extra;
mod install;
mod low_rank;
mod options;
mod packed_base;
mod peft;
mod rescale;
mod stored;
mod target;

pub use allocator::{Allocator, Budget};
pub(crate) use extra::{Bottlenecks, Prefix};
pub(crate) use install::forward;
pub use install::{detach, has_dropout, install, merge};
pub use low_rank::LowRank;
pub use options::{AdaLora, BottleneckOptions, Ia3, Lora, SubLayer, Tuning, VirtualTokens};
pub use packed_base::{Base, base_bytes, is_packed, pack_base, unpack_base};
pub(crate) use packed_base::{PackedBlock, unpacked};
pub use peft::{AdapterFiles, read_adapter, write_adapter};
pub use rescale::Rescale;
pub use stored::{module_from_bytes, module_to_bytes, small_from_bytes, small_to_bytes, trained};
pub use target::Target;

use thiserror::Error;

use crate::model::hugging_face::CheckpointError;

/// Why small parameters cannot be read or written.
#[derive(Debug, Error)]
pub enum TuningError {
    /// The container is damaged.
    #[error("the adapter's weights are damaged ({0}): train or download it again")]
    Container(String),
    /// A number type that is not read.
    #[error("{0}")]
    Numbers(#[from] CheckpointError),
    /// `adapter_config.json` is not JSON, or a field has another type.
    #[error("adapter_config.json is not usable ({0}): train or download the adapter again")]
    Config(#[from] serde_json::Error),
    /// A kind of adapter, or a setting of one, that would change the logits and is not supported.
    #[error("adapter_config.json sets `{field}` to {value}, which is not supported")]
    Setting {
        /// The field's name.
        field: &'static str,
        /// What it holds.
        value: String,
    },
    /// A tensor is missing.
    #[error("the adapter lacks `{0}`: it belongs to another model or tuning")]
    Missing(String),
    /// A tensor that the model has no place for.
    #[error(
        "the adapter holds `{0}`, for which this model has no place: take the model it was trained on"
    )]
    Foreign(String),
    /// Tensors that are not those of the settings.
    #[error(
        "the adapter holds {found} numbers, and adapter_config.json asks for others: it belongs to another adapter"
    )]
    Other {
        /// Numbers in the file.
        found: usize,
    },
    /// A tensor of another shape.
    #[error("`{name}` of the adapter has shape {found:?}, the model asks for {expected:?}")]
    Shape {
        /// The tensor's name.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The shape that the model gives.
        expected: Vec<usize>,
    },
    /// The device did not return the parameters.
    #[error("the device did not return the small parameters: {0}")]
    Device(String),
}
