//! What the database sorts ratings by.

use kudos_schema::{
    AskedReason, Message, PairChoice, Rating, Sample, Sampling, Thumb, Verdict, hexadecimal,
    mask_personal_data,
};
use sha2::{Digest, Sha256};

use crate::database::insert::{NewRating, WAITING};

/// A rating as the database takes it; personal data is masked and the rater is a pseudonym by now.
pub(crate) fn new_rating(rating: &Rating, received: i64) -> NewRating {
    let written = |place: usize| match rating.samples.get(place) {
        None => (String::new(), String::new()),
        Some(sample) => (rating.policy_of(place).sha256.clone(), shorthand(&sample.sampling)),
    };
    let query = rating.query.as_ref();
    NewRating {
        id: rating.id.clone(),
        received,
        rater: rating.rater.clone(),
        // PostgreSQL takes no NUL in a text.
        task: rating.task.replace('\0', "\u{fffd}"),
        verdict: verdict_names(&rating.verdict),
        left: written(0),
        right: written(1),
        query: query
            .map(|it| (it.id.clone(), reason_name(it.reason).to_owned()))
            .unwrap_or_default(),
        prompt: prompt_of(rating),
        item: item_of(&prompt_of(rating), &rating.samples),
        said: match rating.samples.as_slice() {
            // Whoever chooses between equal texts says nothing of them.
            [one, other] if one.text == other.text => String::new(),
            samples => said(&rating.verdict, samples),
        },
        withheld: if rating.reported.is_empty() { 0 } else { WAITING },
        record: serde_json::to_string(rating).expect("strings and numbers are JSON"),
    }
}

/// Hash of the prompt of a rating.
fn prompt_of(rating: &Rating) -> String {
    prompt_hash(&rating.task, &rating.prompt.messages, &rating.prompt.text)
}

/// Hash of a task's prompt, as it is once it was masked.
pub(crate) fn prompt_hash(task: &str, messages: &[Message], text: &str) -> String {
    let mut parts = vec![task.to_owned()];
    for message in messages {
        parts.extend([message.role.clone(), mask_personal_data(&message.content)]);
    }
    parts.push(mask_personal_data(text));
    hash(&parts)
}

/// Hash of a prompt with the samples shown, whatever their sides.
pub(crate) fn item_of(prompt: &str, samples: &[Sample]) -> String {
    let mut texts: Vec<String> = samples.iter().map(|sample| sample.text.clone()).collect();
    texts.sort();
    texts.insert(0, prompt.to_owned());
    hash(&texts)
}

/// A verdict, whatever sides the samples were shown on: of a pair, the hash of the better text.
pub(crate) fn said(verdict: &Verdict, samples: &[Sample]) -> String {
    let (kind, value) = verdict_names(verdict);
    let better = match verdict {
        Verdict::Pair(PairChoice::Left) => samples.first(),
        Verdict::Pair(PairChoice::Right) => samples.get(1),
        Verdict::Pair(PairChoice::Tie | PairChoice::BothBad)
        | Verdict::Thumbs(_)
        | Verdict::Stars(_)
        | Verdict::Edit(_)
        | Verdict::Report => None,
    };
    match better {
        Some(sample) => format!("{kind} {}", hash(std::slice::from_ref(&sample.text))),
        None => format!("{kind} {value}"),
    }
}

/// The kind of a verdict and its value.
fn verdict_names(verdict: &Verdict) -> (String, String) {
    let (kind, value) = match verdict {
        Verdict::Thumbs(Thumb::Up) => ("thumbs", "up"),
        Verdict::Thumbs(Thumb::Down) => ("thumbs", "down"),
        Verdict::Pair(PairChoice::Left) => ("pair", "left"),
        Verdict::Pair(PairChoice::Right) => ("pair", "right"),
        Verdict::Pair(PairChoice::Tie) => ("pair", "tie"),
        Verdict::Pair(PairChoice::BothBad) => ("pair", "both_bad"),
        Verdict::Stars(stars) => return ("stars".to_owned(), stars.to_string()),
        Verdict::Edit(_) => ("edit", ""),
        Verdict::Report => ("report", ""),
    };
    (kind.to_owned(), value.to_owned())
}

/// The name of a reason, as in JSON.
pub(crate) fn reason_name(reason: AskedReason) -> &'static str {
    match reason {
        AskedReason::Random => "random",
        AskedReason::Uncertain => "uncertain",
        AskedReason::Coverage => "coverage",
        AskedReason::Stale => "stale",
        AskedReason::Gold => "gold",
        AskedReason::Repeat => "repeat",
    }
}

/// Sampling settings in a few characters; those that change nothing are left out.
pub(crate) fn shorthand(sampling: &Sampling) -> String {
    let mut text = format!("t{}", sampling.temperature);
    let settings = [
        (sampling.top_k != 0, format!(" k{}", sampling.top_k)),
        (sampling.top_p < 1.0, format!(" p{}", sampling.top_p)),
        (sampling.min_p > 0.0, format!(" m{}", sampling.min_p)),
        (sampling.repetition_penalty != 1.0, format!(" r{}", sampling.repetition_penalty)),
    ];
    settings.iter().filter(|(counts, _)| *counts).for_each(|(_, setting)| text += setting);
    text
}

/// Hash of texts; no other split of the same characters has it.
fn hash(texts: &[String]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hexadecimal(&hash.finalize())[..32].to_owned()
}
