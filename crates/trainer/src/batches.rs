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
    /// Verdicts drawn anew for each reward model of several.
    Members = 5,
    /// Prompts drawn in place of those without signal.
    Resample = 6,
    /// Parts that the completions of a step are dealt into.
    MiniBatches = 7,
    /// Whether a step learns from what the student writes.
    OnPolicy = 8,
    /// How pictures are shown at a step.
    Pictures = 9,
    /// Games: what they and their players draw.
    Games = 16,
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

/// `count` of `n_items`, all different where there are enough, for the `attempt`-th draw in place of groups
/// without signal at step `step`.
pub fn items_instead(
    seed: u64,
    (step, attempt): (usize, usize),
    count: usize,
    n_items: usize,
) -> Vec<usize> {
    let number = (step as u64) << 8 | (attempt as u64 & 0xff);
    let mut shuffled: Vec<usize> = (0..n_items).collect();
    shuffled.shuffle(&mut coins(seed, Purpose::Resample, number));
    shuffled.into_iter().cycle().take(count).collect()
}

/// The places of `count` completions, dealt into `parts` as equal as can be for the `iteration`-th pass
/// over them at step `step`; in order where there is a single part.
pub fn mini_batches(
    seed: u64,
    (step, iteration): (usize, usize),
    count: usize,
    parts: usize,
) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..count).collect();
    if parts > 1 {
        let number = (step as u64) << 16 | (iteration as u64 & 0xffff);
        order.shuffle(&mut coins(seed, Purpose::MiniBatches, number));
    }
    let size = count.div_ceil(parts.max(1)).max(1);
    order.chunks(size).map(<[usize]>::to_vec).collect()
}

/// The text that windows are cut from, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Windows {
    /// The text.
    pub tokens: Vec<u32>,
    /// Tokens of a window.
    pub length: usize,
    /// Share of the windows that are one passage over and over.
    pub repeat_share: f64,
}

impl Windows {
    /// `count` windows at random places, for step `step`; shorter ones where the text is.
    pub fn of_step(&self, seed: u64, step: usize, count: usize) -> Vec<Vec<u32>> {
        let mut coins = coins(seed, Purpose::Data, step as u64);
        let places = self.tokens.len().saturating_sub(self.length).max(1) as u64;
        let repeated = (count as f64 * self.repeat_share).round() as usize;
        let mut window = |index: usize| {
            let start = (coins.next_u64() % places) as usize;
            let end = (start + self.length).min(self.tokens.len());
            let whole = &self.tokens[start..end];
            if index >= repeated {
                return whole.to_vec();
            }
            // Of any length, so that only what was said tells how far back to look.
            let (shortest, longest) = (self.length / 8, self.length / 2);
            let spread = coins.next_u64() % (longest - shortest + 1) as u64;
            let passage = whole.iter().take((shortest + spread as usize).max(1));
            passage.copied().cycle().take(whole.len()).collect()
        };
        (0..count).map(&mut window).collect()
    }
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
    fn every_pass_deals_each_completion_into_one_mini_batch() {
        for iteration in 0..3 {
            let dealt = mini_batches(3, (1, iteration), 10, 4);
            assert_eq!(dealt.len(), 4);
            let mut all = dealt.concat();
            assert_ne!(all, (0..10).collect::<Vec<_>>());
            all.sort_unstable();
            assert_eq!(all, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(mini_batches(3, (1, 0), 10, 4), mini_batches(3, (1, 1), 10, 4));
        assert_eq!(mini_batches(3, (1, 0), 3, 1), [[0, 1, 2]]);
    }

    #[test]
    fn items_drawn_instead_differ_from_attempt_to_attempt() {
        let first = items_instead(3, (2, 1), 5, 20);
        assert_eq!(first, items_instead(3, (2, 1), 5, 20));
        assert_ne!(first, items_instead(3, (2, 2), 5, 20));
        assert_eq!(items_instead(3, (2, 1), 5, 2).len(), 5);
    }

    fn windows(repeat_share: f64) -> Windows {
        Windows { tokens: (0..200).collect(), length: 32, repeat_share }
    }

    #[test]
    fn windows_are_passages_of_the_text() {
        for step in 0..50 {
            for window in windows(0.0).of_step(1, step, 8) {
                assert_eq!(window, (window[0]..window[0] + 32).collect::<Vec<u32>>());
            }
        }
    }

    #[test]
    fn the_share_of_windows_that_repeat_a_passage_is_the_one_asked_for() {
        let repeats = |window: &Vec<u32>| window[16..].contains(&window[0]);
        let window = windows(0.25).of_step(1, 0, 40);
        assert_eq!(window.iter().filter(|window| repeats(window)).count(), 10);
        assert!(window.iter().all(|window| window.len() == 32));
    }

    #[test]
    fn a_text_shorter_than_a_window_is_its_window() {
        let short = Windows { tokens: vec![4, 5, 6], length: 32, repeat_share: 0.0 };
        assert_eq!(short.of_step(1, 0, 1), [[4, 5, 6]]);
    }
}
