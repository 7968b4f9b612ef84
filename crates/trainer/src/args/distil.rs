//! Arguments of `distill`.

use std::path::PathBuf;

use clap::Args;

use super::RunArgs;

/// Settings of `distill`; a flag overrides the recipe.
#[derive(Debug, Clone, Args)]
pub struct DistilArgs {
    /// Folder, bundle or GGUF file of the teacher
    #[arg(long, value_name = "PATH")]
    pub teacher: Option<PathBuf>,
    /// Folder for what the teacher said, shared by runs; `cache` in the output directory if left out
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Settings of the run; `--model` names a student to go on with
    #[command(flatten)]
    pub run: RunArgs,
}
