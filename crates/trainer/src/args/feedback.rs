//! The verbs of `trainer feedback` as typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{DeviceArgs, SamplingArgs};

/// The verbs of `feedback`.
#[derive(Debug, Clone, Subcommand)]
pub enum FeedbackVerb {
    /// Check ratings that the page exported, and append the sound ones to a file
    Import(ImportArgs),
    /// Counts, rates with intervals and agreement of ratings
    Stats(StatsArgs),
    /// What people would have rated another policy
    Evaluate(EvaluateArgs),
    /// How far to trust each rater, as weights for training
    Raters(RatersArgs),
    /// Fetch new ratings from a collector
    Pull(PullArgs),
    /// What a training step would be without one rater
    Influence(InfluenceArgs),
    /// About which prompts reward models disagree, for the collector to ask about
    Uncertainty(UncertaintyArgs),
}

/// Settings of `feedback evaluate`.
#[derive(Debug, Clone, Args)]
pub struct EvaluateArgs {
    /// JSON Lines of ratings, as `feedback import` keeps them
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The policy to judge: a folder or a bundle
    #[arg(long, value_name = "PATH")]
    pub policy: PathBuf,
    /// Folder of a reward model, for the doubly robust estimate
    #[arg(long, value_name = "DIR")]
    pub reward: Option<PathBuf>,
    /// Seed of draws and intervals
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Where to run
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Settings of `feedback raters`.
#[derive(Debug, Clone, Args)]
pub struct RatersArgs {
    /// JSON Lines of ratings, as `feedback import` keeps them
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Folder of a reward model: what agrees with it is more to be trusted
    #[arg(long, value_name = "DIR")]
    pub reward: Option<PathBuf>,
    /// Gold and repeated items as the collector counted them, from its /v1/raters
    #[arg(long, value_name = "FILE")]
    pub tested: Option<PathBuf>,
    /// Where the weights go, for `feedback.raters` of a recipe
    #[arg(long, value_name = "FILE", default_value = "raters.json")]
    pub output: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Where to run
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Settings of `feedback pull`.
#[derive(Debug, Clone, Args)]
pub struct PullArgs {
    /// Address of the collector
    #[arg(value_name = "URL")]
    pub url: String,
    /// What new ratings are appended to; where the last pull ended stands beside it
    #[arg(long, value_name = "FILE", default_value = "ratings.jsonl")]
    pub output: PathBuf,
    /// File that holds the administrator's token; else the environment's KUDOS_TOKEN
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Bundle of a policy that was rated, beside the shipped one; may be given several times
    #[arg(long = "bundle", value_name = "FILE")]
    pub bundles: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Settings of `feedback influence`.
#[derive(Debug, Clone, Args)]
pub struct InfluenceArgs {
    /// JSON Lines of ratings, as `feedback import` keeps them
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The rater's id
    #[arg(long)]
    pub rater: String,
    /// The policy that would learn: a folder or a bundle; the shipped one if left out
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Where to run
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Settings of `feedback import`.
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// Exports of the page: JSON Lines of ratings
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Bundle of a policy that was rated, beside the shipped one; may be given several times
    #[arg(long = "bundle", value_name = "FILE")]
    pub bundles: Vec<PathBuf>,
    /// What accepted ratings are appended to
    #[arg(long, value_name = "FILE", default_value = "ratings.jsonl")]
    pub output: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Settings of `feedback stats`.
#[derive(Debug, Clone, Args)]
pub struct StatsArgs {
    /// JSON Lines of ratings, as `feedback import` keeps them
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Settings of `feedback uncertainty`.
#[derive(Debug, Clone, Args)]
pub struct UncertaintyArgs {
    /// Folder of a reward model of several members
    #[arg(long, value_name = "DIR")]
    pub reward: PathBuf,
    /// The policy that writes: a folder or a bundle; the shipped one if left out
    #[arg(long, value_name = "PATH")]
    pub policy: Option<PathBuf>,
    /// Built-in task whose prompts are asked
    #[arg(long)]
    pub task: Option<String>,
    /// JSON Lines file of prompts instead
    #[arg(long, value_name = "FILE")]
    pub dataset: Option<PathBuf>,
    /// Ask about at most this many prompts; 0 is all
    #[arg(long, default_value_t = 0)]
    pub items: usize,
    /// How completions are drawn
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Seed of the draws
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where the values go, for the collector's /v1/queries/uncertainty
    #[arg(long, value_name = "FILE", default_value = "uncertainty.jsonl")]
    pub output: PathBuf,
    /// Where to run
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Settings of `judge`.
#[derive(Debug, Clone, Args)]
pub struct JudgeArgs {
    /// Folder of a reward model
    #[arg(long, value_name = "DIR")]
    pub reward: PathBuf,
    /// JSON Lines file of texts, or of prompts with completions
    #[arg(long, value_name = "FILE")]
    pub dataset: PathBuf,
    /// Where to run
    #[command(flatten)]
    pub device: DeviceArgs,
}
