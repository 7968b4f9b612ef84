//! Ids of queries. An id is a UUID of version 7 whose random part is a keyed hash, so that no list of what was asked is
//! needed to tell whether this rater was asked for this reason to compare these policies.
//!
//! It does not bind the prompt: the page may shorten or fix what it shows.

use kudos_schema::{AskedReason, Rating};

use crate::intake::facts::reason_name;
use crate::seal::{Seal, uuid};

/// What an id vouches for.
#[derive(Debug, Clone)]
pub(crate) struct Ticket<'a> {
    /// The rater's own id.
    pub(crate) rater: &'a str,
    /// Why it is asked.
    pub(crate) reason: AskedReason,
    /// Hashes of the policies that write, in any order.
    pub(crate) policies: Vec<&'a str>,
}

impl Ticket<'_> {
    /// An id for it, made at a time and with two random bytes.
    pub(crate) fn id(&self, seal: &Seal, now_ms: i64, coins: [u8; 2]) -> String {
        let mut head = [0; 8];
        head[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
        head[6..].copy_from_slice(&[coins[0] & 0x0f, coins[1]]);
        self.id_of(seal, head)
    }

    fn id_of(&self, seal: &Seal, head: [u8; 8]) -> String {
        let mut policies = self.policies.clone();
        policies.sort_unstable();
        policies.dedup();
        let mut parts = vec![&head[..], self.rater.as_bytes(), reason_name(self.reason).as_bytes()];
        parts.extend(policies.iter().map(|policy| policy.as_bytes()));
        let hash = seal.of("query", &parts);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&head);
        bytes[8..].copy_from_slice(&hash[..8]);
        uuid(bytes, 7)
    }
}

/// Whether the query that a rating names was asked here. The rating has the rater's own id still.
pub(crate) fn is_genuine(seal: &Seal, rating: &Rating) -> bool {
    let Some(query) = &rating.query else { return false };
    let digits: String = query.id.chars().filter(|character| *character != '-').collect();
    let Ok(number) = u64::from_str_radix(digits.get(..16).unwrap_or_default(), 16) else {
        return false;
    };
    let mut head = number.to_be_bytes();
    head[6] &= 0x0f;
    let policies = (0..rating.samples.len()).map(|place| &*rating.policy_of(place).sha256);
    let ticket =
        Ticket { rater: &rating.rater, reason: query.reason, policies: policies.collect() };
    ticket.id_of(seal, head) == query.id
}
