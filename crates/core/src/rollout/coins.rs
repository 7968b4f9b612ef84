//! The coins of a rollout: one uniform number for each token of each completion.
//!
//! A completion owns a stream of its own, so that neither neighbours nor batch size change what it
//! draws. ChaCha8 is portable and seekable: the whole random state of a run is a seed and a step.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The source of coins of one rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coins {
    seed: u64,
    step: u64,
}

impl Coins {
    /// The coins of step `step` of a run with seed `seed`.
    pub fn new(seed: u64, step: u64) -> Self {
        Self { seed, step }
    }

    /// The first `length` coins of completion `index`, uniform in [0, 1).
    pub fn of_completion(&self, index: usize, length: usize) -> Vec<f32> {
        let mut stream = self.stream(index);
        // 24 bits: every value is exact in f32 and below one.
        (0..length).map(|_| (stream.next_u32() >> 8) as f32 / (1u32 << 24) as f32).collect()
    }

    /// The generator of completion `index`.
    fn stream(&self, index: usize) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&self.step.to_le_bytes());
        let mut stream = ChaCha8Rng::from_seed(key);
        stream.set_stream(index as u64);
        stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_completion_keeps_its_first_coins() {
        let coins = Coins::new(7, 3);
        assert_eq!(coins.of_completion(5, 4), coins.of_completion(5, 9)[..4]);
    }

    #[test]
    fn seed_step_and_completion_each_change_the_coins() {
        let first = Coins::new(1, 1).of_completion(1, 8);
        assert_ne!(first, Coins::new(2, 1).of_completion(1, 8));
        assert_ne!(first, Coins::new(1, 2).of_completion(1, 8));
        assert_ne!(first, Coins::new(1, 1).of_completion(2, 8));
    }

    #[test]
    fn coins_are_uniform_to_within_four_standard_errors() {
        let draws = Coins::new(0, 0).of_completion(0, 40_000);
        let mean = draws.iter().map(|coin| f64::from(*coin)).sum::<f64>() / 40_000.0;
        assert!((mean - 0.5).abs() < 4.0 * (1.0 / 12.0f64 / 40_000.0).sqrt(), "{mean}");
        assert!(draws.iter().all(|coin| (0.0..1.0).contains(coin)));
    }
}
