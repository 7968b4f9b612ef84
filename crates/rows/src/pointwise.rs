//! Norms, nonlinearities and turns of one row.

use wide::f32x4;

use crate::product::dot;

/// `row / sqrt(mean(row^2) + epsilon) * gain`. `[D], [D] -> [D]`
///
/// Source: Zhang and Sennrich 2019.
pub fn rms_norm(row: &[f32], gain: &[f32], epsilon: f32) -> Vec<f32> {
    let mean_square = dot(row, row) / row.len() as f32;
    let factor = (mean_square + epsilon).sqrt().recip();
    row.iter().zip(gain).map(|(value, gain)| value * factor * gain).collect()
}

/// `(row - mean) / sqrt(variance + epsilon) * gain + bias`. `[D], ([D], [D]) -> [D]`
///
/// Source: Ba, Kiros and Hinton 2016.
pub fn layer_norm(row: &[f32], (gain, bias): (&[f32], &[f32]), epsilon: f32) -> Vec<f32> {
    let mean = row.iter().sum::<f32>() / row.len() as f32;
    let centered: Vec<f32> = row.iter().map(|value| value - mean).collect();
    let variance = dot(&centered, &centered) / row.len() as f32;
    let factor = (variance + epsilon).sqrt().recip();
    let scaled = centered.iter().zip(gain.iter().zip(bias));
    scaled.map(|(value, (gain, bias))| value * factor * gain + bias).collect()
}

/// Adds `other` to `row`. `[D], [D]`
pub fn add(row: &mut [f32], other: &[f32]) {
    row.iter_mut().zip(other).for_each(|(value, other)| *value += other);
}

/// `gate * sigmoid(gate) * up`, in `gate`. `[F], [F]`
///
/// Source: Shazeer 2020.
pub fn silu_times(gate: &mut [f32], up: &[f32]) {
    each(gate, |gate| gate * sigmoid(gate));
    gate.iter_mut().zip(up).for_each(|(gate, up)| *gate *= up);
}

/// GELU in its tanh form, which is `x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))`. `[F]`
///
/// Source: Hendrycks and Gimpel 2016.
pub fn gelu_tanh(row: &mut [f32]) {
    let (linear, cubic) = (f32x4::splat(1.595_769_2), f32x4::splat(0.071_354_81));
    each(row, |value| value * sigmoid(value * (linear + cubic * value * value)));
}

/// Which numbers of a head turn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halves {
    /// Number i with number i + D/2.
    Split,
    /// Number 2 i with number 2 i + 1.
    Interleaved,
}

/// Turns every head by the angles of its position. `[H * D], ([D/2], [D/2])`
///
/// Source: Su et al. 2021.
pub fn turn(heads: &mut [f32], (cosine, sine): (&[f32], &[f32]), halves: Halves) {
    let half = cosine.len();
    for head in heads.chunks_exact_mut(2 * half) {
        for (pair, (cosine, sine)) in cosine.iter().zip(sine).enumerate() {
            let (i, j) = match halves {
                Halves::Split => (pair, pair + half),
                Halves::Interleaved => (2 * pair, 2 * pair + 1),
            };
            let (first, second) = (head[i], head[j]);
            head[i] = first * cosine - second * sine;
            head[j] = second * cosine + first * sine;
        }
    }
}

/// Weights that add up to one. `[S]`
pub(crate) fn softmax(scores: &mut [f32]) {
    let greatest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let greatest = f32x4::splat(greatest);
    each(scores, |score| (score - greatest).exp());
    let total = scores.iter().sum::<f32>().recip();
    scores.iter_mut().for_each(|score| *score *= total);
}

fn sigmoid(value: f32x4) -> f32x4 {
    f32x4::ONE / (f32x4::ONE + (-value).exp())
}

/// Replaces every number by what `change` makes of it, four at a time.
fn each(row: &mut [f32], change: impl Fn(f32x4) -> f32x4) {
    let (fours, rest) = row.as_chunks_mut::<4>();
    for four in fours {
        *four = change(f32x4::new(*four)).to_array();
    }
    for value in rest {
        *value = change(f32x4::splat(*value)).to_array()[0];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(changed: &[f32], row: &[f32], exact: impl Fn(f64) -> f64) {
        for (changed, value) in changed.iter().zip(row) {
            let exact = exact(f64::from(*value));
            assert!((f64::from(*changed) - exact).abs() < 2e-6 * (1.0 + exact.abs()), "{value}");
        }
    }

    proptest! {
        #[test]
        fn nonlinearities_are_those_of_the_papers(row in prop::collection::vec(-30_f32..30.0, 1..23)) {
            let mut changed = row.clone();
            gelu_tanh(&mut changed);
            let z = |x: f64| (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            check(&changed, &row, |x| 0.5 * x * (1.0 + z(x).tanh()));
            let mut changed = row.clone();
            silu_times(&mut changed, &vec![2.0; row.len()]);
            check(&changed, &row, |x| 2.0 * x / (1.0 + (-x).exp()));
        }

        #[test]
        fn softmax_adds_up_to_one_and_keeps_ratios(row in prop::collection::vec(-60_f32..60.0, 1..23)) {
            let mut weights = row.clone();
            softmax(&mut weights);
            prop_assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            let greatest = f64::from(row.iter().copied().fold(f32::MIN, f32::max));
            let total: f64 = row.iter().map(|x| (f64::from(*x) - greatest).exp()).sum();
            check(&weights, &row, |x| (x - greatest).exp() / total);
        }

        #[test]
        fn a_normed_row_has_the_moments_of_its_norm(row in prop::collection::vec(-9_f32..9.0, 2..40)) {
            let (ones, twos) = (vec![1.0; row.len()], vec![2.0; row.len()]);
            prop_assume!(row.iter().any(|value| (value - row[0]).abs() > 0.1));
            let normed = rms_norm(&row, &ones, 0.0);
            let mean = |row: &[f32]| row.iter().sum::<f32>() / row.len() as f32;
            let square = |row: &[f32]| row.iter().map(|value| value * value).sum::<f32>() / row.len() as f32;
            prop_assert!((square(&normed) - 1.0).abs() < 1e-4);
            let normed = layer_norm(&row, (&ones, &twos), 0.0);
            prop_assert!((mean(&normed) - 2.0).abs() < 1e-4);
            prop_assert!((square(&normed) - 5.0).abs() < 1e-3);
        }
    }

    #[test]
    fn a_quarter_turn_swaps_the_numbers_of_each_pair() {
        let mut heads = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        turn(&mut heads, (&[0.0, 0.0], &[1.0, 1.0]), Halves::Split);
        assert_eq!(heads, [-3.0, -4.0, 1.0, 2.0, -7.0, -8.0, 5.0, 6.0]);
        turn(&mut heads, (&[0.0, 0.0], &[1.0, 1.0]), Halves::Interleaved);
        assert_eq!(heads, [4.0, -3.0, -2.0, 1.0, 8.0, -7.0, -6.0, 5.0]);
    }
}
