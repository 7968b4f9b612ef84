//! Drawing several completions and keeping the best, as typed.

use std::path::PathBuf;

use clap::Args;

/// How many completions are drawn for each that is kept, and what chooses.
#[derive(Debug, Clone, Args)]
pub struct BestOfArgs {
    /// Draw this many completions for each that is kept: the one that earns most
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub best_of: usize,
    /// Reward that chooses, as in recipes
    #[arg(long, value_name = "REWARD")]
    pub best_by: Option<String>,
    /// Folder of the model of that reward, where it is one
    #[arg(long, value_name = "DIR", requires = "best_by")]
    pub best_by_model: Option<PathBuf>,
}
