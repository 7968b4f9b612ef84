//! Rust source files as lines of text: enough of the language for guards, given that rustfmt has been over it.

use std::fs;
use std::path::Path;

/// A file of the repository.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// From the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Numbered lines without the test modules, whose code may do what the product may not.
    pub(super) fn product_lines(&self) -> Vec<(usize, &str)> {
        if self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            return Vec::new();
        }
        let mut kept = Vec::new();
        let mut lines = (1..).zip(self.text.lines()).peekable();
        while let Some((number, line)) = lines.next() {
            let module =
                lines.peek().is_some_and(|(_, next)| next.trim_start().starts_with("mod "));
            if line.trim() != "#[cfg(test)]" || !module {
                kept.push((number, line));
                continue;
            }
            let end = format!("{}}}", indentation(line));
            let declared = lines.next().is_some_and(|(_, line)| line.ends_with(';'));
            if !declared {
                lines.by_ref().find(|(_, line)| *line == end);
            }
        }
        kept
    }

    /// Product lines that are not comments.
    pub(super) fn code_lines(&self) -> Vec<(usize, &str)> {
        let mut lines = self.product_lines();
        lines.retain(|(_, line)| !line.trim_start().starts_with("//"));
        lines
    }
}

/// Every Rust file in `folder` (from the root), in order of path.
pub(super) fn sources_in(root: &Path, folder: &str) -> Vec<Source> {
    let mut paths = vec![root.join(folder)];
    let mut sources = Vec::new();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder of the checkout can be listed");
            paths.extend(entries.map(|entry| entry.expect("a listed entry can be read").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is readable UTF-8");
            let relative = path.strip_prefix(root).expect("the walk began at the root");
            let parts = relative.iter().map(|part| part.to_string_lossy());
            sources.push(Source { path: parts.collect::<Vec<_>>().join("/"), text });
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources
}

/// The spaces that the line begins with.
pub(super) fn indentation(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// The line without what stands between its double quotes.
pub(super) fn without_strings(line: &str) -> String {
    let visible = line.replace("\\\"", "").replace("'\"'", "");
    visible.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

/// Whether `needle` occurs and neither begins nor ends within a longer identifier.
pub(super) fn has_word(line: &str, needle: &str) -> bool {
    let inside = |letter: Option<char>| letter.is_some_and(|it| it.is_alphanumeric() || it == '_');
    line.match_indices(needle).any(|(start, _)| {
        let (before, after) = (&line[..start], &line[start + needle.len()..]);
        !inside(before.chars().next_back()) && !inside(after.chars().next())
    })
}

#[test]
fn product_lines_skip_test_modules_and_nothing_after_them() {
    let check = |text: &str, expected: &[usize]| {
        let source = Source::new("crates/core/src/a.rs", text);
        let numbers: Vec<usize> =
            source.product_lines().iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, expected, "{text}");
    };
    check("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n", &[1, 6]);
    check("#[cfg(test)]\nmod tests;\nfn c() {}\n", &[3]);
    check("#[cfg(test)]\nfn only_for_tests() {}\n", &[1, 2]);
    assert!(Source::new("crates/core/src/a/tests.rs", "fn a() {}").product_lines().is_empty());
}

#[test]
fn a_word_is_not_found_within_a_longer_one() {
    assert!(has_word("let now = Instant::now();", "Instant"));
    assert!(!has_word("Instantaneous", "Instant"));
    assert!(!has_word("x.into_data_async().await", "into_data"));
    assert!(has_word("x.try_into_data() + x.into_data()", "into_data"));
    assert_eq!(without_strings(r#"say("wgpu \" x", wgpu)"#), r#"say("", wgpu)"#);
}
