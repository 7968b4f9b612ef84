//! Policies on one device: requests in, replies out.

use std::ops::ControlFlow;

use burn::tensor::Device;
use kudos_core::bundle;
use kudos_core::model::Transformer;
use kudos_core::policy::Policy;
use kudos_core::rollout::{
    Coins, GenerateError, Generation, Rollout, Watch, generate_watched, next_token,
};
use kudos_core::task::Prompt;
use kudos_core::text::stream::Stream;
use kudos_schema::{
    Alternative, AlternativesRequest, Failure, FailureKind, Loaded, Picture, Reply, Request,
    WriteRequest, Written, patch_ids,
};

use crate::probe::{TIMED, probe, write_some};

/// Milliseconds of writing between two looks at the mail: short enough to look like a stream and to
/// stop at once, long enough to cost nothing.
const LOOK_EVERY_MS: f64 = 12.0;
/// Tokens at most between two reads.
const MOST_TOKENS_A_READ: usize = 16;
/// Tokens at least between two reads where reads are dear.
const LEAST_TOKENS_A_DEAR_READ: usize = 8;
/// Times that the self-test writes at least and at most, and milliseconds after which it has written enough.
const LEAST_PROBES: usize = 2;
const MOST_PROBES: usize = 64;
const WARM_UP_MS: f64 = 400.0;
/// A self-test that took longer is not repeated for a better measurement, in milliseconds.
const LONG_PROBE_MS: f64 = 2000.0;
/// Log-probabilities below this are those of tokens cut off.
const CUT_OFF: f32 = -1e8;

/// What reading from the device costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Nothing: it is main memory.
    Cheap,
    /// A round trip to the graphics adapter.
    Dear,
}

/// The world around a session.
pub trait Host {
    /// Sends a reply.
    fn post(&self, reply: Reply);
    /// Milliseconds on a clock that never goes back.
    fn now_ms(&self) -> f64;
    /// Lets messages in.
    fn breathe(&self) -> impl Future<Output = ()>;
    /// Whether it was asked to stop writing this completion.
    fn is_stopped(&self, id: u64) -> bool;
}

/// Policies on one device: one, or several that meet.
#[derive(Debug)]
pub struct Session<H> {
    device: Device,
    reads: Reads,
    host: H,
    prepare: fn(Transformer) -> Transformer,
    /// The one loaded last at the end.
    held: Vec<Held>,
}

/// A policy on the device.
#[derive(Debug)]
struct Held {
    /// SHA-256 of its bundle.
    sha256: String,
    policy: Policy,
    /// Tokens decoded between two reads.
    every: usize,
}

impl<H: Host> Session<H> {
    /// A session without a policy.
    pub fn new(device: Device, reads: Reads, host: H) -> Self {
        Self { device, reads, host, prepare: |model| model, held: Vec::new() }
    }

    /// A session that lays the weights of every model out as its device wants them.
    pub fn preparing(self, prepare: fn(Transformer) -> Transformer) -> Self {
        Self { prepare, ..self }
    }

    /// Answers a request; `bundles` are the bundle of a [`Request::Load`], and behind an adapter's that of its base.
    pub async fn handle(&mut self, request: Request, bundles: &[&[u8]]) {
        let (id, answered) = match request {
            Request::Load { sha256, keep, .. } => {
                // What is not needed any more goes first: memory may not hold all of it at once.
                self.held.retain(|held| keep.contains(&held.sha256));
                (None, self.load(sha256.as_deref(), bundles))
            }
            Request::Probe => (None, self.probe().await),
            Request::Write(request) => (Some(request.id), self.write(&request).await),
            Request::Alternatives(request) => (Some(request.id), self.alternatives(&request).await),
            // The host keeps these; here they come too late.
            Request::Stop { .. } => (None, Ok(())),
        };
        if let Err((cause, detail)) = answered {
            self.host.post(Reply::Failed(Failure { id, cause, detail }));
        }
    }

    fn load(&mut self, expected: Option<&str>, bundles: &[&[u8]]) -> Result<(), Trouble> {
        let (begin, bytes) = (self.host.now_ms(), bundles.first().copied().unwrap_or_default());
        let sha256 = bundle::sha256(bytes);
        if expected.is_some_and(|expected| expected != sha256) {
            let detail = format!("{} bytes with another hash", bytes.len());
            return Err((FailureKind::WrongHash, detail));
        }
        let loaded = bundle::load(bundles, &self.device);
        let (manifest, mut policy) =
            loaded.map_err(|error| (FailureKind::WrongBundle, error.to_string()))?;
        policy.model = (self.prepare)(policy.model);
        let every = match self.reads {
            Reads::Cheap => 1,
            Reads::Dear => LEAST_TOKENS_A_DEAR_READ,
        };
        self.held.retain(|held| held.sha256 != sha256);
        self.held.push(Held { sha256: sha256.clone(), policy, every });
        self.host.post(Reply::Loaded(Loaded {
            sha256,
            manifest,
            seconds: (self.host.now_ms() - begin) / 1e3,
        }));
        Ok(())
    }

    async fn probe(&mut self) -> Result<(), Trouble> {
        let Held { policy, every, .. } = self.held.last_mut().ok_or_else(not_loaded)?;
        let logprobs = probe(&policy.model).await.map_err(trouble)?;
        // The first times compile shaders, and show the browser which code it should compile for speed: the later half
        // counts, all of it together, since some browsers' clocks are coarse.
        let begin = self.host.now_ms();
        let mut ends = Vec::new();
        while ends.len() < MOST_PROBES {
            write_some(&policy.model, *every).await.map_err(trouble)?;
            ends.push(self.host.now_ms());
            let total = ends[ends.len() - 1] - begin;
            if total > LONG_PROBE_MS || (ends.len() >= LEAST_PROBES && total > WARM_UP_MS) {
                break;
            }
        }
        let half = ends.len() / 2;
        let warm = if half == 0 { begin } else { ends[half - 1] };
        let each = (ends[ends.len() - 1] - warm) / (ends.len() - half) as f64;
        let ms_per_token = (each / TIMED as f64).max(1e-3);
        let wanted = ((LOOK_EVERY_MS / ms_per_token) as usize).clamp(1, MOST_TOKENS_A_READ);
        *every = match self.reads {
            Reads::Cheap => wanted,
            Reads::Dear => wanted.max(LEAST_TOKENS_A_DEAR_READ),
        };
        self.host.post(Reply::Probed { logprobs, tokens_per_second: 1e3 / ms_per_token });
        Ok(())
    }

    async fn write(&self, request: &WriteRequest) -> Result<(), Trouble> {
        let Held { policy, every, .. } = self.loaded(&request.policy)?;
        let sampling = &request.sampling;
        sampling.validate().map_err(|error| (FailureKind::Defect, error.to_string()))?;
        let prompt = match request.messages.as_slice() {
            [] => Prompt::Text(request.text.clone()),
            messages => Prompt::Messages(messages.to_vec()),
        };
        let model = looking(policy, request.picture.as_ref())?;
        let patches = request.picture.as_ref().map_or(Vec::new(), |it| patch_ids(0, it.size));
        let prompt = policy.encode_prompt(&prompt);
        let prompt = prompt.map_err(|error| (FailureKind::Defect, error.to_string()))?;
        let prompt = [patches, prompt, request.begin.clone()].concat();
        let id = request.id;
        self.host.post(Reply::Began { id, prompt_ids: prompt.clone() });
        // Bytes of a character that the fixed tokens leave open belong to the next text.
        let mut stream = Stream::new(&policy.tokenizer);
        request.begin.iter().for_each(|token| drop(stream.push(*token)));
        let (mut sent, mut reads, begin) = (0, 0, self.host.now_ms());
        let look = async |rollout: &Rollout| {
            reads += 1;
            let tokens = written(rollout, sent, &mut stream);
            sent = rollout.completions[0].len();
            self.host.post(Reply::Wrote { id, tokens });
            self.host.breathe().await;
            match self.host.is_stopped(id) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let stop = policy.stop_tokens();
        let coins = Coins::new(request.seed, 0);
        let generation = Generation { sampling, stop: &stop, coins, first_index: 0 };
        let watch = Watch { every: *every, look };
        let rollout = generate_watched(&model, &[prompt], &generation, watch).await;
        let rollout = rollout.map_err(trouble)?;
        let seconds = (self.host.now_ms() - begin) / 1e3;
        let reason = rollout.end_reasons[0];
        self.host.post(Reply::Ended { id, reason, rest: stream.finish(), seconds, reads });
        Ok(())
    }

    async fn alternatives(&self, request: &AlternativesRequest) -> Result<(), Trouble> {
        let AlternativesRequest { id, token_ids, sampling, count, .. } = request;
        let policy = &self.loaded(&request.policy)?.policy;
        let model = looking(policy, request.picture.as_ref())?;
        let next = next_token(&model, token_ids, sampling).map_err(trouble)?;
        let both = burn::tensor::Tensor::cat(vec![next.full, next.drawn], 0);
        let data = both.into_data_async().await;
        let data = data.map_err(|error| (FailureKind::Defect, format!("{error:?}")))?;
        let values: Vec<f32> = data.convert::<f32>().try_to_vec().expect("converted to f32");
        let (full, drawn) = values.split_at(values.len() / 2);
        let mut best: Vec<usize> = (0..full.len()).collect();
        best.sort_by(|left, right| full[*right].total_cmp(&full[*left]));
        let list = best.into_iter().take(*count).map(|token| Alternative {
            id: token as u32,
            text: token_text(policy, token as u32),
            logprob_drawn: Some(drawn[token]).filter(|value| *value > CUT_OFF),
            logprob_full: full[token],
        });
        self.host.post(Reply::Alternatives { id: *id, list: list.collect() });
        Ok(())
    }

    fn loaded(&self, sha256: &str) -> Result<&Held, Trouble> {
        self.held.iter().find(|held| held.sha256 == sha256).ok_or_else(not_loaded)
    }
}

/// The model with a picture before its eyes, if there is one.
fn looking(policy: &Policy, picture: Option<&Picture>) -> Result<Transformer, Trouble> {
    let model = policy.model.clone();
    let Some(picture) = picture else { return Ok(model) };
    let defect = |words: String| (FailureKind::Defect, words);
    picture.validate().map_err(|error| defect(error.to_string()))?;
    model.looking_at(&picture.into()).map_err(|error| defect(error.to_string()))
}

/// What did not work, and how.
type Trouble = (FailureKind, String);

fn not_loaded() -> Trouble {
    (FailureKind::Defect, "the policy is not loaded".to_owned())
}

fn trouble(error: GenerateError) -> Trouble {
    let cause = match &error {
        GenerateError::PromptTooLong { .. } => FailureKind::PromptTooLong,
        GenerateError::EmptyPrompt { .. } => FailureKind::Defect,
        GenerateError::Device(words) => failure_of_panic(words),
    };
    (cause, error.to_string())
}

/// The kind of failure that a device's words mean; libraries report these as panics.
pub fn failure_of_panic(words: &str) -> FailureKind {
    let words = words.to_ascii_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if says(&["out of memory", "outofmemory", "alloc"]) {
        FailureKind::OutOfMemory
    } else if says(&["lost", "destroyed", "no longer exists"]) {
        // The last is Chromium's, when its GPU process has ended.
        FailureKind::DeviceLost
    } else {
        FailureKind::Defect
    }
}

/// The tokens of the only completion from number `sent` on.
fn written(rollout: &Rollout, sent: usize, stream: &mut Stream<'_>) -> Vec<Written> {
    let tokens = rollout.completions[0].iter().enumerate().skip(sent);
    let written = tokens.map(|(place, token)| Written {
        id: *token,
        text: stream.push(*token),
        logprob_drawn: rollout.logprobs_drawn[0][place],
        logprob_full: rollout.logprobs_full[0][place],
    });
    written.collect()
}

/// A token as people read it alone.
fn token_text(policy: &Policy, token: u32) -> String {
    let tokenizer = &policy.tokenizer;
    let special = tokenizer.special_names().find(|name| tokenizer.special_id(name) == Some(token));
    special.map_or_else(|| tokenizer.decode(&[token]), str::to_owned)
}
