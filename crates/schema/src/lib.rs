//! Records that cross a boundary: what one program writes and another, or a person, reads.
//!
//! Plain data with serde, no burn: whoever only stores or shows records need not compile a tensor
//! library. Field names are stable; a change of meaning gets a new version.

mod bundle;
mod collector;
mod engine;
mod export;
mod feedback;
mod hexadecimal;
mod judged;
mod mask;
mod message;
mod picture;
mod rating;
mod result;
mod sample;
mod turns;

pub use bundle::{
    Adapts, BUNDLE_VERSION, Catalog, CatalogEntry, Container, ContainerError, MAX_HEAD_BYTES, Part,
    PolicyManifest, pack_bundle, read_manifest,
};
pub use collector::{
    Arm, AskedQuery, AskedReason, CURSOR_HEADER, Check, CheckCounts, CheckOutcome, CheckReceipt,
    CheckReport, CollectorStats, EraseRequest, Erased, Erasure, Gold, MAX_BATCH, Meeting,
    PolicyList, PolicyTally, PoolItem, PoolPrompt, PoolReceipt, PromptUncertainty, PublishedPolicy,
    Query, QuerySettings, RATER_SCHEME, RaterList, RaterTally, Receipt, Received, ReceivedStatus,
};
pub use engine::{
    AdapterInfo, Alternative, AlternativesRequest, Failure, FailureKind, Loaded, Reply, Request,
    WriteRequest, Written,
};
pub use export::{ExportShape, export_rows};
pub use feedback::{
    Agreement, Counterfactual, Drift, FeedbackStats, ImportReport, InfluenceReport, JudgedRow,
    PolicyStats, PullReport, RaterWeights, Refusal, RefusalCause, UncheckedCause, VerdictStats,
};
pub use hexadecimal::hexadecimal;
pub use judged::Comparison;
pub use mask::mask_personal_data;
pub use message::Message;
pub use picture::{CHANNELS, MAX_PICTURE_SIZE, PATCH, Picture, patch_count, patch_ids, patch_of};
pub use rating::{
    MAX_SAMPLES, MAX_TEXT_BYTES, MAX_TOKENS, PairChoice, PolicyId, RATING_VERSION, RatedPrompt,
    Rating, RatingError, Thumb, Verdict,
};
pub use result::{
    CalibrationBin, CompressResult, Estimate, EvalResult, RewardResult, RunResult, ScoreResult,
    Size,
};
pub use sample::{EndReason, Sample, Sampling, SamplingError};
pub use turns::{Between, Place, Turns};
