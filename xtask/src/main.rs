//! `cargo xtask`: what a contributor and the continuous integration run, and nothing that a user needs.
//!
//! Plain processes started one after the other, so that each line can be repeated by hand.

mod bench;
mod dependencies;
mod license;
mod prerequisites;
mod suite;
mod terminal;
mod workspace;

use std::process::ExitCode;

use crate::workspace::Workspace;

const HELP: &str = "\
cargo xtask <task>

  test    format, lints, tests, doc tests, documentation, dependencies: all that must pass
  bench   speed of training and generation beside PyTorch: [THREADS...] [wgpu:N...]
  help    this text

Environment
  KUDOS_PYTHON        a Python that has tests/golden/requirements-test.txt, instead of target/python
  KUDOS_LAVAPIPE_ICD  the ICD file of a software Vulkan driver, instead of the system's lvp_icd*.json";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let workspace = Workspace::of_this_checkout();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["test"] => suite::run(&workspace),
        ["bench", rest @ ..] => bench::run(&workspace, rest),
        [] | ["help" | "--help" | "-h"] => {
            terminal::say(HELP);
            Ok(())
        }
        [first, ..] => {
            terminal::complain(&format!(
                "there is no `cargo xtask {first}` in this form\n\n{HELP}"
            ));
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
