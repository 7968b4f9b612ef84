//! `cargo xtask bench collector`: durable ratings a second, latency and memory of the collector, on SQLite and on PostgreSQL,
//! beside its handler that does nothing.
//!
//! Load and collector share the machine, so the numbers are a floor. PostgreSQL is Debian's, started here, with its own settings
//! of durability; `KUDOS_POSTGRES` names the folder of another's programs, or `none`.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace::{Workspace, capture, run as run_command};
use crate::{prerequisites, terminal};

/// Connections at once.
const CONNECTIONS: [&str; 3] = ["1", "10", "100"];
/// Seconds of each measurement.
const SECONDS: &str = "10";
/// Ratings of one post, as the page sends them.
const BATCH: &str = "10";
/// Posts a second where the load is given: the 2,000 ratings a second that the collector must take.
const RATE: &str = "200";
/// Ratings that are exported, unless the command line says otherwise.
const ROWS: u64 = 1_000_000;
/// Starts a server in $2 with the programs in $1, and ends it with standard input.
const POSTGRES: &str = r#"
"$1/initdb" -D "$2/data" -U kudos -A trust -E UTF8 --no-locale > "$2/log" 2>&1 &&
"$1/pg_ctl" -D "$2/data" -l "$2/log" -o "-k $2 -c listen_addresses=127.0.0.1 -p 54329" -w start > /dev/null ||
{ cat "$2/log" >&2; exit 1; }
echo ready
cat > /dev/null
"$1/pg_ctl" -D "$2/data" -m fast -w stop > /dev/null
"#;
const POSTGRES_URL: &str = "postgres://kudos@127.0.0.1:54329/postgres";

/// Builds the collector and measures; the arguments may name the number of rows to export.
///
/// # Errors
/// The build or a measurement failed, or PostgreSQL is not there.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let rows = match arguments {
        [] => ROWS,
        [rows] => rows.parse().with_context(|| format!("`{rows}` is no number of rows"))?,
        _ => bail!("cargo xtask bench collector [ROWS]"),
    };
    run_command(&mut workspace.cargo(&["build", "--package", "collector"]))?;
    let folder = workspace.target.join("bench-collector");
    drop(fs::remove_dir_all(&folder));
    let site = folder.join("site");
    fs::create_dir_all(site.join("policies"))?;
    fs::write(site.join("index.html"), "<!doctype html>")?;
    let policy = "policies/base.kudos";
    fs::copy(workspace.root.join(policy), site.join(policy)).context("policies/base.kudos")?;
    let bench = Bench { program: workspace.target.join("debug/collector"), site, folder };
    bench.measure("SQLite", None, rows)?;
    let programs = prerequisites::postgres()?;
    let Some(programs) = programs else { return Ok(()) };
    let server = start_postgres(&programs)?;
    bench.measure("PostgreSQL", Some(POSTGRES_URL), rows)?;
    stop_postgres(server)
}

struct Bench {
    program: PathBuf,
    site: PathBuf,
    folder: PathBuf,
}

/// A running collector, killed when dropped.
struct Running {
    child: Child,
    address: String,
}

impl Bench {
    /// Measures on one database.
    fn measure(&self, name: &str, url: Option<&str>, rows: u64) -> Result<()> {
        let data = self.folder.join(name);
        fs::create_dir_all(&data)?;
        let running = self.start(&data, url)?;
        terminal::say(&format!("{name}: batches of {BATCH}, {SECONDS} s each; memory is resident"));
        let mut stored = 0;
        for connections in CONNECTIONS {
            let nothing = self.load(&running, &["--connections", connections, "--batch", "0"])?;
            let ratings = self.load(&running, &["--connections", connections, "--batch", BATCH])?;
            stored += number(&ratings, "requests")? as u64 * 10;
            terminal::say(&format!(
                "  {connections:>3} connections: {:.0} ratings/s, p50 {:.1} ms, p99 {:.1} ms, {:.0} MiB; \
                 doing nothing {:.0} requests/s, p50 {:.2} ms, p99 {:.2} ms",
                number(&ratings, "ratings_per_second")?,
                number(&ratings, "p50_ms")?,
                number(&ratings, "p99_ms")?,
                running.memory_mib("VmRSS:")?,
                number(&nothing, "requests_per_second")?,
                number(&nothing, "p50_ms")?,
                number(&nothing, "p99_ms")?,
            ));
        }
        let paced = ["--connections", "100", "--batch", BATCH, "--rate", RATE];
        let ratings = self.load(&running, &paced)?;
        stored += number(&ratings, "requests")? as u64 * 10;
        terminal::say(&format!(
            "  100 connections that send {RATE} posts a second: {:.0} ratings/s, p50 {:.1} ms, p99 {:.1} ms",
            number(&ratings, "ratings_per_second")?,
            number(&ratings, "p50_ms")?,
            number(&ratings, "p99_ms")?,
        ));
        let missing = rows.saturating_sub(stored).div_ceil(100);
        let posts = missing.to_string();
        self.load(
            &running,
            &["--connections", "10", "--batch", "100", "--posts", &posts, "--seconds", "3600"],
        )?;
        let mut token = Command::new(&self.program);
        token.args(["token", "add", "--data"]).arg(&data);
        token.args(url.iter().flat_map(|url| ["--database", url]));
        let token = capture(&mut token)?;
        // As they are, and with the weights of their raters.
        ["ratings", "scalar"].iter().try_for_each(|format| running.export(token.trim(), format))
    }

    fn start(&self, data: &Path, url: Option<&str>) -> Result<Running> {
        let mut command = Command::new(&self.program);
        command.arg("--site").arg(&self.site).arg("--data").arg(data);
        command.args(["--listen", "127.0.0.1:0"]);
        command.args(["--address-rate", "4000000000", "--rater-rate", "4000000000"]);
        command.args(url.iter().flat_map(|url| ["--database", url]));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        let said = child.stdout.as_mut().context("its output is a pipe")?;
        BufReader::new(said).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening at http://").context("it listens")?;
        Ok(Running { child, address: address.to_owned() })
    }

    fn load(&self, running: &Running, words: &[&str]) -> Result<Value> {
        let mut command = Command::new(&self.program);
        command.args(["load", "--target", &running.address]).args(words);
        if !words.contains(&"--seconds") {
            command.args(["--seconds", SECONDS]);
        }
        Ok(serde_json::from_str(&capture(&mut command)?)?)
    }
}

impl Running {
    /// Reads a whole export; says how much memory the collector had at most meanwhile.
    fn export(&self, token: &str, format: &str) -> Result<()> {
        // Its peak is counted anew.
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?;
        let mut stream = TcpStream::connect(&self.address)?;
        write!(
            stream,
            "GET /v1/export?format={format} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\
             authorization: Bearer {token}\r\n\r\n",
        )?;
        let begin = std::time::Instant::now();
        let (mut bytes, mut rows) = (0_u64, 0_u64);
        let mut piece = vec![0; 1 << 20];
        loop {
            let length = stream.read(&mut piece)?;
            if length == 0 {
                break;
            }
            bytes += length as u64;
            // Lines of the export begin so; lengths of chunks and the head do not.
            rows += piece[..length].iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        terminal::say(&format!(
            "  export of {format}: about {rows} lines, {:.0} MB in {:.0} s, at most {:.0} MiB resident",
            bytes as f64 / 1e6,
            begin.elapsed().as_secs_f64(),
            self.memory_mib("VmHWM:")?,
        ));
        Ok(())
    }

    /// Resident memory of the collector: `VmRSS:` now, `VmHWM:` at most.
    fn memory_mib(&self, name: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with(name)).context("memory")?;
        let kib = line.split_whitespace().nth(1).context("memory is a number")?;
        Ok(kib.parse::<f64>()? / 1024.0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn number(measured: &Value, name: &str) -> Result<f64> {
    measured[name].as_f64().with_context(|| format!("no {name} in {measured}"))
}

fn start_postgres(programs: &Path) -> Result<(Child, PathBuf)> {
    let folder = env::temp_dir().join(format!("kudos-bench-pg-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let mut shell = Command::new("sh");
    shell.args(["-c", POSTGRES, "sh"]).arg(programs).arg(&folder).current_dir(&folder);
    if fs::metadata(&folder)?.uid() == 0 {
        // It refuses to run as root.
        let users = fs::read_to_string("/etc/passwd")?;
        let user = ["postgres:", "nobody:"]
            .iter()
            .find_map(|name| users.lines().find(|line| line.starts_with(name)))
            .context("there is no user `postgres` or `nobody` to run PostgreSQL as")?;
        let ids: Vec<u32> = user.split(':').skip(2).take(2).flat_map(str::parse).collect();
        let [uid, gid] = ids.as_slice() else { bail!("/etc/passwd cannot be read") };
        chown(&folder, Some(*uid), Some(*gid))?;
        shell.uid(*uid).gid(*gid);
    }
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(shell.stdout.take().context("its output is a pipe")?).read_line(&mut line)?;
    if line.trim() != "ready" {
        bail!("PostgreSQL does not start: see {}", folder.join("log").display());
    }
    Ok((shell, folder))
}

fn stop_postgres((mut shell, folder): (Child, PathBuf)) -> Result<()> {
    drop(shell.stdin.take());
    shell.wait()?;
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
}
