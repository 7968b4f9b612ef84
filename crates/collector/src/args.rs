//! The command line as typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Serves the page and its policies, and takes ratings.
#[derive(Debug, Parser)]
#[command(name = "collector", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; without a verb, serve.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// How to serve.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// What a collector can do besides serving.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make, list and revoke the tokens of administrators.
    Token(TokenArgs),
    /// Copy the embedded database into a file, while the collector goes on.
    Backup {
        /// Where the data lies.
        #[command(flatten)]
        place: DataArgs,
        /// The file, which must not exist.
        file: PathBuf,
    },
    /// Put a backup into a new data folder.
    Restore {
        /// The new data folder.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// The file that `backup` made.
        file: PathBuf,
    },
    /// Copy everything from one database into another, such as from SQLite to PostgreSQL.
    Copy {
        /// The database that is read: sqlite:FILE or postgres://...
        #[arg(long, value_name = "URL")]
        from: String,
        /// The database that is written, which must be empty.
        #[arg(long, value_name = "URL")]
        to: String,
    },
    /// Send made-up ratings to a collector, and measure.
    #[command(hide = true)]
    Load(LoadArgs),
}

/// Where the data lies.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Folder of the embedded database, and of copies of bundles.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// A PostgreSQL instead, which several collectors can share: postgres://USER:PASSWORD@HOST/NAME. `KUDOS_DATABASE`
    /// says the same without being seen by other users of the machine.
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
}

/// `collector token`
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What to do with tokens.
    #[command(subcommand)]
    pub verb: TokenVerb,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a token and print it: it cannot be shown again.
    Add {
        /// Where the data lies.
        #[command(flatten)]
        place: DataArgs,
        /// What it is for, to tell it from others.
        #[arg(long, default_value = "admin")]
        name: String,
    },
    /// Print the ids and names of tokens.
    List {
        /// Where the data lies.
        #[command(flatten)]
        place: DataArgs,
    },
    /// Make a token worthless.
    Revoke {
        /// Where the data lies.
        #[command(flatten)]
        place: DataArgs,
        /// The token's id: the digits between its first and its second underscore.
        id: String,
    },
}

/// How to serve.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Folder of the built page.
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    /// Where the data lies.
    #[command(flatten)]
    pub place: DataArgs,
    /// Address and port to listen at.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// The address by which visitors know this collector, such as `https://kudos.example.org`; else each request's own.
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Origin of a page elsewhere that may post ratings here; may be given several times.
    #[arg(long = "origin", value_name = "URL")]
    pub origins: Vec<String>,
    /// A proxy in front writes the sender's address at the end of X-Forwarded-For.
    #[arg(long)]
    pub behind_proxy: bool,
    /// Ratings a minute that one address may send.
    #[arg(long, default_value_t = 600, value_name = "NUMBER")]
    pub address_rate: u32,
    /// Ratings a minute that one rater may send.
    #[arg(long, default_value_t = 60, value_name = "NUMBER")]
    pub rater_rate: u32,
    /// Days that ratings are kept; without it, until somebody erases them.
    #[arg(long, value_name = "DAYS")]
    pub retention_days: Option<u32>,
    /// Choose what is asked by this seed instead of by chance, so that a test can be repeated.
    #[arg(long, value_name = "NUMBER")]
    pub query_seed: Option<u64>,
    /// Longest bundle that is published, in bytes.
    #[arg(long, default_value_t = 1 << 30, value_name = "BYTES")]
    pub max_bundle_bytes: u64,
}

/// `collector load`
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Address and port of the collector.
    #[arg(long, value_name = "ADDRESS")]
    pub target: SocketAddr,
    /// Connections at once.
    #[arg(long, default_value_t = 10)]
    pub connections: usize,
    /// Seconds to go on.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Ratings of one post; 0 asks /healthz instead.
    #[arg(long, default_value_t = 10)]
    pub batch: usize,
    /// Posts a second over all connections; without it, as many as are taken.
    #[arg(long)]
    pub rate: Option<u32>,
    /// Stop after so many posts instead.
    #[arg(long)]
    pub posts: Option<u64>,
}
