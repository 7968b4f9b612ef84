//! The program `collector`, started as an operator does.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::made::{Made, policy};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_collector");

/// A page, and a folder for data.
pub(crate) struct Folder {
    pub(crate) root: TempDir,
    pub(crate) policy: Made,
}

/// A running collector; it is killed when it is dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let policy = policy("base");
        fs::create_dir_all(root.path().join("site/policies")).unwrap();
        fs::write(root.path().join("site/index.html"), "<!doctype html>").unwrap();
        fs::write(root.path().join("site/policies/base.kudos"), &policy.bytes).unwrap();
        Self { root, policy }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// What is typed to serve, without limits to the number of ratings.
    pub(crate) fn words(&self) -> Vec<String> {
        let (site, data) = (self.root.path().join("site"), self.data());
        let words = ["--site", site.to_str().unwrap(), "--data", data.to_str().unwrap()];
        let rates = ["--address-rate", "100000000", "--rater-rate", "100000000"];
        let words = words.into_iter().chain(rates).chain(["--listen", "127.0.0.1:0"]);
        words.map(str::to_owned).collect()
    }

    /// Starts a collector.
    pub(crate) fn start(&self) -> Running {
        let mut command = Command::new(PROGRAM);
        command.args(self.words());
        Running::of(command)
    }

    /// Makes a token.
    pub(crate) fn token(&self) -> String {
        let output = run(&["token", "add", "--data", self.data().to_str().unwrap()]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Running {
    /// Starts a command that ends up in a collector, and waits until it listens.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening at http://");
        let address = address.unwrap_or_else(|| panic!("it does not listen: {line}"));
        Self { child, address: address.parse().unwrap() }
    }

    /// Posts ratings; none if the connection broke.
    pub(crate) fn post(&self, ratings: &[Value]) -> Option<Answer> {
        post(self.address, ratings)
    }

    /// Asks for something as an administrator.
    pub(crate) fn get(&self, path: &str, token: &str) -> Answer {
        let header = format!("authorization: Bearer {token}\r\n");
        ask(self.address, &format!("GET {path}"), &header, "").unwrap()
    }

    /// Asks it to stop, and waits until it did.
    pub(crate) fn stop(mut self) {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &process]).status().unwrap().success());
        let mut said = String::new();
        self.child.stdout.as_mut().unwrap().read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        assert!(said.contains("everything that was accepted is stored"), "{said}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Posts ratings; none if the connection broke.
pub(crate) fn post(address: SocketAddr, ratings: &[Value]) -> Option<Answer> {
    ask(address, "POST /v1/ratings", "", &Value::from(ratings.to_vec()).to_string())
}

/// Runs the program to its end.
pub(crate) fn run(words: &[&str]) -> Output {
    Command::new(PROGRAM).args(words).env_remove("KUDOS_DATABASE").output().unwrap()
}

/// What lies at a path, in text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn ask(address: SocketAddr, what: &str, header: &str, body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    let length = body.len();
    let head = format!(
        "{what} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{header}content-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let answer = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    // What comes in chunks is JSON lines: the lines between are lengths.
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunked(body)? } else { body.to_owned() };
    Some(Answer { status, body })
}

fn unchunked(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (length, after) = rest.split_once("\r\n")?;
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body += after.get(..length)?;
        rest = after.get(length + 2..)?;
    }
}
