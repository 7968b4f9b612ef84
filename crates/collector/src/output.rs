//! The only place of the collector that writes to the terminal. A reader who has gone away (`| head`) is no error.

use std::io::Write;

use serde::Serialize;

/// Writes a line for the reader of the results.
pub fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Writes a line about what went wrong.
pub fn complain(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Writes an entry of the log: JSON, a line each, on standard error.
pub fn log(entry: &impl Serialize) {
    // One write a line, so that lines of several tasks do not mix.
    let line = serde_json::to_string(entry).expect("log entries are JSON") + "\n";
    drop(std::io::stderr().write_all(line.as_bytes()));
}
