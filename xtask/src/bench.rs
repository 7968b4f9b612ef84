//! `cargo xtask bench`: the speed of training and generation beside PyTorch, in one run.
//!
//! Both sides run one after the other with the same number of threads and the same shapes; the
//! ratio is what counts, since machines are shared. `KUDOS_PYTHON` names a Python with torch
//! (`tests/golden/requirements.txt`).

use std::process::Command;

use anyhow::{Context, Result};

use crate::terminal;
use crate::workspace::{Workspace, capture, run as run_command};

const MODES: [&str; 2] = ["train", "generate"];

/// Builds the trainer as users run it when speed counts, and measures; the arguments are thread
/// counts, by default 1 and 2.
///
/// # Errors
/// The build or a measurement failed.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    run_command(&mut workspace.cargo(&["build", "--release", "--package", "trainer"]))?;
    let threads = if arguments.is_empty() { &["1", "2"][..] } else { arguments };
    let python = std::env::var("KUDOS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    for threads in threads {
        for mode in MODES {
            compare(workspace, &python, mode, threads)?;
        }
        let ours = capture(&mut trainer(workspace, "decode-at", threads))?;
        terminal::say(&format!("decode-at, {threads} threads, flex: {}", ours.trim()));
    }
    Ok(())
}

/// One mode on both sides, as a ratio.
fn compare(workspace: &Workspace, python: &str, mode: &str, threads: &str) -> Result<()> {
    let ours = capture(&mut trainer(workspace, mode, threads))?;
    let mut peer = Command::new(python);
    peer.current_dir(&workspace.root).args(["benches/peer_torch.py", mode, "--threads", threads]);
    let theirs = capture(&mut peer).context(
        "PyTorch's side: set KUDOS_PYTHON to a Python with tests/golden/requirements.txt",
    )?;
    let (a, b) = (number(&ours, "tokens_per_second")?, number(&theirs, "tokens_per_second")?);
    let (m, n) = (number(&ours, "peak_rss_mib")?, number(&theirs, "peak_rss_mib")?);
    terminal::say(&format!(
        "{mode}, {threads} threads: flex {a:.0} tokens/s, PyTorch {b:.0} tokens/s, ratio {:.2}; \
         peak memory {m:.0} MiB against {n:.0} MiB, ratio {:.2}",
        a / b,
        m / n
    ));
    Ok(())
}

fn trainer(workspace: &Workspace, mode: &str, threads: &str) -> Command {
    let arguments = ["run", "--quiet", "--release", "--package", "trainer", "--", "bench", mode];
    let mut command = workspace.cargo(&arguments);
    command.args(["--device", "flex"]).env("RAYON_NUM_THREADS", threads);
    command
}

/// A number of a JSON line.
fn number(json: &str, key: &str) -> Result<f64> {
    let start = json.find(&format!("\"{key}\":")).context("no such number in the output")?;
    let text = json[start + key.len() + 3..].trim_start();
    let end = text.find([',', '}']).context("the output is cut")?;
    text[..end].trim().parse().with_context(|| format!("{key} is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_key() {
        let line = r#"{"mode": "train", "tokens_per_second": 12.5,"peak_rss_mib":3}"#;
        assert_eq!(number(line, "tokens_per_second").unwrap(), 12.5);
        assert_eq!(number(line, "peak_rss_mib").unwrap(), 3.0);
        assert!(number(line, "absent").is_err());
    }
}
