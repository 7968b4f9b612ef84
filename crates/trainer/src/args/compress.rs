//! `trainer compress` as typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kudos_core::compress::Packing;

use super::DeviceArgs;

/// Settings of `compress`.
#[derive(Debug, Clone, Args)]
pub struct CompressArgs {
    /// Folder, bundle or GGUF file of the policy; the shipped one if left out
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// A new bundle, a file that ends in `.kudos`
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// How matrices are stored
    #[arg(long, value_enum, default_value = "int8")]
    pub weights: Weights,
    /// Share of each projection's weights, the smallest, that become zeros and are not stored; with `f16` and `int8`
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub sparsity: f64,
    /// Tokens to keep, those that training texts use most; all if left out
    #[arg(long, value_name = "N")]
    pub vocabulary: Option<usize>,
    /// Layers to leave out
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub prune_layers: usize,
    /// Key heads to leave out of every layer, with the query heads that share them
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub prune_heads: usize,
    /// Feed-forward channels to leave out of every layer
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub prune_channels: usize,
    /// Write nothing if the policy diverges by more nats a token from the original
    #[arg(long, value_name = "NATS")]
    pub max_kl: Option<f64>,
    /// Built-in task whose texts show what matters and what was lost
    #[arg(long, conflicts_with = "dataset", required_unless_present = "dataset")]
    pub task: Option<String>,
    /// JSON Lines file instead of a task
    #[arg(long, value_name = "FILE")]
    pub dataset: Option<PathBuf>,
    /// Texts to look at, and as many others to measure with
    #[arg(long, default_value_t = 100)]
    pub items: usize,
    /// What people should know of the policy, a TOML file; the bundle's own if left out
    #[arg(long, value_name = "FILE")]
    pub card: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Where to run
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Number types of stored matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Weights {
    /// 2 bytes a number
    F16,
    /// A byte a number, and a scale for 32 of them
    Int8,
    /// A byte a number, and a scale and a minimum for 32 of them
    Int8Affine,
    /// Half a byte a number, and a scale and a minimum for 32 of them
    Int4,
    /// Half a byte a number, and a scale for 32 of them
    Int4Symmetric,
}

impl Weights {
    /// As the core calls it.
    pub fn packing(self) -> Packing {
        match self {
            Self::F16 => Packing::F16,
            Self::Int8 => Packing::Int8,
            Self::Int8Affine => Packing::Int8Affine,
            Self::Int4 => Packing::Int4,
            Self::Int4Symmetric => Packing::Int4Symmetric,
        }
    }
}
