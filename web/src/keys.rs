//! Which keys are the page's, and which belong to the element that has the focus.

/// The element that a key was pressed on.
#[derive(Debug, Clone, Copy)]
pub struct KeyTarget<'a> {
    /// Its tag name in lower case.
    pub tag: &'a str,
    /// Its `type` attribute in lower case, empty where there is none.
    pub kind: &'a str,
}

/// Whether `key`, pressed on `target`, is for the page: text fields keep every key, other controls those
/// that work them.
pub fn is_for_page(key: &str, target: KeyTarget<'_>) -> bool {
    let presses = matches!(key, "Enter" | " ");
    let moves = key.starts_with("Arrow") || matches!(key, "Home" | "End" | "PageUp" | "PageDown");
    match (target.tag, target.kind) {
        ("button" | "a" | "summary", _) | ("input", "button" | "submit" | "file") => !presses,
        ("input", "checkbox" | "radio" | "range") => !presses && !moves,
        // A select jumps to the entry that begins with the letter.
        ("input" | "textarea" | "select", _) => false,
        (_, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tag: &str, kind: &str, expected: [bool; 4]) {
        let found = ["l", "Enter", "ArrowLeft", "Escape"]
            .map(|key| is_for_page(key, KeyTarget { tag, kind }));
        assert_eq!(found, expected, "letter, Enter, arrow, Escape on {tag} {kind}");
    }

    #[test]
    fn text_fields_keep_all_keys() {
        for (tag, kind) in [("textarea", ""), ("select", ""), ("input", ""), ("input", "number")] {
            check(tag, kind, [false; 4]);
        }
    }

    #[test]
    fn controls_keep_the_keys_that_work_them() {
        check("button", "", [true, false, true, true]);
        check("summary", "", [true, false, true, true]);
        check("input", "file", [true, false, true, true]);
        check("input", "radio", [true, false, false, true]);
        check("input", "range", [true, false, false, true]);
    }

    #[test]
    fn elsewhere_every_key_is_the_pages() {
        check("body", "", [true; 4]);
        check("p", "", [true; 4]);
    }
}
