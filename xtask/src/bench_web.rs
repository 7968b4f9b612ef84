//! `cargo xtask bench web`: what a visitor downloads, and how fast the CPU engine decodes in Chromium beside onnxruntime-web and
//! wllama, in one run.
//!
//! All run with one thread on models of the same shapes with random weights (`benches/web/models.py`). WebGPU needs a machine with
//! a graphics card and is not measured here.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::suite::step;
use crate::workspace::{Workspace, run as run_command};
use crate::{page, prerequisites, web_tools};

const BENCH: &str = "benches/web";
const REQUIREMENTS: &str = "benches/web/requirements.txt";
/// The shapes, as models.py names them.
const SHAPES: [&str; 2] = ["xs", "s"];

/// Builds the page as it is shipped, prints its sizes, then the speeds.
///
/// # Errors
/// Something is missing, the build failed, the page is larger than it may be, or a runtime failed.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let bench = workspace.root.join(BENCH);
    let tools = step("prerequisites", || {
        web_tools::install_packages(&bench)?;
        web_tools::find(workspace, web_tools::Need::Chromium)
    })?;
    // The wasm optimizer that trunk looks for is one of the packages.
    let path = path_with(&bench.join("node_modules/.bin"))?;
    let site = step("page", || page::build(workspace, &page::Profile::Release(path)))?;
    let models = step("models", || make_models(workspace))?;
    let node = |script: &str, arguments: &[&Path]| {
        let mut node = Command::new("node");
        run_command(tools.offer_to(node.arg(bench.join(script)).args(arguments)))
    };
    step("speed", || node("speed.js", &[&site, &models]))?;
    step("sizes", || node("sizes.js", &[&site]))
}

/// The models of the peers and, of the same shapes, bundles for our engine.
fn make_models(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join("bench-web");
    let python = prerequisites::python_with(workspace, "python-bench-web", REQUIREMENTS)?;
    let script = workspace.root.join(BENCH).join("models.py");
    run_command(Command::new(python).arg(script).arg(&folder))?;
    // As the tests build it: the same features, so that nothing is compiled twice.
    let trainer = ["build", "--workspace", "--exclude", "collector", "--bin", "trainer"];
    run_command(&mut workspace.cargo(&trainer))?;
    for shape in SHAPES {
        let bundle = folder.join(format!("{shape}.kudos"));
        if bundle.exists() {
            fs::remove_file(&bundle)
                .with_context(|| format!("cannot remove {}", bundle.display()))?;
        }
        let mut trainer = Command::new(workspace.target.join("debug/trainer"));
        trainer.arg("export").arg("--model").arg(folder.join(shape));
        trainer.arg("--card").arg(folder.join("card.toml")).arg("--output").arg(bundle);
        run_command(&mut trainer)?;
    }
    Ok(folder)
}

/// `PATH` with a folder before the others.
fn path_with(folder: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_path_buf()).chain(env::split_paths(&path));
    env::join_paths(folders).context("a folder of PATH has a separator in its name")
}
