//! The Porter stemmer: takes an English word's ending off, so that its forms compare equal.
//!
//! Reference: Porter 1980, "An algorithm for suffix stripping", with the changes of NLTK's
//! `PorterStemmer` in its default mode, which ROUGE uses: a table of irregular words, `-ied`,
//! `-ies` and `y` by their neighbors, and `-bli`, `-alli`, `-fulli`, `-logi` in step 2.
//! Works on bytes of lower case ASCII letters and digits; a digit counts as a consonant.

/// The stem of `word`, which is of lower case ASCII letters and digits.
///
/// ```
/// use kudos_core::text::porter::stem;
/// assert_eq!(stem("generalizations"), "gener");
/// assert_eq!(stem("skies"), "sky");
/// ```
pub fn stem(word: &str) -> String {
    if let Some((_, irregular)) = IRREGULAR.iter().find(|(form, _)| *form == word) {
        return (*irregular).to_owned();
    }
    let mut word = word.to_owned();
    if word.len() <= 2 || !word.is_ascii() {
        return word;
    }
    strip_plural(&mut word);
    strip_past_or_gerund(&mut word);
    if word.ends_with('y') && word.len() > 2 && is_consonant(word.as_bytes(), word.len() - 2) {
        replace(&mut word, 1, "i");
    }
    map_double_suffix(&mut word);
    apply(&mut word, &STEP_3, |stem, _| measure(stem) > 0);
    apply(&mut word, &STEP_4, |stem, ending| {
        measure(stem) > 1 && (ending != "ion" || matches!(stem.last(), Some(b's' | b't')))
    });
    strip_final_e(&mut word);
    if word.ends_with("ll") && measure(&word.as_bytes()[..word.len() - 1]) > 1 {
        replace(&mut word, 1, "");
    }
    word
}

const IRREGULAR: [(&str, &str); 16] = [
    ("sky", "sky"),
    ("skies", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

/// An ending and what takes its place, if what is left before it is long enough.
type Rule = (&'static str, &'static str);

const STEP_2: [Rule; 21] = [
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
];

const STEP_3: [Rule; 7] = [
    ("icate", "ic"),
    ("ative", ""),
    ("alize", "al"),
    ("iciti", "ic"),
    ("ical", "ic"),
    ("ful", ""),
    ("ness", ""),
];

const STEP_4: [Rule; 19] = [
    ("al", ""),
    ("ance", ""),
    ("ence", ""),
    ("er", ""),
    ("ic", ""),
    ("able", ""),
    ("ible", ""),
    ("ant", ""),
    ("ement", ""),
    ("ment", ""),
    ("ent", ""),
    ("ion", ""),
    ("ou", ""),
    ("ism", ""),
    ("ate", ""),
    ("iti", ""),
    ("ous", ""),
    ("ive", ""),
    ("ize", ""),
];

/// Step 1a: caresses, ponies, cats.
fn strip_plural(word: &mut String) {
    if word.ends_with("ies") {
        // NLTK: "dies" becomes "die", but "flies" becomes "fli".
        let kept = if word.len() == 4 { "ie" } else { "i" };
        replace(word, 3, kept);
    } else if word.ends_with("sses") {
        replace(word, 2, "");
    } else if word.ends_with('s') && !word.ends_with("ss") {
        replace(word, 1, "");
    }
}

/// Step 1b: agreed, plastered, motoring.
fn strip_past_or_gerund(word: &mut String) {
    if word.ends_with("ied") {
        // NLTK: "died" becomes "die", but "spied" becomes "spi".
        let kept = if word.len() == 4 { "ie" } else { "i" };
        replace(word, 3, kept);
        return;
    }
    if let Some(stem) = word.strip_suffix("eed") {
        if measure(stem.as_bytes()) > 0 {
            replace(word, 1, "");
        }
        return;
    }
    let stem = word.strip_suffix("ed").or_else(|| word.strip_suffix("ing"));
    match stem {
        Some(stem) if has_vowel(stem.as_bytes()) => word.truncate(stem.len()),
        Some(_) | None => return,
    }
    let stem = word.as_bytes();
    if ["at", "bl", "iz"].iter().any(|ending| word.ends_with(ending)) {
        word.push('e');
    } else if ends_in_double_consonant(stem) {
        if !matches!(stem.last(), Some(b'l' | b's' | b'z')) {
            replace(word, 1, "");
        }
    } else if measure(stem) == 1 && ends_in_short_syllable(stem) {
        word.push('e');
    }
}

/// Step 2: relational, hopefulli, archaeologi.
fn map_double_suffix(word: &mut String) {
    // NLTK: "-alli" goes first, and what comes of it may have another ending of this step.
    while let Some(stem) = word.strip_suffix("alli")
        && measure(stem.as_bytes()) > 0
    {
        replace(word, 2, "");
    }
    if let Some(stem) = word.strip_suffix("logi") {
        // The l counts with the stem, so that "geologi" is long enough.
        if measure(&word.as_bytes()[..=stem.len()]) > 0 {
            replace(word, 1, "");
        }
        return;
    }
    apply(word, &STEP_2, |stem, _| measure(stem) > 0);
}

/// Step 5a: probate, cease.
fn strip_final_e(word: &mut String) {
    let Some(stem) = word.strip_suffix('e') else { return };
    let stem = stem.as_bytes();
    if measure(stem) > 1 || (measure(stem) == 1 && !ends_in_short_syllable(stem)) {
        replace(word, 1, "");
    }
}

/// Applies the first rule whose ending the word has, if the condition holds of the stem and the
/// ending; no other rule is tried.
fn apply(word: &mut String, rules: &[Rule], condition: impl Fn(&[u8], &str) -> bool) {
    if let Some((ending, kept)) = rules.iter().find(|(ending, _)| word.ends_with(ending))
        && condition(&word.as_bytes()[..word.len() - ending.len()], ending)
    {
        replace(word, ending.len(), kept);
    }
}

fn replace(word: &mut String, length: usize, with: &str) {
    word.truncate(word.len() - length);
    word.push_str(with);
}

/// What a letter sounds like, which depends on the one before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sound {
    Vowel,
    Consonant,
}

/// A y is a consonant unless it follows one; a digit is a consonant.
fn sounds(word: &[u8]) -> impl Iterator<Item = Sound> {
    word.iter().scan(Sound::Vowel, |before, letter| {
        *before = match (letter, *before) {
            (b'a' | b'e' | b'i' | b'o' | b'u', _) | (b'y', Sound::Consonant) => Sound::Vowel,
            _ => Sound::Consonant,
        };
        Some(*before)
    })
}

/// Porter's m: how often a consonant follows a vowel.
fn measure(stem: &[u8]) -> usize {
    let follows = sounds(stem).skip(1);
    let pairs = sounds(stem).zip(follows);
    pairs.filter(|pair| *pair == (Sound::Vowel, Sound::Consonant)).count()
}

fn has_vowel(stem: &[u8]) -> bool {
    sounds(stem).any(|sound| sound == Sound::Vowel)
}

fn is_consonant(word: &[u8], index: usize) -> bool {
    sounds(word).nth(index) == Some(Sound::Consonant)
}

/// Porter's *d.
fn ends_in_double_consonant(word: &[u8]) -> bool {
    let [.., before, last] = word else { return false };
    before == last && is_consonant(word, word.len() - 1)
}

/// Porter's *o: consonant, vowel, consonant other than w, x, y; NLTK: also a whole word of vowel
/// and consonant.
fn ends_in_short_syllable(word: &[u8]) -> bool {
    let consonant = |back: usize| is_consonant(word, word.len() - back);
    match word {
        [_, _] => !consonant(2) && consonant(1),
        [.., _, _, last] => {
            consonant(3) && !consonant(2) && consonant(1) && !matches!(last, b'w' | b'x' | b'y')
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_porters_paper_hold() {
        for (word, expected) in [
            ("caresses", "caress"),
            ("ponies", "poni"),
            ("feed", "feed"),
            ("agreed", "agre"),
            ("plastered", "plaster"),
            ("sing", "sing"),
            ("sized", "size"),
            ("hopping", "hop"),
            ("falling", "fall"),
            ("filing", "file"),
            ("happy", "happi"),
            ("conditional", "condit"),
            ("electriciti", "electr"),
            ("adoption", "adopt"),
            ("controll", "control"),
            ("rate", "rate"),
        ] {
            assert_eq!(stem(word), expected);
        }
    }

    #[test]
    fn nltks_changes_hold() {
        for (word, expected) in [
            ("dies", "die"),
            ("died", "die"),
            ("spied", "spi"),
            ("enjoy", "enjoy"),
            ("geologi", "geolog"),
            ("succeed", "succeed"),
        ] {
            assert_eq!(stem(word), expected);
        }
    }

    proptest! {
        #[test]
        fn a_stem_is_no_longer_than_its_word(word in "[a-z0-9]{0,12}") {
            prop_assert!(stem(&word).len() <= word.len());
        }
    }
}
