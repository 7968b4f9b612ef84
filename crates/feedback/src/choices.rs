//! Choices between two policies on texts that nobody else judged: what [`Evidence::add_votes`] hears of raters
//! who never judged the same texts.
//!
//! What competes is a policy with its settings; ties say nothing of a rater and are left out.
//!
//! [`Evidence::add_votes`]: crate::Evidence::add_votes

use std::collections::{BTreeMap, BTreeSet};

use kudos_schema::Rating;

use crate::items::{ItemKey, item};
use crate::vote::{Outcome, Vote};

/// A policy, its adapter, and its settings as bits.
type Competitor<'a> = (&'a str, Option<&'a str>, [u64; 6]);

/// The decided choices of ratings, of each rater on an item the first, where nobody else judged the item: so
/// none is heard twice beside Dawid and Skene's model. Raters are numbered as `number` says.
pub fn choices(ratings: &[&Rating], number: &dyn Fn(&str) -> u32) -> Vec<Vote> {
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
    let is_alone = |(item, _): &(ItemKey<'_>, Vote)| raters_of[item].len() == 1;
    found.into_iter().filter(is_alone).map(|(_, vote)| vote).collect()
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

#[cfg(test)]
#[path = "choices_tests.rs"]
mod tests;
