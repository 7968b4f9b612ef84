//! What choices between two policies tell of raters who never judged the same texts.
//!
//! Measures: whether a rater's choices follow the strengths of what was chosen between, which all raters'
//! choices tell (CrowdBT). What competes is a policy with its settings; ties say nothing of a rater and
//! are left out.
//! Formula: reliability `2 f - 1` of [`CrowdBt`]; a choice weighs `(2 p - 1)^2` of a judgement, where p is the
//! probability that the stronger one wins: what it tells of f where f is a half (Fisher's information),
//! beside an item whose answer is known. A choice between equals weighs nothing.
//! Misleads when: one rater makes most of the choices (then the strengths are theirs), or raters differ in
//! taste: who likes what others do not counts as unreliable.

use std::collections::{BTreeMap, BTreeSet};

use kudos_schema::Rating;

use crate::crowd_bt::CrowdBt;
use crate::items::{ItemKey, item};
use crate::reliability::Reliability;
use crate::vote::{Outcome, Vote};

/// A policy, its adapter, and its settings as bits.
type Competitor<'a> = (&'a str, Option<&'a str>, [u64; 6]);

/// A choice between two policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Who chose what.
    pub vote: Vote,
    /// Who else judged these texts.
    pub texts: Texts,
}

/// Who else judged the texts of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Texts {
    /// Nobody.
    Alone,
    /// Somebody: [`dawid_skene`](crate::dawid_skene) hears of this choice.
    Shared,
}

/// The decided choices of ratings, of each rater on an item the first: raters are numbered as `number` says.
pub fn choices(ratings: &[&Rating], number: &dyn Fn(&str) -> u32) -> Vec<Choice> {
    let mut competitors: BTreeMap<Competitor<'_>, u32> = BTreeMap::new();
    let mut raters_of: BTreeMap<ItemKey<'_>, BTreeSet<u32>> = BTreeMap::new();
    let mut found = Vec::new();
    for rating in ratings {
        let (Some(comparison), Some(item)) = (rating.comparison(), item(rating)) else { continue };
        let rater = number(&rating.rater);
        if !raters_of.entry(item.clone()).or_default().insert(rater) {
            continue;
        }
        let outcome = match comparison.share {
            1.0 => Outcome::Left,
            0.0 => Outcome::Right,
            _ => continue,
        };
        let [left, right] = [0, 1].map(|place| {
            let next = competitors.len() as u32;
            *competitors.entry(competitor(rating, place)).or_insert(next)
        });
        if left != right {
            found.push((item, Vote { rater, left, right, outcome }));
        }
    }
    let choice = |(item, vote): (ItemKey<'_>, Vote)| {
        let texts = if raters_of[&item].len() > 1 { Texts::Shared } else { Texts::Alone };
        Choice { vote, texts }
    };
    found.into_iter().map(choice).collect()
}

fn competitor(rating: &Rating, place: usize) -> Competitor<'_> {
    let policy = rating.policy_of(place);
    let sampling = &rating.samples[place].sampling;
    let settings = [
        sampling.temperature.to_bits(),
        sampling.top_k as u64,
        sampling.top_p.to_bits(),
        sampling.min_p.to_bits(),
        sampling.repetition_penalty.to_bits(),
        sampling.max_completion_length as u64,
    ];
    (&policy.sha256, policy.adapter.as_deref(), settings)
}

/// How reliable raters are by their choices, for raters numbered below `n_raters`. Strengths come from all
/// choices; only those that nobody else judged count as judgements, so that none is heard twice beside
/// Dawid and Skene's model. Nothing is known where a single rater made all choices. `[raters]`
pub fn reliability_by_choices(choices: &[Choice], n_raters: usize) -> Vec<Reliability> {
    let mut reliabilities = vec![Reliability::UNKNOWN; n_raters];
    let raters: BTreeSet<u32> = choices.iter().map(|choice| choice.vote.rater).collect();
    if raters.len() < 2 {
        return reliabilities;
    }
    let votes: Vec<Vote> = choices.iter().map(|choice| choice.vote).collect();
    let found = CrowdBt::default().fit(&votes);
    let mut weights = vec![0.0; n_raters];
    for Choice { vote, .. } in choices.iter().filter(|choice| choice.texts == Texts::Alone) {
        let far = found.scores[vote.left as usize] - found.scores[vote.right as usize];
        // 2 sigmoid(x) - 1 = tanh(x / 2)
        weights[vote.rater as usize] += (far / 2.0).tanh().powi(2);
    }
    for (rater, weight) in weights.into_iter().enumerate() {
        let judgements = weight.round() as usize;
        if judgements > 0 {
            reliabilities[rater] = Reliability { value: found.reliability(rater), judgements };
        }
    }
    reliabilities
}

#[cfg(test)]
#[path = "choices_tests.rs"]
mod tests;
