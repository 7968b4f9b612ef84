//! Rounding that is made up for: what one input of an output loses, those after it take over.
//!
//! Formula: with `H` the mean of `x x^T` over the inputs x of a matrix on real text, and `H = (I + U) D (I + U)^T`, U
//! strictly upper triangular, D diagonal, weight k is rounded after those before it, and what it loses is added to each
//! weight m behind it times `-((I + U)^-1)_km`, which is the best that they can do. What they cannot make up for costs
//! `D_k` times its square in the mean square error of the output.
//! Source: Frantar et al. 2022 (GPTQ), decomposed as by Chee et al. 2023 (QuIP), who show that the two are the same.

/// Share of the mean of `H`'s diagonal that is added to it, so that inputs that were always 0 count a little.
const DAMPING: f64 = 0.01;

/// How the inputs of a matrix stand in for each other.
#[derive(Debug, Clone)]
pub(super) struct Feedback {
    /// `-((I + U)^-1)_km` for each k, m > k.
    shares: Vec<Vec<f32>>,
    /// `D`
    pub(super) costs: Vec<f32>,
}

impl Feedback {
    /// Of the mean of `x x^T`. `[D, D]`
    pub(super) fn of(moments: &[f32], width: usize) -> Self {
        let (columns, costs) = decomposed(moments, width);
        let mut shares: Vec<Vec<f32>> =
            (1..=width).map(|k| Vec::with_capacity(width - k)).collect();
        for (place, column) in columns.iter().enumerate() {
            // A column of the inverse, by substitution from its end.
            let mut inverse: Vec<f64> = column.iter().map(|entry| -entry).collect();
            for row in (1..place).rev() {
                let factor = inverse[row];
                subtract(&mut inverse, factor, &columns[row]);
            }
            shares.iter_mut().zip(inverse).for_each(|(shares, entry)| shares.push(-entry as f32));
        }
        Self { shares, costs }
    }

    /// What each input after `place` takes over of what that one lost.
    pub(super) fn shares(&self, place: usize) -> &[f32] {
        &self.shares[place]
    }
}

/// The columns of U, above the diagonal, and D.
fn decomposed(moments: &[f32], width: usize) -> (Vec<Vec<f64>>, Vec<f32>) {
    let rows = moments.chunks_exact(width).enumerate();
    let mut columns: Vec<Vec<f64>> = rows
        .map(|(place, row)| row[..=place].iter().map(|moment| f64::from(*moment)).collect())
        .collect();
    let mean = columns.iter().map(|column| column[column.len() - 1]).sum::<f64>() / width as f64;
    let damping = (DAMPING * mean).max(f64::MIN_POSITIVE);
    let mut costs = vec![0.0; width];
    for place in (0..width).rev() {
        let (earlier, rest) = columns.split_at_mut(place);
        let column = &mut rest[0];
        let cost = (column.pop().expect("a column ends at the diagonal") + damping).max(damping);
        costs[place] = cost as f32;
        column.iter_mut().for_each(|moment| *moment /= cost);
        for (other, entry) in earlier.iter_mut().zip(column.iter()) {
            subtract(other, entry * cost, column);
        }
    }
    (columns, costs)
}

/// `to -= factor * column`, as far as the shorter reaches.
fn subtract(to: &mut [f64], factor: f64, column: &[f64]) {
    to.iter_mut().zip(column).for_each(|(to, entry)| *to -= factor * entry);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_input_lost_its_like_makes_up_for() {
        // Two inputs that are always alike, and one of its own.
        let feedback = Feedback::of(&[1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 4.0], 3);
        assert!((feedback.shares(0)[0] - 1.0).abs() < 0.03, "{feedback:?}");
        assert_eq!((feedback.shares(0)[1], feedback.shares(1)[0]), (0.0, 0.0));
        assert!(feedback.costs[0] < 0.05 && feedback.costs[2] > 3.9, "{feedback:?}");
    }

    #[test]
    fn the_error_of_an_output_is_the_sum_of_what_was_not_made_up_for() {
        let inputs = [[1.0, 0.5, -0.3], [0.2, 1.1, 0.7], [-0.4, 0.1, 0.9], [0.6, -0.2, 0.3]];
        let mut moments = [0.0_f32; 9];
        for (place, moment) in moments.iter_mut().enumerate() {
            *moment = inputs.iter().map(|x| x[place / 3] * x[place % 3]).sum();
        }
        let damping = 0.01 * (moments[0] + moments[4] + moments[8]) / 3.0;
        let feedback = Feedback::of(&moments, 3);
        [0, 4, 8].iter().for_each(|place| moments[*place] += damping);
        let weights = [0.3_f32, -1.4, 2.45];
        let (mut aimed, mut rounded, mut sum) = (weights, [0.0; 3], 0.0);
        for place in 0..3 {
            rounded[place] = aimed[place].round();
            let lost = aimed[place] - rounded[place];
            sum += feedback.costs[place] * lost * lost;
            let shares = feedback.shares(place).iter();
            aimed[place + 1..].iter_mut().zip(shares).for_each(|(aim, share)| *aim += lost * share);
        }
        let errors: Vec<f32> = rounded.iter().zip(weights).map(|(new, old)| new - old).collect();
        let products = (0..9).map(|place| errors[place / 3] * moments[place] * errors[place % 3]);
        let error: f32 = products.sum();
        assert!((error - sum).abs() < 1e-5 * error, "{error} {sum}");
    }
}
