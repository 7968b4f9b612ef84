//! Numbers for Prometheus, in its text format. They name nobody.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the histogram of latencies, in seconds.
const BOUNDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// What this process counted since it started.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    requests: BTreeMap<(String, u16), u64>,
    latencies: BTreeMap<String, Latencies>,
    ratings: BTreeMap<&'static str, u64>,
    exported: u64,
}

#[derive(Debug, Default)]
struct Latencies {
    within: [u64; BOUNDS.len()],
    number: u64,
    seconds: f64,
}

impl Metrics {
    /// An answer of `route`, as it stands in the router.
    pub(crate) fn answered(&self, route: &str, status: u16, took: Duration) {
        let mut counted = self.counted();
        *counted.requests.entry((route.to_owned(), status)).or_default() += 1;
        let latencies = counted.latencies.entry(route.to_owned()).or_default();
        let seconds = took.as_secs_f64();
        latencies.number += 1;
        latencies.seconds += seconds;
        for (within, bound) in latencies.within.iter_mut().zip(BOUNDS) {
            *within += u64::from(seconds <= bound);
        }
    }

    /// Something became of ratings.
    pub(crate) fn ratings(&self, outcome: &'static str, number: u64) {
        *self.counted().ratings.entry(outcome).or_default() += number;
    }

    /// Lines of exports were sent.
    pub(crate) fn exported(&self, lines: u64) {
        self.counted().exported += lines;
    }

    /// Everything, in the text format of Prometheus.
    pub(crate) fn text(&self) -> String {
        let counted = self.counted();
        let mut text = String::new();
        let mut line = |line: std::fmt::Arguments<'_>| {
            writeln!(text, "{line}").expect("a string takes everything");
        };
        line(format_args!(
            "# HELP kudos_requests_total Answers by route and status.\n# TYPE kudos_requests_total counter"
        ));
        for ((route, status), number) in &counted.requests {
            line(format_args!(
                "kudos_requests_total{{route=\"{route}\",status=\"{status}\"}} {number}"
            ));
        }
        line(format_args!(
            "# HELP kudos_request_seconds Time until the answer begins.\n# TYPE kudos_request_seconds histogram"
        ));
        for (route, latencies) in &counted.latencies {
            for (within, bound) in latencies.within.iter().zip(BOUNDS) {
                line(format_args!(
                    "kudos_request_seconds_bucket{{route=\"{route}\",le=\"{bound}\"}} {within}"
                ));
            }
            let Latencies { number, seconds, .. } = latencies;
            line(format_args!(
                "kudos_request_seconds_bucket{{route=\"{route}\",le=\"+Inf\"}} {number}"
            ));
            line(format_args!("kudos_request_seconds_sum{{route=\"{route}\"}} {seconds}"));
            line(format_args!("kudos_request_seconds_count{{route=\"{route}\"}} {number}"));
        }
        line(format_args!(
            "# HELP kudos_ratings_total Ratings by what became of them.\n# TYPE kudos_ratings_total counter"
        ));
        for (outcome, number) in &counted.ratings {
            line(format_args!("kudos_ratings_total{{outcome=\"{outcome}\"}} {number}"));
        }
        line(format_args!(
            "# HELP kudos_exported_lines_total Lines of exports sent.\n# TYPE kudos_exported_lines_total counter"
        ));
        line(format_args!("kudos_exported_lines_total {}", counted.exported));
        text
    }

    fn counted(&self) -> std::sync::MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let metrics = Metrics::default();
        for milliseconds in [1, 30, 9000] {
            metrics.answered("/a", 200, Duration::from_millis(milliseconds));
        }
        metrics.ratings("accepted", 3);
        let text = metrics.text();
        for line in [
            "kudos_requests_total{route=\"/a\",status=\"200\"} 3",
            "kudos_request_seconds_bucket{route=\"/a\",le=\"0.001\"} 1",
            "kudos_request_seconds_bucket{route=\"/a\",le=\"0.05\"} 2",
            "kudos_request_seconds_bucket{route=\"/a\",le=\"+Inf\"} 3",
            "kudos_ratings_total{outcome=\"accepted\"} 3",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
    }
}
