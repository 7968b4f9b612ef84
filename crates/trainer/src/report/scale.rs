//! The numbers on an axis: range, steps and how they are written.

use std::cmp::Ordering;

/// The least and the greatest value, apart from each other; none of no values.
pub(super) fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (value.min(low), value.max(high))
    });
    let flat = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
    match low.partial_cmp(&high)? {
        Ordering::Less => Some((low, high)),
        Ordering::Equal => Some((low - flat, high + flat)),
        Ordering::Greater => None,
    }
}

/// 1, 2 or 5 times a power of ten, so that four to ten steps fill the span.
pub(super) fn nice_step(span: f64) -> f64 {
    let power = 10f64.powf((span / 4.0).log10().floor());
    let times =
        [5.0, 2.0, 1.0].into_iter().find(|times| times * power * 4.0 <= span * (1.0 + 1e-9));
    times.unwrap_or(1.0) * power
}

pub(super) fn ticks((low, high): (f64, f64), step: f64) -> Vec<f64> {
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    (first..=last).map(|times| times as f64 * step).collect()
}

/// A number with as many digits as `step` needs to tell it from the next.
pub(super) fn number(value: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
    let text = match value.abs() {
        size if size >= 1e6 => format!("{:.1}M", value / 1e6),
        size if size >= 1e4 => format!("{:.0}k", value / 1e3),
        _ if digits > 5 => format!("{value:.1e}"),
        _ => format!("{value:.digits$}"),
    };
    match text.trim_start_matches('-').chars().all(|letter| letter == '0' || letter == '.') {
        true => text.trim_start_matches('-').to_owned(),
        false => text.replace('-', "−"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_nice_and_gives_four_to_ten_intervals() {
        for exponent in -30..60 {
            let span = 1.37f64.powi(exponent);
            let step = nice_step(span);
            let leading = step / 10f64.powf(step.log10().floor());
            assert!(
                [1.0, 2.0, 5.0, 10.0].iter().any(|nice| (leading - nice).abs() < 1e-6),
                "{step}"
            );
            assert!((4.0 - 1e-6..=10.0 + 1e-6).contains(&(span / step)), "{span} {step}");
        }
    }

    #[test]
    fn ticks_are_multiples_within_the_range() {
        let labels = |range, step| {
            ticks(range, step).into_iter().map(|tick| number(tick, step)).collect::<Vec<_>>()
        };
        assert_eq!(labels((-0.25, 0.31), 0.1), ["−0.2", "−0.1", "0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(labels((1.0, 600.0), 200.0), ["200", "400", "600"]);
        assert_eq!(labels((0.0, 40_000.0), 20_000.0), ["0", "20k", "40k"]);
    }

    #[test]
    fn numbers_have_the_digits_that_tell_them_apart() {
        let check = |value, step, expected| assert_eq!(number(value, step), expected);
        check(0.0, 0.001, "0.000");
        check(-0.0001, 0.001, "0.000");
        check(-0.5, 0.001, "−0.500");
        check(0.12345, 0.05, "0.12");
        check(7.0, 1.0, "7");
        check(1.5e6, 1e5, "1.5M");
        check(3.2e-7, 1e-8, "3.2e−7");
    }

    #[test]
    fn a_range_has_a_width_where_there_are_values() {
        assert_eq!(range([].into_iter()), None);
        assert_eq!(range([0.0, 0.0].into_iter()), Some((-1.0, 1.0)));
        assert_eq!(range([2.0, -1.0, 0.5].into_iter()), Some((-1.0, 2.0)));
        assert_eq!(range([-10.0].into_iter()), Some((-11.0, -9.0)));
    }
}
