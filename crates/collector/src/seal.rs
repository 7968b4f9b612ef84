//! Keyed hashes: what only this collector, or another one on its database, can have made.
//!
//! A rater's id is their deletion code, so it is neither stored nor exported: a pseudonym takes its place.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use kudos_schema::hexadecimal;
use sha2::Sha256;

/// The key, made once with the database.
#[derive(Clone)]
pub struct Seal([u8; 32]);

impl Seal {
    /// With this key.
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Reads what [`Self::to_text`] wrote.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut key = [0; 32];
        if text.len() != 2 * key.len() || !text.is_ascii() {
            return None;
        }
        for (place, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
        }
        Some(Self(key))
    }

    /// The key, as the database keeps it.
    pub fn to_text(&self) -> String {
        hexadecimal(&self.0)
    }

    /// The keyed hash of `parts` for a purpose; no other split of the same bytes has it.
    pub fn of(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length of key will do");
        for part in [purpose.as_bytes()].iter().chain(parts) {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// What stands for a rater in the database and in exports: a UUID of its own.
    pub fn pseudonym(&self, rater: &str) -> String {
        let hash = self.of("rater", &[rater.as_bytes()]);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        // Version 8: bytes of one's own meaning (RFC 9562, section 5.8).
        uuid(bytes, 8)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Seal")
    }
}

/// The UUID of `bytes`, with the bits of its version and variant set.
pub fn uuid(mut bytes: [u8; 16], version: u8) -> String {
    bytes[6] = (bytes[6] & 0x0f) | (version << 4);
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let text = hexadecimal(&bytes);
    let [a, b, c, d, e] = [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]];
    format!("{a}-{b}-{c}-{d}-{e}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_a_uuid_that_another_key_does_not_make() {
        let (one, other) = (Seal::new([1; 32]), Seal::new([2; 32]));
        let rater = "018f0000-0000-4000-8000-000000000001";
        assert_eq!(one.pseudonym(rater), one.pseudonym(rater));
        assert_ne!(one.pseudonym(rater), other.pseudonym(rater));
        assert_eq!((one.pseudonym(rater).len(), &one.pseudonym(rater)[14..15]), (36, "8"));
        assert_eq!(Seal::from_text(&one.to_text()).unwrap().0, one.0);
        assert!(
            ["", "zz", &"é".repeat(32), &"g".repeat(64)]
                .iter()
                .all(|it| Seal::from_text(it).is_none())
        );
    }

    #[test]
    fn another_split_of_the_same_bytes_has_another_hash() {
        let seal = Seal::new([3; 32]);
        assert_ne!(seal.of("a", &[b"bc", b"d"]), seal.of("a", &[b"b", b"cd"]));
        assert_ne!(seal.of("a", &[b"b"]), seal.of("ab", &[b""]));
    }
}
