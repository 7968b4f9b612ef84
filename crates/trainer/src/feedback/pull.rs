//! `trainer feedback pull`: new ratings of a collector, checked and appended to a file.
//!
//! Where the last pull ended stands in `FILE.cursor`, so that each pull fetches what is new; after a
//! connection that broke, the next one goes on behind the last rating that came. What people took back
//! since is erased from the file. What was found of each rating is reported to the collector.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kudos_schema::{CURSOR_HEADER, Check, CheckReport, Erasure, ImportReport, PullReport};
use serde::{Deserialize, Serialize};
use ureq::Agent;

use super::import::{Import, Taken};
use super::lines::parse_line;
use super::table;
use crate::args::PullArgs;
use crate::output;
use crate::store::write_file;
use crate::usage::usage;

/// The environment's token.
const TOKEN: &str = "KUDOS_TOKEN";
/// Checks of one report.
const CHECKS_AT_ONCE: usize = 1000;
/// The longest line: a rating of the largest bounds.
const MOST_BYTES: u64 = 1 << 40;
/// Version of [`PullReport`].
const VERSION: u32 = 1;

/// Where the last pull ended.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    /// The collector.
    url: String,
    /// After this place, or this rating.
    since: String,
    /// The same of erasures.
    erased_since: String,
}

/// A collector with the token for it.
struct Collector {
    agent: Agent,
    url: String,
    token: String,
}

/// Fetches, checks, appends, erases and reports.
///
/// # Errors
/// Usage errors: the token, the address or a file is wrong; or the collector does not answer.
pub(super) fn run(args: &PullArgs) -> Result<()> {
    let collector = Collector::new(args)?;
    let place = cursor_file(&args.output);
    let mut cursor = Cursor::read(&place, &collector.url)?;
    let mut import = Import::open(&args.output, &args.bundles)?;
    let mut checks = Vec::new();
    let fetched = collector.fetch(&cursor.since, &mut |line| {
        let Taken { id, check } = import.take_line(parse_line(&collector.url, line))?;
        checks.extend(check);
        Ok(id)
    });
    // What came before a connection broke is kept, and the next pull goes on behind it.
    let (since, failure) = match fetched {
        Ok(since) => (since, None),
        Err(Broken { last: Some(last), error }) => (last, Some(error)),
        Err(Broken { last: None, error }) => return Err(error),
    };
    let (erased, erased_since) = match failure {
        None => collector.erasures(&cursor.erased_since)?,
        Some(_) => (Vec::new(), cursor.erased_since.clone()),
    };
    let erased = import.erase(&erased);
    // First, so that a report that fails is made again by the next pull; the collector keeps each once.
    for part in checks.chunks(CHECKS_AT_ONCE) {
        collector.report(part)?;
    }
    let imported = import.write()?;
    cursor = Cursor { url: collector.url.clone(), since, erased_since };
    write_file(&place, (serde_json::to_string_pretty(&cursor)? + "\n").as_bytes())?;
    print(args, &imported, erased)?;
    failure.map_or(Ok(()), Err)
}

fn print(args: &PullArgs, imported: &ImportReport, erased: usize) -> Result<()> {
    let report =
        PullReport { version: VERSION, url: args.url.clone(), erased, imported: imported.clone() };
    output::result(&match args.json {
        true => serde_json::to_string(&report)?,
        false => {
            format!("{}\nerased  {erased} ratings that people took back", table::import(imported))
        }
    });
    Ok(())
}

fn cursor_file(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".cursor");
    name.into()
}

impl Cursor {
    /// What the last pull left; the beginning if there was none.
    fn read(path: &Path, url: &str) -> Result<Self> {
        let name = path.display();
        let remedy = "delete it to fetch everything again";
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { url: url.to_owned(), ..Self::default() });
            }
            Err(error) => return Err(usage(format!("{name}: {error}; {remedy}"))),
        };
        let cursor: Self = serde_json::from_str(&text)
            .map_err(|error| usage(format!("{name}: {error}; {remedy}")))?;
        if cursor.url != url {
            let other = cursor.url;
            return Err(usage(format!("{name} is of {other}: choose another --output for {url}")));
        }
        Ok(cursor)
    }
}

/// A transfer that ended early.
struct Broken {
    /// The last rating that came.
    last: Option<String>,
    error: anyhow::Error,
}

impl Collector {
    fn new(args: &PullArgs) -> Result<Self> {
        let url = args.url.trim_end_matches('/').to_owned();
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return Err(usage(format!("{url} is no address: give one like https://example.org")));
        }
        let token = match &args.token_file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| usage(format!("--token-file {}: {error}", path.display())))?,
            None => std::env::var(TOKEN).unwrap_or_default(),
        };
        let token = token.trim().to_owned();
        if token.is_empty() {
            return Err(usage(format!(
                "there is no token: give --token-file or set {TOKEN}; `collector token add` makes one"
            )));
        }
        let config = Agent::config_builder().http_status_as_error(false).build();
        Ok(Self { agent: config.into(), url, token })
    }

    fn get(&self, path: &str) -> Result<ureq::http::Response<ureq::Body>> {
        let url = format!("{}{path}", self.url);
        let request =
            self.agent.get(&url).header("authorization", format!("Bearer {}", self.token));
        let answer = request.call().map_err(|error| usage(format!("{url}: {error}")))?;
        self.checked(&url, answer)
    }

    fn checked(
        &self,
        url: &str,
        mut answer: ureq::http::Response<ureq::Body>,
    ) -> Result<ureq::http::Response<ureq::Body>> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        Err(usage(format!("{url} answers {status}: {}", text.trim())))
    }

    /// Gives each rating to `take`, which returns its id; returns the cursor to go on from.
    fn fetch(
        &self,
        since: &str,
        take: &mut dyn FnMut(&[u8]) -> Result<Option<String>>,
    ) -> Result<String, Broken> {
        let mut last = None;
        let outcome =
            self.lines(&format!("/v1/export?format=ratings&since={since}"), &mut |line| {
                if let Some(id) = take(line)? {
                    last = Some(id);
                }
                Ok(())
            });
        outcome.map_err(|error| Broken { last, error })
    }

    /// The ids of ratings that were erased, and the cursor to go on from.
    fn erasures(&self, since: &str) -> Result<(Vec<String>, String)> {
        let mut ids = Vec::new();
        let cursor = self.lines(&format!("/v1/erasures?since={since}"), &mut |line| {
            let erasure: Erasure = serde_json::from_slice(line).context("an erasure")?;
            ids.push(erasure.rating);
            Ok(())
        })?;
        Ok((ids, cursor))
    }

    /// Every line of an answer; returns its cursor once all have come.
    fn lines(&self, path: &str, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<String> {
        let answer = self.get(path)?;
        let cursor = answer.headers().get(CURSOR_HEADER).and_then(|value| value.to_str().ok());
        let cursor = cursor.map(str::to_owned).ok_or_else(|| {
            usage(format!("{} is no collector: its answer has no {CURSOR_HEADER}", self.url))
        })?;
        let body = answer.into_body().into_with_config().limit(MOST_BYTES).reader();
        for line in BufReader::new(body).split(b'\n') {
            let line = line.with_context(|| format!("{}: the connection broke", self.url))?;
            if !line.trim_ascii().is_empty() {
                take(&line)?;
            }
        }
        Ok(cursor)
    }

    fn report(&self, checks: &[Check]) -> Result<()> {
        let url = format!("{}/v1/checks", self.url);
        let body = serde_json::to_string(&CheckReport { checks: checks.to_vec() })?;
        let request = self
            .agent
            .post(&url)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json");
        let answer = request.send(body).with_context(|| url.clone())?;
        self.checked(&url, answer).map(drop)
    }
}
