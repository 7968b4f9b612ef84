//! `/stats`: the counts for people.

use std::collections::BTreeMap;

use axum::extract::State as FromState;
use axum::response::Response;
use kudos_schema::{CollectorStats, Estimate, Meeting, PolicyTally};

use super::html::{escape, page, table};
use crate::problem::Problem;
use crate::state::State;
use crate::stats::counted;

/// Sends the page.
pub(crate) async fn get(FromState(state): FromState<State>) -> Result<Response, Problem> {
    let stats = counted(&state).await?;
    Ok(page("What was rated", &body(&stats)))
}

fn body(stats: &CollectorStats) -> String {
    let mut html = format!(
        "<p>{} ratings by {} raters.</p>\n<p class=\"quiet\">Counted {}. Kept back from training: {} of \
         quarantined raters, {} with a reported text that waits to be looked at. Erased: {}.</p>\n",
        stats.ratings,
        stats.raters,
        escape(&stats.counted),
        stats.quarantined,
        stats.waiting,
        stats.erased,
    );
    html += &leaderboard(stats);
    html += &meetings(stats);
    let list = |caption: &str, counts: &BTreeMap<String, u64>| {
        let rows = counts.iter().map(|(name, number)| vec![escape(name), number.to_string()]);
        table(caption, &["", "Ratings"], &rows.collect::<Vec<_>>())
    };
    html += &list("By verdict", &stats.verdicts);
    html += &list("By task", &stats.tasks);
    html += &list("By why it was asked", &stats.asked);
    let kinds =
        [("Refused when it came", &stats.refused), ("Failed the check", &stats.checks.failed)];
    let kinds = kinds.into_iter().chain([("Could not be checked", &stats.checks.unchecked)]);
    let drops: Vec<Vec<String>> = kinds
        .flat_map(|(kind, counts)| {
            counts.iter().map(move |(cause, n)| vec![escape(kind), escape(cause), n.to_string()])
        })
        .collect();
    html += &table("What was dropped, by cause", &["", "Cause", "Ratings"], &drops);
    let passed = stats.checks.passed;
    html + &format!("<p class=\"quiet\">Passed the check of log-probabilities: {passed}.</p>\n")
}

/// The policies by their strengths.
fn leaderboard(stats: &CollectorStats) -> String {
    let mut ranked: Vec<&PolicyTally> = stats.policies.iter().collect();
    // Whoever met nobody comes last.
    let key = |policy: &PolicyTally| policy.strength.map_or(f64::NEG_INFINITY, |it| it.mean);
    ranked.sort_by(|a, b| key(b).total_cmp(&key(a)));
    let rows = ranked.iter().map(|policy| {
        let retired = if policy.retired { " (retired)" } else { "" };
        let strength = policy.strength.map_or("–".to_owned(), |Estimate { mean, low, high }| {
            format!("{mean:+.2} [{low:+.2}, {high:+.2}]")
        });
        let numbers =
            [policy.wins, policy.ties, policy.losses, policy.thumbs_up, policy.thumbs_down];
        let mut row =
            vec![format!("{}{retired} {}", escape(&policy.name), short(&policy.sha256)), strength];
        row.extend(numbers.map(|number| number.to_string()));
        row.push(policy.ratings.to_string());
        row
    });
    let heads = ["Policy", "Strength", "Wins", "Ties", "Losses", "Up", "Down", "Ratings"];
    table(
        "Policies by their strength: a difference of 1 wins 73 of 100 meetings",
        &heads,
        &rows.collect::<Vec<_>>(),
    )
}

fn meetings(stats: &CollectorStats) -> String {
    let name = |sha256: &str| {
        let policy = stats.policies.iter().find(|policy| policy.sha256 == sha256);
        escape(policy.map_or("", |policy| &policy.name))
    };
    let row = |meeting: &Meeting| {
        let side = |sha256: &str, sampling: &str| {
            format!("{} {} {}", name(sha256), short(sha256), escape(sampling))
        };
        let counts = [meeting.first_wins, meeting.ties, meeting.both_bad, meeting.second_wins];
        let mut row = vec![
            side(&meeting.first, &meeting.first_sampling),
            side(&meeting.second, &meeting.second_sampling),
        ];
        row.extend(counts.map(|number| number.to_string()));
        row
    };
    let rows: Vec<_> = stats.meetings.iter().map(row).collect();
    let heads = ["First", "Second", "First won", "Tie", "Both bad", "Second won"];
    table("Who met whom", &heads, &rows)
}

/// The beginning of a hash.
fn short(sha256: &str) -> String {
    format!("<code>{}</code>", escape(sha256.get(..8).unwrap_or(sha256)))
}
