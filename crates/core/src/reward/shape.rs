//! Rewards that look at a completion alone: variety, length, form, ending.
//!
//! None needs a reference, so each applies to every item. Left out: what the text means.

use regex::Regex;

use super::{Completion, Reward, RewardError};
use crate::text::surface::{distinct, length, repetition};
use crate::text::triples::parse_triples;

/// How varied the wording is.
///
/// - Measures: share of different word pairs among all word pairs of the completion.
/// - Formula: distinct-2 = `|different pairs| / |pairs|`; 0 where there are fewer than two words.
/// - Range: 0 to 1.
/// - Misleads when: used alone: two words are perfectly varied, and so is gibberish. It falls with
///   length, for a long text rightly repeats pairs.
/// - Reference: Li et al. 2016.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distinct;

impl Reward for Distinct {
    fn name(&self) -> &str {
        "distinct"
    }

    fn score(&self, completion: &Completion<'_>) -> Option<f32> {
        Some(distinct(&[completion.text], 2).unwrap_or(0.0) as f32)
    }
}

/// What loops cost.
///
/// - Measures: share of word triples that occurred before in the completion, as a loss.
/// - Formula: `-(1 - |different| / |all|)` over word 3-grams; 0 where there is none.
/// - Range: -1 (never reached) to 0.
/// - Misleads when: the text is a list, which rightly repeats words; or short: it cannot repeat.
/// - Reference: seq-rep-n, Welleck et al. 2020.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repetition;

impl Reward for Repetition {
    fn name(&self) -> &str {
        "repetition"
    }

    fn score(&self, completion: &Completion<'_>) -> Option<f32> {
        // Not `-x`, which would be a negative zero.
        Some((0.0 - repetition(completion.text, 3).unwrap_or(0.0)) as f32)
    }
}

/// How near the length is to the one wanted.
///
/// - Measures: distance of the number of words from a target.
/// - Formula: `max(-1, -|words - target| / target)`.
/// - Range: -1 (no word, or twice the target and more) to 0 (as many words as wanted).
/// - Misleads when: used alone, or a script does not put spaces between words.
/// - Reference: the relative absolute error, bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// At least 1.
    target_words: usize,
}

impl Length {
    /// Wants this many words.
    ///
    /// # Errors
    /// The target is 0.
    pub fn new(target_words: usize) -> Result<Self, RewardError> {
        if target_words == 0 {
            return Err(RewardError::Target);
        }
        Ok(Self { target_words })
    }
}

impl Reward for Length {
    fn name(&self) -> &str {
        "length"
    }

    fn score(&self, completion: &Completion<'_>) -> Option<f32> {
        let off = length(completion.text).words.abs_diff(self.target_words);
        Some((0.0 - off as f64 / self.target_words as f64).max(-1.0) as f32)
    }
}

/// Whether the completion has a wanted form.
///
/// - Measures: whether a regular expression matches the completion as a whole.
/// - Formula: 1 if it matches from the first to the last character, else 0; nothing is trimmed,
///   and `.` stops at a line break unless the expression begins with `(?s)`.
/// - Range: 0 or 1.
/// - Misleads when: the expression is loose (`.*` is always 1), or hardly ever matched, so that
///   there is nothing to learn from.
/// - Reference: format rewards, DeepSeek-AI 2025, section 2.2.2.
#[derive(Clone, Debug)]
pub struct Format {
    whole: Regex,
}

impl Format {
    /// Wants texts that `pattern` matches as a whole.
    ///
    /// # Errors
    /// The pattern is not a regular expression.
    pub fn new(pattern: &str) -> Result<Self, RewardError> {
        let refuse = |error: regex::Error| {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
            RewardError::Pattern { pattern: pattern.to_owned(), reason: reason.to_owned() }
        };
        // By itself first: `a)|(b` would become an expression inside the group.
        Regex::new(pattern).map_err(refuse)?;
        // A comment at the end of a verbose expression hides the closing of the group; a line break
        // ends the comment, and means nothing in such an expression.
        let whole = Regex::new(&format!(r"\A(?:{pattern})\z"))
            .or_else(|_| Regex::new(&format!("\\A(?:{pattern}\n)\\z")))
            .map_err(refuse)?;
        Ok(Self { whole })
    }
}

impl Reward for Format {
    fn name(&self) -> &str {
        "format"
    }

    fn score(&self, completion: &Completion<'_>) -> Option<f32> {
        Some(f32::from(self.whole.is_match(completion.text)))
    }
}

/// Whether the completion came to an end by itself.
///
/// - Measures: whether the policy drew an end token before its tokens ran out.
/// - Formula: 1 if it did, else 0.
/// - Range: 0 or 1.
/// - Misleads when: used alone: ending at once wins.
/// - Reference: the cost of a missing end token in Huang et al. 2024 (the EOS trick).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended;

impl Reward for Ended {
    fn name(&self) -> &str {
        "ended"
    }

    fn score(&self, completion: &Completion<'_>) -> Option<f32> {
        Some(f32::from(completion.ended))
    }
}

/// How much of the completion is triples.
///
/// - Measures: share of lines, blank ones aside, that read `subject | relation | object`.
/// - Formula: `|triples| / |lines|`; 0 for a text of blank lines alone.
/// - Range: 0 to 1.
/// - Misleads when: used alone: any three words with bars are a triple, true or not.
/// - Reference: the counterpart of [`super::Triples`], which ignores lines that are no triple.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WellFormed;

impl Reward for WellFormed {
    fn name(&self) -> &str {
        "well_formed"
    }

    fn score(&self, completion: &Completion<'_>) -> Option<f32> {
        let parsed = parse_triples(completion.text);
        let n_triples = parsed.triples.len();
        let n_lines = n_triples + parsed.malformed_lines;
        Some((n_triples as f64 / n_lines.max(1) as f64) as f32)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Map;

    use super::*;
    use crate::task::Prompt;

    /// What a policy wrote before its tokens ran out.
    fn cut_off(text: &str, judge: impl FnOnce(Completion<'_>) -> Option<f32>) -> f32 {
        let extra = Map::new();
        let (references, n_tokens) = (&[][..], 1);
        let ended = false;
        judge(Completion {
            prompt: &Prompt::Text(String::new()),
            text,
            references,
            ended,
            n_tokens,
            extra: &extra,
        })
        .unwrap()
    }

    fn score(reward: &dyn Reward, text: &str) -> f32 {
        cut_off(text, |completion| reward.score(&completion))
    }

    fn check(reward: &dyn Reward, cases: &[(&str, f32)]) {
        for (text, expected) in cases {
            let found = score(reward, text);
            assert!((found - expected).abs() < 1e-6, "{}: {text:?}: {found}", reward.name());
            assert!(found.to_bits() != (-0.0_f32).to_bits(), "{text:?}");
        }
    }

    #[test]
    fn variety_is_hand_arithmetic() {
        // Pairs: a b, b a, a b, b c; three differ.
        check(&Distinct, &[("a b a b c", 0.75), ("a b", 1.0), ("a", 0.0), ("", 0.0)]);
        // Triples: a b a, b a b, a b a, b a b; two are repeated.
        check(&Repetition, &[("a b a b a b", -0.5), ("a b c", 0.0), ("a a", 0.0), ("", 0.0)]);
    }

    #[test]
    fn length_falls_linearly_on_both_sides() {
        let length = Length::new(2).unwrap();
        check(&length, &[("", -1.0), ("a", -0.5), ("a b", 0.0), ("a b c", -0.5)]);
        check(&length, &[("a b c d", -1.0), ("a b c d e f", -1.0)]);
    }

    #[test]
    fn a_format_is_matched_as_a_whole() {
        let format = |pattern| Format::new(pattern).unwrap();
        check(&format("a|ab"), &[("a", 1.0), ("ab", 1.0), ("abc", 0.0), ("xa", 0.0)]);
        check(&format("a+"), &[("aa\n", 0.0), (" aa", 0.0), ("", 0.0)]);
        check(&format("(?m)^a$"), &[("a", 1.0), ("a\na", 0.0)]);
        check(&format(".*"), &[("", 1.0), ("a", 1.0), ("a\nb", 0.0)]);
        check(&format("(?s).*"), &[("a\nb", 1.0)]);
        check(&format("(?x) a b # letters"), &[("ab", 1.0), ("a b", 0.0)]);
    }

    #[test]
    fn only_an_end_token_ends() {
        assert_eq!(cut_off("done.", |cut| Ended.score(&Completion { ended: true, ..cut })), 1.0);
        assert_eq!(score(&Ended, "done."), 0.0);
    }

    #[test]
    fn well_formed_lines_are_counted_without_blank_ones() {
        check(&WellFormed, &[("a | b | c\n\nno\na | b\nd|e|f\n", 0.5), ("a | b | c", 1.0)]);
        check(&WellFormed, &[("", 0.0), (" \n\n", 0.0), ("prose", 0.0)]);
    }

    proptest! {
        #[test]
        fn words_beyond_the_target_cost_what_as_many_missing_ones_cost(
            target in 1..40_usize,
            off in 0..40_usize,
        ) {
            let off = off.min(target);
            let length = Length::new(target).unwrap();
            let of = |n_words| score(&length, &"a ".repeat(n_words));
            prop_assert_eq!(of(target + off), of(target - off));
        }

        #[test]
        fn an_escaped_text_is_a_format_of_itself_alone(text in "\\PC{0,9}", other in "\\PC{0,9}") {
            let format = Format::new(&regex::escape(&text)).unwrap();
            prop_assert_eq!(score(&format, &text), 1.0);
            prop_assert_eq!(score(&format, &other) == 1.0, text == other);
        }
    }
}
