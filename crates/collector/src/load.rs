//! Made-up ratings, sent as fast as they are taken: what `cargo xtask bench collector` measures with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use kudos_schema::{
    Catalog, Container, EndReason, Message, PolicyId, RATING_VERSION, RatedPrompt, Rating, Sample,
    Sampling, Thumb, Verdict,
};
use kudos_tokenizer::Tokenizer;
use serde::Serialize;
use tokio::net::TcpStream;

use crate::args::LoadArgs;
use crate::clock::Clock;
use crate::coins::Coins;
use crate::output;
use crate::seal::uuid;

/// Tokens of a made-up completion.
const TOKENS: usize = 60;

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// Connections at once.
    pub connections: usize,
    /// Requests answered.
    pub requests: u64,
    /// Requests a second.
    pub requests_per_second: f64,
    /// Ratings stored a second.
    pub ratings_per_second: f64,
    /// Median time of a request, in milliseconds.
    pub p50_ms: f64,
    /// Time that 99 % of the requests stay below, in milliseconds.
    pub p99_ms: f64,
}

/// What every connection sends.
struct Made {
    rating: Rating,
    coins: Coins,
    clock: Clock,
    batch: usize,
    posts_left: AtomicU64,
    /// Time between two posts of one connection.
    pause: Duration,
    until: Instant,
    target: SocketAddr,
}

/// Sends, measures and prints the numbers as JSON.
///
/// # Errors
/// The collector does not answer, or refuses a rating.
pub async fn run(args: &LoadArgs) -> Result<()> {
    let measured = measure(args).await?;
    output::say(&serde_json::to_string(&measured)?);
    Ok(())
}

/// Sends and measures.
///
/// # Errors
/// The collector does not answer, or refuses a rating.
pub async fn measure(args: &LoadArgs) -> Result<Measured> {
    let made = Arc::new(Made {
        rating: rating(args.target).await?,
        coins: Coins::of_this_machine().context("the system gives no random bytes")?,
        clock: Clock::of_this_machine(),
        batch: args.batch,
        posts_left: AtomicU64::new(args.posts.unwrap_or(u64::MAX)),
        pause: args.rate.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(args.connections as f64 / f64::from(rate))
        }),
        until: Instant::now() + Duration::from_secs(args.seconds),
        target: args.target,
    });
    let begin = Instant::now();
    let senders: Vec<_> = (0..args.connections).map(|_| tokio::spawn(send(made.clone()))).collect();
    let mut times = Vec::new();
    for sender in senders {
        times.extend(sender.await??);
    }
    let seconds = begin.elapsed().as_secs_f64();
    times.sort();
    let at = |share: f64| {
        let place = (share * times.len() as f64) as usize;
        times.get(place.min(times.len().saturating_sub(1))).map_or(0.0, Duration::as_secs_f64)
    };
    let requests = times.len() as u64;
    Ok(Measured {
        connections: args.connections,
        requests,
        requests_per_second: requests as f64 / seconds,
        ratings_per_second: (requests * args.batch as u64) as f64 / seconds,
        p50_ms: 1000.0 * at(0.5),
        p99_ms: 1000.0 * at(0.99),
    })
}

async fn send(made: Arc<Made>) -> Result<Vec<Duration>> {
    let mut sender = connect(made.target).await?;
    let mut times = Vec::new();
    // Connections begin one after the other.
    let mut due = Instant::now() + made.pause.mul_f64(made.coins.unit());
    let take = |left: u64| left.checked_sub(1);
    while Instant::now() < made.until
        && made.posts_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    {
        let request = match made.batch {
            0 => request("GET", "/healthz", Bytes::new())?,
            batch => request("POST", "/v1/ratings", made.post(batch)?)?,
        };
        tokio::time::sleep_until(due.into()).await;
        // A post that had to wait for the one before it waited too: its time counts from when it was due.
        let begin = if made.pause.is_zero() { Instant::now() } else { due };
        due += made.pause;
        let answer = answer(&mut sender, request).await?;
        times.push(begin.elapsed());
        let accepted = answer.windows(10).filter(|it| it == b"\"accepted\"").count();
        if accepted != made.batch {
            bail!(
                "of {} ratings {accepted} were accepted: {}",
                made.batch,
                String::from_utf8_lossy(&answer)
            );
        }
    }
    Ok(times)
}

impl Made {
    /// A post of fresh ratings of one fresh rater.
    fn post(&self, batch: usize) -> Result<Bytes> {
        let rater = uuid(self.coins.bytes(), 4);
        let mut ratings = Vec::with_capacity(batch);
        for _ in 0..batch {
            let mut bytes: [u8; 16] = self.coins.bytes();
            bytes[..6].copy_from_slice(&self.clock.now_ms().to_be_bytes()[2..]);
            let rater = rater.clone();
            ratings.push(Rating { id: uuid(bytes, 7), rater, ..self.rating.clone() });
        }
        Ok(serde_json::to_vec(&ratings)?.into())
    }
}

async fn connect(target: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(target).await;
    let stream = stream.with_context(|| format!("no collector answers at {target}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

fn request(method: &str, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>> {
    let request = Request::builder().method(method).uri(path).header("host", "collector");
    Ok(request.header("content-type", "application/json").body(Full::new(body))?)
}

async fn answer(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Bytes> {
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        bail!("the collector answers {status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(body)
}

/// A rating that is true of the first policy of the collector's catalog.
async fn rating(target: SocketAddr) -> Result<Rating> {
    let mut sender = connect(target).await?;
    let catalog = request("GET", "/policies/catalog.json", Bytes::new())?;
    let catalog: Catalog = serde_json::from_slice(&answer(&mut sender, catalog).await?)?;
    let entry = catalog.policies.first().context("the collector has no policy")?;
    let bundle = request("GET", &format!("/policies/{}", entry.file), Bytes::new())?;
    let bundle = answer(&mut sender, bundle).await?;
    let container = Container::read(&bundle)?;
    let (_, tokenizer) = container.part("tokenizer.json")?;
    let tokenizer = Tokenizer::from_json(std::str::from_utf8(tokenizer)?)?;
    let mut token_ids = tokenizer.encode(&"a reply of words that nobody meant ".repeat(20));
    token_ids.truncate(TOKENS);
    let question = "what is your favourite food?";
    Ok(Rating {
        version: RATING_VERSION,
        id: String::new(),
        created: "2026-11-24T10:00:00Z".to_owned(),
        page_version: "0".to_owned(),
        policy: PolicyId {
            name: entry.manifest.name.clone(),
            sha256: entry.sha256.clone(),
            adapter: None,
        },
        rival: None,
        backend: "flex".to_owned(),
        task: "dialogue".to_owned(),
        prompt: RatedPrompt {
            messages: vec![Message::new("user", question)],
            text: String::new(),
            picture: None,
            token_ids: tokenizer.encode(question),
        },
        samples: vec![Sample {
            text: tokenizer.decode(&token_ids),
            // Digits as many as those of a real one.
            logprobs_drawn: vec![-0.123_456_78; token_ids.len()],
            logprobs_full: vec![-1.234_567_8; token_ids.len()],
            token_ids,
            end_reason: EndReason::Length,
            sampling: Sampling::default(),
            seed: 1,
        }],
        verdict: Verdict::Thumbs(Thumb::Up),
        reported: Vec::new(),
        reasons: Vec::new(),
        remark: None,
        seconds: 4.2,
        rater: String::new(),
        consent: "1".to_owned(),
        locale: "en".to_owned(),
        query: None,
    })
}
