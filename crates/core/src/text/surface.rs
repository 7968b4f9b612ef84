//! What can be said of a text without a reference: how varied, how repetitive, how long it is.
//!
//! Words are stretches without white space; case and punctuation count.
//! References: distinct-n, Li et al. 2016; repetition as seq-rep-n, Welleck et al. 2020.

use std::collections::BTreeSet;

use super::tokenize::words;

/// Share of different n-grams among all n-grams of all texts together; higher is more varied.
///
/// Measures: diversity across a set of texts. Formula: `|different| / |all|`. Range: above 0 to 1;
/// `None` when no text has `order` words, or `order` is 0. Misleads when: sets of different size
/// are compared, for it falls as text is added. N-grams do not cross from one text to the next.
///
/// ```
/// use kudos_core::text::surface::distinct;
/// assert_eq!(distinct(&["a b a", "a c"], 1), Some(3.0 / 5.0));
/// ```
pub fn distinct(texts: &[&str], order: usize) -> Option<f64> {
    if order == 0 {
        return None;
    }
    let texts: Vec<Vec<&str>> = texts.iter().map(|text| words(text).collect()).collect();
    let all = texts.iter().flat_map(|text| text.windows(order));
    let (total, different) = all.fold((0_usize, BTreeSet::new()), |(total, mut seen), ngram| {
        seen.insert(ngram);
        (total + 1, seen)
    });
    (total > 0).then(|| different.len() as f64 / total as f64)
}

/// Share of a text's n-grams that occurred before in it; lower is better.
///
/// Measures: loops. Formula: `1 - |different| / |all|`. Range: 0 to below 1; `None` when the text
/// has fewer than `order` words, or `order` is 0. Misleads when: a text is long or a list, which
/// rightly repeats words: use an order of 3 or 4.
pub fn repetition(text: &str, order: usize) -> Option<f64> {
    distinct(&[text], order).map(|share| 1.0 - share)
}

/// How long a text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Length {
    /// Unicode scalar values, white space included.
    pub characters: usize,
    /// Stretches without white space.
    pub words: usize,
    /// Lines, without one that a final line break would begin; 0 for the empty text.
    pub lines: usize,
}

/// How long `text` is.
pub fn length(text: &str) -> Length {
    Length {
        characters: text.chars().count(),
        words: words(text).count(),
        lines: text.lines().count(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hand_arithmetic() {
        // Bigrams: a b, b a, a b, b c; three differ.
        assert_eq!(distinct(&["a b a b c"], 2), Some(3.0 / 4.0));
        assert_eq!(repetition("a b a b c", 2), Some(1.0 / 4.0));
        assert_eq!(distinct(&["a b", "b a"], 2), Some(1.0));
        assert_eq!(length("é b\n\nc\n"), Length { characters: 7, words: 3, lines: 3 });
    }

    #[test]
    fn texts_too_short_have_no_score() {
        assert_eq!(distinct(&["a b", ""], 3), None);
        assert_eq!(repetition("", 1), None);
        assert_eq!(distinct(&["a"], 0), None);
        assert_eq!(length(""), Length::default());
    }

    proptest! {
        #[test]
        fn saying_it_twice_repeats_at_least_half(text in "[abc]( [abc]){0,9}") {
            let twice = format!("{text} {text}");
            prop_assert!(repetition(&twice, 1).unwrap() >= 0.5);
        }

        #[test]
        fn the_order_of_texts_changes_nothing(one in "[abc ]{0,9}", other in "[abc ]{0,9}") {
            prop_assert_eq!(distinct(&[&one, &other], 2), distinct(&[&other, &one], 2));
        }
    }
}
