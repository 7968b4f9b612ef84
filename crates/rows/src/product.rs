//! One row times a matrix, which decoding does most.

use wide::f32x4;

/// `row [K] x matrix [K, N] -> [N]`, the matrix column by column.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn times(row: &[f32], matrix: &[f32], n_columns: usize) -> Vec<f32> {
    assert_eq!(row.len() * n_columns, matrix.len(), "[K] and [N, K]");
    if row.is_empty() {
        return vec![0.0; n_columns];
    }
    matrix.chunks_exact(row.len()).map(|column| dot(row, column)).collect()
}

/// Four sums at once of four numbers each, so that none waits for the one before.
pub(crate) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let (lefts, last_lefts) = left.as_chunks::<16>();
    let (rights, last_rights) = right.as_chunks::<16>();
    let mut sums = [f32x4::ZERO; 4];
    for (left, right) in lefts.iter().zip(rights) {
        let (left, right) = (left.as_chunks::<4>().0, right.as_chunks::<4>().0);
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum += f32x4::new(*left) * f32x4::new(*right);
        }
    }
    let rest: f32 = last_lefts.iter().zip(last_rights).map(|(left, right)| left * right).sum();
    let [a, b, c, d] = sums;
    ((a + b) + (c + d)).reduce_add() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_product_is_the_sum_of_products(k in 0_usize..40, n in 0_usize..40, seed in 0_u32..1000) {
            let number = |at: usize| ((seed as usize + at * 7919) % 1009) as f32 / 504.0 - 1.0;
            let row: Vec<f32> = (0..k).map(number).collect();
            let columns: Vec<f32> = (0..n * k).map(|at| number(at + 17)).collect();
            let sums = times(&row, &columns, n);
            for j in 0..n {
                let exact: f64 =
                    (0..k).map(|i| f64::from(row[i]) * f64::from(columns[j * k + i])).sum();
                prop_assert!((f64::from(sums[j]) - exact).abs() < 1e-5, "{} and {exact}", sums[j]);
            }
        }
    }

    #[test]
    #[should_panic(expected = "[K] and [N, K]")]
    fn lengths_that_do_not_fit_are_a_defect() {
        times(&[1.0, 2.0], &[1.0; 3], 2);
    }
}
