//! The walls between the parts, as DESIGN.md section 7 numbers them (I1-I5), besides the sizes that keep a file readable.
//!
//! Each guard is a function of text or of a dependency tree, so that the test next to it can show it a broken wall.
//! Clippy guards more of I1-I3: crates/core/clippy.toml.

mod shapes;
mod source;

use std::path::Path;
use std::process::Command;

use shapes::{function_name, shapeless_tensors};
use source::{Source, has_word, indentation, sources_in, without_strings};

const LONGEST_FILE: usize = 400;
const LONGEST_FUNCTION: usize = 60;

/// Packages that the core must not know; a `*` stands for any end.
const BACKENDS_AND_RUNTIMES: &[&str] = &[
    "burn-candle",
    "burn-cpu",
    "burn-cubecl*",
    "burn-cuda",
    "burn-flex",
    "burn-fusion",
    "burn-ndarray",
    "burn-remote",
    "burn-rocm",
    "burn-tch",
    "burn-wgpu",
    "cubecl",
    "cubecl-core",
    "cubecl-cpu",
    "cubecl-cuda",
    "cubecl-runtime",
    "cubecl-wgpu",
    "hyper",
    "mio",
    "reqwest",
    "tokio",
    "wgpu*",
];

/// Packages that what crosses a boundary must not need.
const TENSORS: &[&str] = &["burn*", "cubecl*", "wgpu*", "kudos-core", "trainer"];

/// Words that the core must not say, with what it does instead.
const OUTER_WORLD: &[(&str, &str)] = &[
    ("std::fs", "I1: take bytes"),
    ("std::net", "I1: take values"),
    ("std::env", "I1: take settings"),
    ("std::thread", "I1: the caller owns the threads"),
    ("std::process", "I1: return an error"),
    ("into_data", "I2: return the tensor"),
    ("try_into_data", "I2: return the tensor"),
    ("to_data", "I2: return the tensor"),
    ("try_to_data", "I2: return the tensor"),
    ("into_scalar", "I2: return the tensor"),
    ("try_into_scalar", "I2: return the tensor"),
    ("Device::default", "I3: take &Device"),
    ("Device::flex", "I3: take &Device"),
    ("Device::ndarray", "I3: take &Device"),
    ("Device::wgpu", "I3: take &Device"),
    ("Device::vulkan", "I3: take &Device"),
    ("rand::rng", "I3: take the coins"),
    ("rand::random", "I3: take the coins"),
    ("thread_rng", "I3: take the coins"),
    ("ThreadRng", "I3: take the coins"),
    ("SysRng", "I3: take the coins"),
    ("from_os_rng", "I3: take the coins"),
    ("Tensor::random", "I3: take the coins"),
    ("Instant", "I3: take the time"),
    ("SystemTime", "I3: take the time"),
];

/// The lines of `cargo tree --prefix none` whose package is one of the forbidden.
fn forbidden_packages(tree: &str, forbidden: &[&str]) -> Vec<String> {
    let is_forbidden = |name: &str| {
        forbidden.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(begin) => name.starts_with(begin),
            None => name == *pattern,
        })
    };
    let names = tree.lines().map(|line| line.split(' ').next().unwrap_or_default());
    names.filter(|name| is_forbidden(name)).map(str::to_owned).collect()
}

/// Each code line that says one of the words, as `path:line: word: remedy`.
fn forbidden_words(source: &Source, words: &[(&str, &str)]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in source.code_lines() {
        let code = without_strings(line);
        for (word, remedy) in words {
            let grouped = word.strip_prefix("std::").filter(|_| code.contains("std::{"));
            if has_word(&code, word) || grouped.is_some_and(|name| has_word(&code, name)) {
                complaints.push(format!("{}:{number}: `{word}`: {remedy}", source.path));
            }
        }
    }
    complaints
}

/// The public types of `schema` that another file defines again.
fn records_defined_twice(schema: &[Source], others: &[Source]) -> Vec<String> {
    let records: Vec<&str> = schema.iter().flat_map(public_types).collect();
    let copies = others.iter().flat_map(|source| {
        let names = public_types(source).into_iter().filter(|name| records.contains(name));
        names.map(|name| format!("{}: `{name}` is a record of kudos-schema: use it", source.path))
    });
    copies.collect()
}

fn public_types(source: &Source) -> Vec<&str> {
    let lines = source.code_lines().into_iter().map(|(_, line)| line);
    let declared = lines.filter_map(|line| {
        line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "))
    });
    declared.filter_map(|rest| rest.split([' ', '<', '(', ';']).next()).collect()
}

/// What makes the file hard to read: no module doc at its head, too many lines, too long a function.
fn unreadable(source: &Source) -> Vec<String> {
    let path = &source.path;
    let mut complaints = Vec::new();
    if !source.text.starts_with("//!") {
        complaints.push(format!("{path}: begins without a `//!` line that says what it is for"));
    }
    let length = source.text.lines().count();
    if length > LONGEST_FILE {
        complaints.push(format!("{path}: {length} lines, {LONGEST_FILE} at most"));
    }
    let lines: Vec<&str> = source.text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line.trim_start()) else { continue };
        let length = body_length(&lines[index..]);
        if length > LONGEST_FUNCTION {
            let number = index + 1;
            complaints.push(format!(
                "{path}:{number}: {name} has {length} lines, {LONGEST_FUNCTION} at most"
            ));
        }
    }
    complaints
}

/// Lines of code within the braces of the function that begins on the first line, as Clippy counts them.
fn body_length(lines: &[&str]) -> usize {
    let end = format!("{}}}", indentation(lines[0]));
    let opening = lines.iter().position(|line| line.ends_with(['{', ';', '}']));
    let Some(opening) = opening.filter(|index| lines[*index].ends_with('{')) else { return 0 };
    let body = lines[opening + 1..].iter().take_while(|line| **line != end).map(|line| line.trim());
    body.filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

/// The folder of the workspace: tests start in the one of their package.
fn root() -> &'static Path {
    Path::new("..")
}

/// The packages that `package` is built from, without what other members of the workspace switch on.
fn tree_of(package: &str) -> String {
    let cargo = std::env::var_os("CARGO").expect("cargo runs the tests");
    let output = Command::new(cargo)
        .args(["tree", "--package", package, "--edges", "normal", "--no-default-features"])
        .args(["--locked", "--prefix", "none"])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
    assert!(tree.starts_with(package), "the tree of {package} begins with it: {tree}");
    tree
}

/// Every source file of the crates, tests and xtask apart.
fn product() -> Vec<Source> {
    let mut sources = sources_in(root(), "crates");
    sources.retain(|source| source.path.contains("/src/"));
    assert!(sources.len() > 3, "the crates have sources");
    sources
}

fn check(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn check_each(sources: &[Source], guard: impl Fn(&Source) -> Vec<String>) {
    assert!(!sources.is_empty(), "there is something to guard");
    check(&sources.iter().flat_map(guard).collect::<Vec<_>>());
}

#[test]
fn i1_the_core_is_built_without_backend_or_runtime() {
    check(&forbidden_packages(&tree_of("kudos-core"), BACKENDS_AND_RUNTIMES));
}

#[test]
fn i1_i2_i3_the_core_takes_the_outer_world_as_arguments() {
    check_each(&sources_in(root(), "crates/core/src"), |source| {
        forbidden_words(source, OUTER_WORLD)
    });
}

#[test]
fn i1_only_the_device_room_of_the_trainer_names_wgpu() {
    let mut sources = product();
    sources.retain(|source| !source.path.starts_with("crates/trainer/src/device/"));
    let wgpu = [("wgpu", "only crates/trainer/src/device/ names it")];
    check_each(&sources, |source| forbidden_words(source, &wgpu));
}

#[test]
fn i4_every_public_tensor_of_the_core_names_its_shape() {
    check_each(&sources_in(root(), "crates/core/src"), shapeless_tensors);
}

#[test]
fn i5_what_crosses_a_boundary_needs_no_tensors() {
    check(&forbidden_packages(&tree_of("kudos-schema"), TENSORS));
    if root().join("crates/collector").exists() {
        check(&forbidden_packages(&tree_of("collector"), TENSORS));
    }
}

#[test]
fn i5_records_are_defined_in_the_schema_alone() {
    let (schema, others): (Vec<_>, Vec<_>) =
        product().into_iter().partition(|source| source.path.starts_with("crates/schema/"));
    check(&records_defined_twice(&schema, &others));
}

#[test]
fn files_and_functions_stay_readable() {
    check_each(&product(), unreadable);
}

#[test]
fn a_forbidden_package_anywhere_in_a_tree_is_found() {
    let tree = "kudos-core v0.1.0 (/kudos/crates/core)\nburn v0.22.1\nburn-tensor v0.22.1\ncubecl-common v0.11.3 (*)\n";
    assert!(forbidden_packages(tree, BACKENDS_AND_RUNTIMES).is_empty());
    for broken in
        ["burn-flex v0.22.1", "burn-wgpu v0.22.1 (*)", "tokio v1.54.1", "wgpu-core v30.0.1"]
    {
        let tree = format!("{tree}{broken}\n");
        assert_eq!(forbidden_packages(&tree, BACKENDS_AND_RUNTIMES).len(), 1, "{broken}");
    }
    assert_eq!(forbidden_packages(tree, TENSORS).len(), 4);
}

#[test]
fn a_word_of_the_outer_world_is_found_in_code_alone() {
    let check = |code: &str, expected| {
        let found = forbidden_words(&Source::new("a.rs", code), OUTER_WORLD);
        assert_eq!(found.len(), expected, "{code}: {found:?}");
    };
    check("use std::fs::File;", 1);
    check("use std::{collections::BTreeMap, fs};", 1);
    check("let address = std::net::Ipv4Addr::LOCALHOST;", 1);
    check("let home = std::env::var(\"HOME\");", 1);
    check("std::thread::spawn(work);", 1);
    check("let numbers = loss.into_data();", 1);
    check("let number = loss.into_scalar::<f32>();", 1);
    check("let device = Device::default();", 1);
    check("let mut coins = rand::rng();", 1);
    check("let begin = Instant::now();", 1);
    check("let today = SystemTime::now();", 1);
    check("let later = loss.into_data_async();", 0);
    check("// An Instant is an argument.", 0);
    check("/// `Device::default()` is not used.", 0);
    check("bail(\"std::fs is not here\");", 0);
    check("#[cfg(test)]\nmod tests {\n    use std::fs;\n}", 0);
    let wgpu = [("wgpu", "elsewhere")];
    assert_eq!(
        forbidden_words(&Source::new("a.rs", "let gpu = Device::wgpu(kind);"), &wgpu).len(),
        1
    );
    assert!(forbidden_words(&Source::new("a.rs", "\"auto|wgpu\" => Auto,"), &wgpu).is_empty());
}

#[test]
fn a_copy_of_a_record_is_found() {
    let schema =
        [Source::new("crates/schema/src/lib.rs", "pub struct Rating {\npub enum Verdict {\n")];
    let copy = |text| records_defined_twice(&schema, &[Source::new("crates/core/src/a.rs", text)]);
    assert_eq!(copy("pub struct Rating<T>(T);\n").len(), 1);
    assert_eq!(copy("pub enum Verdict {\n").len(), 1);
    assert!(copy("pub struct RatingBatch {\n// pub struct Rating\n").is_empty());
}

#[test]
fn an_unreadable_file_is_found() {
    let check = |text: &str, expected| {
        let found = unreadable(&Source::new("a.rs", text));
        assert_eq!(found.len(), expected, "{found:?}");
    };
    let function = |indent: &str, lines: usize| {
        let body = format!("{indent}    work();\n").repeat(lines);
        format!(
            "//! Doc.\n{indent}pub fn long(\n{indent}    x: u8,\n{indent}) {{\n{body}\n{indent}    // why\n{indent}}}\n"
        )
    };
    check("//! Doc.\n", 0);
    check("use std::fmt;\n", 1);
    check(&"//! Doc.\n".repeat(LONGEST_FILE), 0);
    check(&"//! Doc.\n".repeat(LONGEST_FILE + 1), 1);
    check(&function("", LONGEST_FUNCTION), 0);
    check(&function("", LONGEST_FUNCTION + 1), 1);
    check(&function("    ", LONGEST_FUNCTION + 1), 1);
    check("//! Doc.\nfn declared();\nfn short() {}\n", 0);
}
