//! A picture that a policy looked at, and the ids under which its patches stand among tokens.
//!
//! An id of a patch is beyond all vocabularies and says which picture of those shown, and which patch of it. In a rating
//! the only picture is number 0.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{RatingError, hexadecimal};

/// Numbers of a pixel: red, green, blue.
pub const CHANNELS: usize = 3;
/// Pixels along one side of a patch.
pub const PATCH: usize = 8;
/// The most pixels along one side of a rating's picture.
pub const MAX_PICTURE_SIZE: usize = 64;
/// Set in the id of a patch; no vocabulary is as large.
const MARK: u32 = 1 << 30;
/// Bits of an id that say which patch of its picture it is.
const PLACE_BITS: u32 = 10;

/// A square picture. In JSON its numbers are two hexadecimal digits each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// Pixels along one side.
    pub size: usize,
    /// Red, green and blue from 0 to 255 of each pixel, row by row.
    #[serde(serialize_with = "digits", deserialize_with = "numbers")]
    pub pixels: Vec<u8>,
}

impl Picture {
    /// All white.
    pub fn blank(size: usize) -> Self {
        Self { size, pixels: vec![255; CHANNELS * size * size] }
    }

    /// Whether nothing is drawn on it.
    pub fn is_blank(&self) -> bool {
        self.pixels.iter().all(|number| *number == 255)
    }

    /// Checks its size.
    ///
    /// # Errors
    /// If it is no multiple of a patch, too large, or has another number of pixels.
    pub fn validate(&self) -> Result<(), RatingError> {
        let (size, found) = (self.size, self.pixels.len());
        if size > MAX_PICTURE_SIZE {
            let (field, most) = ("prompt.picture", MAX_PICTURE_SIZE);
            return Err(RatingError::TooLarge { field, found: size, most });
        }
        if size == 0 || !size.is_multiple_of(PATCH) || found != CHANNELS * size * size {
            let expected = "a square picture whose side is a multiple of 8 pixels";
            return Err(RatingError::Form { field: "prompt.picture", expected });
        }
        Ok(())
    }
}

/// How many patches a picture of this size has.
pub fn patch_count(size: usize) -> usize {
    (size / PATCH).pow(2)
}

/// The ids under which picture number `picture` stands among tokens.
///
/// ```
/// use kudos_schema::{patch_ids, patch_of};
/// assert_eq!(patch_of(patch_ids(3, 32)[15]), Some((3, 15)));
/// ```
pub fn patch_ids(picture: usize, size: usize) -> Vec<u32> {
    let first = MARK | (picture as u32) << PLACE_BITS;
    (0..patch_count(size) as u32).map(|place| first | place).collect()
}

/// Which picture and which patch of it an id speaks of; none where it is a token's.
pub fn patch_of(id: u32) -> Option<(usize, usize)> {
    let picture = (id & !MARK) >> PLACE_BITS;
    (id & MARK != 0).then_some((picture as usize, (id & ((1 << PLACE_BITS) - 1)) as usize))
}

fn digits<S: Serializer>(pixels: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&hexadecimal(pixels))
}

fn numbers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(from)?;
    let digit = |digit: &u8| char::from(*digit).to_digit(16).map(|value| value as u8);
    let number = |two: &[u8]| match two {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    let all: Option<Vec<u8>> = text.as_bytes().chunks(2).map(number).collect();
    all.ok_or_else(|| serde::de::Error::custom("pixels are not two hexadecimal digits each"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_survives_its_json_and_damage_is_refused() {
        let picture = Picture { size: 8, pixels: (0..=191).collect() };
        let json = serde_json::to_string(&picture).unwrap();
        assert!(json.starts_with(r#"{"size":8,"pixels":"000102"#), "{json}");
        assert_eq!(serde_json::from_str::<Picture>(&json).unwrap(), picture);
        assert!(picture.validate().is_ok());
        for digits in ["0", "0g", "é", "+1", "000"] {
            let json = format!(r#"{{"size":8,"pixels":"{digits}"}}"#);
            assert!(serde_json::from_str::<Picture>(&json).is_err(), "{digits}");
        }
    }

    #[test]
    fn sizes_that_no_rating_has_are_refused() {
        for size in [0, 12, 72] {
            assert!(Picture::blank(size).validate().is_err(), "{size}");
        }
        assert!(Picture { size: 32, pixels: vec![0; 5] }.validate().is_err());
        assert!(Picture::blank(64).validate().is_ok());
    }

    #[test]
    fn ids_of_patches_say_which_picture_and_which_patch() {
        assert_eq!(patch_ids(2, 16).into_iter().map(patch_of).collect::<Vec<_>>(), {
            (0..4).map(|patch| Some((2, patch))).collect::<Vec<_>>()
        });
        assert_eq!([0, 5, 1 << 20].map(patch_of), [None; 3]);
    }
}
