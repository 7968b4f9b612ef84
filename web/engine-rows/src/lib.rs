//! One row times a matrix, which decoding does most, on plain slices.
//!
//! A crate of its own, so that it is compiled for speed where all around it is compiled for size. Four
//! numbers at once are spelled out: compilers that optimize for size find no vectors by themselves, and
//! the CPU device's own library takes a single row number by number in wasm.

use wide::f32x4;

/// Rows of the matrix that one pass over the result takes in.
const AT_ONCE: usize = 4;
/// Numbers of a line that one step takes.
const WIDTH: usize = 8;

/// `row [K] x matrix [K, N] -> [N]`, the matrix row by row.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn times(row: &[f32], matrix: &[f32], n_columns: usize) -> Vec<f32> {
    assert_eq!(row.len() * n_columns, matrix.len(), "[K] and [K, N]");
    let mut sums = vec![0.0; n_columns];
    if n_columns == 0 {
        return sums;
    }
    let (factors, last_factors) = row.as_chunks::<AT_ONCE>();
    let (block, last_lines) = matrix.split_at(factors.len() * AT_ONCE * n_columns);
    for (factors, lines) in factors.iter().zip(block.chunks_exact(AT_ONCE * n_columns)) {
        let (first, second) = lines.split_at(2 * n_columns);
        let (first, second) = (first.split_at(n_columns), second.split_at(n_columns));
        add(&mut sums, factors, [first.0, first.1, second.0, second.1]);
    }
    for (factor, line) in last_factors.iter().zip(last_lines.chunks_exact(n_columns)) {
        for (sum, value) in sums.iter_mut().zip(line) {
            *sum += factor * value;
        }
    }
    sums
}

/// Adds lines, each times its factor.
fn add(sums: &mut [f32], factors: &[f32; AT_ONCE], lines: [&[f32]; AT_ONCE]) {
    let (sums, last_sums) = sums.as_chunks_mut::<WIDTH>();
    let splat = factors.map(f32x4::splat);
    let wide = lines.map(|line| &line.as_chunks::<WIDTH>().0[..sums.len()]);
    for (at, sum) in sums.iter_mut().enumerate() {
        let mut new = halves(sum);
        for (line, factor) in wide.iter().zip(splat) {
            let [low, high] = halves(&line[at]);
            new = [new[0] + low * factor, new[1] + high * factor];
        }
        let [low, high] = new.map(f32x4::to_array);
        sum[..4].copy_from_slice(&low);
        sum[4..].copy_from_slice(&high);
    }
    let done = sums.len() * WIDTH;
    for (at, sum) in last_sums.iter_mut().enumerate() {
        *sum +=
            lines.iter().zip(factors).map(|(line, factor)| line[done + at] * factor).sum::<f32>();
    }
}

fn halves(values: &[f32; WIDTH]) -> [f32x4; 2] {
    let halves = values.as_chunks::<4>().0;
    [f32x4::new(halves[0]), f32x4::new(halves[1])]
}

/// `row [K] x matrix [K, N] -> [N]`, the matrix column by column.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn times_columns(row: &[f32], matrix: &[f32], n_columns: usize) -> Vec<f32> {
    assert_eq!(row.len() * n_columns, matrix.len(), "[K] and [N, K]");
    if row.is_empty() {
        return vec![0.0; n_columns];
    }
    matrix.chunks_exact(row.len()).map(|column| dot(row, column)).collect()
}

/// Four sums at once of four numbers each, so that none waits for the one before.
fn dot(left: &[f32], right: &[f32]) -> f32 {
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
        fn both_are_the_sum_of_products(k in 0_usize..40, n in 0_usize..40, seed in 0_u32..1000) {
            let number = |at: usize| ((seed as usize + at * 7919) % 1009) as f32 / 504.0 - 1.0;
            let row: Vec<f32> = (0..k).map(number).collect();
            let matrix: Vec<f32> = (0..k * n).map(|at| number(at + 17)).collect();
            let columns: Vec<f32> =
                (0..n).flat_map(|j| (0..k).map(move |i| (i, j))).map(|(i, j)| matrix[i * n + j]).collect();
            let sums = times(&row, &matrix, n);
            let by_columns = times_columns(&row, &columns, n);
            for j in 0..n {
                let exact: f64 =
                    (0..k).map(|i| f64::from(row[i]) * f64::from(matrix[i * n + j])).sum();
                prop_assert!((f64::from(sums[j]) - exact).abs() < 1e-5, "{} and {exact}", sums[j]);
                prop_assert!((f64::from(by_columns[j]) - exact).abs() < 1e-5);
            }
        }
    }

    #[test]
    #[should_panic(expected = "[K] and [K, N]")]
    fn lengths_that_do_not_fit_are_a_defect() {
        times(&[1.0, 2.0], &[1.0; 3], 2);
    }
}
