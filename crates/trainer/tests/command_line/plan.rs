//! `trainer plan`, as a person runs it.

use std::process::{Command, Output};

use serde_json::Value;

fn plan(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
    command.args(["plan", "--device", "flex"]).args(arguments).output().unwrap()
}

#[test]
fn a_run_that_fits_is_told_what_it_takes() {
    let output = plan(&["--memory", "64GiB", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let part = |name: &str| said["parts"][name].as_u64().unwrap();
    // The shipped policy and the one that it becomes, and two moments of each of its parameters.
    assert_eq!(part("weights"), 2 * 4 * 2_164_416);
    assert_eq!(part("optimizer"), 2 * 4 * 2_164_416);
    assert!(said["peak"].as_u64().unwrap() > part("activations") + part("weights"));
    assert_eq!(said["limit"], 64_u64 << 30);
}

#[test]
fn a_run_that_does_not_fit_is_refused_with_the_nearest_settings_that_do() {
    let output = plan(&["--memory", "400MiB"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("batch.micro_batch_size = "), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("activations"));
    let output = plan(&["--memory", "50MiB"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("take a smaller one"), "{said}");
}
