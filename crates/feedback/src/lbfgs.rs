//! The least value of a smooth function of many numbers, from its gradient: limited-memory BFGS, each
//! number scaled by how the function curves along it.
//!
//! Leaves out: constraints, and any promise to find the least of several minima.
//! Source: Nocedal and Wright 2006, algorithms 7.4 and 7.5, with a line search by halving (3.1).

use std::collections::VecDeque;

/// How many steps are remembered.
const MEMORY: usize = 20;
/// The most steps taken.
const MOST_STEPS: usize = 2000;
/// The most halvings of a step.
const MOST_HALVINGS: usize = 40;
/// A gain that is a smaller share of the value than this is rounding, and after so many of them in a
/// row there is nothing to gain.
const ROUNDING: f64 = 1e-14;
const MOST_STALLED: usize = 3;
/// The share of the decrease that the slope promises with which a step is content.
const SUFFICIENT: f64 = 1e-4;

/// A point with the function's value, gradient and curvature there.
struct Place {
    point: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
    curvature: Vec<f64>,
}

/// How point and gradient changed in one step, and their product.
struct Step {
    point: Vec<f64>,
    gradient: Vec<f64>,
    product: f64,
}

/// A minimum near `start`: no derivative there is larger than `tolerance`, or rounding leaves nothing
/// to gain. `evaluate` writes the gradient at a point and about how the function curves along each
/// number, which is above 0, and returns the value.
pub(super) fn minimize<F>(start: Vec<f64>, tolerance: f64, mut evaluate: F) -> Vec<f64>
where
    F: FnMut(&[f64], &mut [f64], &mut [f64]) -> f64,
{
    let mut at = |point: Vec<f64>| {
        let (mut gradient, mut curvature) = (vec![0.0; point.len()], vec![1.0; point.len()]);
        let value = evaluate(&point, &mut gradient, &mut curvature);
        Place { point, value, gradient, curvature }
    };
    let mut place = at(start);
    let (mut steps, mut stalled) = (VecDeque::new(), 0);
    for _ in 0..MOST_STEPS {
        let flat = place.gradient.iter().all(|slope| slope.abs() <= tolerance);
        if flat || stalled == MOST_STALLED {
            break;
        }
        let Some(next) = descend(&place, &steps, &mut at) else {
            // What was remembered misleads, or nothing is left to gain.
            if steps.is_empty() {
                break;
            }
            steps.clear();
            continue;
        };
        remember(&mut steps, &place, &next);
        let gained = place.value - next.value > ROUNDING * next.value.abs();
        stalled = if gained { 0 } else { stalled + 1 };
        place = next;
    }
    place.point
}

/// A lower place in the direction of `steps`; none where none was found.
fn descend(
    place: &Place,
    steps: &VecDeque<Step>,
    at: &mut impl FnMut(Vec<f64>) -> Place,
) -> Option<Place> {
    let direction = direction(steps, place);
    let slope = dot(&direction, &place.gradient);
    let mut length = 1.0;
    for _ in 0..MOST_HALVINGS {
        let ahead = place.point.iter().zip(&direction).map(|(from, way)| from + length * way);
        let next = at(ahead.collect());
        if next.value < place.value && next.value <= place.value + SUFFICIENT * length * slope {
            return Some(next);
        }
        length /= 2.0;
    }
    None
}

/// Keeps a step along which the function curves upwards: only those keep the direction downhill.
fn remember(steps: &mut VecDeque<Step>, from: &Place, to: &Place) {
    let difference = |to: &[f64], from: &[f64]| -> Vec<f64> {
        to.iter().zip(from).map(|(to, from)| to - from).collect()
    };
    let point = difference(&to.point, &from.point);
    let gradient = difference(&to.gradient, &from.gradient);
    let product = dot(&point, &gradient);
    if product > 1e-12 * dot(&gradient, &gradient) {
        if steps.len() == MEMORY {
            steps.pop_front();
        }
        steps.push_back(Step { point, gradient, product });
    }
}

/// The two-loop recursion.
fn direction(steps: &VecDeque<Step>, place: &Place) -> Vec<f64> {
    let mut way: Vec<f64> = place.gradient.iter().map(|slope| -slope).collect();
    let mut shares = Vec::with_capacity(steps.len());
    for step in steps.iter().rev() {
        let share = dot(&step.point, &way) / step.product;
        advance(&mut way, &step.gradient, -share);
        shares.push(share);
    }
    way.iter_mut().zip(&place.curvature).for_each(|(way, curvature)| *way /= curvature);
    for (step, share) in steps.iter().zip(shares.into_iter().rev()) {
        let back = dot(&step.gradient, &way) / step.product;
        advance(&mut way, &step.point, share - back);
    }
    way
}

fn dot(former: &[f64], latter: &[f64]) -> f64 {
    former.iter().zip(latter).map(|(former, latter)| former * latter).sum()
}

fn advance(sums: &mut [f64], terms: &[f64], times: f64) {
    sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += times * term);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rosenbrock's valley in chains: the minimum is 0 where every number is 1.
    #[test]
    fn the_curved_valley_is_followed_to_its_end() {
        let found = minimize(vec![-1.2; 10], 1e-9, |x, gradient, _| {
            gradient.fill(0.0);
            let mut value = 0.0;
            for i in 0..x.len() - 1 {
                let (bend, gap) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
                value += 100.0 * bend * bend + gap * gap;
                gradient[i] += -400.0 * x[i] * bend - 2.0 * gap;
                gradient[i + 1] += 200.0 * bend;
            }
            value
        });
        assert!(found.iter().all(|x| (x - 1.0).abs() < 1e-8), "{found:?}");
    }

    #[test]
    fn the_minimum_of_a_bowl_is_where_it_is_known_to_be() {
        let center: Vec<f64> = (0..50).map(|i| f64::from(i).sin()).collect();
        let found = minimize(vec![3.0; 50], 1e-10, |x, gradient, curvature| {
            let mut value = 0.0;
            for (i, x) in x.iter().enumerate() {
                let (far, steep) = (x - center[i], 1.0 + 100.0 * i as f64);
                value += steep * far * far / 2.0;
                gradient[i] = steep * far;
                curvature[i] = 2.0 * steep;
            }
            value
        });
        let pairs = found.iter().zip(&center);
        assert!(pairs.map(|(x, center)| (x - center).abs()).fold(0.0, f64::max) < 1e-9);
    }
}
