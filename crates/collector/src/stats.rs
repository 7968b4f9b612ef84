//! `GET /v1/stats`: counts, and who won where two policies met. Aggregates only.
//!
//! Strengths follow from the meetings (`strengths.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State as FromState;
use kudos_schema::{CheckCounts, CollectorStats, Meeting, PolicyTally};
use tokio::sync::Mutex;

use crate::clock::rfc3339;
use crate::database::insert::{ERASED, QUARANTINED, WAITING};
use crate::database::tallies::Tally;
use crate::policy::shelf::Listed;
use crate::problem::Problem;
use crate::state::State;
use crate::strengths::strengths;

/// How long counts are shown before they are counted again, in milliseconds.
const FRESH_MS: i64 = 10_000;

/// The counts, and when they were made.
#[derive(Debug, Default)]
pub(crate) struct StatsCache(Mutex<Option<(i64, Arc<CollectorStats>)>>);

/// Sends the counts.
pub(crate) async fn get(
    FromState(state): FromState<State>,
) -> Result<Json<CollectorStats>, Problem> {
    Ok(Json(counted(&state).await?.as_ref().clone()))
}

/// The counts, at most a few seconds old. Who comes while they are made waits for them.
pub(crate) async fn counted(state: &State) -> Result<Arc<CollectorStats>, Problem> {
    let mut cache = state.stats.0.lock().await;
    let now_ms = state.clock.now_ms();
    if let Some((made_ms, stats)) = &*cache
        && (0..FRESH_MS).contains(&(now_ms - made_ms))
    {
        return Ok(stats.clone());
    }
    let tallies = state.database.tallies().await?;
    let policies = state.shelf.list(now_ms).await?;
    let mut stats = count(&tallies, &policies);
    stats.version = 1;
    stats.counted = rfc3339(now_ms);
    stats.raters = state.database.n_raters().await?;
    stats.refused = state.database.refusals().await?.into_iter().collect();
    let strengths = strengths(&stats);
    stats.policies.iter_mut().zip(strengths).for_each(|(policy, it)| policy.strength = it);
    stats.checks = checks(state.database.check_counts().await?);
    let stats = Arc::new(stats);
    *cache = Some((now_ms, stats.clone()));
    Ok(stats)
}

/// What tallies say in sum.
fn count(tallies: &[Tally], policies: &[Listed]) -> CollectorStats {
    let mut stats = CollectorStats::default();
    let mut by_policy: BTreeMap<&str, PolicyTally> = BTreeMap::new();
    for tally in tallies {
        if tally.withheld & ERASED > 0 {
            stats.erased += tally.number;
            continue;
        }
        stats.ratings += tally.number;
        *stats.verdicts.entry(tally.verdict.0.clone()).or_default() += tally.number;
        *stats.tasks.entry(tally.task.clone()).or_default() += tally.number;
        let asked = if tally.asked.is_empty() { "none" } else { &tally.asked };
        *stats.asked.entry(asked.to_owned()).or_default() += tally.number;
        if tally.withheld & WAITING > 0 {
            stats.waiting += tally.number;
        }
        if tally.withheld & QUARANTINED > 0 {
            stats.quarantined += tally.number;
            continue;
        }
        count_policies(tally, &mut by_policy);
    }
    stats.meetings = meetings(tallies);
    stats.policies = policies
        .iter()
        .map(|policy| PolicyTally {
            name: policy.manifest.name.clone(),
            sha256: policy.sha256.clone(),
            retired: policy.retired,
            ..by_policy.remove(&*policy.sha256).unwrap_or_default()
        })
        .collect();
    stats
}

fn count_policies<'a>(tally: &'a Tally, policies: &mut BTreeMap<&'a str, PolicyTally>) {
    let (left, right) = (tally.left.0.as_str(), tally.right.0.as_str());
    let met = !right.is_empty() && left != right;
    let writers = if met { vec![left, right] } else { vec![left] };
    for writer in writers {
        let policy = policies.entry(writer).or_default();
        policy.ratings += tally.number;
        match (tally.verdict.0.as_str(), tally.verdict.1.as_str()) {
            ("thumbs", "up") => policy.thumbs_up += tally.number,
            ("thumbs", _) => policy.thumbs_down += tally.number,
            ("stars", stars) => {
                let place = stars.parse().unwrap_or(0_usize).wrapping_sub(1);
                if let Some(count) = policy.stars.get_mut(place) {
                    *count += tally.number;
                }
            }
            ("edit", _) => policy.edits += tally.number,
            ("pair", "left") if met && writer == left => policy.wins += tally.number,
            ("pair", "right") if met && writer == right => policy.wins += tally.number,
            ("pair", "left" | "right") if met => policy.losses += tally.number,
            ("pair", _) if met => policy.ties += tally.number,
            _ => {}
        }
    }
}

/// What was said where two met: the table that strengths are computed from. Ratings of quarantined raters are left out.
pub(crate) fn meetings(tallies: &[Tally]) -> Vec<Meeting> {
    let mut meetings: BTreeMap<[&(String, String); 2], Meeting> = BTreeMap::new();
    let visible = tallies.iter().filter(|tally| tally.withheld & (ERASED | QUARANTINED) == 0);
    for tally in visible {
        let (left, right) = (&tally.left, &tally.right);
        if tally.verdict.0 != "pair" || left == right || right.0.is_empty() {
            continue;
        }
        let swapped = left > right;
        let key = if swapped { [right, left] } else { [left, right] };
        let meeting = meetings.entry(key).or_default();
        let number = match (tally.verdict.1.as_str(), swapped) {
            ("left", false) | ("right", true) => &mut meeting.first_wins,
            ("left" | "right", _) => &mut meeting.second_wins,
            ("tie", _) => &mut meeting.ties,
            _ => &mut meeting.both_bad,
        };
        *number += tally.number;
    }
    let named = meetings.into_iter().map(|([first, second], counts)| Meeting {
        first: first.0.clone(),
        second: second.0.clone(),
        first_sampling: first.1.clone(),
        second_sampling: second.1.clone(),
        ..counts
    });
    named.collect()
}

fn checks(counts: Vec<(String, String, u64)>) -> CheckCounts {
    let mut checks = CheckCounts::default();
    for (outcome, cause, number) in counts {
        let cause = if cause.is_empty() { "unnamed".to_owned() } else { cause };
        match outcome.as_str() {
            "pass" => checks.passed += number,
            "fail" => *checks.failed.entry(cause).or_default() += number,
            _ => *checks.unchecked.entry(cause).or_default() += number,
        }
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(left: &str, right: &str, choice: &str) -> Tally {
        let side = |name: &str| (name.to_owned(), "t1".to_owned());
        let verdict = ("pair".to_owned(), choice.to_owned());
        Tally { left: side(left), right: side(right), verdict, number: 1, ..Tally::default() }
    }

    #[test]
    fn a_win_counts_the_same_on_either_side() {
        let tallies = [
            tally("a", "b", "left"),
            tally("b", "a", "right"),
            tally("b", "a", "left"),
            tally("a", "b", "tie"),
            tally("b", "a", "both_bad"),
            tally("a", "a", "left"),
            Tally { withheld: QUARANTINED, ..tally("a", "b", "left") },
        ];
        let meetings = meetings(&tallies);
        assert_eq!(meetings.len(), 1, "{meetings:?}");
        let Meeting { first_wins, second_wins, ties, both_bad, .. } = meetings[0];
        assert_eq!((first_wins, second_wins, ties, both_bad), (2, 1, 1, 1));
        let mut policies = BTreeMap::new();
        tallies[..5].iter().for_each(|tally| count_policies(tally, &mut policies));
        let counts = |name| {
            let policy: &PolicyTally = &policies[name];
            (policy.ratings, policy.wins, policy.losses, policy.ties)
        };
        assert_eq!((counts("a"), counts("b")), ((5, 2, 1, 2), (5, 1, 2, 2)));
    }
}
