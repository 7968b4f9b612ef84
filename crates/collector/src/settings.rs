//! What the operator decides, checked.

use std::path::PathBuf;
use std::time::Duration;

use crate::database::Address;
use crate::limits::Rate;

/// Everything that a collector is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of the built page.
    pub site: PathBuf,
    /// The folder of the embedded database and of bundles that came out of it.
    pub data: PathBuf,
    /// Where the data lies.
    pub database: Address,
    /// The address that visitors know, without a slash at its end; none = what each request says.
    pub public_url: Option<String>,
    /// Origins of pages elsewhere that may post ratings here.
    pub origins: Vec<String>,
    /// Who knows the address of a sender.
    pub sender: Sender,
    /// Ratings that one address may send.
    pub address_rate: Rate,
    /// Ratings that one rater may send.
    pub rater_rate: Rate,
    /// Requests other than posts of ratings that one address may send.
    pub request_rate: Rate,
    /// How long ratings are kept; none = until somebody erases them.
    pub retention: Option<Duration>,
    /// Seed of the choice of what is asked; none = chance. Of that alone: secrets are never seeded.
    pub query_seed: Option<u64>,
    /// Longest bundle that is published, in bytes.
    pub max_bundle_bytes: u64,
    /// How long a body may pause while it comes.
    pub body_pause: Duration,
    /// What is logged of answers.
    pub log: Log,
}

/// What is logged of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// Nothing; faults are logged all the same.
    Silent,
    /// A line each.
    Answers,
}

/// Who knows the address of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The connection.
    Peer,
    /// A proxy in front, which writes it at the end of `X-Forwarded-For`.
    Forwarded,
}

impl Settings {
    /// Settings for a page and a data folder, with everything else as it is by default.
    pub fn new(site: PathBuf, data: PathBuf, database: Address) -> Self {
        Self {
            site,
            data,
            database,
            public_url: None,
            origins: Vec::new(),
            sender: Sender::Peer,
            address_rate: Rate { per_minute: 600.0, burst: 1200.0 },
            rater_rate: Rate { per_minute: 60.0, burst: 300.0 },
            request_rate: Rate { per_minute: 600.0, burst: 600.0 },
            retention: None,
            query_seed: None,
            max_bundle_bytes: 1 << 30,
            body_pause: Duration::from_secs(20),
            log: Log::Silent,
        }
    }
}
