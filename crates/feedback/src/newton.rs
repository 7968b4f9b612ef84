//! The greatest value of a concave function of a few numbers, from its derivatives: Newton's method.
//!
//! Leaves out: functions that are not strictly concave. Source: Nocedal and Wright 2006, section 3.3;
//! the equations are solved by Cholesky's factors (appendix A.2).

/// The most steps; from a good start three or four are enough.
const MOST_STEPS: usize = 100;
/// The most halvings of a step.
const MOST_HALVINGS: usize = 40;
/// Ends where the step promises less than this, relative to the value.
const TOLERANCE: f64 = 1e-14;

/// The numbers, near `point`, where the function is greatest. `evaluate` returns its value and writes
/// its gradient and minus its second derivatives (row by row), whose diagonal is 0 before.
///
/// # Panics
/// If the function is not strictly concave.
pub(super) fn maximize<F>(mut point: Vec<f64>, mut evaluate: F) -> Vec<f64>
where
    F: FnMut(&[f64], &mut [f64], &mut [f64]) -> f64,
{
    let size = point.len();
    let (mut gradient, mut curvature) = (vec![0.0; size], vec![0.0; size * size]);
    let mut at = |point: &[f64], gradient: &mut [f64], curvature: &mut [f64]| {
        curvature.fill(0.0);
        evaluate(point, gradient, curvature)
    };
    let mut value = at(&point, &mut gradient, &mut curvature);
    for _ in 0..MOST_STEPS {
        let mut step = gradient.clone();
        solve(&mut curvature, &mut step);
        let promise: f64 = step.iter().zip(&gradient).map(|(step, slope)| step * slope).sum();
        if promise <= TOLERANCE * (1.0 + value.abs()) {
            // The step is still worth taking: it squares what is left of the error.
            point.iter_mut().zip(&step).for_each(|(x, step)| *x += step);
            break;
        }
        let mut length = 1.0;
        let next = (0..MOST_HALVINGS).find_map(|_| {
            let next: Vec<f64> =
                point.iter().zip(&step).map(|(x, step)| x + length * step).collect();
            let reached = at(&next, &mut gradient, &mut curvature);
            length /= 2.0;
            (reached > value).then_some((next, reached))
        });
        let Some(next) = next else { break };
        (point, value) = next;
    }
    point
}

/// Solves `matrix * x = right` for x, in place of `right`; the lower half of the symmetric `matrix` is
/// replaced by its factor. `[size, size]`, `[size]`
fn solve(matrix: &mut [f64], right: &mut [f64]) {
    let size = right.len();
    for row in 0..size {
        let (above, below) = matrix.split_at_mut(row * size);
        let own = &mut below[..=row];
        for column in 0..row {
            let other = &above[column * size..=column * size + column];
            let sum = dot(&own[..column], &other[..column]);
            own[column] = (own[column] - sum) / other[column];
        }
        let rest = own[row] - dot(&own[..row], &own[..row]);
        assert!(rest > 0.0, "not strictly concave in number {row}: give a prior");
        own[row] = rest.sqrt();
        right[row] = (right[row] - dot(&own[..row], &right[..row])) / own[row];
    }
    for row in (0..size).rev() {
        right[row] /= matrix[row * size + row];
        let found = right[row];
        let factors = &matrix[row * size..row * size + row];
        right[..row].iter_mut().zip(factors).for_each(|(right, factor)| *right -= factor * found);
    }
}

fn dot(former: &[f64], latter: &[f64]) -> f64 {
    former.iter().zip(latter).map(|(former, latter)| former * latter).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_solved() {
        // The product of this matrix with (1, -2, 3) is (-1, 4, 13).
        let mut matrix = [4., 1., -1., 1., 5., 5., -1., 5., 8.];
        let mut right = [-1., 6., 13.];
        solve(&mut matrix, &mut right);
        assert!(right.iter().zip([1.0, -2.0, 3.0]).all(|(x, known)| (x - known).abs() < 1e-12));
    }

    /// `sum of c_i x_i - exp(x_i)` is greatest where x is the logarithm of c.
    #[test]
    fn the_top_is_found_from_far_away() {
        let c = [0.01, 1.0, 50.0];
        let found = maximize(vec![9.0, -3.0, -2.0], |x, gradient, curvature| {
            let mut value = 0.0;
            for i in 0..3 {
                value += c[i] * x[i] - x[i].exp();
                gradient[i] = c[i] - x[i].exp();
                curvature[i * 3 + i] = x[i].exp();
            }
            value
        });
        assert!(found.iter().zip(c).all(|(x, c)| (x - c.ln()).abs() < 1e-10), "{found:?}");
    }
}
