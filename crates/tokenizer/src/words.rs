//! Words: where byte-level BPE cuts a text before it merges, the `pre_tokenizer` of `tokenizer.json`.
//!
//! Known are the splits of the model families that Kudos reads: single digits, GPT-2's pattern, and
//! the pattern that GPT-4, Llama 3 and Qwen2 share. They are written out as scanners, because a
//! regular-expression engine with its Unicode tables would add two thirds to what the page loads.
//!
//! Source: Radford et al. 2019 (GPT-2), `encoder.py`; `tiktoken`, `cl100k_base`; `tests/golden/tokenizer.py`.

use serde_json::Value;

use crate::letters::{LETTERS, NUMBERS};

/// GPT-2's pattern as files spell it.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// GPT-4's pattern as files spell it, around the part that says how many digits stay together.
const GPT4: [&str; 2] = [
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

/// Spellings of the digits' part of [`GPT4`], with how many stay together.
const GPT4_DIGITS: [(&str, usize); 2] = [(r"\p{N}{1,3}", 3), (r"\p{N}", 1)];

/// One way of cutting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Every digit alone.
    SingleDigits,
    /// Runs of digits apart from what is around them.
    Digits,
    /// Words with their leading space, numbers, runs of other characters.
    Gpt2,
    /// The same with contractions in any case, line ends apart, and numbers of at most so many digits.
    Gpt4 { digits: usize },
}

/// Cuts a text into words, one step within the pieces of the step before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words(Vec<Step>);

impl Words {
    /// Reads a `pre_tokenizer`; an error names the part that is not known.
    pub(crate) fn from_json(value: &Value) -> Result<Self, String> {
        let mut steps = Vec::new();
        let mut letters = false;
        for part in value["pretokenizers"].as_array().unwrap_or(&vec![value.clone()]) {
            // What follows would look at byte letters instead of the text.
            match part["type"].as_str().filter(|_| !letters) {
                Some("ByteLevel") if part["add_prefix_space"] != true => {
                    letters = true;
                    steps.extend((part["use_regex"] != false).then_some(Step::Gpt2));
                }
                Some("Digits") if part["individual_digits"] == true => {
                    steps.push(Step::SingleDigits);
                }
                Some("Digits") => steps.push(Step::Digits),
                Some("Split") => steps.push(split(part).ok_or_else(|| part.to_string())?),
                _ => return Err(part.to_string()),
            }
        }
        if letters { Ok(Self(steps)) } else { Err("no ByteLevel".to_owned()) }
    }

    /// The words of `text`, in order; together they are the text.
    pub(crate) fn cut<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let whole: Vec<&str> = Some(text).filter(|text| !text.is_empty()).into_iter().collect();
        self.0.iter().fold(whole, |pieces, step| {
            pieces.into_iter().flat_map(|piece| step.cut(piece)).collect()
        })
    }
}

/// The step of a `Split`, if its pattern is a known one.
fn split(part: &Value) -> Option<Step> {
    let pattern = part["pattern"]["Regex"].as_str()?;
    let isolated = part["behavior"] == "Isolated" && part["invert"] != true;
    let digits = || {
        let middle = pattern.strip_prefix(GPT4[0])?.strip_suffix(GPT4[1])?;
        GPT4_DIGITS.iter().find(|(spelling, _)| *spelling == middle)
    };
    match digits() {
        _ if !isolated => None,
        Some(&(_, digits)) => Some(Step::Gpt4 { digits }),
        None => (pattern == GPT2).then_some(Step::Gpt2),
    }
}

impl Step {
    fn cut(self, text: &str) -> Vec<&str> {
        let mut words = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let length = match self {
                Self::SingleDigits => digits(rest, 1),
                Self::Digits => digits(rest, usize::MAX),
                Self::Gpt2 => gpt2(rest),
                Self::Gpt4 { digits } => gpt4(rest, digits),
            };
            let (word, after) = rest.split_at(length);
            words.push(word);
            rest = after;
        }
        words
    }
}

/// Length in bytes of the first run of at most so many digits, or of no digits.
fn digits(text: &str, most: usize) -> usize {
    match at_most(most, text, char::is_numeric) {
        0 => run(text, |letter| !letter.is_numeric()),
        length => length,
    }
}

/// Length in bytes of the first match of [`GPT2`].
fn gpt2(text: &str) -> usize {
    if let Some(length) = contraction(text, |letter| letter) {
        return length;
    }
    let space = usize::from(text.starts_with(' '));
    let length = run_of_kind(&text[space..]);
    if length > 0 { space + length } else { spaces(text) }
}

/// Length in bytes of the first match of [`GPT4`] with at most so many digits together.
fn gpt4(text: &str, most_digits: usize) -> usize {
    // Regular expressions that ignore case take the long s for an s.
    let folded = |letter: char| if letter == 'ſ' { 's' } else { letter.to_ascii_lowercase() };
    if let Some(length) = contraction(text, folded) {
        return length;
    }
    let kind = Kind::of(first(text));
    let before = match (first(text), kind) {
        ('\r' | '\n', _) | (_, Kind::Letter | Kind::Number) => 0,
        (other, Kind::Space | Kind::Other) => other.len_utf8(),
    };
    let word = run(&text[before..], |letter| Kind::of(letter) == Kind::Letter);
    if word > 0 {
        return before + word;
    }
    if kind == Kind::Number {
        return at_most(most_digits, text, |letter| Kind::of(letter) == Kind::Number);
    }
    let space = usize::from(text.starts_with(' '));
    let signs = run(&text[space..], |letter| Kind::of(letter) == Kind::Other);
    if signs > 0 {
        let end = space + signs;
        return end + run(&text[end..], |letter| matches!(letter, '\r' | '\n'));
    }
    let blank = &text[..run(text, char::is_whitespace)];
    blank.rfind(['\r', '\n']).map_or_else(|| spaces(text), |last| last + 1)
}

/// `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` or `'d`.
fn contraction(text: &str, fold: impl Fn(char) -> char) -> Option<usize> {
    let mut letters = text.strip_prefix('\'')?.chars();
    let first = letters.next()?;
    let wanted = match fold(first) {
        's' | 't' | 'm' | 'd' => return Some(1 + first.len_utf8()),
        'r' | 'v' => 'e',
        'l' => 'l',
        _ => return None,
    };
    let second = letters.next().filter(|second| fold(*second) == wanted);
    second.map(|second| 1 + first.len_utf8() + second.len_utf8())
}

/// `\s+(?!\S)|\s+`: white space, but its last character only where nothing follows or it stands alone.
fn spaces(text: &str) -> usize {
    let length = run(text, char::is_whitespace);
    let last = text[..length].chars().next_back().map_or(0, char::len_utf8);
    if length == text.len() || length == last { length } else { length - last }
}

/// Length in bytes of the run of letters, of numbers or of other characters; 0 before white space.
fn run_of_kind(text: &str) -> usize {
    let Some(kind) = text.chars().next().map(Kind::of) else { return 0 };
    if kind == Kind::Space { 0 } else { run(text, |letter| Kind::of(letter) == kind) }
}

/// Length in bytes of the longest beginning whose characters all are `alike`.
fn run(text: &str, alike: impl Fn(char) -> bool) -> usize {
    text.find(|letter| !alike(letter)).unwrap_or(text.len())
}

/// The same with at most so many characters.
fn at_most(most: usize, text: &str, alike: impl Fn(char) -> bool) -> usize {
    text.chars().take(most).take_while(|letter| alike(*letter)).map(char::len_utf8).sum()
}

fn first(text: &str) -> char {
    text.chars().next().expect("the caller looks at a text that is not empty")
}

/// What the patterns tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `\p{L}`
    Letter,
    /// `\p{N}`
    Number,
    /// `\s`
    Space,
    /// All else.
    Other,
}

impl Kind {
    fn of(letter: char) -> Self {
        if letter.is_ascii_alphabetic() {
            return Self::Letter;
        }
        if letter.is_whitespace() {
            return Self::Space;
        }
        let within = |ranges: &[(char, char)]| {
            let at = ranges.partition_point(|(_, last)| *last < letter);
            ranges.get(at).is_some_and(|(first, _)| *first <= letter)
        };
        if within(&LETTERS) {
            Self::Letter
        } else if within(&NUMBERS) {
            Self::Number
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// Made by tests/golden/tokenizer.py with Hugging Face's `tokenizers`.
    const GOLDEN: &str = include_str!("../../../tests/golden/tokenizer.json");

    /// A way of cutting, and where it ends the words of each text.
    type Case = (Words, Vec<Vec<usize>>);

    /// The texts, and every kind of `pre_tokenizer` that is known.
    fn golden() -> (Vec<String>, Vec<Case>) {
        let golden: Value = serde_json::from_str(GOLDEN).unwrap();
        let texts = serde_json::from_value(golden["texts"].clone()).unwrap();
        let cases = golden["cases"].as_array().unwrap().iter();
        let cases = cases.filter_map(|case| {
            let words = Words::from_json(case["changes"].get("pre_tokenizer")?).unwrap();
            Some((words, serde_json::from_value(case["word_ends"].clone()).unwrap()))
        });
        (texts, cases.collect())
    }

    #[test]
    fn texts_are_cut_as_by_hugging_faces_tokenizers() {
        let (texts, cases) = golden();
        assert_eq!(cases.len(), 7);
        for (words, ends) in cases {
            for (text, ends) in texts.iter().zip(ends) {
                let lengths = words.cut(text).into_iter().map(|word| word.chars().count());
                let ours = lengths.scan(0, |end, length| {
                    *end += length;
                    Some(*end)
                });
                assert_eq!(ours.collect::<Vec<usize>>(), ends, "{text:?} by {words:?}");
            }
        }
    }

    #[test]
    fn the_kinds_of_characters_are_those_of_the_regex_engine() {
        let all: String = ('\0'..=char::MAX).collect();
        let ranges = |pattern: &str| -> Vec<(char, char)> {
            let pattern = regex::Regex::new(pattern).unwrap();
            let runs = pattern.find_iter(&all).map(|run| {
                let mut letters = run.as_str().chars();
                let first = letters.next().unwrap();
                (first, letters.next_back().unwrap_or(first))
            });
            runs.collect()
        };
        assert_eq!(ranges(r"\p{L}+"), LETTERS);
        assert_eq!(ranges(r"\p{N}+"), NUMBERS);
        let mut spaces = all.chars().filter(|letter| Kind::of(*letter) == Kind::Space);
        let theirs = regex::Regex::new(r"\s").unwrap();
        assert!(theirs.find_iter(&all).all(|space| spaces.next() == space.as_str().chars().next()));
        assert_eq!(spaces.next(), None);
    }

    #[test]
    fn what_is_not_known_is_named() {
        let check = |file: Value, name: &str| {
            let message = Words::from_json(&file).unwrap_err();
            assert!(message.contains(name), "{message}");
        };
        check(json!({"type": "Metaspace"}), "Metaspace");
        check(json!({"type": "ByteLevel", "add_prefix_space": true}), "add_prefix_space");
        let split = json!({"type": "Split", "pattern": {"Regex": r"\w+"}, "behavior": "Isolated"});
        check(split, r"\w+");
        check(json!({"type": "Digits", "individual_digits": true}), "ByteLevel");
        let after = [json!({"type": "ByteLevel"}), json!({"type": "Digits"})];
        check(json!({"type": "Sequence", "pretokenizers": after}), "Digits");
        check(Value::Null, "null");
    }

    proptest! {
        #[test]
        fn the_words_of_any_text_are_the_text(text in ".{0,40}") {
            for (words, _) in golden().1 {
                let cut = words.cut(&text);
                prop_assert!(cut.iter().all(|word| !word.is_empty()));
                prop_assert_eq!(cut.concat(), text.as_str());
            }
        }
    }
}
