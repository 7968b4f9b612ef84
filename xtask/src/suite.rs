//! `cargo xtask test`: every check that a change must pass, cheapest first, stopping at the first failure.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::workspace::{Workspace, capture, run as run_command};
use crate::{dependencies, page, prerequisites, terminal, web_tools};

const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Everything but the collector, which is compiled by itself: features of its dependencies would be united with those of
/// burn's, and `cargo run -p trainer` would compile burn a second time.
const WITHOUT_COLLECTOR: [&str; 3] = ["--workspace", "--exclude", "collector"];
const COLLECTOR: [&str; 2] = ["--package", "collector"];

/// Runs all steps.
///
/// # Errors
/// The first step that failed, by name.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let begin = Instant::now();
    let cargo = |arguments: &[&str]| run_command(&mut workspace.cargo(arguments));

    step("format", || cargo(&["fmt", "--all", "--check"]))?;
    step("dependencies", || dependencies::check(workspace))?;
    let tools = step("prerequisites", || {
        wasm_target_is_installed(workspace)?;
        prerequisites::find(workspace)
    })?;
    let web_tools =
        step("prerequisites of the page", || web_tools::find(workspace, web_tools::Need::All))?;
    step("lints", || {
        for packages in [WITHOUT_COLLECTOR.as_slice(), &COLLECTOR] {
            let denied = ["--all-targets", "--", "--deny", "warnings"];
            cargo(&[&["clippy"], packages, &denied].concat())?;
        }
        Ok(())
    })?;
    step("lints for wasm32", || {
        let packages = ["clippy", "-p", "kudos-core", "-p", "web", "-p", "adapter", "-p", "engine"];
        let targets = ["--lib", "--bins", "--target", WASM_TARGET, "--", "--deny", "warnings"];
        cargo(&[packages.as_slice(), &targets].concat())
    })?;
    step("tests", || {
        for packages in [WITHOUT_COLLECTOR.as_slice(), &COLLECTOR] {
            let arguments = [&["test"], packages, &["--lib", "--bins", "--tests"]].concat();
            run_command(tools.offer_to(&mut workspace.cargo(&arguments)))?;
        }
        Ok(())
    })?;
    step("doc tests", || {
        for packages in [WITHOUT_COLLECTOR.as_slice(), &COLLECTOR] {
            let arguments = [&["test"], packages, &["--doc"]].concat();
            run_command(tools.offer_to(&mut workspace.cargo(&arguments)))?;
        }
        Ok(())
    })?;
    step("documentation", || {
        for packages in [WITHOUT_COLLECTOR.as_slice(), &COLLECTOR] {
            let arguments = [&["doc"], packages, &["--no-deps"]].concat();
            run_command(workspace.cargo(&arguments).env("RUSTDOCFLAGS", "--deny warnings"))?;
        }
        Ok(())
    })?;
    step("page", || page::build(workspace, &page::Profile::Dev).map(drop))?;
    step("programs", || page::build_programs(workspace))?;
    step("browser tests", || page::test(workspace, &web_tools, &[]))?;
    terminal::say(&format!("\nall steps passed in {:.0} s", begin.elapsed().as_secs_f64()));
    Ok(())
}

/// Runs one step under its heading; the error names it.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    terminal::say(&format!("\n== {name}"));
    let begin = Instant::now();
    let value = work().with_context(|| format!("step `{name}` failed"))?;
    terminal::say(&format!("== {name}: passed in {:.1} s", begin.elapsed().as_secs_f64()));
    Ok(value)
}

fn wasm_target_is_installed(workspace: &Workspace) -> Result<()> {
    let arguments = ["rustc", "--print", "target-libdir", "--target", WASM_TARGET];
    let mut rustc = std::process::Command::new(arguments[0]);
    let folder = capture(rustc.args(&arguments[1..]).current_dir(&workspace.root))?;
    if !Path::new(folder.trim()).is_dir() {
        bail!(
            "Rust's target {WASM_TARGET} is missing: run `rustup target add {WASM_TARGET}` and try again"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_is_named_before_its_cause() {
        let error = step("tests", || -> Result<()> { bail!("two tests failed") }).unwrap_err();
        assert_eq!(format!("{error:#}"), "step `tests` failed: two tests failed");
        assert_eq!(step("tests", || Ok(7)).unwrap(), 7);
    }
}
