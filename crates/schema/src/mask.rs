//! Takes what could identify a person out of free text before it leaves their machine.
//!
//! E-mail addresses, links and runs of six or more digits are replaced by `[e-mail]`, `[link]` and
//! `[number]`. Names and addresses in words are not recognized: people are asked not to write them.

/// Digits that make a number long: shorter ones are years, prices and counts.
const LONG_NUMBER: usize = 6;

/// The text with e-mail addresses, links and long numbers masked.
///
/// ```
/// use kudos_schema::mask_personal_data;
/// assert_eq!(
///     mask_personal_data("write to ann@example.org, call +44 20 7946 0958 in 2026"),
///     "write to [e-mail], call [number] in 2026"
/// );
/// ```
pub fn mask_personal_data(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let word = word_at(rest);
        let before = masked.chars().next_back();
        let begins =
            before.is_none_or(|before| before.is_whitespace() || "(<[\"'“,;:".contains(before));
        let length = if begins { link(word).or_else(|| address(word)) } else { None };
        let (mask, length) = match length {
            Some((mask, length)) => (Some(mask), length),
            None => match number(rest).filter(|_| !before.is_some_and(|c| c.is_ascii_digit())) {
                Some(length) => (Some("[number]"), length),
                None => (None, character.len_utf8()),
            },
        };
        masked.push_str(mask.unwrap_or(&rest[..length]));
        rest = &rest[length..];
    }
    masked
}

/// The text up to the next white space.
fn word_at(text: &str) -> &str {
    text.split(char::is_whitespace).next().unwrap_or_default()
}

/// A link at the beginning of `word`: its mask and its length in bytes.
fn link(word: &str) -> Option<(&'static str, usize)> {
    let lower = word.to_ascii_lowercase();
    let begins =
        ["http://", "https://", "ftp://", "www."].iter().any(|head| lower.starts_with(head));
    begins.then(|| ("[link]", trimmed(word).len()))
}

/// An e-mail address at the beginning of `word`: its mask and its length in bytes.
fn address(word: &str) -> Option<(&'static str, usize)> {
    let end = word.find(|c: char| !(c.is_alphanumeric() || "@.+-_%~!#$&*/=?^'`{|}".contains(c)));
    let word = trimmed(&word[..end.unwrap_or(word.len())]);
    let (name, host) = word.split_once('@')?;
    let named = !name.is_empty() && host.contains('.') && !host.starts_with('.');
    named.then_some(("[e-mail]", word.len()))
}

/// Without the punctuation of the sentence around it.
fn trimmed(word: &str) -> &str {
    word.trim_end_matches(|c: char| ".,;:!?)]}>\"'”。，".contains(c))
}

/// Length in bytes of a long number at the beginning of `text`: digits, one space, dot, dash, slash or
/// bracket between them.
fn number(text: &str) -> Option<usize> {
    let (mut digits, mut end, mut gap) = (0, 0, 0);
    for (place, character) in text.char_indices() {
        if character.is_ascii_digit() {
            (digits, end, gap) = (digits + 1, place + 1, 0);
        } else if (digits > 0 || character == '+' || character == '(')
            && gap < 2
            && " .-/()+".contains(character)
        {
            gap += 1;
        } else {
            break;
        }
    }
    (digits >= LONG_NUMBER).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_identifies_is_masked_and_the_rest_stays() {
        let check = |text: &str, masked: &str| assert_eq!(mask_personal_data(text), masked);
        check("see https://example.org/a?b=c.", "see [link].");
        check("(www.example.org)", "([link])");
        check("mail: a.b+c@mail.example.co.uk!", "mail: [e-mail]!");
        check("card 4111-1111-1111-1111, ok", "card [number], ok");
        check("+49 (30) 123456 and 1234567", "[number] and [number]");
        check("from 1998 to 2026, 12 345 people", "from 1998 to 2026, 12 345 people");
        check("a @ b, x@y, 3.14159", "a @ b, x@y, [number]");
        check("写信到 li@example.cn。", "写信到 [e-mail]。");
        check("", "");
    }
}
