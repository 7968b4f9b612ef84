//! HTML as text: what comes from outside is escaped, always.

use std::fmt::Write;

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::headers::PLAIN;

const STYLE: &str = include_str!("plain.css");

/// Text that shows as it is, also in an attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Invisible characters that turn the direction of a text could hide what it says.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                write!(escaped, "[U+{:04X}]", u32::from(character)).expect("a string takes all");
            }
            other if other.is_control() && !matches!(other, '\n' | '\t') => {
                escaped.push('\u{fffd}')
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// A page; `body` is HTML.
pub(super) fn page(title: &str, body: &str) -> Response {
    let title = escape(title);
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <link rel=\"stylesheet\" href=\"plain.css\">\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n\
         {body}</main>\n</body>\n</html>\n"
    );
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, PLAIN),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, html).into_response()
}

/// A table; the cells are HTML, numbers stand to the right.
pub(super) fn table(caption: &str, heads: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut html = format!("<table>\n<caption>{}</caption>\n<tr>", escape(caption));
    for head in heads {
        write!(html, "<th scope=\"col\">{}</th>", escape(head)).expect("a string takes all");
    }
    html += "</tr>\n";
    for row in rows {
        html += "<tr>";
        for cell in row {
            let number = cell.starts_with(|first: char| first.is_ascii_digit());
            let class = if number { " class=\"number\"" } else { "" };
            write!(html, "<td{class}>{cell}</td>").expect("a string takes all");
        }
        html += "</tr>\n";
    }
    html + "</table>\n"
}

/// `plain.css`
pub(crate) async fn style() -> Response {
    let headers = [(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
    (headers, STYLE).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_is_markup() {
        let check = |text: &str, expected: &str| assert_eq!(escape(text), expected);
        check("<script>alert('a')</script>", "&lt;script&gt;alert(&#39;a&#39;)&lt;/script&gt;");
        check("\" onload=\"x", "&quot; onload=&quot;x");
        check("&amp;", "&amp;amp;");
        check("a\u{202e}b\u{0}c\nd", "a[U+202E]b\u{fffd}c\nd");
    }
}
