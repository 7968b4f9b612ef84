//! What was typed wrongly: such an error ends the program with status 2.

use std::fmt;

/// A mistake of the person at the keyboard, with what to type instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The status that the program ends with: 2 for a wrong usage or input, 1 for a failed run.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() { 2 } else { 1 }
}
