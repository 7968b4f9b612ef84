//! Whether a rating is true to the policy that it names.
//!
//! Weights are public, so whoever holds the bundle can compute what a browser must have computed: that
//! finds forged ratings, broken clients and unsound GPUs. What it cannot find: whether a person sat
//! there, or whether the tokens were drawn at random.

use kudos_core::model::Transformer;
use kudos_core::policy::Policy;
use kudos_core::task::Prompt;
use kudos_core::text::stream::spells;
use kudos_core::text::tokenizer::Tokenizer;
use kudos_schema::{RatedPrompt, Rating, RefusalCause, Sample};

use super::lines::Refused;
use super::recompute::{Cut, Recomputed, recompute};

/// How far log-probabilities from a browser's CPU may lie from ours, in nats at temperature 1 and above.
/// What differs is the order of sums.
pub(super) const CPU_TOLERANCE_NATS: f64 = 1e-3;
/// The same for any other device: what the page's own self-test lets pass.
pub(super) const GPU_TOLERANCE_NATS: f64 = 2e-2;
/// Dividing by the temperature magnifies rounding; below this the tolerance grows no further.
const LEAST_TEMPERATURE: f64 = 0.1;

/// What masking leaves of personal data.
const MASKS: [&str; 3] = ["[e-mail]", "[link]", "[number]"];

/// What a check found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) checked: Checked,
    /// Recorded minus recomputed log-probability of each token under the full softmax, in nats.
    pub(super) differences: Vec<f64>,
}

/// How far a rating could be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checked {
    /// In everything.
    Wholly,
    /// In everything but whether the prompt's tokens are those of its text.
    PromptAsItIs,
}

/// Checks the samples of a valid rating that `policy` wrote, at `places`.
///
/// # Errors
/// The first thing that is not as the policy has it.
pub(super) fn check(rating: &Rating, places: &[usize], policy: &Policy) -> Result<Found, Refused> {
    let looking = policy.model.clone();
    let model = match &rating.prompt.picture {
        None => looking,
        Some(picture) => looking
            .looking_at(&picture.into())
            .map_err(|error| Refused::new(RefusalCause::Prompt, error.to_string()))?,
    };
    let samples = || places.iter().map(|place| (*place, &rating.samples[*place]));
    for (place, sample) in samples() {
        let named = |refused: Refused| Refused {
            reason: format!("sample {place}: {}", refused.reason),
            ..refused
        };
        check_tokens(&rating.prompt, sample, policy).map_err(named)?;
        check_end(sample, policy).map_err(named)?;
        check_text(rating.prompt.tokens(), sample, &policy.tokenizer).map_err(named)?;
    }
    let checked = check_prompt(&rating.prompt, policy)?;
    let mut differences = Vec::new();
    for (place, sample) in samples() {
        differences.extend(check_logprobs(rating, sample, &model).map_err(|reason| {
            Refused::new(RefusalCause::Logprobs, format!("sample {place}, {reason}"))
        })?);
    }
    Ok(Found { checked, differences })
}

fn check_tokens(prompt: &RatedPrompt, sample: &Sample, policy: &Policy) -> Result<(), Refused> {
    let (vocabulary, context) = (policy.config().vocab_size, policy.config().context_length);
    let foreign =
        prompt.tokens().iter().chain(&sample.token_ids).find(|id| **id as usize >= vocabulary);
    let length = prompt.token_ids.len() + sample.token_ids.len();
    let reason = match foreign {
        Some(id) => format!("token {id} is none of the {vocabulary} of the policy"),
        None if length > context => {
            format!("{length} tokens with the prompt, and the context holds {context}")
        }
        None => return Ok(()),
    };
    Err(Refused::new(RefusalCause::Tokens, reason))
}

fn check_end(sample: &Sample, policy: &Policy) -> Result<(), Refused> {
    let stop = policy.stop_tokens().0;
    let wrong = sample.wrong_end(|id| stop.contains(&id));
    wrong.map_or(Ok(()), |reason| Err(Refused::new(RefusalCause::End, reason)))
}

fn check_text(prompt: &[u32], sample: &Sample, tokenizer: &Tokenizer) -> Result<(), Refused> {
    if spells(tokenizer, prompt, &sample.token_ids, &sample.text) {
        return Ok(());
    }
    let decoded = tokenizer.decode(&sample.token_ids);
    let reason = format!("its text is not that of its tokens, {decoded:?}");
    Err(Refused::new(RefusalCause::Text, reason))
}

/// The tokens must be those of the messages, or begin of text, and then spell the text that follows.
fn check_prompt(prompt: &RatedPrompt, policy: &Policy) -> Result<Checked, Refused> {
    let texts = prompt.messages.iter().map(|message| &message.content).chain([&prompt.text]);
    if texts.into_iter().any(|text| MASKS.iter().any(|mask| text.contains(mask))) {
        return Ok(Checked::PromptAsItIs);
    }
    let wrong = |reason: String| Refused::new(RefusalCause::Prompt, reason);
    let spelled = match prompt.messages.as_slice() {
        [] => prompt.tokens(),
        messages => {
            let ids = policy.encode_prompt(&Prompt::Messages(messages.to_vec()));
            let ids = ids.map_err(|error| wrong(format!("prompt.messages: {error}")))?;
            prompt.tokens().strip_prefix(ids.as_slice()).ok_or_else(|| {
                wrong("prompt.token_ids are not those of the template and the messages".to_owned())
            })?
        }
    };
    let tokenizer = &policy.tokenizer;
    let decoded = tokenizer.decode(spelled);
    let writes_nothing = |id: &u32| tokenizer.token_bytes(*id).is_empty();
    let special = spelled.iter().any(writes_nothing);
    if decoded == prompt.text && !special {
        return Ok(Checked::Wholly);
    }
    // Where a visitor fixed special tokens or parts of characters, the text shows stand-ins for them.
    let stand_ins = special || decoded.contains(char::REPLACEMENT_CHARACTER);
    if stand_ins && !prompt.messages.is_empty() {
        return Ok(Checked::PromptAsItIs);
    }
    Err(wrong(format!("prompt.token_ids spell {decoded:?} and not prompt.text")))
}

/// Whether nothing but a CPU computed.
pub(super) fn is_cpu(backend: &str) -> bool {
    // A completion that went on elsewhere after a lost device names both.
    backend.split(" + ").all(|name| {
        let name = name.to_ascii_lowercase();
        (name.contains("flex") || name.contains("cpu")) && !name.contains("gpu")
    })
}

/// What the tolerance is for what a device drew.
fn tolerance_nats(backend: &str, temperature: f64) -> f64 {
    let nats = if is_cpu(backend) { CPU_TOLERANCE_NATS } else { GPU_TOLERANCE_NATS };
    let divisor = if temperature == 0.0 { 1.0 } else { temperature };
    nats / divisor.clamp(LEAST_TEMPERATURE, 1.0)
}

/// The differences of the log-probabilities under the full softmax.
fn check_logprobs(
    rating: &Rating,
    sample: &Sample,
    model: &Transformer,
) -> Result<Vec<f64>, String> {
    let tolerance = tolerance_nats(&rating.backend, sample.sampling.temperature);
    let again = |cut: Cut| recompute(model, &rating.prompt.token_ids, sample, cut);
    let near = |left: f32, right: f32| (f64::from(left) - f64::from(right)).abs() <= tolerance;
    let wrong = |name: &str, place: usize, (said, given): (f32, f32)| {
        format!(
            "token {place}: {name} is {said} and the policy gives {given} (tolerance {tolerance} nats)"
        )
    };
    let exact = again(Cut::Exact);
    let full = sample.logprobs_full.iter().zip(&exact.full).enumerate();
    for (place, (said, given)) in full {
        if !near(*said, *given) {
            return Err(wrong("logprobs_full", place, (*said, *given)));
        }
    }
    let mut others: Option<[Recomputed; 3]> = None;
    for (place, said) in sample.logprobs_drawn.iter().enumerate() {
        if near(*said, exact.drawn[place]) {
            continue;
        }
        let others = others.get_or_insert_with(|| {
            // Half of it for the lift itself, half for rounding.
            [Cut::Looser(tolerance), Cut::Tighter(tolerance), Cut::Lifted(tolerance / 2.0)]
                .map(again)
        });
        if !others.iter().any(|other| near(*said, other.drawn[place])) {
            return Err(wrong("logprobs_drawn", place, (*said, exact.drawn[place])));
        }
    }
    let pairs = sample.logprobs_full.iter().zip(&exact.full);
    Ok(pairs.map(|(said, given)| f64::from(*said) - f64::from(*given)).collect())
}
