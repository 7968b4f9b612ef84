//! How far to trust each rater: the weights that stand beside exported rewards.
//!
//! From the latest ratings, each of which is evidence once: of gold and repeated items, whether it is as it should be; of an item
//! that several judged, by Dawid and Skene's model; else, where two policies or settings met, by CrowdBT. What is held in
//! memory is bounded however many ratings there are. Leaves out: ratings that exports leave out, and the texts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kudos_feedback::{Evidence, Label, Outcome, Tested, Vote};
use kudos_schema::Estimate;
use tokio::sync::Mutex;

use crate::database::judged::Judged;
use crate::database::{Database, Result};
use crate::state::State;

/// Places in the order of exports, of which the last so many are looked at.
const PLACES: i64 = 200_000;
/// How long weights are used before they are learned again, in milliseconds.
const FRESH_MS: i64 = 60_000;
/// How often guessing is right: between two, or good and bad.
const CHANCE: f64 = 0.5;

/// The weights, and when they were learned.
#[derive(Debug, Default)]
pub(crate) struct TrustCache(Mutex<Option<(i64, Arc<Weights>)>>);

/// One weight for each rater, from 0 to 1, with its 95 % interval.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Weights {
    raters: BTreeMap<String, Estimate>,
    others: Estimate,
}

impl Weights {
    /// What this rater's ratings count.
    pub(crate) fn of(&self, rater: &str) -> Estimate {
        self.raters.get(rater).copied().unwrap_or(self.others)
    }
}

/// The weights, at most a minute old. Who comes while they are learned waits for them.
pub(crate) async fn current(state: &State) -> Result<Arc<Weights>> {
    let mut cache = state.trust.0.lock().await;
    let now_ms = state.clock.now_ms();
    if let Some((made_ms, weights)) = &*cache
        && (0..FRESH_MS).contains(&(now_ms - made_ms))
    {
        return Ok(weights.clone());
    }
    let heard = Heard::read(&state.database).await?;
    let weighed = tokio::task::spawn_blocking(|| heard.weights());
    let weights = Arc::new(weighed.await.expect("weighing neither panics nor is called off"));
    *cache = Some((now_ms, weights.clone()));
    Ok(weights)
}

/// What an item is: its hash, and the kind of verdict.
type Item = (u128, &'static str);

/// What was said, with numbers for names.
#[derive(Debug, Default)]
struct Heard {
    raters: BTreeMap<String, u32>,
    arms: BTreeMap<(String, String), u32>,
    items: BTreeMap<Item, u32>,
    /// Who judged what: each rater counts once an item, with what was said first.
    known: BTreeSet<(u32, u32)>,
    judgements: Vec<Judgement>,
    tested: BTreeMap<u32, Tested>,
}

#[derive(Debug, Clone, Copy)]
struct Judgement {
    item: u32,
    kind: &'static str,
    rater: u32,
    said: Said,
    /// Where two met that are not the same: who stood on the left and on the right, and which was better.
    met: Option<(u32, u32, Outcome)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// The text with this hash is the better one.
    Text(u128),
    /// A place on the scale of its kind.
    Class(u32),
}

impl Heard {
    /// Reads the latest judgements.
    async fn read(database: &Database) -> Result<Self> {
        let mut heard = Self::default();
        let until = database.last_place().await?;
        let mut after = until - PLACES;
        loop {
            let page = database.judged(after, until).await?;
            let Some(last) = page.last() else { return Ok(heard) };
            after = last.place;
            page.into_iter().for_each(|judged| heard.add(judged));
        }
    }

    fn add(&mut self, judged: Judged) {
        let rater = number(&mut self.raters, judged.rater);
        if let ("gold" | "repeat", 0..) = (judged.asked.as_str(), judged.agreed) {
            let tested = self.tested.entry(rater).or_default();
            let right = usize::from(judged.agreed == 1);
            let (all, alike) = match judged.asked.as_str() {
                "gold" => (&mut tested.gold, &mut tested.gold_right),
                _ => (&mut tested.repeats, &mut tested.repeats_same),
            };
            (*all, *alike) = (*all + 1, *alike + right);
            return;
        }
        let Ok(hash) = u128::from_str_radix(&judged.item, 16) else { return };
        let Some((kind, said)) = said(&judged.verdict.0, &judged.said) else { return };
        let item = number(&mut self.items, (hash, kind));
        if !self.known.insert((item, rater)) {
            return;
        }
        let outcome = match judged.verdict.1.as_str() {
            "left" => Some(Outcome::Left),
            "right" => Some(Outcome::Right),
            _ => None,
        };
        let met = outcome.filter(|_| judged.left != judged.right).map(|outcome| {
            let [left, right] = [judged.left, judged.right].map(|arm| number(&mut self.arms, arm));
            (left, right, outcome)
        });
        self.judgements.push(Judgement { item, kind, rater, said, met });
    }

    /// What all that says of raters.
    fn weights(mut self) -> Weights {
        self.judgements.sort_by_key(|it| (it.kind, it.item));
        let mut evidence = Evidence::new(self.raters.len());
        let mut votes = Vec::new();
        for kind in self.judgements.chunk_by(|a, b| a.kind == b.kind) {
            let mut labels: Vec<Label> = Vec::new();
            let mut shared = 0;
            for item in kind.chunk_by(|a, b| a.item == b.item) {
                if let [alone] = item {
                    votes.extend(alone.met.map(|(left, right, outcome)| Vote {
                        rater: alone.rater,
                        left,
                        right,
                        outcome,
                    }));
                    continue;
                }
                let classes = classes(item).into_iter().zip(item);
                labels.extend(classes.map(|(class, it)| Label {
                    rater: it.rater,
                    item: shared,
                    class,
                }));
                shared += 1;
            }
            evidence.add_labels(&labels);
        }
        evidence.add_votes(&votes);
        for (rater, tested) in &self.tested {
            evidence.add(*rater as usize, tested.reliability(CHANCE));
        }
        let trust = evidence.trust();
        let raters = self.raters.into_iter().map(|(name, it)| (name, trust.weights[it as usize]));
        Weights {
            raters: raters.filter(|(_, it)| *it != trust.others).collect(),
            others: trust.others,
        }
    }
}

/// The number of a name: those that are new are counted on.
fn number<K: Ord>(names: &mut BTreeMap<K, u32>, name: K) -> u32 {
    let next = u32::try_from(names.len()).expect("no more names than places");
    *names.entry(name).or_insert(next)
}

/// The kind of a verdict and what it says; none where it chooses between equal texts.
fn said(kind: &str, said: &str) -> Option<(&'static str, Said)> {
    let (_, value) = said.split_once(' ')?;
    Some(match (kind, value) {
        ("pair", "tie") => ("pair", Said::Class(2)),
        ("pair", "both_bad") => ("pair", Said::Class(3)),
        ("pair", hash) => ("pair", Said::Text(u128::from_str_radix(hash, 16).ok()?)),
        ("thumbs", "up") => ("thumbs", Said::Class(1)),
        ("thumbs", _) => ("thumbs", Said::Class(0)),
        ("stars", stars) => ("stars", Said::Class(stars.parse::<u32>().ok()?.checked_sub(1)?)),
        _ => return None,
    })
}

/// The classes of what was said of one item. Of two texts one is class 0 and the other 1; which is which is chance,
/// also where all preferred the same: else one class would seem to be the likelier.
fn classes(item: &[Judgement]) -> Vec<u32> {
    let texts: BTreeSet<u128> = item
        .iter()
        .filter_map(|it| match it.said {
            Said::Text(hash) => Some(hash),
            Said::Class(_) => None,
        })
        .collect();
    let class = |it: &Judgement| match it.said {
        Said::Class(class) => class,
        Said::Text(hash) if texts.len() == 1 => u32::from(hash % 2 == 1),
        Said::Text(hash) => u32::from(texts.first() != Some(&hash)),
    };
    item.iter().map(class).collect()
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
