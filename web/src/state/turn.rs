//! One event being worked on: what the update may use, and what it asks for.

use kudos_schema::hexadecimal;

use crate::event::{Effect, Surroundings};

/// One event being worked on.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    /// Clock.
    pub(crate) around: &'a Surroundings,
    /// What is asked of the browser so far.
    pub(crate) effects: Vec<Effect>,
    /// How many of the random bytes are used up.
    used: usize,
}

impl<'a> Turn<'a> {
    /// A turn in which nothing happened yet.
    pub(crate) fn new(around: &'a Surroundings) -> Self {
        Self { around, effects: Vec::new(), used: 0 }
    }

    /// Asks for something.
    pub(crate) fn ask(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Random bytes that nothing else in this turn uses.
    ///
    /// # Panics
    /// If one event uses more than there are.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let fresh = &self.around.random[self.used..self.used + N];
        self.used += N;
        fresh.try_into().expect("a slice of N bytes")
    }

    /// A random number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // The bias of the remainder is below 2^-11 for any bound here.
        u64::from_le_bytes(self.bytes()) % bound.max(1)
    }

    /// A random UUID (version 4, RFC 9562).
    pub(crate) fn random_uuid(&mut self) -> String {
        let bytes: [u8; 16] = self.bytes();
        uuid(bytes, 4)
    }

    /// A UUID that sorts by time (version 7, RFC 9562).
    pub(crate) fn timed_uuid(&mut self) -> String {
        let mut bytes = [0; 16];
        let milliseconds = (self.around.now_ms.max(0.0) as u64).to_be_bytes();
        bytes[..6].copy_from_slice(&milliseconds[2..]);
        bytes[6..].copy_from_slice(&self.bytes::<10>());
        uuid(bytes, 7)
    }
}

fn uuid(mut bytes: [u8; 16], version: u8) -> String {
    bytes[6] = version << 4 | bytes[6] & 0x0f;
    bytes[8] = 0x80 | bytes[8] & 0x3f;
    let digits = hexadecimal(&bytes);
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}
