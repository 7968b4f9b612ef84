//! What the two verbs show to people.

use std::collections::BTreeMap;
use std::fmt::Display;

use kudos_schema::{Estimate, FeedbackStats, ImportReport, Refusal, UncheckedCause, VerdictStats};

/// Refusals shown one by one; all of them are in the JSON.
const SHOWN: usize = 10;
/// Digits of a hash that tell policies apart.
const HASH_DIGITS: usize = 12;

/// The report of an import.
pub(super) fn import(report: &ImportReport) -> String {
    let refused = report.refusals.len();
    let mut lines = vec![format!(
        "{} lines: {} accepted into {}, {} duplicates, {refused} refused",
        report.lines, report.accepted, report.output, report.duplicates
    )];
    if report.verified > 0 {
        lines.push(format!("  {} agree with their policy in everything", report.verified));
    }
    for (cause, count) in &report.unchecked {
        lines.push(format!("  {count} accepted and not wholly checked: {}", why(*cause)));
    }
    for (device, drift) in &report.drift {
        let device = if device == "cpu" { "CPUs" } else { "other devices" };
        lines.push(format!(
            "  {} tokens written by {device}: at most {:.1e} nats from here, divergence {:.1e} nats a token",
            drift.tokens, drift.worst_nats, drift.kl_nats
        ));
    }
    if report.differing_duplicates > 0 {
        lines.push(format!(
            "  {} duplicates differ from the first of their id, which stays",
            report.differing_duplicates
        ));
    }
    if refused > 0 {
        let causes = report.refused.iter().map(|(cause, count)| (cause.name(), count));
        lines.push(format!("  refused: {}", listed(causes)));
    }
    lines.extend(refusals(&report.refusals));
    lines.join("\n")
}

fn why(cause: UncheckedCause) -> &'static str {
    match cause {
        UncheckedCause::Policy => "no bundle of their hash is at hand (--bundle FILE)",
        UncheckedCause::Adapter => "an adapter lies on top of the bundle",
        UncheckedCause::Prompt => {
            "the text of the prompt is masked or incomplete, its tokens and log-probabilities fit"
        }
    }
}

/// The first refusals, a line each.
pub(super) fn refusals(refusals: &[Refusal]) -> Vec<String> {
    let shown = refusals.iter().take(SHOWN).map(|refusal| {
        let Refusal { file, line, cause, reason } = refusal;
        format!("  {file}:{line}: {}: {reason}", cause.name())
    });
    let more = refusals.len().saturating_sub(SHOWN);
    let rest = (more > 0).then(|| format!("  and {more} more"));
    shown.chain(rest).collect()
}

/// The statistics.
pub(super) fn stats(stats: &FeedbackStats) -> String {
    let mut rows = vec![
        ("ratings".to_owned(), stats.ratings.to_string()),
        ("raters".to_owned(), stats.raters.to_string()),
        ("verdicts".to_owned(), counts(&stats.verdicts)),
        ("tasks".to_owned(), counts(&stats.tasks)),
        ("backends".to_owned(), counts(&stats.backends)),
        ("reasons".to_owned(), counts(&stats.reasons)),
        ("reported".to_owned(), format!("{} samples", stats.reported)),
        ("median time".to_owned(), or_none(stats.median_seconds.map(|s| format!("{s:.1} s")))),
    ];
    if stats.refused + stats.duplicates > 0 {
        let left_out = format!("{} no ratings, {} duplicates", stats.refused, stats.duplicates);
        rows.push(("left out".to_owned(), left_out));
    }
    rows.extend(verdicts(&stats.all));
    for (kind, found) in &stats.agreement {
        let alpha = or_none(found.alpha.map(|alpha| format!("{alpha:.3}")));
        let text = format!(
            "{:.3} of rater pairs say the same, Krippendorff's alpha {alpha} ({} items, {} judgements)",
            found.agreement, found.items, found.judgements
        );
        rows.push((format!("agreement, {kind}"), text));
    }
    if stats.agreement.is_empty() {
        rows.push(("agreement".to_owned(), "no two raters judged the same samples".to_owned()));
    }
    for policy in stats.policies.iter().filter(|_| stats.policies.len() > 1) {
        let hash: String = policy.sha256.chars().take(HASH_DIGITS).collect();
        let adapter = policy.adapter.as_ref().map(|name| format!(" + {name}"));
        let text = format!("{} ratings", policy.ratings);
        rows.push((format!("{}{} {hash}", policy.name, adapter.unwrap_or_default()), text));
        rows.extend(verdicts(&policy.said).map(|(name, text)| (format!("  {name}"), text)));
    }
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let lines: Vec<String> =
        rows.iter().map(|(name, text)| format!("{name:width$}  {text}")).collect();
    lines.join("\n")
}

fn verdicts(said: &VerdictStats) -> impl Iterator<Item = (String, String)> {
    let stars = listed(said.star_counts.iter().map(|(value, count)| (format!("{value}*"), count)));
    [
        ("pairs", (!said.pairs.is_empty()).then(|| counts(&said.pairs))),
        (
            "left over right",
            said.left_over_right
                .map(|share| format!("{} (ties and both bad left out)", interval(share))),
        ),
        ("thumbs up", said.thumbs_up.map(|up| format!("{} of {}", interval(up), said.thumbs))),
        ("stars", said.stars.map(|mean| format!("{} ({stars})", interval(mean)))),
        (
            "edits",
            said.edit_change.map(|change| {
                format!("{}, {} of the characters changed", said.edits, interval(change))
            }),
        ),
    ]
    .into_iter()
    .filter_map(|(name, text)| Some((name.to_owned(), text?)))
}

fn interval(estimate: Estimate) -> String {
    format!("{:.3} [{:.3}, {:.3}]", estimate.mean, estimate.low, estimate.high)
}

fn counts(counts: &BTreeMap<String, usize>) -> String {
    listed(counts.iter())
}

fn listed<N: Display>(counts: impl Iterator<Item = (N, impl Display)>) -> String {
    let parts: Vec<String> = counts.map(|(name, count)| format!("{name} {count}")).collect();
    or_none((!parts.is_empty()).then(|| parts.join("; ")))
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "none".to_owned())
}
