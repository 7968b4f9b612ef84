//! The only place that prints: results to standard output, everything else to standard error.
//!
//! So `trainer eval --json > file` and `trainer score ... | head` see results alone. A reader that
//! has gone away is no failure: what it did not want is dropped.

use std::io::{self, Write};

/// Prints a line of results on standard output.
pub fn result(line: &str) {
    // A closed pipe is the reader's choice, and there is nowhere left to report any other error.
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Prints a line of progress, warning or explanation on standard error.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
