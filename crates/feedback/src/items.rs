//! Which ratings are of the same item: the same completions of the same prompt by the same policies.
//!
//! The order in which two completions were shown is taken out, so that raters agree on a text and not
//! on a side. Each rater counts once an item, with what was said first; edits and reports are no scale.

use std::collections::{BTreeMap, BTreeSet};

use kudos_schema::{Agreement, PairChoice, Picture, Rating, Thumb, Verdict};

use crate::agreement::{agreement, agreement_of_counts};
use crate::alpha::Scale;
use crate::dawid_skene::Label;

/// The kind of verdict whose values have an order.
const STARS: &str = "stars";

/// What makes two ratings be of the same item.
pub(crate) type ItemKey<'a> = (&'static str, Asked<'a>, Vec<Written<'a>>);

/// A prompt: its tokens and what it looks at.
type Asked<'a> = (&'a [u32], Option<&'a Picture>);

/// A completion: its tokens, and who wrote it: hash and adapter of the policy.
type Written<'a> = (&'a [u32], &'a str, Option<&'a str>);

/// What one rater said, on the scale of its kind of verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Judgement {
    /// The completion whose tokens come first in order.
    Former,
    /// The other.
    Latter,
    Tie,
    BothBad,
    Up,
    Down,
    Stars(u8),
}

/// The agreement of the raters for `pair`, `stars` and `thumbs`, where two raters judged an item.
pub fn agreement_by_kind(ratings: &[&Rating]) -> BTreeMap<String, Agreement> {
    let mut items: BTreeMap<ItemKey<'_>, BTreeMap<&str, Judgement>> = BTreeMap::new();
    for rating in ratings {
        if let Some((kind, judgement)) = judgement(rating) {
            let item = items.entry(key(kind, rating)).or_default();
            item.entry(&rating.rater).or_insert(judgement);
        }
    }
    let mut kinds: BTreeMap<&str, Vec<Vec<Judgement>>> = BTreeMap::new();
    for ((kind, ..), raters) in items {
        kinds.entry(kind).or_default().push(raters.into_values().collect());
    }
    let agreed = kinds.into_iter().filter_map(|(kind, items)| {
        let found = if kind == STARS { agreement_of_stars(&items) } else { agreement(&items) };
        Some((kind.to_owned(), found?))
    });
    agreed.collect()
}

/// What raters said of items that several may have judged, by kind, for [`dawid_skene`](crate::dawid_skene):
/// raters are numbered as `number` says.
pub fn labels_by_kind(
    ratings: &[&Rating],
    number: &dyn Fn(&str) -> u32,
) -> BTreeMap<&'static str, Vec<Label>> {
    let mut items: BTreeMap<ItemKey<'_>, u32> = BTreeMap::new();
    let mut said: BTreeSet<(u32, u32)> = BTreeSet::new();
    let mut kinds: BTreeMap<&'static str, Vec<Label>> = BTreeMap::new();
    for rating in ratings {
        let Some((kind, judgement)) = judgement(rating) else { continue };
        let next = items.len() as u32;
        let item = *items.entry(key(kind, rating)).or_insert(next);
        let rater = number(&rating.rater);
        if said.insert((rater, item)) {
            kinds.entry(kind).or_default().push(Label { rater, item, class: judgement.class() });
        }
    }
    for labels in kinds.values_mut() {
        number_anew(labels);
    }
    kinds
}

/// Items of one kind from 0 on, without those that a single rater judged: they say nothing of raters.
fn number_anew(labels: &mut Vec<Label>) {
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    labels.iter().for_each(|label| *counts.entry(label.item).or_default() += 1);
    labels.retain(|label| counts[&label.item] > 1);
    let mut places: BTreeMap<u32, u32> = BTreeMap::new();
    for label in labels {
        let next = places.len() as u32;
        label.item = *places.entry(label.item).or_insert(next);
    }
}

impl Judgement {
    /// Its place on the scale of its kind.
    fn class(self) -> u32 {
        match self {
            Self::Former | Self::Down => 0,
            Self::Latter | Self::Up => 1,
            Self::Tie => 2,
            Self::BothBad => 3,
            Self::Stars(value) => u32::from(value) - 1,
        }
    }
}

/// Four stars are nearer to five than to one.
fn agreement_of_stars(items: &[Vec<Judgement>]) -> Option<Agreement> {
    const VALUES: [f64; 5] = [1.0, 2.0, 3.0, 4.0, 5.0];
    let mut counts = vec![0; items.len() * VALUES.len()];
    for (item, row) in items.iter().zip(counts.chunks_mut(VALUES.len())) {
        for judgement in item {
            if let Judgement::Stars(stars) = judgement {
                row[usize::from(*stars) - 1] += 1;
            }
        }
    }
    agreement_of_counts(&counts, &VALUES, Scale::Ordinal)
}

/// What makes another rating be of the same item; none where the verdict is on no scale.
pub(crate) fn item(rating: &Rating) -> Option<ItemKey<'_>> {
    judgement(rating).map(|(kind, _)| key(kind, rating))
}

fn key<'a>(kind: &'static str, rating: &'a Rating) -> ItemKey<'a> {
    let places = 0..rating.samples.len();
    let mut completions: Vec<Written<'a>> = places.map(|place| written(rating, place)).collect();
    completions.sort_unstable();
    let asked = (rating.prompt.token_ids.as_slice(), rating.prompt.picture.as_ref());
    (kind, asked, completions)
}

fn written(rating: &Rating, place: usize) -> Written<'_> {
    let policy = rating.policy_of(place);
    (&rating.samples[place].token_ids, &policy.sha256, policy.adapter.as_deref())
}

/// None where the verdict is on no scale, or chooses between two equal texts.
fn judgement(rating: &Rating) -> Option<(&'static str, Judgement)> {
    let swapped = rating.samples.len() == 2 && written(rating, 0) > written(rating, 1);
    let pair = |value: PairChoice| match (value, swapped) {
        (PairChoice::Left, false) | (PairChoice::Right, true) => Judgement::Former,
        (PairChoice::Right, false) | (PairChoice::Left, true) => Judgement::Latter,
        (PairChoice::Tie, _) => Judgement::Tie,
        (PairChoice::BothBad, _) => Judgement::BothBad,
    };
    match rating.verdict {
        Verdict::Pair(value) => {
            let same = rating.samples.first()?.token_ids == rating.samples.get(1)?.token_ids;
            (!same).then(|| ("pair", pair(value)))
        }
        Verdict::Thumbs(Thumb::Up) => Some(("thumbs", Judgement::Up)),
        Verdict::Thumbs(Thumb::Down) => Some(("thumbs", Judgement::Down)),
        Verdict::Stars(value) => Some((STARS, Judgement::Stars(value))),
        Verdict::Edit(_) | Verdict::Report => None,
    }
}
