//! What `trainer feedback import` and `trainer feedback stats` report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Estimate;

/// `trainer feedback import --json`: what became of the lines of exported ratings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ImportReport {
    /// Version of this record.
    pub version: u32,
    /// The file that accepted ratings were appended to.
    pub output: String,
    /// Lines that hold something.
    pub lines: usize,
    /// Ratings appended.
    pub accepted: usize,
    /// Of these, ratings of which everything was checked against their policy.
    pub verified: usize,
    /// Of these, ratings of which something could not be checked, by cause.
    pub unchecked: BTreeMap<UncheckedCause, usize>,
    /// Ratings that were there already; the first stays.
    pub duplicates: usize,
    /// Of these, ratings whose content differs from the first.
    pub differing_duplicates: usize,
    /// Lines refused, by cause.
    pub refused: BTreeMap<RefusalCause, usize>,
    /// Every line refused, in order.
    pub refusals: Vec<Refusal>,
    /// How far what raters' devices recorded lies from what was recomputed here, in accepted ratings: by `cpu`
    /// and `other`.
    pub drift: BTreeMap<String, Drift>,
}

/// How far log-probabilities of the full softmax that were recorded lie from those recomputed.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Drift {
    /// Tokens compared.
    pub tokens: usize,
    /// The largest distance of a token, in nats.
    pub worst_nats: f64,
    /// Mean of recorded minus recomputed, in nats a token: the divergence of the device that wrote from this
    /// one, as far as the tokens drawn tell.
    pub kl_nats: f64,
}

impl Drift {
    /// With further tokens, recorded minus recomputed.
    pub fn add(&mut self, differences: &[f64]) {
        let before = self.kl_nats * self.tokens as f64;
        self.tokens += differences.len();
        self.kl_nats = (before + differences.iter().sum::<f64>()) / self.tokens.max(1) as f64;
        let worst = differences.iter().map(|difference| difference.abs());
        self.worst_nats = worst.fold(self.worst_nats, f64::max);
    }
}

/// A line that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The file as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What kind of thing is wrong.
    pub cause: RefusalCause,
    /// What is wrong, in words.
    pub reason: String,
}

/// Why a line is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCause {
    /// It is not JSON.
    Json,
    /// It is JSON and no rating: a field is unknown, missing or of another type.
    Record,
    /// A value is out of its bounds.
    Value,
    /// Tokens that the policy cannot have read or written.
    Tokens,
    /// A text is not that of its tokens.
    Text,
    /// The prompt's tokens are not those of what the policy was given.
    Prompt,
    /// The end reason is not that of the tokens.
    End,
    /// The policy gives other log-probabilities.
    Logprobs,
}

impl RefusalCause {
    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Record => "record",
            Self::Value => "value",
            Self::Tokens => "tokens",
            Self::Text => "text",
            Self::Prompt => "prompt",
            Self::End => "end",
            Self::Logprobs => "logprobs",
        }
    }
}

/// Why something of a rating could not be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UncheckedCause {
    /// No bundle of that hash is at hand: nothing was checked against the policy.
    Policy,
    /// An adapter lies on top of the bundle: nothing was checked against the policy.
    Adapter,
    /// The prompt's text was masked, or shows bytes that are no text: its tokens were taken as they are,
    /// and the log-probabilities checked.
    Prompt,
}

impl UncheckedCause {
    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Adapter => "adapter",
            Self::Prompt => "prompt",
        }
    }
}

/// `trainer feedback stats --json`: what people said, in numbers.
///
/// Intervals take ratings as independent; few raters who rate much make them too narrow.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FeedbackStats {
    /// Version of this record.
    pub version: u32,
    /// Ratings counted.
    pub ratings: usize,
    /// Lines left out because they are no ratings.
    pub refused: usize,
    /// Lines left out because their id was there already.
    pub duplicates: usize,
    /// Different raters.
    pub raters: usize,
    /// Ratings by kind of verdict.
    pub verdicts: BTreeMap<String, usize>,
    /// Ratings by task.
    pub tasks: BTreeMap<String, usize>,
    /// Ratings by what computed.
    pub backends: BTreeMap<String, usize>,
    /// How often each reason was picked.
    pub reasons: BTreeMap<String, usize>,
    /// Samples reported as harmful.
    pub reported: usize,
    /// Median seconds between showing and verdict; none without ratings.
    pub median_seconds: Option<f64>,
    /// What was said of all policies.
    pub all: VerdictStats,
    /// What was said of each policy, by name and hash.
    pub policies: Vec<PolicyStats>,
    /// How far raters of the same samples agree, by kind of verdict; kinds that two raters gave of one
    /// item at least.
    pub agreement: BTreeMap<String, Agreement>,
}

/// What was said of one policy.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PolicyStats {
    /// Its name.
    pub name: String,
    /// SHA-256 of its bundle.
    pub sha256: String,
    /// The adapter on top of it, if any.
    pub adapter: Option<String>,
    /// Ratings of it.
    pub ratings: usize,
    /// What they say.
    pub said: VerdictStats,
}

/// Verdicts in numbers, with 95 % intervals; none where there is no such verdict.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VerdictStats {
    /// Choices between two by value: `left`, `right`, `tie`, `both_bad`.
    pub pairs: BTreeMap<String, usize>,
    /// Share of `left` among `left` and `right`, Wilson; other than one half means that the place counts.
    pub left_over_right: Option<Estimate>,
    /// Thumbs given.
    pub thumbs: usize,
    /// Share of thumbs up, Wilson.
    pub thumbs_up: Option<Estimate>,
    /// Ratings by number of stars.
    pub star_counts: BTreeMap<u8, usize>,
    /// Mean number of stars, bootstrap.
    pub stars: Option<Estimate>,
    /// Texts edited.
    pub edits: usize,
    /// Mean share of a text's characters that its edit changed, bootstrap.
    pub edit_change: Option<Estimate>,
}

/// How far raters agree on the items that at least two of them judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Such items.
    pub items: usize,
    /// Judgements of them.
    pub judgements: usize,
    /// Mean over items of the share of rater pairs that said the same.
    pub agreement: f64,
    /// Krippendorff's alpha, ordinal for stars and nominal for the rest: 1 is full agreement, 0 is that of chance; none where
    /// everybody always said the same.
    pub alpha: Option<f64>,
}

/// `trainer feedback raters`: how much each rater's word counts in training.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RaterWeights {
    /// Version of this record.
    pub version: u32,
    /// The weight of a rater who is not listed.
    pub others: f64,
    /// By rater, from 0 to 1, with a 95 % interval.
    pub raters: BTreeMap<String, Estimate>,
}

impl RaterWeights {
    /// The weight of a rater.
    pub fn weight(&self, rater: &str) -> f64 {
        self.raters.get(rater).map_or(self.others, |weight| weight.mean)
    }
}

/// `trainer feedback evaluate --json`: what people would have rated another policy, 95 % intervals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counterfactual {
    /// Version of this record.
    pub version: u32,
    /// Rated completions.
    pub n: usize,
    /// Raters, which are drawn anew for the intervals.
    pub raters: usize,
    /// How many equally weighted completions would say as much.
    pub effective_n: f64,
    /// Mean weight; below 1 where the rated policy could not have written what the new one writes.
    pub mean_weight: Estimate,
    /// What the rated completions earned, from 0 to 1.
    pub logged: Estimate,
    /// Inverse propensity score.
    pub ips: Estimate,
    /// Self-normalized inverse propensity score.
    pub snips: Estimate,
    /// Doubly robust estimate; none without a reward model.
    pub doubly_robust: Option<Estimate>,
    /// Whether the data reach as far as the new policy.
    pub tells: bool,
}

/// `trainer feedback pull --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PullReport {
    /// Version of this record.
    pub version: u32,
    /// The collector.
    pub url: String,
    /// Ratings taken out again, since people took them back.
    pub erased: usize,
    /// What became of the new ones.
    pub imported: ImportReport,
}

/// `trainer feedback influence --json`: a step of learning with and without one rater.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InfluenceReport {
    /// Version of this record.
    pub version: u32,
    /// The rater.
    pub rater: String,
    /// Their ratings.
    pub ratings: usize,
    /// Completions of these that a policy gradient learns from.
    pub completions: usize,
    /// Their share of all such completions.
    pub share: f64,
    /// Of the angle between both gradients; 1 is no influence on the direction.
    pub cosine: f64,
    /// Length of the gradient of all ratings.
    pub norm_with: f64,
    /// Length of the gradient without them.
    pub norm_without: f64,
}

/// A line of `trainer judge`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedRow {
    /// The row: file and line.
    pub id: String,
    /// 0 is the mean of what the model was trained on, 1 its standard deviation.
    pub reward: f64,
    /// Standard deviation over the model's members.
    pub uncertainty: f64,
    /// What each member says, on the same scale.
    pub members: Vec<f64>,
}
