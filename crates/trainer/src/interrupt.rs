//! Ctrl-C: the first press asks the loop to stop after the current step, the second aborts.
//!
//! The loop looks at the flag; nothing is torn down under it. An abort is as safe as `kill -9`:
//! the store never leaves half a file under its name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use thiserror::Error;

use crate::output;

/// The exit code of a process ended by Ctrl-C, as shells know it: 128 + SIGINT.
const ABORTED: i32 = 130;

/// Ctrl-C cannot be watched.
#[derive(Debug, Error)]
#[error("cannot watch for Ctrl-C: install the handler once a process")]
pub struct InterruptError(#[from] ctrlc::Error);

/// Whether someone asked the run to stop. Clones share the answer.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    presses: Arc<AtomicU32>,
}

/// What a press of Ctrl-C means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    StopAfterThisStep,
    Abort,
}

impl Interrupt {
    /// One that only [`Interrupt::request`] sets: for tests and for programs without a terminal.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that Ctrl-C sets.
    ///
    /// # Errors
    /// A handler is installed already, or the system refuses.
    pub fn install() -> Result<Self, InterruptError> {
        let interrupt = Self::new();
        let pressed = interrupt.clone();
        ctrlc::set_handler(move || match pressed.press() {
            Meaning::StopAfterThisStep => output::note(
                "\nstopping after this step and saving; press Ctrl-C again to abort at once",
            ),
            Meaning::Abort => abort(),
        })?;
        Ok(interrupt)
    }

    /// Asks the run to stop after the current step.
    pub fn request(&self) {
        self.presses.fetch_max(1, Ordering::Relaxed);
    }

    /// Whether the run should save and leave.
    pub fn requested(&self) -> bool {
        self.presses.load(Ordering::Relaxed) > 0
    }

    fn press(&self) -> Meaning {
        match self.presses.fetch_add(1, Ordering::Relaxed) {
            0 => Meaning::StopAfterThisStep,
            _ => Meaning::Abort,
        }
    }
}

#[expect(clippy::exit, reason = "the second Ctrl-C is a demand to end at once, from any thread")]
fn abort() {
    output::note("aborted; --resume continues from the last checkpoint");
    std::process::exit(ABORTED);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_press_asks_and_the_second_aborts() {
        let interrupt = Interrupt::new();
        let loop_side = interrupt.clone();
        assert!(!loop_side.requested());
        assert_eq!(interrupt.press(), Meaning::StopAfterThisStep);
        assert!(loop_side.requested());
        assert_eq!(interrupt.press(), Meaning::Abort);
    }

    #[test]
    fn a_request_counts_as_the_first_press() {
        let interrupt = Interrupt::new();
        interrupt.request();
        interrupt.request();
        assert!(interrupt.requested());
        assert_eq!(interrupt.press(), Meaning::Abort);
    }
}
