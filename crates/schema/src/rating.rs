//! What a person said of one or two completions, with everything needed to learn from it later.
//!
//! Version 1. Unknown fields are refused and sizes are bounded, so that whoever stores ratings of
//! strangers knows what they can be.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    AskedQuery, Message, Picture, Sample, SamplingError, patch_count, patch_ids, patch_of,
};

/// The version of [`Rating`] that this code reads and writes.
pub const RATING_VERSION: u32 = 1;
/// The most samples of one rating.
pub const MAX_SAMPLES: usize = 2;
/// The most tokens of a prompt or of a completion.
pub const MAX_TOKENS: usize = 4096;
/// The longest text of one field, in bytes.
pub const MAX_TEXT_BYTES: usize = 32 * 1024;
/// The longest name, version, locale or reason, in bytes.
const MAX_NAME_BYTES: usize = 256;
const MAX_REASONS: usize = 16;
const MAX_MESSAGES: usize = 64;
/// What a hash is, in an error.
const SHA256: &str = "64 lower-case hexadecimal digits";

/// One rating.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rating {
    /// Version of this record: [`RATING_VERSION`].
    pub version: u32,
    /// UUID version 7, made where the rating was made; sending it twice is sending it once.
    pub id: String,
    /// When the verdict was given, RFC 3339 in UTC.
    pub created: String,
    /// Version of the page.
    pub page_version: String,
    /// The policy that wrote.
    pub policy: PolicyId,
    /// The policy that wrote the second sample, where it is another. It read the same tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rival: Option<PolicyId>,
    /// What computed: the device in words.
    pub backend: String,
    /// The task's name.
    pub task: String,
    /// What the policy was given.
    pub prompt: RatedPrompt,
    /// The completions, in the order shown: left first.
    pub samples: Vec<Sample>,
    /// What the person said.
    pub verdict: Verdict,
    /// Places in `samples` of the texts that were reported as harmful.
    #[serde(default)]
    pub reported: Vec<usize>,
    /// Reasons picked from the page's list.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// A remark in the person's own words.
    #[serde(default)]
    pub remark: Option<String>,
    /// Seconds between showing the samples and the verdict.
    pub seconds: f64,
    /// The rater's random id, a UUID; nothing else identifies them.
    pub rater: String,
    /// Version of the consent text that was agreed to.
    pub consent: String,
    /// Language of the page, as in BCP 47.
    pub locale: String,
    /// The collector's query that it answers, if one was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<AskedQuery>,
}

/// Which weights wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyId {
    /// The policy's name.
    pub name: String,
    /// SHA-256 of the bundle, 64 hexadecimal digits.
    pub sha256: String,
    /// Name of the adapter on top of it, if any.
    #[serde(default)]
    pub adapter: Option<String>,
}

/// What the policy was given, as people read it and as tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatedPrompt {
    /// The conversation; empty where plain text is continued.
    #[serde(default)]
    pub messages: Vec<Message>,
    /// Plain text to continue; after `messages`, the beginning of the reply that the rater fixed by
    /// branching off.
    #[serde(default)]
    pub text: String,
    /// What it looked at, before all else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Picture>,
    /// All of it as tokens, behind the ids of the picture's patches.
    pub token_ids: Vec<u32>,
}

/// What a person said: `{"pair": "left"}`, `{"stars": 4}`, `"report"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Good or bad; one sample.
    Thumbs(Thumb),
    /// 1 (worst) to 5 (best); one sample.
    Stars(u8),
    /// Which of two is better.
    Pair(PairChoice),
    /// The whole completion as it should have been; one sample.
    Edit(String),
    /// Nothing but a report.
    Report,
}

/// Good or bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thumb {
    /// Good.
    Up,
    /// Bad.
    Down,
}

/// Which of two is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairChoice {
    /// The first sample.
    Left,
    /// The second sample.
    Right,
    /// Equally good.
    Tie,
    /// Neither is acceptable.
    BothBad,
}

/// Why a rating is refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RatingError {
    /// Another version.
    #[error("rating version {found} is not {RATING_VERSION}: update the page or this program")]
    Version {
        /// What it says.
        found: u32,
    },
    /// A field has the wrong form.
    #[error("{field} is not {expected}")]
    Form {
        /// The field's name.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A field is too large.
    #[error("{field} has {found}, at most {most} are allowed")]
    TooLarge {
        /// The field's name.
        field: &'static str,
        /// Its size.
        found: usize,
        /// The bound.
        most: usize,
    },
    /// The verdict does not fit the number of samples.
    #[error("the verdict needs {expected} samples and there are {found}")]
    Samples {
        /// How many the verdict is about.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// Tokens and log-probabilities do not belong to each other.
    #[error("sample {sample}: {tokens} tokens and {logprobs} log-probabilities")]
    Logprobs {
        /// Its place.
        sample: usize,
        /// Tokens.
        tokens: usize,
        /// Log-probabilities.
        logprobs: usize,
    },
    /// A log-probability is not one.
    #[error("sample {sample}: log-probability {value} is not finite and at most 0")]
    Logprob {
        /// Its place.
        sample: usize,
        /// The number.
        value: f32,
    },
    /// Sampling settings out of their range.
    #[error("{0}")]
    Sampling(#[from] SamplingError),
}

/// How far above zero rounding may carry a log-probability of one.
const ROUNDING: f32 = 1e-4;

impl RatedPrompt {
    /// All of it as tokens but the picture.
    ///
    /// # Panics
    /// If the rating is not [valid](Rating::validate).
    pub fn tokens(&self) -> &[u32] {
        &self.token_ids[self.picture.as_ref().map_or(0, |picture| patch_count(picture.size))..]
    }

    /// Whether the ids begin with the patches of its picture, and then say nothing more of pictures.
    fn shows_its_picture(&self) -> bool {
        let size = self.picture.as_ref().map_or(0, |picture| picture.size);
        let behind = self.token_ids.strip_prefix(&*patch_ids(0, size));
        behind.is_some_and(|ids| ids.iter().all(|id| patch_of(*id).is_none()))
    }
}

impl Rating {
    /// The policy that wrote the sample at `place`, from 0.
    pub fn policy_of(&self, place: usize) -> &PolicyId {
        self.rival.as_ref().filter(|_| place == 1).unwrap_or(&self.policy)
    }

    /// Checks forms, sizes and numbers; what only the policy can tell is checked elsewhere.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), RatingError> {
        if self.version != RATING_VERSION {
            return Err(RatingError::Version { found: self.version });
        }
        self.prompt.picture.as_ref().map_or(Ok(()), Picture::validate)?;
        self.check_forms()?;
        self.check_sizes()?;
        self.check_verdict()?;
        self.samples.iter().enumerate().try_for_each(|(place, sample)| check_sample(place, sample))
    }

    fn check_forms(&self) -> Result<(), RatingError> {
        let rival = self.rival.as_ref();
        let met = rival.is_none_or(|rival| *rival != self.policy && self.samples.len() == 2);
        let query = self.query.as_ref();
        let picture = "tokens behind the patches of prompt.picture";
        let reported = self.reported.iter().all(|place| *place < self.samples.len());
        let forms = [
            ("id", is_uuid(&self.id) && self.id.as_bytes()[14] == b'7', "a UUID of version 7"),
            ("created", is_utc_time(&self.created), "a time like 2026-11-24T10:00:00Z"),
            ("policy.sha256", is_sha256(&self.policy.sha256), SHA256),
            ("rival", met, "another policy with a sample of its own"),
            ("rival.sha256", rival.is_none_or(|it| is_sha256(&it.sha256)), SHA256),
            ("rival.name", rival.is_none_or(|it| !it.name.is_empty()), "a name"),
            ("query.id", query.is_none_or(|query| is_uuid(&query.id)), "a UUID"),
            ("rater", is_uuid(&self.rater), "a UUID"),
            ("consent", !self.consent.is_empty(), "the version of the text agreed to"),
            ("task", !self.task.is_empty(), "the name of a task"),
            ("policy.name", !self.policy.name.is_empty(), "a name"),
            ("seconds", self.seconds.is_finite() && self.seconds >= 0.0, "a number from 0 on"),
            ("prompt.token_ids", !self.prompt.token_ids.is_empty(), "a list with a token in it"),
            ("prompt.token_ids", self.prompt.shows_its_picture(), picture),
            ("reported", reported, "a list of places in samples"),
        ];
        match forms.into_iter().find(|(_, fits, _)| !fits) {
            None => Ok(()),
            Some((field, _, expected)) => Err(RatingError::Form { field, expected }),
        }
    }

    fn check_sizes(&self) -> Result<(), RatingError> {
        let name = |text: &String| text.len();
        let policies = [0, 1].map(|place| self.policy_of(place));
        let longest = |size: fn(&PolicyId) -> usize| policies.map(size).into_iter().max();
        let policy = longest(|policy| policy.name.len()).unwrap_or(0);
        let adapter = longest(|policy| policy.adapter.as_ref().map_or(0, String::len)).unwrap_or(0);
        let content: usize = self.prompt.messages.iter().map(|turn| turn.content.len()).sum();
        let role = self.prompt.messages.iter().map(|turn| turn.role.len()).max().unwrap_or(0);
        let reason = self.reasons.iter().map(name).max().unwrap_or(0);
        let remark = self.remark.as_ref().map_or(0, name);
        let sizes = [
            ("page_version", self.page_version.len(), MAX_NAME_BYTES),
            ("policy.name", policy, MAX_NAME_BYTES),
            ("policy.adapter", adapter, MAX_NAME_BYTES),
            ("backend", self.backend.len(), MAX_NAME_BYTES),
            ("task", self.task.len(), MAX_NAME_BYTES),
            ("consent", self.consent.len(), MAX_NAME_BYTES),
            ("locale", self.locale.len(), MAX_NAME_BYTES),
            ("a role of prompt.messages", role, MAX_NAME_BYTES),
            ("a reason", reason, MAX_NAME_BYTES),
            ("reasons", self.reasons.len(), MAX_REASONS),
            ("reported", self.reported.len(), MAX_SAMPLES),
            ("prompt.messages", self.prompt.messages.len(), MAX_MESSAGES),
            ("prompt.messages", content, MAX_TEXT_BYTES),
            ("prompt.text", self.prompt.text.len(), MAX_TEXT_BYTES),
            ("prompt.token_ids", self.prompt.token_ids.len(), MAX_TOKENS),
            ("remark", remark, MAX_TEXT_BYTES),
        ];
        match sizes.into_iter().find(|(_, found, most)| found > most) {
            None => Ok(()),
            Some((field, found, most)) => Err(RatingError::TooLarge { field, found, most }),
        }
    }

    fn check_verdict(&self) -> Result<(), RatingError> {
        let found = self.samples.len();
        let expected = match &self.verdict {
            Verdict::Pair(_) => 2,
            Verdict::Thumbs(_) | Verdict::Stars(_) | Verdict::Edit(_) => 1,
            Verdict::Report => found.clamp(1, MAX_SAMPLES),
        };
        if found != expected {
            return Err(RatingError::Samples { expected, found });
        }
        match &self.verdict {
            Verdict::Stars(value) if !(1..=5).contains(value) => {
                Err(RatingError::Form { field: "verdict.stars", expected: "from 1 to 5" })
            }
            Verdict::Edit(text) if text.len() > MAX_TEXT_BYTES => Err(RatingError::TooLarge {
                field: "verdict.edit",
                found: text.len(),
                most: MAX_TEXT_BYTES,
            }),
            Verdict::Report if self.reported.is_empty() => {
                Err(RatingError::Form { field: "reported", expected: "naming a sample" })
            }
            Verdict::Thumbs(_)
            | Verdict::Stars(_)
            | Verdict::Pair(_)
            | Verdict::Edit(_)
            | Verdict::Report => Ok(()),
        }
    }
}

fn check_sample(place: usize, sample: &Sample) -> Result<(), RatingError> {
    sample.sampling.validate()?;
    let tokens = sample.token_ids.len();
    let sizes =
        [("a sample's tokens", tokens, MAX_TOKENS), ("text", sample.text.len(), MAX_TEXT_BYTES)];
    if let Some((field, found, most)) = sizes.into_iter().find(|(_, found, most)| found > most) {
        return Err(RatingError::TooLarge { field, found, most });
    }
    for list in [&sample.logprobs_drawn, &sample.logprobs_full] {
        if list.len() != tokens {
            return Err(RatingError::Logprobs { sample: place, tokens, logprobs: list.len() });
        }
        if let Some(value) = list.iter().find(|value| !(value.is_finite() && **value <= ROUNDING)) {
            return Err(RatingError::Logprob { sample: place, value: *value });
        }
    }
    Ok(())
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// `YYYY-MM-DDTHH:MM:SS`, possibly a fraction, `Z`.
fn is_utc_time(text: &str) -> bool {
    let Some(text) = text.strip_suffix('Z') else { return false };
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let form = "0000-00-00T00:00:00";
    seconds.len() == form.len()
        && fraction.len() <= 9
        && digits(fraction)
        && seconds.bytes().zip(form.bytes()).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            separator => byte == separator,
        })
}

#[cfg(test)]
#[path = "rating_tests.rs"]
mod tests;
