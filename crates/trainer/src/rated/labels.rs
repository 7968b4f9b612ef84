//! `trainer kto`: single completions, good or bad.
//!
//! From ratings: thumbs, stars (three say nothing), and both completions of a choice.

use anyhow::Result;
use kudos_core::objective::{Judged, Label, Unpaired};
use kudos_core::task::Item;

use super::method::{At, Method, Models, Pair, Point, Taught, tokens};
use super::pairs::half_on_ties;
use super::said::{Dealt, Heard, LeftOut, deal, same_tokens};
use crate::policy::Policy;
use crate::session::Examples;

/// A completion that somebody called good or bad.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Labeled {
    name: String,
    prompt: Vec<u32>,
    completion: Vec<u32>,
    label: Label,
    weight: f64,
}

/// KTO.
#[derive(Debug)]
pub(crate) struct Labels {
    data: Dealt<Labeled>,
    unpaired: Unpaired,
}

impl Labels {
    /// Completions that fit the policy.
    pub(crate) fn new(examples: Vec<Labeled>, unpaired: Unpaired) -> Self {
        Self { data: deal(examples, |one| &one.prompt), unpaired }
    }
}

fn rows<'a>(examples: &[&'a Labeled]) -> Vec<Pair<'a>> {
    examples.iter().map(|one| (&one.prompt[..], &one.completion[..])).collect()
}

/// Each prompt with the completion of the example after it.
fn mismatched<'a>(examples: &[&'a Labeled]) -> Vec<Pair<'a>> {
    let next = examples.iter().cycle().skip(1);
    examples.iter().zip(next).map(|(one, other)| (&one.prompt[..], &other.completion[..])).collect()
}

impl Method for Labels {
    fn count(&self) -> usize {
        self.data.train.len()
    }

    fn name(&self, index: usize) -> &str {
        &self.data.train[index].name
    }

    fn learn(&self, at: &At<'_>, indices: &[usize]) -> Result<Taught> {
        let examples: Vec<&Labeled> =
            indices.iter().map(|index| &self.data.train[*index]).collect();
        let own = rows(&examples);
        let context = at.tracked.config().context_length;
        let fits = |(prompt, completion): &Pair<'_>| prompt.len() + completion.len() <= context;
        let others: Vec<Pair<'_>> = mismatched(&examples).into_iter().filter(fits).collect();
        let ratios = |rows: &[Pair<'_>]| -> Result<Vec<f64>> {
            Ok(at
                .models
                .sums(rows)?
                .into_iter()
                .map(|(policy, reference)| policy - reference)
                .collect())
        };
        let (own_ratios, other_ratios) = (ratios(&own)?, ratios(&others)?);
        let judged = own_ratios.iter().zip(&examples).map(|(log_ratio, example)| Judged {
            log_ratio: *log_ratio,
            label: example.label,
            weight: example.weight,
        });
        let judged: Vec<Judged> = judged.collect();
        let linearized = self.unpaired.linearize(&judged, &other_ratios);
        let mean_of = |label: Label| {
            let of = judged.iter().filter(|one| one.label == label).map(|one| one.log_ratio);
            let of: Vec<f64> = of.collect();
            self.unpaired.beta * of.iter().sum::<f64>() / of.len().max(1) as f64
        };
        let center = other_ratios.iter().sum::<f64>() / other_ratios.len().max(1) as f64;
        Ok(Taught {
            learned: Some(at.follow(&own, &linearized.slopes)),
            headline: ("loss", linearized.loss),
            figures: vec![
                ("rewards/chosen", mean_of(Label::Good)),
                ("rewards/rejected", mean_of(Label::Bad)),
            ],
            others: vec![("kl", center.max(0.0))],
            tokens: tokens(&own),
            advice: None,
        })
    }

    fn judge(&self, models: &Models<'_>) -> Result<Vec<Point>> {
        let examples: Vec<&Labeled> = self.data.held_out.iter().collect();
        let sums = models.sums(&rows(&examples))?.into_iter();
        let ratios: Vec<f64> = sums.map(|(policy, reference)| policy - reference).collect();
        // Relative to the mean: that everything was raised is no merit.
        let center = ratios.iter().sum::<f64>() / ratios.len().max(1) as f64;
        let points = ratios.into_iter().zip(examples).map(|(ratio, example)| {
            let value = match example.label {
                Label::Good => half_on_ties(ratio, center),
                Label::Bad => half_on_ties(center, ratio),
            };
            Point { value, weight: example.weight }
        });
        Ok(points.collect())
    }

    fn measure(&self) -> &'static str {
        "share of held-out completions raised above the mean if good, below it if bad (ties count half)"
    }

    fn prompts(&self) -> Vec<&[u32]> {
        self.data.held_out.iter().map(|one| one.prompt.as_slice()).collect()
    }

    fn examples(&self) -> Examples {
        self.data.examples()
    }
}

/// The labels of ratings.
pub(crate) fn of_ratings(heard: &[Heard], policy: &Policy, out: &mut LeftOut) -> Vec<Labeled> {
    let mut labeled = Vec::new();
    for Heard { rating, weight } in heard {
        let labels = rating.labels();
        if labels.is_empty() {
            out.add("without good or bad");
        } else if !same_tokens(rating, policy) {
            out.add("of another tokenizer");
        } else {
            labeled.extend(labels.into_iter().map(|(place, good)| Labeled {
                name: rating.id.clone(),
                prompt: rating.prompt.token_ids.clone(),
                completion: rating.samples[place].token_ids.clone(),
                label: if good { Label::Good } else { Label::Bad },
                weight: *weight,
            }));
        }
    }
    keep_fitting(labeled, policy, out)
}

/// The labels of rows `{prompt, completion, label}`.
///
/// # Errors
/// If a chat template does not take the messages.
pub(crate) fn of_rows(items: &[Item], policy: &Policy, out: &mut LeftOut) -> Result<Vec<Labeled>> {
    let mut labeled = Vec::new();
    for item in items {
        let label = item.extra.get("label").and_then(|label| label.as_bool());
        let text = item.extra.get("completion").and_then(|text| text.as_str());
        let (Some(good), Some(text)) = (label, text) else {
            out.add("without completion and label");
            continue;
        };
        labeled.push(Labeled {
            name: item.id.clone(),
            prompt: policy.encode_prompt(&item.prompt)?,
            completion: policy.encode_completion(text),
            label: if good { Label::Good } else { Label::Bad },
            weight: 1.0,
        });
    }
    Ok(keep_fitting(labeled, policy, out))
}

fn keep_fitting(labeled: Vec<Labeled>, policy: &Policy, out: &mut LeftOut) -> Vec<Labeled> {
    let context = policy.config().context_length;
    let (fitting, long): (Vec<_>, Vec<_>) = labeled.into_iter().partition(|one| {
        let empty = one.prompt.is_empty() || one.completion.is_empty();
        !empty && one.prompt.len() + one.completion.len() <= context
    });
    long.iter().for_each(|_| out.add("empty or longer than the context"));
    fitting
}
