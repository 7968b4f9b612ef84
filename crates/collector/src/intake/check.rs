//! Whether a rating can be of the policies that it names, as far as that can be told without their weights.
//!
//! The trainer checks the same and the log-probabilities, when it reads an export.

use kudos_schema::{RatedPrompt, Rating, Sample};
use kudos_tokenizer::Tokenizer;
use kudos_tokenizer::stream::spells;

use crate::policy::shelf::Known;

/// Why a rating is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// What kind of thing is wrong, as statistics count it.
    pub(crate) cause: &'static str,
    /// What is wrong, in words.
    pub(crate) reason: String,
}

impl Refused {
    pub(crate) fn new(cause: &'static str, reason: impl Into<String>) -> Self {
        Self { cause, reason: reason.into() }
    }
}

/// Checks the sample at `place` of a valid rating against its policy, if that is known.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn check(rating: &Rating, place: usize, known: Option<&Known>) -> Result<(), Refused> {
    let policy = rating.policy_of(place);
    let Some(known) = known else {
        let reason = format!("policy {} was never published here", policy.sha256);
        return Err(Refused::new("policy", reason));
    };
    if policy.name != known.name {
        let reason = format!("policy {} is called {:?} here", policy.sha256, known.name);
        return Err(Refused::new("policy", reason));
    }
    let (prompt, sample) = (&rating.prompt, &rating.samples[place]);
    let named = |refused: Refused| Refused {
        reason: format!("sample {place}: {}", refused.reason),
        ..refused
    };
    check_tokens(prompt, sample, known).map_err(named)?;
    check_end(sample, known.tokenizer.end_id()).map_err(named)?;
    check_text(prompt.tokens(), sample, &known.tokenizer).map_err(named)
}

fn check_tokens(prompt: &RatedPrompt, sample: &Sample, known: &Known) -> Result<(), Refused> {
    let (vocabulary, context) = (known.vocab_size, known.context_length);
    let foreign =
        prompt.tokens().iter().chain(&sample.token_ids).find(|id| **id as usize >= vocabulary);
    let length = prompt.token_ids.len() + sample.token_ids.len();
    let picture = prompt.picture.as_ref().map(|picture| picture.size);
    if picture.is_some() && picture != known.image_size {
        let reason = "prompt.picture is of another size than the policy looks at";
        return Err(Refused::new("prompt", reason));
    }
    match foreign {
        Some(id) => {
            let reason = format!("token {id} is none of the {vocabulary} of the policy");
            Err(Refused::new("tokens", reason))
        }
        None if length > context => {
            let reason =
                format!("{length} tokens with the prompt, and the context holds {context}");
            Err(Refused::new("tokens", reason))
        }
        None => Ok(()),
    }
}

fn check_end(sample: &Sample, end_id: u32) -> Result<(), Refused> {
    let wrong = sample.wrong_end(|id| id == end_id);
    wrong.map_or(Ok(()), |reason| Err(Refused::new("end", reason)))
}

fn check_text(prompt: &[u32], sample: &Sample, tokenizer: &Tokenizer) -> Result<(), Refused> {
    if spells(tokenizer, prompt, &sample.token_ids, &sample.text) {
        return Ok(());
    }
    Err(Refused::new("text", "its text is not that of its tokens"))
}
