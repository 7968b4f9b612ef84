//! The leaderboard: how strong each policy is, from the meetings.

use kudos_feedback::{BradleyTerry, Comparisons, Outcome, Vote};
use kudos_schema::{CollectorStats, Estimate};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Times that the meetings are drawn anew for the intervals.
const RESAMPLES: usize = 1000;

/// Bradley-Terry strengths with 95 % intervals, in the order of the policies; none for those who met nobody.
pub(crate) fn strengths(stats: &CollectorStats) -> Vec<Option<Estimate>> {
    let place = |sha256: &str| stats.policies.iter().position(|it| it.sha256 == sha256);
    let mut votes = Vec::new();
    let mut met = vec![false; stats.policies.len()];
    for meeting in &stats.meetings {
        let (Some(left), Some(right)) = (place(&meeting.first), place(&meeting.second)) else {
            continue;
        };
        if left == right {
            continue;
        }
        (met[left], met[right]) = (true, true);
        let even = meeting.ties + meeting.both_bad;
        let counts = [
            (Outcome::Left, meeting.first_wins),
            (Outcome::Right, meeting.second_wins),
            (Outcome::Tie, even),
        ];
        for (outcome, count) in counts {
            let vote = Vote { rater: 0, left: left as u32, right: right as u32, outcome };
            votes.extend((0..count).map(|_| vote));
        }
    }
    if votes.is_empty() {
        return vec![None; stats.policies.len()];
    }
    // The same meetings give the same intervals.
    let mut coins = ChaCha8Rng::seed_from_u64(1);
    let standings =
        BradleyTerry::default().standings(&Comparisons::new(&votes), RESAMPLES, &mut coins);
    let strengths = standings.strengths.into_iter().map(Some).chain(std::iter::repeat(None));
    strengths.zip(met).map(|(strength, met)| strength.filter(|_| met)).collect()
}

#[cfg(test)]
mod tests {
    use kudos_schema::{Meeting, PolicyTally};

    use super::*;

    #[test]
    fn who_wins_is_stronger_and_who_met_nobody_has_no_strength() {
        let policy = |sha256: &str| PolicyTally { sha256: sha256.into(), ..PolicyTally::default() };
        let meeting = Meeting {
            first: "a".into(),
            second: "b".into(),
            first_wins: 30,
            second_wins: 10,
            ..Meeting::default()
        };
        let itself = Meeting { first: "c".into(), second: "c".into(), ..meeting.clone() };
        let stats = CollectorStats {
            policies: ["b", "a", "c"].map(policy).into(),
            meetings: vec![meeting, itself],
            ..CollectorStats::default()
        };
        let found = strengths(&stats);
        let (b, a) = (found[0].unwrap(), found[1].unwrap());
        // ln 3, drawn towards 0 by the prior.
        assert!((a.mean - b.mean - 3f64.ln()).abs() < 0.1, "{found:?}");
        assert!(a.low > b.high && found[2].is_none(), "{found:?}");
        assert_eq!(strengths(&CollectorStats::default()), []);
    }
}
