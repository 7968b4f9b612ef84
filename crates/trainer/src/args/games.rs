//! Arguments of the verbs about games.

use std::path::PathBuf;

use clap::Args;

use super::DeviceArgs;

/// Settings of `games`.
#[derive(Debug, Clone, Args)]
pub struct GamesArgs {
    /// wordle, maze or partial-maze
    #[arg(long)]
    pub game: String,
    /// A program: uniform; in Wordle also consistent, data or information-gain; in a maze also optimum
    #[arg(long, conflicts_with_all = ["model", "beta", "candidates", "temperature"])]
    pub policy: Option<String>,
    /// A policy in place of a program: a folder or a bundle, or the folder of a q-learn run, whose heads have their say
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Factor of what the heads of a run think a choice is worth; as its recipe says if left out
    #[arg(long)]
    pub beta: Option<f64>,
    /// Actions that are weighed as wholes, the likeliest so many; 1 chooses token by token
    #[arg(long)]
    pub candidates: Option<usize>,
    /// Divides what is drawn from; 0 is greedy
    #[arg(long)]
    pub temperature: Option<f64>,
    /// Words of Wordle, one a line; frequent words of the built-in sentences if left out
    #[arg(long, value_name = "FILE")]
    pub words: Option<PathBuf>,
    /// Games to play; a maze starts from each of its places in turn
    #[arg(long, default_value_t = 1000)]
    pub games: usize,
    /// Seed of every coin
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write the games here, a line of JSON each
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Where a policy runs
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Settings of `q-learn`; a flag overrides the recipe.
#[derive(Debug, Clone, Args)]
pub struct QLearnArgs {
    /// Recipe, a TOML file; the maze with ilql if left out
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder for everything the run leaves
    #[arg(long, value_name = "DIR")]
    pub output_dir: PathBuf,
    /// Go on with the run in `--output-dir`
    #[arg(long)]
    pub resume: bool,
    /// A policy to begin with in place of a new one, such as the model that imitation left: a folder or a bundle
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// bc, mc, dqn, double-dqn, cql or ilql
    #[arg(long)]
    pub algorithm: Option<String>,
    /// Games to learn from, as `games --output` writes them; played anew if left out
    #[arg(long, value_name = "FILE")]
    pub dataset: Option<PathBuf>,
    /// Words of Wordle, one a line
    #[arg(long, value_name = "FILE")]
    pub words: Option<PathBuf>,
    /// Seed of every coin
    #[arg(long)]
    pub seed: Option<u64>,
    /// Optimizer steps
    #[arg(long)]
    pub steps: Option<usize>,
    /// Where to run
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Settings of `reinforce-games`; a flag overrides the recipe.
#[derive(Debug, Clone, Args)]
pub struct ReinforceGamesArgs {
    /// Recipe, a TOML file; the maze if left out
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder for everything the run leaves
    #[arg(long, value_name = "DIR")]
    pub output_dir: PathBuf,
    /// Go on with the run in `--output-dir`
    #[arg(long)]
    pub resume: bool,
    /// The policy that begins: a folder or a bundle, such as the model that `q-learn --algorithm bc` leaves
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Words of Wordle, one a line
    #[arg(long, value_name = "FILE")]
    pub words: Option<PathBuf>,
    /// Seed of every coin
    #[arg(long)]
    pub seed: Option<u64>,
    /// Rounds of games
    #[arg(long)]
    pub rounds: Option<usize>,
    /// Where to run
    #[command(flatten)]
    pub device: DeviceArgs,
}
