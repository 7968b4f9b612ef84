//! Off-policy evaluation: what a policy would have earned on what another one was rated for.
//!
//! Measures: the mean reward of a new policy, from rewards r of completions of an old one, the ratio w of
//! their probabilities and, where there is one, a model q of rewards.
//! Formula: IPS `mean(w r)`; SNIPS `sum(w r) / sum(w)`; doubly robust `mean(v + w (r - q))`, v being the
//! model's mean over completions of the new policy for the same prompt.
//! Misleads when: few completions carry the weight (the effective number is small), or the old policy
//! could not have written what the new one writes (the mean weight is below 1).
//! Reference: Horvitz and Thompson 1952; Swaminathan and Joachims 2015 (SNIPS); Dudik et al. 2011 (doubly
//! robust); Kish 1965 (effective number).

/// A rated completion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Logged {
    /// What it earned.
    pub reward: f64,
    /// Probability under the new policy over that under the old one.
    pub weight: f64,
    /// What a model says, if there is one.
    pub modeled: Option<Modeled>,
}

/// What a model of rewards says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Modeled {
    /// Of the rated completion.
    pub logged: f64,
    /// On average of the new policy's completions of the same prompt.
    pub new: f64,
}

/// Inverse propensity score: unbiased where the old policy could write everything.
pub fn ips(logged: &[Logged]) -> f64 {
    mean(logged, |one| one.weight * one.reward)
}

/// Self-normalized: within the range of rewards, slightly biased, of less variance. 0 without weight.
pub fn snips(logged: &[Logged]) -> f64 {
    let weight = mean(logged, |one| one.weight);
    if weight > 0.0 { ips(logged) / weight } else { 0.0 }
}

/// Doubly robust: unbiased where the weights or the model are right; none where a completion has no
/// model.
pub fn doubly_robust(logged: &[Logged]) -> Option<f64> {
    let terms = logged.iter().map(|one| {
        one.modeled.map(|modeled| modeled.new + one.weight * (one.reward - modeled.logged))
    });
    let terms: Option<Vec<f64>> = terms.collect();
    terms.map(|terms| terms.iter().sum::<f64>() / terms.len().max(1) as f64)
}

/// How many equally weighted completions would say as much.
pub fn effective_number(logged: &[Logged]) -> f64 {
    let (sum, squares) = logged
        .iter()
        .fold((0.0, 0.0), |(sum, squares), one| (sum + one.weight, squares + one.weight.powi(2)));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

fn mean(logged: &[Logged], of: impl Fn(&Logged) -> f64) -> f64 {
    logged.iter().map(of).sum::<f64>() / logged.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const OLD: [f64; 3] = [0.6, 0.3, 0.1];
    const NEW: [f64; 3] = [0.2, 0.3, 0.5];
    const REWARD: [f64; 3] = [0.1, 0.5, 0.9];
    const COUNT: usize = 100_000;

    /// Completions of the old policy; `skew` spoils the weights, `model` is what is foretold of each.
    fn logged(skew: f64, model: [f64; 3]) -> Vec<Logged> {
        let mut coins = ChaCha8Rng::seed_from_u64(3);
        let new = (0..3).map(|token| NEW[token] * model[token]).sum();
        (0..COUNT)
            .map(|_| {
                let coin = (coins.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
                let token = usize::from(coin >= OLD[0]) + usize::from(coin >= OLD[0] + OLD[1]);
                Logged {
                    reward: REWARD[token],
                    weight: (NEW[token] / OLD[token]).powf(skew),
                    modeled: Some(Modeled { logged: model[token], new }),
                }
            })
            .collect()
    }

    #[test]
    fn estimates_are_the_truth_and_doubly_robust_ones_where_either_part_is_right() {
        let truth: f64 = (0..3).map(|token| NEW[token] * REWARD[token]).sum();
        // The largest variance of a term is below 3.5; four standard errors.
        let error = 4.0 * (3.5 / COUNT as f64).sqrt();
        let near = |found: f64| (found - truth).abs() < error;
        let (right, wrong) = (logged(1.0, REWARD), [0.7, 0.2, 0.3]);
        assert!(near(ips(&right)) && near(snips(&right)), "{} {}", ips(&right), snips(&right));
        let check = |skew, model, expected: bool| {
            let found = doubly_robust(&logged(skew, model)).unwrap();
            assert_eq!(near(found), expected, "{skew} {model:?}: {found} and not {truth}");
        };
        check(1.0, REWARD, true);
        check(1.0, wrong, true);
        check(0.5, REWARD, true);
        check(0.5, wrong, false);
        assert!(!near(ips(&logged(0.5, REWARD))));
    }

    #[test]
    fn a_model_takes_variance_out() {
        let spread = |part: fn(&[Logged]) -> f64| {
            let all = logged(1.0, REWARD);
            let values: Vec<f64> = all.chunks(100).map(part).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64
        };
        let robust = spread(|part| doubly_robust(part).unwrap());
        assert!(robust < 1e-3 * spread(ips), "{robust}");
        assert!(spread(snips) < spread(ips));
    }

    #[test]
    fn the_effective_number_is_that_of_equal_weights() {
        let of = |weights: &[f64]| {
            let one = |weight: &f64| Logged { reward: 1.0, weight: *weight, modeled: None };
            effective_number(&weights.iter().map(one).collect::<Vec<_>>())
        };
        assert_eq!((of(&[2.0; 7]), of(&[0.0, 3.0]), of(&[0.0]), of(&[])), (7.0, 1.0, 0.0, 0.0));
    }
}
