//! Best of n: of several completions of a prompt, the one that earned most.
//!
//! Measures: what a policy earns that is asked several times and may keep its best answer.
//! Formula: from n draws with rewards r, sorted, largest first: the best of k earns
//! `sum_i r_i C(n - 1 - i, k - 1) / C(n, k)` in expectation. Every k of the n are as likely, so the mean of their
//! maxima is unbiased, which the maximum of the first k alone is too, with more noise.
//! Range: from the mean of the draws, at k = 1, to their maximum, at k = n.
//! Misleads when: it is compared with a policy that is asked once; or the reward that chooses is also the one that
//! judges: the more there is to choose from, the more the best is what the reward overrates. Near k = n it rests on
//! few draws.
//! Reference: Stiennon et al. 2020; the estimator is that of pass@k in Chen et al. 2021, for numbers; Gao et al.
//! 2023 for what many draws make of a reward that is nearly right.

/// The place of the highest reward, the first of several; none where no reward is a number.
pub fn best(rewards: &[f64]) -> Option<usize> {
    let numbers = rewards.iter().enumerate().filter(|(_, reward)| !reward.is_nan());
    numbers.fold(None, |best, (place, reward)| match best {
        Some(found) if rewards[found] >= *reward => best,
        Some(_) | None => Some(place),
    })
}

/// What the best of k draws is expected to earn, for k = 1 to n, from n draws: the mean over all sets of k.
/// With r sorted, largest first: `sum_i r_i C(n - 1 - i, k - 1) / C(n, k)`. `n -> n`
pub fn expected_best(rewards: &[f64]) -> Vec<f64> {
    let mut sorted = rewards.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let n = sorted.len();
    (1..=n)
        .map(|k| {
            // How likely the i-th is the best of k: of those after it, k - 1 are with it.
            let mut share = k as f64 / n as f64;
            let mut sum = 0.0;
            for (i, reward) in sorted[..=n - k].iter().enumerate() {
                sum += share * reward;
                share *= (n - k - i) as f64 / (n - 1 - i).max(1) as f64;
            }
            sum
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_the_first_of_the_highest_and_no_number_is_never_best() {
        assert_eq!(best(&[0.5, 2.0, -1.0, 2.0]), Some(1));
        assert_eq!(best(&[f64::NAN, -3.0]), Some(1));
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn the_best_of_one_is_the_mean_and_of_all_the_maximum() {
        let rewards = [0.5, 2.0, -1.0, 2.0, 0.25];
        let expected = expected_best(&rewards);
        assert!((expected[0] - 0.75).abs() < 1e-12, "{expected:?}");
        assert!((expected[4] - 2.0).abs() < 1e-12, "{expected:?}");
        assert!(expected.windows(2).all(|pair| pair[0] <= pair[1] + 1e-12), "{expected:?}");
        assert_eq!(expected_best(&[]), Vec::<f64>::new());
    }
}
