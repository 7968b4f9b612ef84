//! What a reward model learns from: verdicts on texts, each text as the tokens that the model reads.
//!
//! Texts are encoded anew, so that ratings of any policy can be taken.

use anyhow::Result;
use kudos_core::objective::{VerdictOn, Weighted};
use kudos_core::task::Item;

use super::reading::Reading;
use crate::rated::said::{Heard, LeftOut, asked};

/// A verdict with the texts it is about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judgement {
    /// The prompt: what examples are dealt by.
    pub(crate) prompt: Vec<u32>,
    /// One or two.
    pub(crate) texts: Vec<Vec<u32>>,
    /// How often the first of two is better, or how good the one is.
    pub(crate) share: f64,
    /// 1 is usual.
    pub(crate) weight: f64,
}

/// The judgements of a rating: a comparison or a grade, and two grades where both are bad.
fn of_rating(reading: &Reading, heard: &Heard) -> Result<Vec<Judgement>> {
    let Heard { rating, weight } = heard;
    let (asked, begun) = asked(rating);
    let text =
        |place: usize| reading.tokens(&asked, &format!("{begun}{}", rating.samples[place].text));
    let prompt = rating.prompt.token_ids.clone();
    let judgement = |texts: Vec<Vec<u32>>, share: f64| Judgement {
        prompt: prompt.clone(),
        texts,
        share,
        weight: *weight,
    };
    let mut judgements = Vec::new();
    if let Some(comparison) = rating.comparison() {
        let texts = vec![text(0)?, text(1)?];
        if comparison.both_bad {
            judgements.extend(texts.iter().map(|text| judgement(vec![text.clone()], 0.0)));
        }
        judgements.push(judgement(texts, comparison.share));
    }
    if let Some(grade) = rating.grade() {
        judgements.push(judgement(vec![text(0)?], grade));
    }
    Ok(judgements)
}

/// The judgements of ratings.
///
/// # Errors
/// If the chat template does not take the messages.
pub(crate) fn of_ratings(
    reading: &Reading,
    heard: &[Heard],
    out: &mut LeftOut,
) -> Result<Vec<Judgement>> {
    let mut all = Vec::new();
    for one in heard {
        let judgements = of_rating(reading, one)?;
        if judgements.is_empty() {
            out.add("without a verdict on quality");
        }
        all.extend(judgements);
    }
    Ok(all)
}

/// The judgements of rows `{prompt, chosen, rejected}` and `{prompt, completion, label}`.
///
/// # Errors
/// If the chat template does not take the messages.
pub(crate) fn of_rows(
    reading: &Reading,
    items: &[Item],
    out: &mut LeftOut,
) -> Result<Vec<Judgement>> {
    let mut all = Vec::new();
    for item in items {
        let text = |key: &str| item.extra.get(key).and_then(|text| text.as_str());
        let read = |text: &str| reading.tokens(&item.prompt, text);
        let label = item.extra.get("label").and_then(|label| label.as_bool());
        let (texts, share) = match (item.references.first(), text("rejected"), label) {
            (Some(chosen), Some(rejected), _) => (vec![read(chosen)?, read(rejected)?], 1.0),
            (_, None, Some(good)) => {
                let completion = text("completion").unwrap_or_default();
                (vec![read(completion)?], f64::from(u8::from(good)))
            }
            (_, _, None) | (None, Some(_), Some(_)) => {
                out.add("without chosen and rejected, or completion and label");
                continue;
            }
        };
        let prompt = reading.prompt(&item.prompt)?;
        // Without prompts, rows are dealt by their texts.
        let prompt = if prompt.is_empty() { texts[0].clone() } else { prompt };
        all.push(Judgement { prompt, texts, share, weight: 1.0 });
    }
    Ok(all)
}

/// All texts of judgements in a row, with verdicts on their places.
pub(crate) fn flat<'a>(judgements: &[(&'a Judgement, f64)]) -> (Vec<&'a [u32]>, Vec<Weighted>) {
    let mut texts: Vec<&[u32]> = Vec::new();
    let mut verdicts = Vec::new();
    for (judgement, weight) in judgements {
        let (place, share) = (texts.len(), judgement.share);
        texts.extend(judgement.texts.iter().map(Vec::as_slice));
        let verdict = match judgement.texts.len() {
            2 => VerdictOn::Pair { first: place, second: place + 1, share },
            _ => VerdictOn::Grade { place, share },
        };
        verdicts.push(Weighted { verdict, weight: *weight });
    }
    (texts, verdicts)
}
