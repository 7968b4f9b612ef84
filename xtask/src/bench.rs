//! `cargo xtask bench`: the speed of training and generation beside PyTorch, in one run.
//!
//! Both sides take turns with the same number of threads and the same shapes, and the better of each
//! side's turns counts: machines are shared, so a ratio of one sitting is what can be trusted, that of
//! CPU seconds more than that of the clock. `KUDOS_PYTHON` names a Python with torch
//! (`tests/golden/requirements.txt`).

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::terminal;
use crate::workspace::{Workspace, capture, run as run_command};

const MODES: [&str; 2] = ["train", "generate"];

/// Turns of each side.
const TURNS: usize = 2;

const PYTORCH: &str =
    "PyTorch's side: set KUDOS_PYTHON to a Python with tests/golden/requirements.txt";

/// Builds the trainer as users run it, in the one profile whose dependencies are fully optimized, and
/// measures; the arguments are thread counts (by default 1 and 2) and wgpu adapters, as `trainer
/// devices` names them (by default the first that is no software).
///
/// # Errors
/// The build or a measurement failed.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    run_command(&mut workspace.cargo(&["build", "--package", "trainer"]))?;
    let bench = Bench::new(workspace);
    let (adapters, threads): (Vec<&str>, Vec<&str>) =
        arguments.iter().partition(|argument| argument.starts_with("wgpu"));
    let threads = if threads.is_empty() { vec!["1", "2"] } else { threads };
    for mode in MODES {
        let rates = threads.iter().map(|threads| bench.compare("flex", mode, threads));
        let rates = rates.collect::<Result<Vec<f64>>>()?;
        if let [first, .., last] = rates.as_slice() {
            let (few, many) = (threads[0], threads[threads.len() - 1]);
            let gain = last / first;
            terminal::say(&format!("{mode}, flex: {many} threads are {gain:.2} x {few}"));
        }
    }
    for threads in &threads {
        bench.decode_at(threads)?;
    }
    let adapters = match adapters.as_slice() {
        [] => bench.gpu()?,
        named => named.iter().map(|name| (*name).to_owned()).collect(),
    };
    if adapters.is_empty() {
        terminal::say("wgpu: no GPU here; `cargo xtask bench wgpu:0` measures a software adapter");
    }
    for adapter in &adapters {
        for mode in MODES {
            bench.compare(adapter, mode, "1")?;
        }
    }
    let memory = bench.ours("memory", "flex", "1")?;
    terminal::say(&format!(
        "2000 steps of a small model, flex: {:.0} MiB resident after 200, {:.0} MiB at the end",
        number(&memory, "rss_mib_early")?,
        number(&memory, "rss_mib_late")?
    ));
    Ok(())
}

/// The two programs.
struct Bench {
    trainer: std::path::PathBuf,
    root: std::path::PathBuf,
    python: String,
}

impl Bench {
    fn new(workspace: &Workspace) -> Self {
        let python = std::env::var("KUDOS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let trainer = workspace.target.join("debug").join("trainer");
        Self { trainer, root: workspace.root.clone(), python }
    }

    /// One mode on both sides, as ratios; returns our tokens a second.
    fn compare(&self, device: &str, mode: &str, threads: &str) -> Result<f64> {
        let mut ours = Side::default();
        let mut theirs = Side::default();
        for _ in 0..TURNS {
            theirs.add(&self.peer(device, mode, threads)?)?;
            ours.add(&self.ours(mode, device, threads)?)?;
        }
        let (rate, peer) = (ours.rate, theirs.rate);
        terminal::say(&format!(
            "{mode}, {threads} threads: {device} {rate:.0} tokens/s, PyTorch {peer:.0}, ratio \
             {:.2}; a CPU second {:.0} and {:.0}, ratio {:.2}; peak memory {:.0} and {:.0} MiB, \
             ratio {:.2}",
            rate / peer,
            ours.cpu_rate,
            theirs.cpu_rate,
            ours.cpu_rate / theirs.cpu_rate,
            ours.memory,
            theirs.memory,
            ours.memory / theirs.memory
        ));
        Ok(rate)
    }

    fn decode_at(&self, threads: &str) -> Result<()> {
        let ours = self.ours("decode-at", "flex", threads)?;
        let theirs = self.peer("flex", "decode-at", threads)?;
        terminal::say(&format!(
            "a step of 64 sequences, {threads} threads: flex {:.1} ms at position 32 and {:.1} at \
             500, PyTorch {:.1} and {:.1}",
            number(&ours, "ms_at_32")?,
            number(&ours, "ms_at_500")?,
            number(&theirs, "ms_per_step_at_32")?,
            number(&theirs, "ms_per_step_at_500")?
        ));
        Ok(())
    }

    fn ours(&self, mode: &str, device: &str, threads: &str) -> Result<Value> {
        let mut trainer = Command::new(&self.trainer);
        trainer.args(["bench", mode, "--device", device, "--trust-device"]);
        json(trainer.env("RAYON_NUM_THREADS", threads))
    }

    /// PyTorch, on CUDA where we are on a GPU and it has one.
    fn peer(&self, device: &str, mode: &str, threads: &str) -> Result<Value> {
        let where_to = if device == "flex" { "cpu" } else { "auto" };
        let mut peer = Command::new(&self.python);
        peer.current_dir(&self.root).args(["benches/peer_torch.py", mode]);
        json(peer.args(["--threads", threads, "--device", where_to])).context(PYTORCH)
    }

    /// The first adapter that is no software, as `--device` takes it.
    fn gpu(&self) -> Result<Vec<String>> {
        let list = json(Command::new(&self.trainer).args(["devices", "--json"]))?;
        let adapters = list["adapters"].as_array().context("a list of adapters")?;
        let hardware = adapters.iter().find(|adapter| adapter["kind"] != "software");
        Ok(hardware.and_then(|it| it["device"].as_str().map(str::to_owned)).into_iter().collect())
    }
}

/// The best of one side's turns.
#[derive(Default)]
struct Side {
    rate: f64,
    cpu_rate: f64,
    memory: f64,
}

impl Side {
    fn add(&mut self, row: &Value) -> Result<()> {
        self.rate = self.rate.max(number(row, "tokens_per_second")?);
        self.cpu_rate = self.cpu_rate.max(number(row, "cpu_tokens_per_second")?);
        self.memory = self.memory.max(number(row, "peak_rss_mib")?);
        Ok(())
    }
}

/// What a command printed, as JSON.
fn json(command: &mut Command) -> Result<Value> {
    let text = capture(command)?;
    serde_json::from_str(text.trim()).with_context(|| format!("this is no JSON: {text}"))
}

fn number(row: &Value, key: &str) -> Result<f64> {
    row[key].as_f64().with_context(|| format!("there is no number `{key}` in {row}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_turn_counts() {
        let row = |rate: f64, memory: f64| {
            serde_json::json!({
                "tokens_per_second": rate, "cpu_tokens_per_second": rate / 2.0, "peak_rss_mib": memory
            })
        };
        let mut side = Side::default();
        side.add(&row(10.0, 5.0)).unwrap();
        side.add(&row(8.0, 7.0)).unwrap();
        assert_eq!((side.rate, side.cpu_rate, side.memory), (10.0, 5.0, 7.0));
        assert!(side.add(&serde_json::json!({})).is_err());
    }
}
