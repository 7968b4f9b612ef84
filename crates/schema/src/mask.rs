//! Takes what could identify a person out of free text before it leaves their machine.
//!
//! E-mail addresses, links and runs of six or more digits are replaced by `[e-mail]`, `[link]` and
//! `[number]`. Names and addresses in words are not recognized: people are asked not to write them.

use crate::{Rating, Verdict};

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
    let mut run = Run::default();
    let mut place = 0;
    while let Some(character) = text[place..].chars().next() {
        let rest = &text[place..];
        let before = masked.chars().next_back();
        let begins =
            before.is_none_or(|before| before.is_whitespace() || "(<[\"'“,;:".contains(before));
        if place >= run.end {
            run = Run::at(text, place);
        }
        let found = if begins { link(rest).or_else(|| run.address(text, place)) } else { None };
        let (mask, length) = match found {
            Some((mask, length)) => (Some(mask), length),
            None => match number(rest).filter(|_| !before.is_some_and(|c| c.is_ascii_digit())) {
                Some(length) => (Some("[number]"), length),
                None => (None, character.len_utf8()),
            },
        };
        masked.push_str(mask.unwrap_or(&rest[..length]));
        place += length;
    }
    masked
}

impl Rating {
    /// The rating with what the person typed masked. What the policy wrote stays: its tokens are
    /// recorded, and its text must be theirs. A mask may be longer than what it hides.
    #[must_use]
    pub fn without_personal_data(mut self) -> Self {
        for message in &mut self.prompt.messages {
            message.content = mask_personal_data(&message.content);
        }
        self.prompt.text = mask_personal_data(&self.prompt.text);
        self.remark = self.remark.map(|remark| mask_personal_data(&remark));
        for reason in &mut self.reasons {
            *reason = mask_personal_data(reason);
        }
        if let Verdict::Edit(text) = &mut self.verdict {
            *text = mask_personal_data(text);
        }
        self
    }
}

/// A link at the beginning of `text`: its mask and its length in bytes.
fn link(text: &str) -> Option<(&'static str, usize)> {
    let begins_with = |head: &&str| {
        let begin = text.as_bytes().get(..head.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(head.as_bytes()))
    };
    ["http://", "https://", "ftp://", "www."].iter().find(|head| begins_with(head))?;
    let word = text.split(char::is_whitespace).next().unwrap_or_default();
    Some(("[link]", trimmed(word).len()))
}

/// A stretch of characters that addresses are made of, looked at once: strangers send long ones, and an
/// address may begin anywhere in it.
#[derive(Default)]
struct Run {
    /// Behind its last character; all places are in bytes from the start of the text.
    end: usize,
    /// The same without the punctuation of the sentence around it.
    trimmed: usize,
    /// The first `@` from where an address may begin.
    at: Option<usize>,
    /// The last dot before `trimmed`.
    last_dot: Option<usize>,
}

impl Run {
    /// The one that begins at `place`, perhaps with no character in it.
    fn at(text: &str, place: usize) -> Self {
        let rest = &text[place..];
        let foreign = |c: char| !(c.is_alphanumeric() || "@.+-_%~!#$&*/=?^'`{|}".contains(c));
        let run = &rest[..rest.find(foreign).unwrap_or(rest.len())];
        let content = trimmed(run);
        Self {
            end: place + run.len(),
            trimmed: place + content.len(),
            at: content.find('@').map(|at| place + at),
            last_dot: content.rfind('.').map(|dot| place + dot),
        }
    }

    /// An e-mail address at `place`, which never goes back: its mask and its length in bytes.
    fn address(&mut self, text: &str, place: usize) -> Option<(&'static str, usize)> {
        while self.at.is_some_and(|at| at < place) {
            let from = self.at? + 1;
            let rest = text.get(from..self.trimmed)?;
            self.at = rest.find('@').map(|at| from + at);
        }
        let at = self.at?;
        let named = at > place && self.last_dot.is_some_and(|dot| dot > at + 1);
        (named && text.as_bytes()[at + 1] != b'.').then(|| ("[e-mail]", self.trimmed - place))
    }
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
    fn a_long_text_without_spaces_takes_no_quadratic_time() {
        for part in ["'", "a", ",", "'a", "@", "'@", "'a@b", "12345x", "(x", "www,", "京"] {
            let text = part.repeat(1 << 18);
            assert_eq!(mask_personal_data(&text), text, "{part}");
        }
        assert_eq!(mask_personal_data(&"'a@b.".repeat(1 << 18)).len(), 9);
    }

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
        check("a'b@c.d'e, 'f@g.h'", "[e-mail], [e-mail]'");
        check("@a.b '@c.d x@.e.f WWW.G", "@a.b [e-mail] x@.e.f [link]");
        check("a@b.'c@d", "[e-mail]");
    }
}
