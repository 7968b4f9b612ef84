//! The command line as typed. Nothing is checked here beyond its form.

mod best_of;
mod compress;
mod distil;
mod feedback;
mod games;
mod plan;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use kudos_core::model::hugging_face::StoredAs;
use kudos_schema::Sampling;

use crate::bench::Mode;
use crate::score::ScoreArgs;

pub use best_of::BestOfArgs;
pub use compress::{CompressArgs, Weights};
pub use distil::DistilArgs;
pub use feedback::{
    EvaluateArgs, FeedbackVerb, ImportArgs, InfluenceArgs, JudgeArgs, PullArgs, RatersArgs,
    StatsArgs, UncertaintyArgs,
};
pub use games::{GamesArgs, QLearnArgs, ReinforceGamesArgs};
pub use plan::PlanArgs;

/// Reinforcement learning for small language models. Without a verb: the main job, which teaches
/// the policy that ships with the program to write knowledge-graph triples, in a few minutes.
#[derive(Debug, Parser)]
#[command(name = "trainer", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// Settings of the main job.
    #[command(flatten)]
    pub run: RunArgs,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Train a new policy on plain text
    Pretrain(RunArgs),
    /// Teach a policy to imitate references
    Sft(RunArgs),
    /// Teach a policy by rewards
    Reinforce(RunArgs),
    /// Teach a policy by rated completions of another one
    OffPolicy(RunArgs),
    /// Teach a policy what people chose of two
    Dpo(RunArgs),
    /// Teach a policy what people called good and bad
    Kto(RunArgs),
    /// Teach a policy by pairs and contests of its own samples
    SelfPlay(RunArgs),
    /// Train a reward model on what people said
    Reward(RunArgs),
    /// Say how much memory a run would take, before it is started
    Plan(PlanArgs),
    /// Teach a small policy what a larger one says
    Distill(DistilArgs),
    /// Teach a new policy from games what its choices are worth
    QLearn(QLearnArgs),
    /// Let a policy play games and learn from what it earned
    ReinforceGames(ReinforceGamesArgs),
    /// Let programs play games
    Games(GamesArgs),
    /// Measure a policy on held-out items
    Eval(EvalArgs),
    /// What a reward model says of texts, a line of JSON each
    Judge(JudgeArgs),
    /// Let a policy write
    Sample(SampleArgs),
    /// Score texts against references
    Score(ScoreCommand),
    /// List devices and whether they can be trusted
    Devices(DevicesArgs),
    /// Pack a policy into one file for the page, or unpack one into a folder
    Export(ExportArgs),
    /// Make a policy smaller: fewer bits a weight, fewer weights
    Compress(CompressArgs),
    /// Turn a GGUF file, a bundle or a folder into a Hugging Face folder
    Convert(ConvertArgs),
    /// Collect what people said of a policy, and count it
    #[command(subcommand)]
    Feedback(FeedbackVerb),
    /// Time training and generation, for `cargo xtask bench`
    #[command(hide = true)]
    Bench(BenchArgs),
}

/// Where a command runs.
#[derive(Debug, Clone, Args)]
pub struct DeviceArgs {
    /// auto, flex, ndarray, wgpu, wgpu:N or vulkan
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Use a GPU even if its self-test fails
    #[arg(long)]
    pub trust_device: bool,
}

/// Settings of a training run; a flag overrides the recipe.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Recipe, a TOML file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder for everything the run leaves
    #[arg(long, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
    /// Continue an interrupted run in its output directory
    #[arg(long)]
    pub resume: bool,
    /// Where to run
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Choices of the recipe
    #[command(flatten)]
    pub overrides: Overrides,
}

/// How completions are drawn; what is not given stays as it is.
#[derive(Debug, Clone, Default, Args)]
pub struct SamplingArgs {
    /// Longest completion in tokens
    #[arg(long)]
    pub max_completion_length: Option<usize>,
    /// Divides the logits; 0 is greedy
    #[arg(long)]
    pub temperature: Option<f64>,
    /// Draw from the k most likely tokens; 0 is all
    #[arg(long)]
    pub top_k: Option<usize>,
    /// Draw from the most likely tokens that reach this probability; 1 is all
    #[arg(long)]
    pub top_p: Option<f64>,
    /// Drop tokens less likely than this share of the most likely
    #[arg(long)]
    pub min_p: Option<f64>,
    /// Divide the logits of tokens already present; 1 is off
    #[arg(long)]
    pub repetition_penalty: Option<f64>,
}

impl SamplingArgs {
    /// `base` with what was given.
    pub fn on(&self, base: Sampling) -> Sampling {
        Sampling {
            temperature: self.temperature.unwrap_or(base.temperature),
            top_k: self.top_k.unwrap_or(base.top_k),
            top_p: self.top_p.unwrap_or(base.top_p),
            min_p: self.min_p.unwrap_or(base.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(base.repetition_penalty),
            max_completion_length: self.max_completion_length.unwrap_or(base.max_completion_length),
        }
    }
}

/// Flags that override fields of the recipe.
#[derive(Debug, Clone, Default, Args)]
pub struct Overrides {
    /// Folder of the policy to start from
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Built-in task: triples, summary, dialogue, sentences, captions or keywords
    #[arg(long)]
    pub task: Option<String>,
    /// JSON Lines file to learn from instead of a task
    #[arg(long, value_name = "FILE")]
    pub dataset: Option<PathBuf>,
    /// Ratings to learn from, as `feedback import` keeps them; may be given several times
    #[arg(long, value_name = "FILE", conflicts_with = "dataset")]
    pub ratings: Vec<PathBuf>,
    /// Seed of every coin
    #[arg(long)]
    pub seed: Option<u64>,
    /// Optimizer steps
    #[arg(long)]
    pub steps: Option<usize>,
    /// Peak learning rate
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// Completions of each prompt
    #[arg(long)]
    pub num_generations: Option<usize>,
    /// How completions are drawn
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Cost of leaving the starting policy: of a nat of divergence, or DPO's and KTO's beta
    #[arg(long)]
    pub beta: Option<f64>,
    /// Gradients added up in one step
    #[arg(long)]
    pub gradient_accumulation_steps: Option<usize>,
}

/// Settings of `eval`.
#[derive(Debug, Clone, Args)]
pub struct EvalArgs {
    /// Folder of the policy; the shipped one if left out
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Built-in task
    #[arg(long, conflicts_with = "dataset")]
    pub task: Option<String>,
    /// JSON Lines file; all of its rows are judged
    #[arg(long, value_name = "FILE")]
    pub dataset: Option<PathBuf>,
    /// Folder of the items' pictures in another style, each named by its item's id
    #[arg(long, value_name = "DIR", requires = "task")]
    pub images: Option<PathBuf>,
    /// Folder of an adapter to put at the policy
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// Reward to report, as in recipes; the task's own if left out
    #[arg(long)]
    pub metric: Option<String>,
    /// Judge at most this many items; 0 is all
    #[arg(long, default_value_t = 0)]
    pub items: usize,
    /// How completions are drawn; greedily if nothing is said
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Judge the best of several completions; by the metric if no reward is named
    #[command(flatten)]
    pub best_of: BestOfArgs,
    /// Seed of the draws
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Where to run
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Settings of `sample`.
#[derive(Debug, Clone, Args)]
pub struct SampleArgs {
    /// Folder of the policy; the shipped one if left out
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// What the policy is given; `?` if there is only a picture
    #[arg(long, required_unless_present = "image")]
    pub prompt: Option<String>,
    /// PNG file that stands before the prompt, for a policy with eyes
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// Folder of an adapter to put at the policy; with several, each writes in turn
    #[arg(long, value_name = "DIR")]
    pub adapter: Vec<PathBuf>,
    /// Render the prompt as a request of this task; plain continuation if left out
    #[arg(long)]
    pub task: Option<String>,
    /// Completions to draw
    #[arg(long, default_value_t = 1)]
    pub num_generations: usize,
    /// What is multiplied with
    #[arg(long, value_enum, default_value_t = WeightsAs::Stored, conflicts_with = "adapter")]
    pub weights: WeightsAs,
    /// How completions are drawn
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Print the best of several completions
    #[command(flatten)]
    pub best_of: BestOfArgs,
    /// Seed of the draws
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print one JSON object a completion
    #[arg(long)]
    pub json: bool,
    /// Where to run
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// What completions are written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum WeightsAs {
    /// The weights as they are, all completions together
    Stored,
    /// Rounded to 8 bits, one completion after the other, on the processor: faster for one
    Int8,
}

/// Settings of `score`.
#[derive(Debug, Clone, Args)]
pub struct ScoreCommand {
    /// The metric with its options
    #[command(flatten)]
    pub score: ScoreArgs,
}

/// Settings of `devices`.
#[derive(Debug, Clone, Args)]
pub struct DevicesArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Settings of `export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Folder or bundle of the policy; the shipped one if left out
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Folder of an adapter to make part of the policy
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// Pack the adapter alone, for pages that have the bundle of --model
    #[arg(long, requires = "adapter")]
    pub alone: bool,
    /// What people should know of it, a TOML file; the bundle's own if left out
    #[arg(long, value_name = "FILE")]
    pub card: Option<PathBuf>,
    /// A new bundle if it ends in `.kudos`, else a new Hugging Face folder
    #[arg(long, value_name = "PATH")]
    pub output: PathBuf,
}

/// Settings of `convert`.
#[derive(Debug, Clone, Args)]
pub struct ConvertArgs {
    /// GGUF file, bundle or folder of the policy
    #[arg(long, value_name = "PATH")]
    pub model: PathBuf,
    /// A new folder
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// Number type of the weights: f32 or f16
    #[arg(long, default_value = "f32", value_parser = number_type)]
    pub dtype: StoredAs,
}

fn number_type(text: &str) -> Result<StoredAs, String> {
    match text {
        "f32" => Ok(StoredAs::F32),
        "f16" => Ok(StoredAs::F16),
        _ => Err("give f32 or f16".to_owned()),
    }
}

/// Settings of `bench`.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// What to time
    #[arg(value_enum)]
    pub mode: Mode,
    /// Seconds to measure
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Where to run
    #[command(flatten)]
    pub device: DeviceArgs,
}
