//! The only place of xtask that writes to the terminal. A reader who has gone away (`| head`) is no error.

use std::io::Write;

/// Writes a line for the reader of the results.
pub(crate) fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Writes a line about what went wrong.
pub(crate) fn complain(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}
