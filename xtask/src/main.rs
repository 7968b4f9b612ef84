//! `cargo xtask`: what a contributor and the continuous integration run, and nothing that a user needs.
//!
//! Plain processes started one after the other, so that each line can be repeated by hand.

mod bench;
mod bench_collector;
mod bench_trust;
mod bench_web;
mod dependencies;
mod license;
mod page;
mod prerequisites;
mod site;
mod suite;
mod terminal;
mod web_tools;
mod workspace;

use std::process::ExitCode;

use crate::workspace::Workspace;

const HELP: &str = "\
cargo xtask <task>

  test    format, lints, tests, doc tests, documentation, dependencies, the page in a browser: all that must pass
  web     only the page: builds it and drives browsers through it: [PARTS OF TEST FILES' NAMES...]
  site    the end of `trunk build`, which calls it: policies with their catalog, the service worker
  bench   speed of training and generation beside PyTorch: [THREADS...] [wgpu:N...];
          `bench web`: size of the shipped page, speed in a browser beside onnxruntime-web and wllama;
          `bench trust`: agreement, reliability and strengths beside crowd-kit, krippendorff and arena-rank;
          `bench collector`: ratings a second, latency and memory on SQLite and PostgreSQL: [ROWS TO EXPORT]
  help    this text

Environment
  KUDOS_COLLECTOR     address that the page posts ratings to, read by `site`; without it they stay with the visitor
  KUDOS_PYTHON        a Python that has tests/golden/requirements-test.txt, instead of target/python
  KUDOS_LAVAPIPE_ICD  the ICD file of a software Vulkan driver, instead of the system's lvp_icd*.json
  KUDOS_POSTGRES      the folder of PostgreSQL's programs, instead of the newest in /usr/lib/postgresql; `none` leaves its tests out
  KUDOS_CHROMIUM      a Chromium or Chrome, instead of the first on the PATH
  KUDOS_FIREFOX       a Firefox, likewise; `none` leaves its tests out
  KUDOS_WEBKIT        a WebKitWebDriver, likewise; `none` leaves its tests out";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let workspace = Workspace::of_this_checkout();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["test"] => suite::run(&workspace),
        ["web", names @ ..] => page::run(&workspace, names),
        ["site"] => site::run(&workspace, None),
        ["site", folder] => site::run(&workspace, Some(folder)),
        ["bench", "web"] => bench_web::run(&workspace),
        ["bench", "trust"] => bench_trust::run(&workspace),
        ["bench", "collector", rest @ ..] => bench_collector::run(&workspace, rest),
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
