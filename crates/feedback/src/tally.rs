//! Ratings counted and averaged.

use std::collections::{BTreeMap, BTreeSet};

use kudos_schema::{
    Estimate, FeedbackStats, PairChoice, PolicyStats, Rating, Thumb, Verdict, VerdictStats,
};

use crate::edit_distance::character_change;
use crate::interval::wilson;
use crate::items::agreement_by_kind;

/// Version of [`FeedbackStats`].
const VERSION: u32 = 1;

/// Everything of [`FeedbackStats`] but what was left out before. `mean` gives the mean of values that
/// are not empty, with an interval that needs coins.
pub fn tally(ratings: &[Rating], mean: &mut dyn FnMut(&[f64]) -> Estimate) -> FeedbackStats {
    let all: Vec<&Rating> = ratings.iter().collect();
    let raters: BTreeSet<&str> = all.iter().map(|rating| rating.rater.as_str()).collect();
    let mut policies: BTreeMap<(&str, &str, Option<&str>), Vec<&Rating>> = BTreeMap::new();
    for rating in &all {
        for policy in [Some(&rating.policy), rating.rival.as_ref()].into_iter().flatten() {
            let key = (policy.name.as_str(), policy.sha256.as_str(), policy.adapter.as_deref());
            policies.entry(key).or_default().push(rating);
        }
    }
    let policies = policies.into_iter().map(|((name, sha256, adapter), own)| PolicyStats {
        name: name.to_owned(),
        sha256: sha256.to_owned(),
        adapter: adapter.map(str::to_owned),
        ratings: own.len(),
        said: said(&own, mean),
    });
    let policies = policies.collect();
    FeedbackStats {
        version: VERSION,
        ratings: all.len(),
        refused: 0,
        duplicates: 0,
        raters: raters.len(),
        verdicts: counts(all.iter().map(|rating| kind(&rating.verdict))),
        tasks: counts(all.iter().map(|rating| rating.task.as_str())),
        backends: counts(all.iter().map(|rating| rating.backend.as_str())),
        reasons: counts(all.iter().flat_map(|rating| &rating.reasons).map(String::as_str)),
        reported: all.iter().map(|rating| rating.reported.len()).sum(),
        median_seconds: median(all.iter().map(|rating| rating.seconds).collect()),
        all: said(&all, mean),
        policies,
        agreement: agreement_by_kind(&all),
    }
}

fn kind(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Thumbs(_) => "thumbs",
        Verdict::Stars(_) => "stars",
        Verdict::Pair(_) => "pair",
        Verdict::Edit(_) => "edit",
        Verdict::Report => "report",
    }
}

fn choice(value: PairChoice) -> &'static str {
    match value {
        PairChoice::Left => "left",
        PairChoice::Right => "right",
        PairChoice::Tie => "tie",
        PairChoice::BothBad => "both_bad",
    }
}

fn counts<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    names.for_each(|name| *counts.entry(name.to_owned()).or_default() += 1);
    counts
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (below, above) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some((values[below] + values[above]) / 2.0)
}

fn said(ratings: &[&Rating], mean: &mut dyn FnMut(&[f64]) -> Estimate) -> VerdictStats {
    let mut stats = VerdictStats::default();
    let (mut up, mut stars, mut changes) = (0, Vec::new(), Vec::new());
    for rating in ratings {
        match &rating.verdict {
            Verdict::Pair(value) => {
                *stats.pairs.entry(choice(*value).to_owned()).or_default() += 1;
            }
            Verdict::Thumbs(value) => {
                stats.thumbs += 1;
                up += usize::from(*value == Thumb::Up);
            }
            Verdict::Stars(value) => {
                *stats.star_counts.entry(*value).or_default() += 1;
                stars.push(f64::from(*value));
            }
            Verdict::Edit(text) => {
                let before = rating.samples.first().map_or("", |sample| &sample.text);
                changes.push(character_change(before, text));
            }
            Verdict::Report => {}
        }
    }
    let times = |name: &str| stats.pairs.get(name).copied().unwrap_or_default();
    let (left, right) = (times("left"), times("right"));
    stats.left_over_right = wilson(left, left + right);
    stats.thumbs_up = wilson(up, stats.thumbs);
    stats.edits = changes.len();
    stats.stars = (!stars.is_empty()).then(|| mean(&stars));
    stats.edit_change = (!changes.is_empty()).then(|| mean(&changes));
    stats
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
