//! How well a reward model foretells held-out verdicts.

use kudos_schema::{CalibrationBin, Estimate, RewardResult};

use super::verdicts::Judgement;
use crate::batches::{Purpose, coins};
use crate::bootstrap;

/// Bins of foretold probability.
const BINS: usize = 10;

/// A foretold probability beside what was said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Foretold {
    /// That the first is better, or the one good.
    pub(super) probability: f64,
    /// What was said, from 0 to 1.
    pub(super) share: f64,
    pub(super) weight: f64,
    /// How many texts the verdict is on: one or two.
    pub(super) texts: usize,
}

/// Judges held-out verdicts: `foretold` of all, `scores` with grades of single texts.
pub(super) fn report(foretold: &[Foretold], grades: &[(f64, f64)], seed: u64) -> RewardResult {
    let decided: Vec<&Foretold> = foretold.iter().filter(|one| one.share != 0.5).collect();
    let bins = bins(&both_ways(foretold));
    RewardResult {
        version: 1,
        n: foretold.len(),
        decided: decided.len(),
        accuracy: (!decided.is_empty()).then(|| accuracy(&decided, seed)),
        log_loss: mean(foretold, |one| -cross(one.share, one.probability)),
        brier: mean(foretold, |one| (one.share - one.probability).powi(2)),
        calibration_error: calibration_error(&bins),
        bins,
        pearson: pearson(grades),
        ..RewardResult::default()
    }
}

fn accuracy(decided: &[&Foretold], seed: u64) -> Estimate {
    let right = |one: &Foretold| {
        let (foretold, said) = (one.probability > 0.5, one.share > 0.5);
        if one.probability == 0.5 { 0.5 } else { f64::from(u8::from(foretold == said)) }
    };
    let of = |places: &[usize]| {
        let sums = places.iter().fold((0.0, 0.0), |(value, all), place| {
            let one = decided[*place];
            (value + one.weight * right(one), all + one.weight)
        });
        if sums.1 > 0.0 { sums.0 / sums.1 } else { 0.0 }
    };
    bootstrap::statistic(decided.len(), &mut coins(seed, Purpose::Bootstrap, 0), &of)
}

fn cross(share: f64, probability: f64) -> f64 {
    let log = |p: f64| p.max(1e-12).ln();
    share * log(probability) + (1.0 - share) * log(1.0 - probability)
}

fn mean(foretold: &[Foretold], of: impl Fn(&Foretold) -> f64) -> f64 {
    let all: f64 = foretold.iter().map(|one| one.weight).sum();
    let sum: f64 = foretold.iter().map(|one| one.weight * of(one)).sum();
    if all > 0.0 { sum / all } else { 0.0 }
}

/// Pairs once in either order with half the weight: which text stands first says nothing, and rows of chosen
/// and rejected would all be foretold the same answer.
fn both_ways(foretold: &[Foretold]) -> Vec<Foretold> {
    let turned = |one: &Foretold| {
        let weight = one.weight / 2.0;
        let same = Foretold { weight, ..*one };
        vec![same, Foretold { probability: 1.0 - one.probability, share: 1.0 - one.share, ..same }]
    };
    let either = |one: &Foretold| if one.texts == 2 { turned(one) } else { vec![*one] };
    foretold.iter().flat_map(either).collect()
}

/// Bins of equal width that hold something.
fn bins(foretold: &[Foretold]) -> Vec<CalibrationBin> {
    let bin = |one: &Foretold| ((one.probability * BINS as f64) as usize).min(BINS - 1);
    let of = |place: usize| {
        let inside: Vec<Foretold> =
            foretold.iter().filter(|one| bin(one) == place).copied().collect();
        (!inside.is_empty()).then(|| CalibrationBin {
            foretold: mean(&inside, |one| one.probability),
            said: mean(&inside, |one| one.share),
            n: inside.len(),
        })
    };
    (0..BINS).filter_map(of).collect()
}

/// Mean distance of what was foretold and what was said, over bins by their size.
fn calibration_error(bins: &[CalibrationBin]) -> f64 {
    let all: usize = bins.iter().map(|bin| bin.n).sum();
    let sum: f64 = bins.iter().map(|bin| bin.n as f64 * (bin.foretold - bin.said).abs()).sum();
    sum / all.max(1) as f64
}

/// Pearson's correlation; none where one side does not vary.
pub(super) fn pearson(pairs: &[(f64, f64)]) -> Option<f64> {
    let count = pairs.len() as f64;
    let (a, b) = pairs.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / count, b + y / count));
    let (mut covariance, mut first, mut second) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        covariance += (x - a) * (y - b);
        first += (x - a).powi(2);
        second += (y - b).powi(2);
    }
    let spread = (first * second).sqrt();
    (spread > 0.0).then(|| covariance / spread)
}

/// Grades of held-out single texts with their scores.
pub(super) fn grades(held_out: &[Judgement], scores: &[f64]) -> Vec<(f64, f64)> {
    let mut place = 0;
    let mut grades = Vec::new();
    for judgement in held_out {
        if judgement.texts.len() == 1 {
            grades.push((scores[place], judgement.share));
        }
        place += judgement.texts.len();
    }
    grades
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(probability: f64, share: f64) -> Foretold {
        Foretold { probability, share, weight: 1.0, texts: 1 }
    }

    #[test]
    fn a_pair_is_calibrated_in_either_order() {
        // Four of five first texts are better, and each was foretold with 0.8: perfectly calibrated, also
        // where the better text always stands first.
        let turned = |place: usize| match place {
            4 => Foretold { texts: 2, ..one(0.8, 0.0) },
            _ => Foretold { texts: 2, ..one(0.8, 1.0) },
        };
        let chosen_first = |place: usize| match turned(place) {
            Foretold { share: 0.0, probability, .. } => {
                Foretold { texts: 2, ..one(1.0 - probability, 1.0) }
            }
            other => other,
        };
        for foretold in [(0..5).map(turned).collect::<Vec<_>>(), (0..5).map(chosen_first).collect()]
        {
            let report = report(&foretold, &[], 1);
            assert!(report.calibration_error < 1e-12, "{report:?}");
            assert_eq!((report.n, report.bins.len()), (5, 2));
        }
    }

    #[test]
    fn a_report_by_hand() {
        let foretold = [one(0.9, 1.0), one(0.8, 0.0), one(0.85, 1.0), one(0.5, 0.5)];
        let report = report(&foretold, &[(0.0, 0.0), (1.0, 0.5), (2.0, 1.0)], 1);
        assert_eq!((report.n, report.decided), (4, 3));
        assert!((report.accuracy.unwrap().mean - 2.0 / 3.0).abs() < 1e-12);
        let brier = (0.01 + 0.64 + 0.0225) / 4.0;
        assert!((report.brier - brier).abs() < 1e-12, "{}", report.brier);
        let log_loss = -(0.9f64.ln() + 0.2f64.ln() + 0.85f64.ln() + 0.5f64.ln()) / 4.0;
        assert!((report.log_loss - log_loss).abs() < 1e-12);
        // Bins: 0.5 alone; 0.8 and 0.85 with half right; 0.9 alone.
        let error = (0.0 + 2.0 * (0.825f64 - 0.5) + 0.1) / 4.0;
        assert!((report.calibration_error - error).abs() < 1e-12, "{}", report.calibration_error);
        assert!((report.pearson.unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_that_varies_has_no_correlation() {
        assert_eq!(pearson(&[(1.0, 0.0), (1.0, 1.0)]), None);
        assert_eq!(pearson(&[]), None);
    }
}
