//! Tests of [`Importance`]: hand arithmetic, and a policy small enough to enumerate.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn importance(level: RatioLevel, bound: RatioBound) -> Importance {
    Importance { level, bound, max_drift_nats: f64::INFINITY, min_effective_share: 0.0 }
}

#[test]
fn ratios_by_hand() {
    // Two completions: of ratios 2 and 1/8, and of ratio 1.
    let current = [vec![2f32.ln(), 0.25f32.ln()], vec![-1.0]];
    let behavior = [vec![0.0, 2f32.ln()], vec![-1.0]];
    let check = |level, bound, first: [f32; 2], share: f64| {
        let weighed = importance(level, bound).weigh(&current, &behavior);
        for (found, expected) in weighed.factors[0].iter().zip(first) {
            assert!((found - expected).abs() < 1e-6, "{level:?} {bound:?}: {weighed:?}");
        }
        assert_eq!(weighed.factors[1], [1.0]);
        let found = weighed.report.effective_share;
        assert!((found - share).abs() < 1e-6, "{level:?} {bound:?}: {found}");
    };
    use RatioBound::{Mask, None, Truncate};
    // (2 + 1/8 + 1)^2 / (3 (4 + 1/64 + 1)) = 0.64901...
    check(RatioLevel::Token, None, [2.0, 0.125], 3.125f64.powi(2) / (3.0 * 5.015625));
    check(RatioLevel::Token, Truncate(1.5), [1.5, 0.125], 2.625f64.powi(2) / (3.0 * 3.265625));
    check(RatioLevel::Token, Mask(4.0), [2.0, 0.0], 9.0 / (3.0 * 5.0));
    check(RatioLevel::Sequence, None, [0.25, 0.25], 1.5625 / (2.0 * 1.0625));
    check(RatioLevel::Sequence, Mask(3.0), [0.0, 0.0], 0.5);
    check(RatioLevel::SequenceMean, None, [0.5, 0.5], 2.25 / (2.0 * 1.25));
}

#[test]
fn the_report_names_extremes_divergence_and_what_is_stale() {
    let current = [vec![-3.0, -1.0], vec![-1.5], vec![]];
    let behavior = [vec![-1.0, -1.0], vec![-1.0], vec![]];
    let strict =
        Importance { max_drift_nats: 0.75, ..importance(RatioLevel::Sequence, RatioBound::None) };
    let weighed = strict.weigh(&current, &behavior);
    assert_eq!(weighed.included, [false, true, true]);
    assert_eq!(weighed.factors[0], [0.0, 0.0]);
    let report = weighed.report;
    assert_eq!(report.stale, 1);
    assert!((report.kl_nats - 2.5 / 3.0).abs() < 1e-6, "{report:?}");
    let ratio = (-0.5f64).exp();
    for found in [report.ratio_min, report.ratio_mean, report.ratio_max] {
        assert!((found - ratio).abs() < 1e-6, "{report:?}");
    }
    assert_eq!(report.effective_share, 1.0);
    let none = Importance { max_drift_nats: -1.0, ..strict }.weigh(&current, &behavior);
    assert_eq!((none.report.effective_share, none.report.stale), (0.0, 3));
}

#[test]
fn weights_of_the_policy_itself_are_one() {
    let log_probs = [vec![-0.3, -2.0, -0.1], vec![-5.0]];
    for level in [RatioLevel::Token, RatioLevel::Sequence, RatioLevel::SequenceMean] {
        let weighed = Importance { level, ..Importance::default() }.weigh(&log_probs, &log_probs);
        assert!(weighed.factors.iter().flatten().all(|factor| *factor == 1.0));
        let ImportanceReport { kl_nats, effective_share, ratio_mean, stale, .. } = weighed.report;
        assert_eq!((kl_nats, effective_share, ratio_mean, stale), (0.0, 1.0, 1.0, 0));
    }
}

/// A policy over two tokens of a vocabulary of three: logits of the first, and of the second after each.
type Table = [[f64; 3]; 4];

const CURRENT: Table = [[0.2, -0.4, 0.9], [1.0, 0.1, -0.6], [-0.3, 0.8, 0.4], [0.0, 0.5, -1.0]];
const BEHAVIOR: Table = [[0.9, 0.1, 0.3], [0.2, 0.6, -0.4], [0.5, -0.2, 0.1], [-0.7, 0.4, 0.6]];
/// What each completion earns beyond the baseline.
const ADVANTAGE: [[f64; 3]; 3] = [[1.0, -0.5, 0.2], [0.0, 2.0, -1.0], [0.7, -1.5, 1.2]];
const DRAWS: usize = 200_000;

fn softmax(logits: [f64; 3], kept: usize) -> [f64; 3] {
    let mut sorted = logits;
    sorted.sort_by(|a, b| b.total_cmp(a));
    let weights = logits.map(|l| if l >= sorted[kept - 1] { l.exp() } else { 0.0 });
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

/// The gradient of log p(first, second) by the current policy's logits.
fn slope(first: usize, second: usize) -> [f64; 12] {
    let mut slope = [0.0; 12];
    for (row, chosen) in [(0, first), (first + 1, second)] {
        for (token, p) in softmax(CURRENT[row], 3).into_iter().enumerate() {
            slope[row * 3 + token] = f64::from(u8::from(token == chosen)) - p;
        }
    }
    slope
}

/// The gradient of the expected advantage over what the behavior could have written, by enumeration.
fn exact(kept: usize) -> [f64; 12] {
    let mut sum = [0.0; 12];
    let all = ADVANTAGE.iter().enumerate();
    let all = all.flat_map(|(first, row)| (0..3).map(move |second| (first, second, row[second])));
    for (first, second, advantage) in all {
        let rows = [(0, first), (first + 1, second)];
        let of = |table: Table, kept: usize| {
            rows.map(|(row, token)| softmax(table[row], kept)[token]).iter().product::<f64>()
        };
        if of(BEHAVIOR, kept) > 0.0 {
            let share = of(CURRENT, 3) * advantage;
            sum.iter_mut().zip(slope(first, second)).for_each(|(sum, s)| *sum += share * s);
        }
    }
    sum
}

/// How many standard errors each part of the estimate from draws lies from the truth, at most.
/// `recorded` keeps as many tokens in the probabilities that are recorded as the behavior's.
fn worst_deviation(kept: usize, recorded: usize) -> f64 {
    let mut coins = ChaCha8Rng::seed_from_u64(7);
    let mut toss = |p: [f64; 3]| {
        let coin = (coins.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        if coin < p[0] { 0 } else { 1 + usize::from(coin >= p[0] + p[1]) }
    };
    let unbounded = importance(RatioLevel::Sequence, RatioBound::None);
    let (mut sums, mut squares) = ([0.0; 12], [0.0; 12]);
    for _ in 0..DRAWS {
        let first = toss(softmax(BEHAVIOR[0], kept));
        let second = toss(softmax(BEHAVIOR[first + 1], kept));
        let rows = [(0, first), (first + 1, second)];
        let log_probs = |table: Table, kept: usize| -> Vec<f32> {
            rows.map(|(row, token)| softmax(table[row], kept)[token].ln() as f32).to_vec()
        };
        let weighed = unbounded.weigh(&[log_probs(CURRENT, 3)], &[log_probs(BEHAVIOR, recorded)]);
        let share = f64::from(weighed.factors[0][0]) * ADVANTAGE[first][second];
        for (place, s) in slope(first, second).into_iter().enumerate() {
            sums[place] += share * s;
            squares[place] += (share * s).powi(2);
        }
    }
    let count = DRAWS as f64;
    let parts = sums.iter().zip(squares).zip(exact(kept)).map(|((sum, square), exact)| {
        let mean = sum / count;
        let error = ((square / count - mean * mean) / count).sqrt();
        (mean - exact).abs() / error
    });
    parts.fold(0.0, f64::max)
}

#[test]
fn the_estimate_is_unbiased_with_and_without_top_k() {
    for kept in [3, 2] {
        let deviation = worst_deviation(kept, kept);
        // Twelve parts at once: a normal deviate is beyond 3.9 once in a thousand times.
        assert!(deviation < 3.9, "top-{kept}: {deviation} standard errors");
    }
}

#[test]
fn the_full_softmax_in_the_denominator_is_biased_where_top_k_cut() {
    let deviation = worst_deviation(2, 3);
    assert!(deviation > 20.0, "{deviation} standard errors");
}
