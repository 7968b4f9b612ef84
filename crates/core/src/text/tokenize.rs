//! The word tokenizations of BLEU and the notion of white space that they share with chrF.
//!
//! Equal to sacrebleu 2.6's `none`, `13a` (mteval-v13a, used by WMT), `intl` (mteval-v14) and
//! `char`. Left out: the tokenizations that need a dictionary or a model (zh, ja-mecab, ko-mecab,
//! spm). Letter case and categories are those of this compiler's and the regex engine's Unicode
//! version; Python may be a version behind, which matters to newly assigned characters alone.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::classes::{Class, class_of};

/// Whether upper and lower case are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Case {
    /// Text is compared as it is written.
    #[default]
    Mixed,
    /// Text is lowercased first, with Unicode's full mapping.
    Lower,
}

impl Case {
    /// The text as it will be compared.
    pub fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Mixed => Cow::Borrowed(text),
            Self::Lower => Cow::Owned(text.to_lowercase()),
        }
    }

    /// `mixed` or `lc`, as sacrebleu's signatures have it.
    pub fn signature(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Lower => "lc",
        }
    }
}

/// How a text is split into the words of BLEU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tokenization {
    /// At white space only: for texts that are tokenized already.
    #[serde(rename = "none")]
    None,
    /// mteval-v13a: ASCII punctuation is set apart; periods, commas and dashes by their neighbors.
    #[default]
    #[serde(rename = "13a")]
    Mteval13a,
    /// mteval-v14: all Unicode punctuation and symbols are set apart, except between digits.
    #[serde(rename = "intl")]
    International,
    /// Each character that is not white space is a word.
    #[serde(rename = "char")]
    Character,
}

impl Tokenization {
    /// `none`, `13a`, `intl` or `char`, as sacrebleu names them.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Mteval13a => "13a",
            Self::International => "intl",
            Self::Character => "char",
        }
    }

    /// The text with its words set apart by white space; [`words`] then lists them.
    pub fn apply(self, text: &str) -> Cow<'_, str> {
        let text = text.trim_end_matches(is_space);
        match self {
            Self::None => Cow::Borrowed(text),
            Self::Mteval13a => Cow::Owned(tokenize_13a(text)),
            Self::International => Cow::Owned(tokenize_international(text)),
            Self::Character => Cow::Owned(isolate(text, |_| true)),
        }
    }
}

/// The words of a text: its longest stretches without white space.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// White space as Python's `str.split` has it: Unicode's, and the four ASCII separators.
pub fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\x1c'..='\x1f')
}

/// What mteval-v13a does in four replacements, in one pass: a point or comma stands alone unless digits are on both sides,
/// and so does one before which the first of those replacements found something that is no digit; a dash behind a digit does. A character
/// belongs to one match of a replacement at most, so that of several points in a row every other one is found by its left side.
fn tokenize_13a(text: &str) -> String {
    let text = unescape(text);
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let after_digit = |at: usize| at.checked_sub(1).is_some_and(is_digit);
    let mut line = String::with_capacity(text.len() + text.len() / 2);
    // Behind the last point that was found by its left side.
    let mut taken = usize::MAX;
    let mut copied = 0;
    // All that stands alone is ASCII, so that bytes will do.
    for (at, byte) in bytes.iter().enumerate() {
        let stands_alone = match byte {
            b'.' | b',' => {
                let found = !after_digit(at) && taken != at;
                taken = if found { at + 1 } else { taken };
                found || !is_digit(at + 1)
            }
            b'-' => after_digit(at),
            other => is_13a_symbol(*other),
        };
        if stands_alone {
            line.push_str(&text[copied..at]);
            line.push(' ');
            line.push(char::from(*byte));
            line.push(' ');
            copied = at + 1;
        }
    }
    line.push_str(&text[copied..]);
    line
}

fn tokenize_international(text: &str) -> String {
    let line = separate(text, Pair { first: is_not_number, second: is_mark }, Apart::Second);
    let line = separate(&line, Pair { first: is_mark, second: is_not_number }, Apart::First);
    isolate(&line, |character| class_of(character) == Class::Symbol)
}

/// Joins hyphenated lines and undoes the four SGML entities, in the order of mteval-v13a:
/// `&amp;lt;` becomes `<`, `&amp;quot;` stays `&quot;`.
fn unescape(text: &str) -> Cow<'_, str> {
    let mut line = Cow::Borrowed(text);
    if line.contains('<') {
        line = Cow::Owned(line.replace("<skipped>", ""));
    }
    if line.contains('\n') {
        line = Cow::Owned(line.replace("-\n", "").replace('\n', " "));
    }
    if line.contains('&') {
        let quoted = line.replace("&quot;", "\"").replace("&amp;", "&");
        line = Cow::Owned(quoted.replace("&lt;", "<").replace("&gt;", ">"));
    }
    line
}

/// Two neighbors that are to be told apart.
struct Pair<First, Second> {
    first: First,
    second: Second,
}

/// Which of the two neighbors stands alone afterward.
#[derive(Clone, Copy)]
enum Apart {
    /// `ab` becomes ` a b`.
    First,
    /// `ab` becomes `a b `.
    Second,
}

/// Puts spaces around one of each two neighbors that match the pair, from left to right; a
/// character belongs to one pair at most, as in a regular expression's global replacement.
fn separate(
    text: &str,
    pair: Pair<impl Fn(char) -> bool, impl Fn(char) -> bool>,
    apart: Apart,
) -> String {
    let mut line = String::with_capacity(text.len() + text.len() / 2);
    let mut copied = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((at, first)) = characters.next() {
        if !(pair.first)(first) {
            continue;
        }
        let Some((middle, second)) = characters.next_if(|&(_, next)| (pair.second)(next)) else {
            continue;
        };
        let (start, end) = match apart {
            Apart::First => (at, middle),
            Apart::Second => (middle, middle + second.len_utf8()),
        };
        line.push_str(&text[copied..start]);
        line.push(' ');
        line.push_str(&text[start..end]);
        line.push(' ');
        copied = end;
    }
    line.push_str(&text[copied..]);
    line
}

/// Puts spaces around each character that stands alone.
fn isolate(text: &str, stands_alone: impl Fn(char) -> bool) -> String {
    let mut line = String::with_capacity(text.len() + text.len() / 2);
    let mut copied = 0;
    for (at, character) in text.char_indices() {
        if stands_alone(character) {
            let end = at + character.len_utf8();
            line.push_str(&text[copied..at]);
            line.push(' ');
            line.push_str(&text[at..end]);
            line.push(' ');
            copied = end;
        }
    }
    line.push_str(&text[copied..]);
    line
}

/// ASCII punctuation, except the apostrophe and what depends on neighbors: `,`, `-`, `.`.
// mteval-v13a has the space among them, which only adds more of it.
fn is_13a_symbol(byte: u8) -> bool {
    byte.is_ascii_punctuation() && !matches!(byte, b'\'' | b',' | b'-' | b'.')
}

fn is_mark(character: char) -> bool {
    class_of(character) == Class::Punctuation
}

fn is_not_number(character: char) -> bool {
    class_of(character) != Class::Number
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(tokenization: Tokenization, text: &str, expected: &[&str]) {
        let line = tokenization.apply(text);
        assert_eq!(words(&line).collect::<Vec<_>>(), expected, "{text:?}");
    }

    #[test]
    fn mteval_13a_keeps_numbers_whole() {
        let expected = ["Pi", "is", "3.14", ",", "not", "1,000", "."];
        check(Tokenization::Mteval13a, "Pi is 3.14, not 1,000.", &expected);
        check(Tokenization::Mteval13a, "1990-95 re-do", &["1990", "-", "95", "re-do"]);
    }

    #[test]
    fn mteval_13a_undoes_entities_in_order() {
        let expected = ["a", "<", "b", "&", "quot", ";", "\"", "c"];
        check(Tokenization::Mteval13a, "a &amp;lt; b &amp;quot; &quot;c<skipped>", &expected);
        check(Tokenization::Mteval13a, "hy-\nphen\nline", &["hyphen", "line"]);
    }

    #[test]
    fn a_point_that_ended_one_pair_cannot_begin_another() {
        check(Tokenization::Mteval13a, "wait...", &["wait", ".", ".", "."]);
        check(Tokenization::Mteval13a, "a,,5", &["a", ",", ",5"]);
    }

    #[test]
    fn the_international_tokenization_knows_marks_and_symbols_of_all_scripts() {
        let expected = ["«", "привет", "»", "—", "3,5", "€", "。", "終"];
        check(Tokenization::International, "«привет» — 3,5€。終", &expected);
        check(Tokenization::International, "in 1984.", &["in", "1984."]);
    }

    #[test]
    fn each_character_is_a_word() {
        check(Tokenization::Character, "a b\u{3000}日 ", &["a", "b", "日"]);
    }

    /// As mteval-v13a has it, replacement by replacement.
    fn tokenize_13a_by_definition(text: &str) -> String {
        let is_point = |character| matches!(character, '.' | ',');
        let is_digit = |character: char| character.is_ascii_digit();
        let is_symbol = |character: char| u8::try_from(character).is_ok_and(is_13a_symbol);
        let mut line = isolate(&unescape(text), is_symbol);
        // A point at either end has a neighbor then.
        line.insert(0, ' ');
        line.push(' ');
        let not_digit = |character| !is_digit(character);
        let line = separate(&line, Pair { first: not_digit, second: is_point }, Apart::Second);
        let line = separate(&line, Pair { first: is_point, second: not_digit }, Apart::First);
        separate(&line, Pair { first: is_digit, second: |it| it == '-' }, Apart::Second)
    }

    proptest! {
        #[test]
        fn one_pass_finds_the_words_of_four_replacements(text in "[0-9a.,é\\- !]{0,12}|\\PC{0,20}") {
            let (line, expected) = (tokenize_13a(&text), tokenize_13a_by_definition(&text));
            let expected = words(&expected).collect::<Vec<_>>();
            prop_assert_eq!(words(&line).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn no_tokenization_loses_or_adds_a_character_but_space(text in "[^&<\n]*") {
            let without_space = |text: &str| words(text).collect::<String>();
            for tokenization in [
                Tokenization::None,
                Tokenization::Mteval13a,
                Tokenization::International,
                Tokenization::Character,
            ] {
                prop_assert_eq!(without_space(&tokenization.apply(&text)), without_space(&text));
            }
        }
    }
}
