//! `/stats`: the counts for people.

use std::collections::BTreeMap;

use axum::extract::State as FromState;
use axum::response::Response;
use kudos_schema::{CollectorStats, Meeting, PolicyTally};

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
    html += &leaderboard(&stats.policies);
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

/// The policies as they are ranked. Strengths come from [`CollectorStats::meetings`] and are another column here, once they
/// are computed.
fn leaderboard(policies: &[PolicyTally]) -> String {
    let mut ranked: Vec<&PolicyTally> = policies.iter().collect();
    let rate = |policy: &PolicyTally| {
        let met = policy.wins + policy.losses + policy.ties;
        (met > 0).then(|| (policy.wins as f64 + policy.ties as f64 / 2.0) / met as f64)
    };
    // Whoever met nobody comes last.
    ranked.sort_by(|a, b| rate(b).unwrap_or(-1.0).total_cmp(&rate(a).unwrap_or(-1.0)));
    let rows = ranked.iter().map(|policy| {
        let retired = if policy.retired { " (retired)" } else { "" };
        let share = rate(policy).map_or("–".to_owned(), |rate| format!("{:.0} %", 100.0 * rate));
        let numbers =
            [policy.wins, policy.ties, policy.losses, policy.thumbs_up, policy.thumbs_down];
        let mut row =
            vec![format!("{}{retired} {}", escape(&policy.name), short(&policy.sha256)), share];
        row.extend(numbers.map(|number| number.to_string()));
        row.push(policy.ratings.to_string());
        row
    });
    let heads = ["Policy", "Won", "Wins", "Ties", "Losses", "Up", "Down", "Ratings"];
    table("Policies, by the share of meetings won", &heads, &rows.collect::<Vec<_>>())
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
