//! How a run is going, for the person who waits: one live line on a terminal, a plain line now and
//! then elsewhere.
//!
//! What is shown is a pure function of the values; only [`Progress`] touches the terminal. Time
//! comes in as the duration since the run, or its continuation, began.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// How many steps the trend looks back over.
const TREND_STEPS: usize = 20;
/// How often a plain line is written.
const PLAIN_EVERY: Duration = Duration::from_secs(15);

/// Where progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Display {
    /// One line on standard error that is drawn anew.
    Live,
    /// A line on standard error now and then: logs, pipes, CI.
    Plain,
    /// Nothing: tests.
    Hidden,
}

/// What a step gave, to be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Optimizer steps done, this one included.
    pub step: u64,
    /// The number that the run is about: reward, or loss.
    pub headline: (&'static str, f64),
    /// What else to show, in this order: KL, entropy.
    pub figures: Vec<(&'static str, f64)>,
    /// Tokens a second of this step.
    pub tokens_per_second: f64,
}

/// Which way a number goes, beyond its noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trend {
    /// Too few values to tell.
    Unknown,
    /// Up.
    Rising,
    /// Neither.
    Level,
    /// Down.
    Falling,
}

/// Shows the steps of one run.
#[derive(Debug)]
pub struct Progress {
    display: Display,
    bar: ProgressBar,
    /// When the first step of this process was shown, and which it was.
    began: Option<(Duration, u64)>,
    steps: u64,
    headlines: Vec<f64>,
    last_plain: Option<Duration>,
}

impl Display {
    /// Live where standard error is a terminal.
    pub fn detect() -> Self {
        match io::stderr().is_terminal() {
            true => Self::Live,
            false => Self::Plain,
        }
    }
}

impl Trend {
    /// Compares the later with the earlier half of the last values: a difference of more than two
    /// standard errors is a trend.
    pub fn of(values: &[f64]) -> Self {
        let recent = &values[values.len().saturating_sub(TREND_STEPS)..];
        if recent.len() < 6 {
            return Self::Unknown;
        }
        let (earlier, later) = recent.split_at(recent.len() / 2);
        let ((old, old_error), (new, new_error)) = (mean_and_error(earlier), mean_and_error(later));
        let noise = 2.0 * old_error.hypot(new_error);
        match new - old {
            difference if difference > noise => Self::Rising,
            difference if difference < -noise => Self::Falling,
            _ => Self::Level,
        }
    }

    /// One character.
    pub fn arrow(self) -> char {
        match self {
            Self::Unknown => ' ',
            Self::Rising => '↗',
            Self::Level => '→',
            Self::Falling => '↘',
        }
    }
}

impl Progress {
    /// Progress from `first_step` done (0, or where a run was resumed) to `steps`.
    pub fn new(display: Display, first_step: u64, steps: u64) -> Self {
        let target = match display {
            Display::Live => ProgressDrawTarget::stderr(),
            Display::Plain | Display::Hidden => ProgressDrawTarget::hidden(),
        };
        // No bar: the numbers take the 80 columns of a terminal.
        let style = ProgressStyle::with_template("{wide_msg}")
            .expect("the template is a constant that parses");
        let bar = ProgressBar::with_draw_target(Some(steps), target).with_style(style);
        bar.set_position(first_step);
        Self { display, bar, began: None, steps, headlines: Vec::new(), last_plain: None }
    }

    /// Shows a step, `elapsed` after the run or its continuation began.
    pub fn show(&mut self, report: &StepReport, elapsed: Duration) {
        self.headlines.push(report.headline.1);
        // What came before the first step, such as a teacher, is not repeated.
        let (began, first) = *self.began.get_or_insert((elapsed, report.step));
        let done = report.step.saturating_sub(first);
        let left =
            time_left(elapsed.saturating_sub(began), done, self.steps.saturating_sub(report.step));
        let text = line(report, self.steps, Trend::of(&self.headlines), left);
        match self.display {
            Display::Live => {
                self.bar.set_position(report.step);
                self.bar.set_message(text);
            }
            Display::Plain
                if plain_is_due(self.last_plain, elapsed) || report.step == self.steps =>
            {
                self.last_plain = Some(elapsed);
                output::note(&text);
            }
            Display::Plain | Display::Hidden => {}
        }
    }

    /// Prints a line above the live one.
    pub fn note(&self, text: &str) {
        match self.display {
            Display::Live => self.bar.suspend(|| output::note(text)),
            Display::Plain => output::note(text),
            Display::Hidden => {}
        }
    }

    /// Leaves the last live line standing.
    pub fn finish(self) {
        self.bar.abandon();
    }
}

/// The line of a step: `step 12/600  reward 0.412 ↗  kl 0.031  3.1k tok/s  2m05s left`.
pub fn line(report: &StepReport, steps: u64, trend: Trend, left: Option<Duration>) -> String {
    let width = steps.to_string().len();
    let (name, value) = report.headline;
    let mut parts = vec![
        format!("step {:>width$}/{steps}", report.step),
        format!("{name} {} {}", figure(value), trend.arrow()),
    ];
    parts.extend(report.figures.iter().map(|(name, value)| format!("{name} {}", figure(*value))));
    parts.push(format!("{} tok/s", thousands(report.tokens_per_second)));
    parts.extend(left.map(|left| format!("{} left", duration(left))));
    parts.join("  ")
}

/// A duration as people say it: `8s`, `2m05s`, `1h02m`.
pub fn duration(duration: Duration) -> String {
    match duration.as_secs_f64().round() as u64 {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        seconds => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// What is left if the rest goes as fast as what is `done`.
fn time_left(elapsed: Duration, done: u64, left: u64) -> Option<Duration> {
    (done > 0 && left > 0).then(|| elapsed.mul_f64(left as f64 / done as f64))
}

fn plain_is_due(last: Option<Duration>, elapsed: Duration) -> bool {
    last.is_none_or(|last| elapsed.saturating_sub(last) >= PLAIN_EVERY)
}

/// Three digits behind the point, or three that count where the number is smaller than they show.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || (0.01..1e6).contains(&size) => format!("{value:.3}"),
        _ => format!("{value:.2e}"),
    }
}

fn thousands(value: f64) -> String {
    match value {
        value if value >= 999_500.0 => format!("{:.1}M", value / 1e6),
        value if value >= 9_995.0 => format!("{:.0}k", value / 1e3),
        value if value >= 999.5 => format!("{:.1}k", value / 1e3),
        value => format!("{value:.0}"),
    }
}

/// The mean and its standard error (ddof 1).
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0) / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> StepReport {
        StepReport {
            step: 12,
            headline: ("reward", 0.4123),
            figures: vec![("kl", 0.00312), ("entropy", 1.92)],
            tokens_per_second: 3120.0,
        }
    }

    #[test]
    fn a_line_shows_each_value_once_in_its_order() {
        assert_eq!(
            line(&report(), 600, Trend::Rising, Some(Duration::from_secs(125))),
            "step  12/600  reward 0.412 ↗  kl 3.12e-3  entropy 1.920  3.1k tok/s  2m05s left"
        );
        assert_eq!(
            line(&StepReport { figures: vec![], ..report() }, 12, Trend::Unknown, None),
            "step 12/12  reward 0.412    3.1k tok/s"
        );
    }

    #[test]
    fn a_trend_is_more_than_noise() {
        let noise = |step: usize| if step.is_multiple_of(2) { 0.1 } else { -0.1 };
        let check = |slope: f64, n: usize, expected: Trend| {
            let values: Vec<f64> = (0..n).map(|step| slope * step as f64 + noise(step)).collect();
            assert_eq!(Trend::of(&values), expected, "{slope} {n}");
        };
        check(0.05, 20, Trend::Rising);
        check(-0.05, 20, Trend::Falling);
        check(0.0, 20, Trend::Level);
        check(0.001, 20, Trend::Level);
        check(1.0, 5, Trend::Unknown);
        check(1.0, 6, Trend::Rising);
        assert_eq!(Trend::of(&[0.5; 30]), Trend::Level);
    }

    #[test]
    fn a_trend_forgets_what_is_long_past() {
        let mut values = vec![100.0; 50];
        values.extend([0.0; 20]);
        assert_eq!(Trend::of(&values), Trend::Level);
    }

    #[test]
    fn numbers_are_short() {
        let check = |value, expected| assert_eq!(thousands(value), expected);
        check(7.4, "7");
        check(999.4, "999");
        check(999.6, "1.0k");
        check(9_994.0, "10.0k");
        check(9_996.0, "10k");
        check(123_456.0, "123k");
        check(999_600.0, "1.0M");
        assert_eq!([0.0, -0.25, 1e-5, 2e7].map(figure), ["0.000", "-0.250", "1.00e-5", "2.00e7"]);
        let times = [0, 59, 60, 125, 3599, 3600, 90_061].map(|s| duration(Duration::from_secs(s)));
        assert_eq!(times, ["0s", "59s", "1m00s", "2m05s", "59m59s", "1h00m", "25h01m"]);
        assert_eq!(duration(Duration::from_secs_f64(59.7)), "1m00s");
    }

    #[test]
    fn the_time_left_goes_by_the_steps_of_this_process() {
        let second = Duration::from_secs(1);
        assert_eq!(time_left(second * 10, 5, 20), Some(second * 40));
        assert_eq!(time_left(second * 10, 0, 20), None);
        assert_eq!(time_left(second * 10, 5, 0), None);
    }

    #[test]
    fn plain_lines_come_now_and_then() {
        let at = Duration::from_secs;
        assert!(plain_is_due(None, at(0)));
        assert!(!plain_is_due(Some(at(3)), at(17)));
        assert!(plain_is_due(Some(at(3)), at(18)));
    }
}
