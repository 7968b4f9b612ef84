//! How much one address, or one rater, may send: the generic cell rate algorithm (ITU-T I.371), a number a sender.
//!
//! Senders are kept as hashes with a key of this process, and forgotten once they have rested.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Senders remembered at once; beyond, those at rest are forgotten.
const MOST_SENDERS: usize = 100_000;

/// A rate for each sender.
pub(crate) struct Limiter {
    /// Milliseconds that one unit takes.
    unit_ms: f64,
    /// Milliseconds' worth of units that may come at once.
    burst_ms: f64,
    hasher: RandomState,
    /// When what a sender sent would have been sent at the steady rate, in milliseconds since 1970.
    due_ms: Mutex<HashMap<u64, f64>>,
}

/// A rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Units a minute in the long run.
    pub per_minute: f64,
    /// Units at once after a rest.
    pub burst: f64,
}

impl Limiter {
    pub(crate) fn new(rate: Rate) -> Self {
        let unit_ms = 60_000.0 / rate.per_minute.max(f64::MIN_POSITIVE);
        Self {
            unit_ms,
            burst_ms: rate.burst * unit_ms,
            hasher: RandomState::new(),
            due_ms: Mutex::default(),
        }
    }

    /// Takes `units` for a sender, or nothing.
    ///
    /// # Errors
    /// The sender must wait so many seconds.
    pub(crate) fn take(&self, sender: impl Hash, units: f64, now_ms: i64) -> Result<(), u64> {
        let sender = self.hasher.hash_one(sender);
        let now = now_ms as f64;
        let mut due_ms = self.due_ms.lock().unwrap_or_else(PoisonError::into_inner);
        if due_ms.len() >= MOST_SENDERS {
            due_ms.retain(|_, due| *due > now && *due <= now + self.burst_ms);
            if due_ms.len() >= MOST_SENDERS {
                due_ms.clear();
            }
        }
        let due = due_ms.entry(sender).or_insert(now);
        // Further ahead than a burst it can only be if the clock was turned back: that shuts nobody out.
        let begin = if *due > now + self.burst_ms { now } else { due.max(now) };
        let next = begin + units * self.unit_ms;
        let excess = next - now - self.burst_ms;
        *due = begin;
        if excess > 1e-6 * self.burst_ms {
            return Err((excess / 1000.0).ceil() as u64);
        }
        *due = next;
        Ok(())
    }
}

/// What stands for an address: of IPv6 the network, since a household has one of those.
pub(crate) fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Limiter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limiter() -> Limiter {
        Limiter::new(Rate { per_minute: 60.0, burst: 10.0 })
    }

    #[test]
    fn a_burst_passes_and_then_one_a_second() {
        let limiter = limiter();
        assert!((0..10).all(|_| limiter.take("a", 1.0, 0).is_ok()));
        assert_eq!(limiter.take("a", 1.0, 0), Err(1));
        assert_eq!(limiter.take("a", 3.0, 0), Err(3));
        assert_eq!(limiter.take("b", 10.0, 0), Ok(()));
        assert_eq!(limiter.take("a", 1.0, 1000), Ok(()));
        assert_eq!(limiter.take("a", 1.0, 1000), Err(1));
    }

    #[test]
    fn a_clock_that_jumps_back_shuts_nobody_out() {
        let limiter = limiter();
        let hour = 3_600_000;
        assert_eq!(limiter.take("a", 10.0, hour), Ok(()));
        assert_eq!(limiter.take("a", 10.0, 0), Ok(()));
        assert_eq!(limiter.take("a", 1.0, 0), Err(1));
        assert_eq!(limiter.take("a", 1.0, 1000), Ok(()));
    }

    proptest! {
        #[test]
        fn never_more_than_a_burst_and_the_rate_pass(
            steps in prop::collection::vec((0_i64..2_000, 1_u8..4), 1..200),
        ) {
            let limiter = limiter();
            let (mut now, mut passed) = (0, 0.0);
            for (pause, units) in steps {
                now += pause;
                if limiter.take("a", f64::from(units), now).is_ok() {
                    passed += f64::from(units);
                }
            }
            prop_assert!(passed <= 10.0 + now as f64 / 1000.0 + 1e-6);
        }
    }

    #[test]
    fn an_ipv6_network_is_one_sender() {
        let network = |text: &str| super::network(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
    }
}
