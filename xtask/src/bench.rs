//! `cargo xtask bench`: the speed of training and generation, measured on the optimized build.

use anyhow::Result;

use crate::workspace::{Workspace, run as run_command};

/// Builds the trainer as users run it when speed counts, and hands it the arguments after `bench`.
///
/// # Errors
/// The build or the measurement failed.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    run_command(&mut workspace.cargo(&["build", "--release", "--package", "trainer"]))?;
    measure(workspace, arguments)
}

/// The measurements themselves, one process each.
fn measure(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let trainer = ["run", "--quiet", "--release", "--package", "trainer", "--", "bench"];
    run_command(&mut workspace.cargo(&[trainer.as_slice(), arguments].concat()))
}
