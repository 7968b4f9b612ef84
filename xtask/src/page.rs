//! `cargo xtask web`: builds the page and lets a real browser go through it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::suite::step;
use crate::web_tools::{self, BROWSER_TESTS, WebTools};
use crate::workspace::{Workspace, list, run as run_command};

/// Builds what the browser tests need and runs them; `names` are parts of the names of test files, none = all.
///
/// # Errors
/// The step that failed.
pub(crate) fn run(workspace: &Workspace, names: &[&str]) -> Result<()> {
    let tools =
        step("prerequisites of the page", || web_tools::find(workspace, web_tools::Need::All))?;
    step("programs", || build_programs(workspace))?;
    step("page", || build(workspace, &Profile::Dev).map(drop))?;
    step("browser tests", || test(workspace, &tools, names))
}

/// How the page is compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quickly.
    Dev,
    /// As it is shipped: link-time optimization, and wasm-opt, found on this `PATH`.
    Release(OsString),
}

/// Builds the page with trunk and returns its folder.
///
/// # Errors
/// trunk failed.
pub(crate) fn build(workspace: &Workspace, profile: &Profile) -> Result<PathBuf> {
    let mut trunk = Command::new("trunk");
    trunk.current_dir(&workspace.root).args(["build", "--offline"]);
    let folder = match profile {
        Profile::Dev => workspace.target.join("site"),
        Profile::Release(path) => {
            trunk.arg("--release").env("PATH", path);
            workspace.target.join("site-release")
        }
    };
    trunk.arg("--dist").arg(&folder);
    // trunk takes NO_COLOR for the flag `--no-color` and refuses the usual value 1.
    run_command(trunk.env_remove("NO_COLOR"))?;
    Ok(folder)
}

/// Builds the programs that the page meets.
///
/// # Errors
/// A build failed.
pub(crate) fn build_programs(workspace: &Workspace) -> Result<()> {
    // The trainer as the tests build it: the same features, so that nothing is compiled twice.
    let trainer = ["build", "--workspace", "--exclude", "collector", "--bin", "trainer"];
    run_command(&mut workspace.cargo(&trainer))?;
    run_command(&mut workspace.cargo(&["build", "--package", "collector"]))
}

/// Runs the browser tests on the page that was built for development.
///
/// # Errors
/// A test failed, or there is none of these names.
pub(crate) fn test(workspace: &Workspace, tools: &WebTools, names: &[&str]) -> Result<()> {
    let files = test_files(&workspace.root.join(BROWSER_TESTS), names)?;
    if files.is_empty() {
        bail!("no test file of {BROWSER_TESTS} has {} in its name", names.join(" or "));
    }
    let debug = workspace.target.join("debug");
    let mut node = Command::new("node");
    // One at a time: each drives a browser of its own, and some measure time.
    node.args(["--test", "--test-concurrency=1", "--test-reporter=spec"])
        .args(files)
        .current_dir(&workspace.root)
        .env("KUDOS_SITE", workspace.target.join("site"))
        .env("KUDOS_SCREENSHOTS", workspace.target.join("screenshots"))
        .env("KUDOS_TRAINER", debug.join(format!("trainer{}", std::env::consts::EXE_SUFFIX)))
        .env(
            "KUDOS_COLLECTOR_PROGRAM",
            debug.join(format!("collector{}", std::env::consts::EXE_SUFFIX)),
        );
    run_command(tools.offer_to(&mut node))
}

/// The test files of the folder in order, those with one of `names` in theirs.
fn test_files(folder: &Path, names: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = list(folder)?;
    files.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let wanted = names.is_empty() || names.iter().any(|part| name.contains(part));
        name.ends_with(".test.js") && wanted
    });
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn test_files_are_chosen_by_parts_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["write.test.js", "rate.test.js", "server.js"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let names = |parts: &[&str]| -> Vec<String> {
            let files = test_files(folder.path(), parts).unwrap();
            files.iter().map(|it| it.file_name().unwrap().to_string_lossy().into()).collect()
        };
        let (all, some, none) = (names(&[]), names(&["rat", "server"]), names(&["stop"]));
        assert_eq!(all, ["rate.test.js", "write.test.js"]);
        assert_eq!(some, ["rate.test.js"]);
        assert!(none.is_empty());
    }
}
