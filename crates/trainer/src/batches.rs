//! Which items a step learns from: a shuffle for each epoch, so that the data position of a run is
//! its step and nothing else.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Streams of the seed, one for each purpose, so that no two draws share coins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Random weights of a new policy.
    Weights = 1,
    /// Order of items and windows of text.
    Data = 2,
    /// Bootstrap resamples.
    Bootstrap = 3,
    /// The device's own generator, for dropout.
    Device = 4,
}

/// The generator of one purpose at one step or epoch.
pub fn coins(seed: u64, purpose: Purpose, number: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
    key[16..24].copy_from_slice(&number.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// The items of step `step` when every step takes `count` of `n_items`, epoch after epoch.
pub fn items_of_step(seed: u64, step: usize, count: usize, n_items: usize) -> Vec<usize> {
    let first = step * count;
    let mut order: (usize, Vec<usize>) = (usize::MAX, Vec::new());
    (first..first + count)
        .map(|place| {
            let epoch = place / n_items;
            if order.0 != epoch {
                let mut shuffled: Vec<usize> = (0..n_items).collect();
                shuffled.shuffle(&mut coins(seed, Purpose::Data, epoch as u64));
                order = (epoch, shuffled);
            }
            order.1[place % n_items]
        })
        .collect()
}

/// The starts of `count` windows of `length` tokens in a text of `n_tokens`, at step `step`.
pub fn windows_of_step(
    seed: u64,
    step: usize,
    count: usize,
    (length, n_tokens): (usize, usize),
) -> Vec<usize> {
    let mut coins = coins(seed, Purpose::Data, step as u64);
    let places = n_tokens.saturating_sub(length).max(1) as u64;
    (0..count).map(|_| (coins.next_u64() % places) as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_shows_every_item_once() {
        let mut seen: Vec<usize> = (0..5).flat_map(|step| items_of_step(3, step, 4, 20)).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_step_that_crosses_epochs_continues_with_the_next_shuffle() {
        let whole: Vec<usize> = (0..14).flat_map(|step| items_of_step(3, step, 1, 7)).collect();
        assert_eq!(items_of_step(3, 1, 7, 7), whole[7..]);
        assert_eq!([items_of_step(3, 0, 4, 7), items_of_step(3, 1, 4, 7)].concat(), whole[..8]);
        assert_ne!(whole[..7], whole[7..]);
    }

    #[test]
    fn windows_lie_inside_the_text() {
        for step in 0..50 {
            let starts = windows_of_step(1, step, 8, (10, 40));
            assert!(starts.iter().all(|start| start + 10 <= 40));
        }
    }
}
