//! What happens to a text before it is cut: nothing, or composition of letters with their marks.
//!
//! Source: Unicode Standard Annex 15; the `normalizer` of `tokenizer.json`.

use std::borrow::Cow;

use serde_json::Value;

/// The `normalizer` of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Normalizer {
    /// None.
    Nothing,
    /// Letters and the marks that follow them become one character where there is one.
    #[cfg(feature = "normalize")]
    Nfc,
}

impl Normalizer {
    /// Reads a `normalizer`; none if it is not known.
    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        match value["type"].as_str() {
            None => value.is_null().then_some(Self::Nothing),
            #[cfg(feature = "normalize")]
            Some("NFC") => Some(Self::Nfc),
            Some(_) => None,
        }
    }

    /// The text that is cut.
    pub(crate) fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Nothing => Cow::Borrowed(text),
            #[cfg(feature = "normalize")]
            Self::Nfc => {
                use unicode_normalization::{UnicodeNormalization, is_nfc};
                match is_nfc(text) {
                    true => Cow::Borrowed(text),
                    false => Cow::Owned(text.nfc().collect()),
                }
            }
        }
    }
}
