//! How much an edit changed: characters inserted, deleted or replaced.
//!
//! Source: Levenshtein 1966; Wagner and Fischer 1974.

/// The fewest insertions, deletions and replacements of characters that turn one text into the other.
///
/// ```
/// use kudos_feedback::edit_distance::edit_distance;
/// assert_eq!(edit_distance("kitten", "sitting"), 3);
/// ```
pub fn edit_distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let (one, other) = without_common_ends(&one, &other);
    distance(one, other)
}

/// The edit distance over the length of the longer text: 0 where nothing changed, 1 where everything did.
///
/// ```
/// use kudos_feedback::edit_distance::character_change;
/// assert_eq!(character_change("a cat", "a hat"), 0.2);
/// assert_eq!(character_change("", ""), 0.0);
/// ```
pub fn character_change(before: &str, after: &str) -> f64 {
    let longer = before.chars().count().max(after.chars().count());
    if longer == 0 {
        return 0.0;
    }
    edit_distance(before, after) as f64 / longer as f64
}

/// What lies between the common beginning and the common end: most of an edit stays as it was.
fn without_common_ends<'a>(left: &'a [char], right: &'a [char]) -> (&'a [char], &'a [char]) {
    let common = |pairs: &mut dyn Iterator<Item = (&char, &char)>| {
        pairs.take_while(|(left, right)| left == right).count()
    };
    let begin = common(&mut left.iter().zip(right));
    let (left, right) = (&left[begin..], &right[begin..]);
    let end = common(&mut left.iter().rev().zip(right.iter().rev()));
    (&left[..left.len() - end], &right[..right.len() - end])
}

/// The fewest insertions, deletions and replacements from one to the other.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, old) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (place, new) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(old != new);
            diagonal = row[place + 1];
            row[place + 1] = replaced.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(before: &str, after: &str, changed: usize, longer: usize) {
        assert_eq!(character_change(before, after), changed as f64 / longer as f64, "{before}");
        assert_eq!(character_change(after, before), changed as f64 / longer as f64, "{after}");
    }

    #[test]
    fn distances_are_the_known_ones() {
        check("kitten", "sitting", 3, 7);
        check("saturday", "sunday", 3, 8);
        check("", "abc", 3, 3);
        check("aa", "aaa", 1, 3);
        check("東京都", "京都", 1, 3);
        check("abab", "ab", 2, 4);
        check("same", "same", 0, 4);
    }

    proptest! {
        #[test]
        fn common_ends_change_no_distance(left in "[ab]{0,8}", right in "[ab]{0,8}") {
            let (left, right): (Vec<char>, Vec<char>) =
                (left.chars().collect(), right.chars().collect());
            let (inner_left, inner_right) = without_common_ends(&left, &right);
            prop_assert_eq!(distance(inner_left, inner_right), distance(&left, &right));
        }
    }
}
