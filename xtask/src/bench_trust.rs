//! `cargo xtask bench trust`: what to think of raters and policies, beside the Python packages, on the same data in one run.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::workspace::{Workspace, capture, run as run_command};
use crate::{prerequisites, terminal};

const PEER: &str = "benches/trust/peer.py";
const REQUIREMENTS: &str = "benches/trust/requirements.txt";
/// What is timed, and the turns of the peer: one of crowd-kit's is half a minute.
const MODES: [(&str, &str); 4] =
    [("dawid_skene", "3"), ("alpha", "3"), ("bradley_terry", "3"), ("crowd_bt", "1")];

/// Makes the data, times both sides in turns and prints ratios.
///
/// # Errors
/// A build or a measurement failed, or the packages cannot be installed.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let python = prerequisites::python_with(workspace, "python-bench-trust", REQUIREMENTS)?;
    run_command(&mut workspace.cargo(&[
        "build",
        "--package",
        "kudos-feedback",
        "--example",
        "trust",
    ]))?;
    let ours = workspace.target.join("debug/examples/trust");
    let folder = workspace.target.join("bench-trust");
    fs::create_dir_all(&folder)?;
    let peer = |arguments: &[&str]| {
        let mut peer = Command::new(&python);
        peer.current_dir(&workspace.root).arg(PEER).args(arguments);
        peer
    };
    let data = folder.to_string_lossy();
    run_command(&mut peer(&["data", &data]))?;
    for (mode, turns) in MODES {
        let theirs = seconds(&mut peer(&[mode, &data, "--turns", turns]))?;
        let ours = seconds(Command::new(&ours).arg(mode).arg(Path::new(&folder)))?;
        let ratio = theirs / ours;
        terminal::say(&format!("{mode}: {theirs:.4} s and {ours:.4} s, ratio {ratio:.1}"));
    }
    Ok(())
}

/// The seconds in the last line of what a side printed.
fn seconds(side: &mut Command) -> Result<f64> {
    let text = capture(side)?;
    let line = text.trim().lines().last().unwrap_or_default();
    let row: Value =
        serde_json::from_str(line).with_context(|| format!("this is no JSON: {line}"))?;
    row["seconds"].as_f64().with_context(|| format!("there are no seconds in {line}"))
}
