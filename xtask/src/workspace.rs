//! Where the checkout and its build outputs lie, with the commands started there.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The checkout that xtask works on.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    /// The folder of the root Cargo.toml.
    pub(crate) root: PathBuf,
    /// Where Cargo puts what it builds: `CARGO_TARGET_DIR`, else `target`.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// The checkout that this program was started from. Cargo says which one that is, since several
    /// may share a target folder and so this very binary; started by hand, the one it was built in.
    pub(crate) fn of_this_checkout() -> Self {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = package.parent().expect("xtask lies in a folder of the workspace").to_path_buf();
        let target = root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
        Self { root, target }
    }

    /// `cargo` with these arguments at the root.
    ///
    /// `BURN_DEVICE=flex`, because feature unification makes `Device::default()` prefer a GPU in tests.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).current_dir(&self.root).env("BURN_DEVICE", "flex");
        command
    }
}

/// Runs the command with its output on the terminal, an error unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs the command and returns what it printed, an error with its complaints unless it succeeds.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        let complaints = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}: {}", shown(command), output.status, complaints.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed no text", shown(command)))
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    format!("`{}`", words.join(" "))
}

/// What lies in a folder, in the order of the names; nothing if there is no folder.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let cannot = || format!("cannot list {}", folder.display());
    let entries = fs::read_dir(folder).with_context(cannot)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>().with_context(cannot)?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_an_error_that_shows_it() {
        let error = run(Command::new("cargo").args(["--quiet", "no-such-verb"])).unwrap_err();
        assert!(error.to_string().contains("`cargo --quiet no-such-verb`"), "{error}");
        assert!(capture(&mut Command::new("no-such-program")).is_err());
    }
}
