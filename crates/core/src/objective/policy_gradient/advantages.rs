//! From rewards to advantages: what is taken off, and what is divided by.

use super::{Baseline, Ddof, Deviation, Guard, PolicyGradientState, Scale};

impl Baseline {
    /// Reward minus baseline of each completion, for groups of `group` completions a prompt; `greedy` is
    /// what the greedy completion of each prompt earned. A critic's baseline is of tokens and takes
    /// nothing off here.
    pub fn advantages(
        self,
        rewards: &[f64],
        (group, greedy): (usize, &[f32]),
        state: &mut PolicyGradientState,
    ) -> Vec<f64> {
        let in_groups = |of_group: &dyn Fn(&[f64]) -> Vec<f64>| -> Vec<f64> {
            rewards.chunks(group).flat_map(of_group).collect()
        };
        match self {
            Self::None | Self::Value { .. } => rewards.to_vec(),
            Self::RunningMean { decay } => {
                let before = state.running_mean.unwrap_or(0.0);
                let now = mean(rewards);
                let kept =
                    state.running_mean.map_or(now, |past| decay * past + (1.0 - decay) * now);
                state.running_mean = Some(kept);
                rewards.iter().map(|reward| reward - before).collect()
            }
            Self::BatchMean => {
                let center = mean(rewards);
                rewards.iter().map(|reward| reward - center).collect()
            }
            Self::GroupMean => in_groups(&|group| {
                let center = mean(group);
                group.iter().map(|reward| reward - center).collect()
            }),
            Self::LeaveOneOut => in_groups(&|group| {
                let (sum, others) = (group.iter().sum::<f64>(), (group.len() - 1).max(1) as f64);
                group.iter().map(|reward| reward - (sum - reward) / others).collect()
            }),
            Self::Greedy => {
                let groups = rewards.chunks(group).zip(greedy);
                let less = |(group, greedy): (&[f64], &f32)| -> Vec<f64> {
                    group.iter().map(|reward| reward - f64::from(*greedy)).collect()
                };
                groups.flat_map(less).collect()
            }
        }
    }
}

impl Scale {
    /// Divides the advantages of completions by what their rewards spread; a scale of tokens does
    /// nothing here.
    pub(super) fn of_completions(self, advantages: &mut [f64], rewards: &[f64], group: usize) {
        match self {
            Self::None | Self::Whiten(_) => {}
            Self::Group(deviation) => {
                for (part, rewards) in advantages.chunks_mut(group).zip(rewards.chunks(group)) {
                    let divisor = deviation.divisor(rewards);
                    part.iter_mut().for_each(|advantage| *advantage /= divisor);
                }
            }
            Self::Batch(deviation) => {
                let divisor = deviation.divisor(rewards);
                advantages.iter_mut().for_each(|advantage| *advantage /= divisor);
            }
        }
    }

    /// Whitens the advantages of tokens; a scale of completions does nothing here.
    pub(super) fn of_tokens(self, advantages: &mut [Vec<f64>]) {
        match self {
            Self::None | Self::Group(_) | Self::Batch(_) => {}
            Self::Whiten(deviation) => {
                let all = advantages.concat();
                let (center, divisor) = (mean(&all), deviation.divisor(&all));
                let tokens = advantages.iter_mut().flatten();
                tokens.for_each(|advantage| *advantage = (*advantage - center) / divisor);
            }
        }
    }
}

impl Deviation {
    /// What values are divided by; never 0 where the guard is above 0.
    pub fn divisor(self, values: &[f64]) -> f64 {
        let center = mean(values);
        let squares: f64 = values.iter().map(|value| (value - center).powi(2)).sum();
        let count = match self.ddof {
            Ddof::Population => values.len(),
            Ddof::Sample => values.len().saturating_sub(1),
        };
        let variance = squares / count.max(1) as f64;
        match self.guard {
            Guard::Deviation(epsilon) => variance.sqrt() + epsilon,
            Guard::Variance(epsilon) => (variance + epsilon).sqrt(),
            Guard::Floor(least) => variance.max(least).sqrt(),
        }
    }
}

/// Generalized advantage estimation of one completion: `A_t = sum_l (gamma lam)^l delta_{t+l}` with
/// `delta_t = r_t + gamma V_{t+1} - V_t`, V being 0 after the last token (Schulman et al. 2016).
///
/// # Panics
/// If there is not one value a token.
pub fn generalized_advantages(rewards: &[f64], values: &[f32], gamma: f64, lam: f64) -> Vec<f64> {
    assert_eq!(rewards.len(), values.len(), "one value a token");
    let mut advantages = vec![0.0; rewards.len()];
    let (mut next_value, mut later) = (0.0, 0.0);
    for place in (0..rewards.len()).rev() {
        let value = f64::from(values[place]);
        later = rewards[place] + gamma * next_value - value + gamma * lam * later;
        next_value = value;
        advantages[place] = later;
    }
    advantages
}

/// The sum of each value and all that follow.
pub(super) fn to_go(values: &[f64]) -> Vec<f64> {
    let mut sums = values.to_vec();
    for place in (0..sums.len().saturating_sub(1)).rev() {
        sums[place] += sums[place + 1];
    }
    sums
}

/// Whether each group's completions all earned the same.
pub fn flat_groups(rewards: &[f32], group: usize) -> Vec<bool> {
    rewards.chunks(group).map(|group| group.iter().all(|reward| *reward == group[0])).collect()
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
