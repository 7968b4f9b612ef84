//! Random numbers, from a generator that is handed in: seeded by the machine, or by a test.

use std::sync::{Mutex, PoisonError};

use rand::rngs::SysRng;
use rand::{Rng, SeedableRng, TryRng};
use rand_chacha::ChaCha20Rng;

/// A generator that all requests share.
#[derive(Debug)]
pub struct Coins(Mutex<ChaCha20Rng>);

impl Coins {
    /// Seeded by the operating system.
    ///
    /// # Errors
    /// If it gives no random bytes.
    pub fn of_this_machine() -> Result<Self, rand::rngs::SysError> {
        let mut seed = [0; 32];
        SysRng.try_fill_bytes(&mut seed)?;
        Ok(Self::seeded(seed))
    }

    /// Seeded by the caller.
    pub fn seeded(seed: [u8; 32]) -> Self {
        Self(Mutex::new(ChaCha20Rng::from_seed(seed)))
    }

    /// Seeded by a number that anybody may know: for choices, never for secrets.
    pub fn numbered(number: u64) -> Self {
        Self(Mutex::new(ChaCha20Rng::seed_from_u64(number)))
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        bytes
    }

    /// A number in [0, 1).
    pub fn unit(&self) -> f64 {
        let bits = u64::from_le_bytes(self.bytes()) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }

    /// A place in a list of `length` things.
    ///
    /// # Panics
    /// If there is nothing in it.
    pub fn below(&self, length: usize) -> usize {
        assert!(length > 0, "one of nothing cannot be drawn");
        ((self.unit() * length as f64) as usize).min(length - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_coins_within_their_bounds() {
        let draw = || {
            let coins = Coins::seeded([7; 32]);
            (0..100).map(|_| (coins.unit(), coins.below(3))).collect::<Vec<_>>()
        };
        let drawn = draw();
        assert_eq!(drawn, draw());
        assert!(drawn.iter().all(|(unit, place)| (0.0..1.0).contains(unit) && *place < 3));
        assert!((0..3).all(|place| drawn.iter().any(|(_, other)| *other == place)));
    }
}
