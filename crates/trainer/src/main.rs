//! The `trainer` program.

use std::process::ExitCode;

use clap::Parser;
use trainer::args::Cli;
use trainer::{output, usage};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match trainer::run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("error: {error:#}"));
            ExitCode::from(usage::exit_code(&error))
        }
    }
}
