//! What the page and the engine in its worker say to each other: one JSON message each way, beside
//! which only the bytes of a bundle travel.

use serde::{Deserialize, Serialize};

use crate::{EndReason, Message, Picture, PolicyManifest, Sampling};

/// From the page to the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Take the bundle whose bytes come with this message; behind those of an adapter stand those of its base.
    Load {
        /// The hash that its bytes must have; none for a file of the visitor's own.
        sha256: Option<String>,
        /// SHA-256 of the policies that stay; all others go first, to make room.
        #[serde(default)]
        keep: Vec<String>,
        /// SHA-256 of the bundle that it is laid upon, whose bytes come too; none for a whole policy.
        #[serde(default)]
        base: Option<String>,
    },
    /// Compute the fixed self-test of the policy loaded last, and measure its speed.
    Probe,
    /// Write a completion.
    Write(WriteRequest),
    /// Stop writing.
    Stop {
        /// Which completion.
        id: u64,
    },
    /// The most likely tokens after the first tokens of a completion.
    Alternatives(AlternativesRequest),
}

/// What to look up and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlternativesRequest {
    /// Names the question; the reply repeats it.
    pub id: u64,
    /// SHA-256 of the policy's bundle.
    pub policy: String,
    /// What the prompt looks at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Picture>,
    /// Prompt and tokens so far.
    pub token_ids: Vec<u32>,
    /// The distribution drawn from.
    pub sampling: Sampling,
    /// How many.
    pub count: usize,
}

/// What to write and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WriteRequest {
    /// Names the completion in replies.
    pub id: u64,
    /// SHA-256 of the policy's bundle.
    pub policy: String,
    /// The conversation, its system message first; empty where plain text is continued.
    pub messages: Vec<Message>,
    /// Plain text to continue where there are no messages.
    pub text: String,
    /// What the policy looks at before it reads, if it has eyes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Picture>,
    /// Tokens of the reply that are already fixed: the visitor branched off after them.
    pub begin: Vec<u32>,
    /// The distribution to draw from.
    pub sampling: Sampling,
    /// Seed of the coins; the coins are those of step 0, completion 0.
    pub seed: u64,
}

/// From the engine to the page.
#[expect(clippy::large_enum_variant, reason = "a reply is made, taken apart and gone")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The engine is up.
    Ready {
        /// The device in words.
        backend: String,
        /// The graphics adapter, if that computes.
        adapter: Option<AdapterInfo>,
    },
    /// The bundle is on the device.
    Loaded(Loaded),
    /// The self-test is done.
    Probed {
        /// Log-probability in nats of each token of the fixed text.
        logprobs: Vec<f32>,
        /// Decoded tokens a second.
        tokens_per_second: f64,
    },
    /// Writing began.
    Began {
        /// Which completion.
        id: u64,
        /// The prompt as tokens, with those fixed by the visitor.
        prompt_ids: Vec<u32>,
    },
    /// Tokens were written.
    Wrote {
        /// Which completion.
        id: u64,
        /// The tokens, in order.
        tokens: Vec<Written>,
    },
    /// Writing ended.
    Ended {
        /// Which completion.
        id: u64,
        /// Why.
        reason: EndReason,
        /// Text that only the end completed: bytes that are no character.
        rest: String,
        /// Seconds from the first token on.
        seconds: f64,
        /// Times the device was read.
        reads: u64,
    },
    /// The most likely tokens, best first.
    Alternatives {
        /// Which question.
        id: u64,
        /// The tokens.
        list: Vec<Alternative>,
    },
    /// Something did not work.
    Failed(Failure),
}

/// A graphics adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterInfo {
    /// Vendor and model, as far as the browser tells.
    pub name: String,
    /// The longest buffer that a shader can bind, in bytes.
    pub max_binding_bytes: u64,
    /// Whether it is software.
    pub software: bool,
}

/// A bundle on the device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    /// SHA-256 of the bytes.
    pub sha256: String,
    /// What it says of itself.
    pub manifest: PolicyManifest,
    /// Seconds from bytes to weights on the device.
    pub seconds: f64,
}

/// One token as it was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// The token.
    pub id: u32,
    /// The text that it completed; empty in the midst of a character and for special tokens.
    pub text: String,
    /// Log-probability in nats under the distribution drawn from.
    pub logprob_drawn: f32,
    /// Log-probability in nats under the full softmax at the temperature.
    pub logprob_full: f32,
}

/// A token that could have been drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// The token.
    pub id: u32,
    /// Its text; the name of a special token.
    pub text: String,
    /// Log-probability in nats under the distribution drawn from; none where it is cut off.
    pub logprob_drawn: Option<f32>,
    /// Log-probability in nats under the full softmax at the temperature.
    pub logprob_full: f32,
}

/// What did not work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The completion or question it is about.
    pub id: Option<u64>,
    /// What kind of thing.
    pub cause: FailureKind,
    /// What happened, in the engine's words.
    pub detail: String,
}

/// Kinds of failure, each with a remedy of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// There is no graphics adapter, or the browser does not hand it out.
    NoAdapter,
    /// The bytes are no bundle, or a damaged one.
    WrongBundle,
    /// The bytes are not those of the hash.
    WrongHash,
    /// The prompt does not fit the context.
    PromptTooLong,
    /// The device ran out of memory.
    OutOfMemory,
    /// The device was lost.
    DeviceLost,
    /// Anything else: a defect.
    Defect,
}
