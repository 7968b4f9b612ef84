//! A completion with everything needed to learn from it later.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How tokens are drawn from a policy's logits.
///
/// Applied in this order: repetition penalty, temperature, top-k, top-p, min-p.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Divides the logits; 0 = greedy.
    pub temperature: f64,
    /// Keeps the k most likely tokens, and ties with the last of them; 0 = all.
    pub top_k: usize,
    /// Keeps the smallest set of most likely tokens whose probability reaches this; 1 = all.
    pub top_p: f64,
    /// Drops tokens less likely than this share of the most likely one; 0 = none.
    pub min_p: f64,
    /// Divides positive and multiplies negative logits of tokens already present; 1 = off.
    pub repetition_penalty: f64,
    /// Longest completion, in tokens.
    pub max_completion_length: usize,
}

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The policy drew a stop token, which is the completion's last token.
    Stop,
    /// The completion reached its longest length.
    Length,
    /// Whoever read along stopped it.
    Interrupted,
}

/// One completion, as drawn. The prompt stands beside it, since several samples share one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The completion as text, without special tokens.
    pub text: String,
    /// The completion's tokens, the stop token included.
    pub token_ids: Vec<u32>,
    /// Log-probability in nats of each token under the distribution it was drawn from.
    pub logprobs_drawn: Vec<f32>,
    /// Log-probability in nats of each token under the full softmax at the sampling temperature
    /// (at temperature 1 when greedy).
    pub logprobs_full: Vec<f32>,
    /// Why it ended.
    pub end_reason: EndReason,
    /// How it was drawn.
    pub sampling: Sampling,
    /// The seed of the draw.
    pub seed: u64,
}

impl Sample {
    /// Why its end reason is not that of its tokens, if it is not; `stops` tells what ends a completion.
    pub fn wrong_end(&self, stops: impl Fn(u32) -> bool) -> Option<&'static str> {
        let stopped = self.token_ids.iter().position(|id| stops(*id));
        let last = self.token_ids.len().checked_sub(1);
        match (stopped, self.end_reason) {
            (Some(place), _) if Some(place) != last => Some("tokens follow the stop token"),
            (Some(_), EndReason::Length | EndReason::Interrupted) => {
                Some("it ends with a stop token, and its end reason is another")
            }
            (None, EndReason::Stop) => Some("it is said to have stopped and has no stop token"),
            (Some(_), EndReason::Stop) | (None, EndReason::Length | EndReason::Interrupted) => None,
        }
    }
}

/// A sampling setting outside of its range.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingError {
    /// The setting's name.
    pub field: &'static str,
    /// Its value.
    pub value: f64,
    /// What it may be.
    pub range: &'static str,
}

impl fmt::Display for SamplingError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is {}: it must be {}", self.field, self.value, self.range)
    }
}

impl std::error::Error for SamplingError {}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            max_completion_length: 64,
        }
    }
}

impl Sampling {
    /// Checks every range.
    ///
    /// # Errors
    /// The first setting outside of its range.
    pub fn validate(&self) -> Result<(), SamplingError> {
        let checks = [
            ("temperature", self.temperature, self.temperature >= 0.0, "0 (greedy) or more"),
            ("top_p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "above 0 and at most 1"),
            ("min_p", self.min_p, (0.0..1.0).contains(&self.min_p), "in [0, 1)"),
            (
                "repetition_penalty",
                self.repetition_penalty,
                self.repetition_penalty > 0.0,
                "above 0; 1 is off",
            ),
            (
                "max_completion_length",
                self.max_completion_length as f64,
                self.max_completion_length > 0,
                "at least 1",
            ),
        ];
        match checks.into_iter().find(|(_, value, fits, _)| !fits || !value.is_finite()) {
            None => Ok(()),
            Some((field, value, _, range)) => Err(SamplingError { field, value, range }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_range_is_named() {
        let check = |sampling: Sampling, field| {
            assert_eq!(sampling.validate().unwrap_err().field, field);
        };
        assert_eq!(Sampling::default().validate(), Ok(()));
        check(Sampling { temperature: -1.0, ..Sampling::default() }, "temperature");
        check(Sampling { temperature: f64::NAN, ..Sampling::default() }, "temperature");
        check(Sampling { top_p: 0.0, ..Sampling::default() }, "top_p");
        check(Sampling { min_p: 1.0, ..Sampling::default() }, "min_p");
        check(Sampling { repetition_penalty: 0.0, ..Sampling::default() }, "repetition_penalty");
        check(
            Sampling { max_completion_length: 0, ..Sampling::default() },
            "max_completion_length",
        );
    }

    #[test]
    fn an_unknown_sampling_field_is_refused() {
        assert!(serde_json::from_str::<Sampling>(r#"{"temprature": 1.0}"#).is_err());
    }
}
