//! `trainer dpo`: two completions of a prompt, one preferred.
//!
//! From ratings: choices between two, and edits, whose text is preferred to what it corrects.

use anyhow::Result;
use kudos_core::objective::{Pair as Scored, Preference, PreferenceReport, Side};
use kudos_core::task::Item;
use kudos_schema::{Rating, Verdict};

use super::method::{At, Method, Models, Pair, Point, Taught, tokens};
use super::said::{Dealt, Heard, LeftOut, deal, same_tokens};
use crate::policy::Policy;
use crate::session::Examples;

/// A fall of the chosen completions that is worth a word, in nats each.
const FALL_NATS: f64 = 1.0;

/// Share of a batch's pairs the right way round, above which there is little left to learn.
const LEARNED: f64 = 0.9;

/// Two completions of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Preferred {
    name: String,
    prompt: Vec<u32>,
    chosen: Vec<u32>,
    rejected: Vec<u32>,
    weight: f64,
}

/// DPO on pairs.
#[derive(Debug)]
pub(crate) struct Pairs {
    data: Dealt<Preferred>,
    preference: Preference,
}

impl Pairs {
    /// Pairs that fit the policy.
    pub(crate) fn new(examples: Vec<Preferred>, preference: Preference) -> Self {
        Self { data: deal(examples, |pair| &pair.prompt), preference }
    }

    fn sides(&self, models: &Models<'_>, examples: &[&Preferred]) -> Result<Vec<Scored>> {
        let rows = flat(examples);
        let sides = models.sides(&rows)?;
        let pairs = sides.chunks(2).zip(examples);
        Ok(pairs
            .map(|(two, example)| Scored {
                chosen: two[0],
                rejected: two[1],
                weight: example.weight,
            })
            .collect())
    }
}

/// What a preference loss learns from pairs, whose completions are `rows`: chosen, rejected, chosen, ...
pub(crate) fn teach(
    preference: &Preference,
    at: &At<'_>,
    rows: &[Pair<'_>],
    scored: &[Scored],
) -> Taught {
    let linearized = preference.linearize(scored);
    let report = preference.report(scored);
    Taught {
        learned: (!rows.is_empty()).then(|| at.follow(rows, &linearized.slopes)),
        headline: ("loss", linearized.loss),
        figures: vec![
            ("rewards/accuracies", report.accuracy),
            ("logps/chosen", report.logps_chosen),
        ],
        others: vec![
            ("rewards/chosen", report.rewards_chosen),
            ("rewards/rejected", report.rewards_rejected),
            ("rewards/margins", report.rewards_chosen - report.rewards_rejected),
            ("logps/rejected", report.logps_rejected),
            ("nll_loss", report.nll_chosen),
        ],
        tokens: tokens(rows),
        advice: advice(preference, &report),
    }
}

/// Says so when the loss is earned by making everything unlikely.
fn advice(preference: &Preference, report: &PreferenceReport) -> Option<String> {
    let falls = report.accuracy > LEARNED && report.gain_chosen < -FALL_NATS;
    falls.then(|| {
        format!(
            "{:.0} % of the pairs are the right way round, yet the chosen are {:.1} nats less likely than \
             at the start (logps/chosen): feedback.preference.rpo_alpha above its {} keeps them likely, and \
             so does a lower learning_rate",
            100.0 * report.accuracy,
            -report.gain_chosen,
            preference.rpo_alpha
        )
    })
}

/// Chosen, rejected, chosen, ...
fn flat<'a>(examples: &[&'a Preferred]) -> Vec<Pair<'a>> {
    let both = |one: &'a Preferred| {
        [&one.chosen, &one.rejected].map(|completion| (&one.prompt[..], &completion[..]))
    };
    examples.iter().flat_map(|one| both(one)).collect()
}

impl Method for Pairs {
    fn count(&self) -> usize {
        self.data.train.len()
    }

    fn name(&self, index: usize) -> &str {
        &self.data.train[index].name
    }

    fn learn(&self, at: &At<'_>, indices: &[usize]) -> Result<Taught> {
        let examples: Vec<&Preferred> =
            indices.iter().map(|index| &self.data.train[*index]).collect();
        let scored = self.sides(&at.models, &examples)?;
        Ok(teach(&self.preference, at, &flat(&examples), &scored))
    }

    fn judge(&self, models: &Models<'_>) -> Result<Vec<Point>> {
        let examples: Vec<&Preferred> = self.data.held_out.iter().collect();
        let points = self.sides(models, &examples)?.into_iter().map(|pair| {
            let gain = |side: Side| side.policy - side.reference;
            Point {
                value: half_on_ties(gain(pair.chosen), gain(pair.rejected)),
                weight: pair.weight,
            }
        });
        Ok(points.collect())
    }

    fn measure(&self) -> &'static str {
        "share of held-out pairs whose preferred completion was raised more (ties count half)"
    }

    fn prompts(&self) -> Vec<&[u32]> {
        self.data.held_out.iter().map(|pair| pair.prompt.as_slice()).collect()
    }

    fn examples(&self) -> Examples {
        self.data.examples()
    }
}

/// 1 where the first is larger, 1/2 where they are equal.
pub(super) fn half_on_ties(first: f64, second: f64) -> f64 {
    match first.total_cmp(&second) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    }
}

/// The pairs of ratings.
pub(crate) fn of_ratings(heard: &[Heard], policy: &Policy, out: &mut LeftOut) -> Vec<Preferred> {
    let mut pairs = Vec::new();
    for Heard { rating, weight } in heard {
        let Some((chosen, rejected)) = preferred(rating, policy) else {
            out.add("without a preference");
            continue;
        };
        if !same_tokens(rating, policy) {
            out.add("of another tokenizer");
            continue;
        }
        let prompt = rating.prompt.token_ids.clone();
        pairs.push(Preferred {
            name: rating.id.clone(),
            prompt,
            chosen,
            rejected,
            weight: *weight,
        });
    }
    keep_fitting(pairs, policy, out)
}

/// The tokens of the better and of the worse completion.
fn preferred(rating: &Rating, policy: &Policy) -> Option<(Vec<u32>, Vec<u32>)> {
    let ids = |place: usize| rating.samples[place].token_ids.clone();
    if let Verdict::Edit(text) = &rating.verdict {
        let edited = policy.encode_completion(text);
        return (edited != ids(0)).then(|| (edited, ids(0)));
    }
    let comparison = rating.comparison().filter(|comparison| comparison.share != 0.5)?;
    let better = usize::from(comparison.share < 0.5);
    Some((ids(better), ids(1 - better)))
}

/// The pairs of rows `{prompt, chosen, rejected}`.
///
/// # Errors
/// If a chat template does not take the messages.
pub(crate) fn of_rows(
    items: &[Item],
    policy: &Policy,
    out: &mut LeftOut,
) -> Result<Vec<Preferred>> {
    let mut pairs = Vec::new();
    for item in items {
        let rejected = item.extra.get("rejected").and_then(|text| text.as_str());
        let (Some((prompt, chosen)), Some(rejected)) = (policy.encode_item(item)?, rejected) else {
            out.add("without chosen and rejected");
            continue;
        };
        let rejected = policy.encode_completion(rejected);
        pairs.push(Preferred { name: item.id.clone(), prompt, chosen, rejected, weight: 1.0 });
    }
    Ok(keep_fitting(pairs, policy, out))
}

fn keep_fitting(pairs: Vec<Preferred>, policy: &Policy, out: &mut LeftOut) -> Vec<Preferred> {
    let context = policy.config().context_length;
    let (fitting, long): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|pair| {
        let longest = pair.chosen.len().max(pair.rejected.len());
        let empty = pair.prompt.is_empty() || pair.chosen.is_empty() || pair.rejected.is_empty();
        !empty && pair.prompt.len() + longest <= context
    });
    long.iter().for_each(|_| out.add("empty or longer than the context"));
    fitting
}
