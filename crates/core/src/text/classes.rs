//! The Unicode general categories that BLEU's international tokenization looks at.
//!
//! Taken from the regex engine's own tables rather than kept as a second copy of them.
//! Planes 2 and up hold no punctuation, symbol or number (a test looks), so they are left out.

use std::sync::LazyLock;

use regex::Regex;

/// General category of a character, as far as tokenization cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// `\p{P}`
    Punctuation,
    /// `\p{S}`
    Symbol,
    /// `\p{N}`
    Number,
    /// Letters, marks, separators, controls, unassigned.
    Other,
}

const PATTERNS: [(&str, Class); 3] =
    [(r"\p{P}+", Class::Punctuation), (r"\p{S}+", Class::Symbol), (r"\p{N}+", Class::Number)];

/// The last character of planes 0 and 1.
const LAST: char = '\u{1FFFF}';

struct Table {
    ascii: [Class; 128],
    /// First and last character of each run, in order, disjoint.
    runs: Vec<(char, char, Class)>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut runs = find_runs('\0', LAST);
    runs.sort_unstable_by_key(|run| run.0);
    let mut ascii = [Class::Other; 128];
    for (slot, character) in ascii.iter_mut().zip('\0'..) {
        *slot = search(&runs, character);
    }
    Table { ascii, runs }
});

/// The class of `character`.
pub(crate) fn class_of(character: char) -> Class {
    let table = &*TABLE;
    match table.ascii.get(character as usize) {
        Some(&class) => class,
        None => search(&table.runs, character),
    }
}

fn find_runs(first: char, last: char) -> Vec<(char, char, Class)> {
    let all: String = (first..=last).collect();
    let mut runs = Vec::new();
    for (pattern, class) in PATTERNS {
        let pattern = Regex::new(pattern).expect("the pattern is a valid general category");
        for run in pattern.find_iter(&all) {
            let mut characters = run.as_str().chars();
            let from = characters.next().expect("a run is not empty");
            runs.push((from, characters.next_back().unwrap_or(from), class));
        }
    }
    runs
}

fn search(runs: &[(char, char, Class)], character: char) -> Class {
    let after = runs.partition_point(|run| run.0 <= character);
    match after.checked_sub(1).map(|index| runs[index]) {
        Some((_, last, class)) if character <= last => class,
        Some(_) | None => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_two_and_up_hold_only_other() {
        assert_eq!(find_runs('\u{20000}', char::MAX), []);
    }

    #[test]
    fn a_class_is_the_regex_engines() {
        let patterns = PATTERNS.map(|(pattern, class)| (Regex::new(pattern).unwrap(), class));
        for character in ('\0'..=LAST).step_by(7) {
            let mut buffer = [0; 4];
            let text: &str = character.encode_utf8(&mut buffer);
            let found = patterns.iter().find(|(pattern, _)| pattern.is_match(text));
            let expected = found.map_or(Class::Other, |(_, class)| *class);
            assert_eq!(class_of(character), expected, "{character:?}");
        }
    }
}
