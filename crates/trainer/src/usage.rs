//! Errors that the person can mend before trying again, which end the program with exit code 2.

use std::fmt;

use crate::store::is_full;

/// Wrong usage or input: one clear line with a remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An error of wrong usage or input.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Usage(message.into()))
}

/// The exit code of an error: 2 for usage and a full disk, 1 for a failed run.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let mendable = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<Usage>() || cause.downcast_ref::<std::io::Error>().is_some_and(is_full)
    };
    if error.chain().any(mendable) { 2 } else { 1 }
}
