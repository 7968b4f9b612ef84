//! Every dependency has a license that deny.toml allows, and comes from crates.io.
//!
//! cargo-deny does this where it is installed (with its bans); otherwise the licenses and sources that `cargo tree` prints
//! are checked here. Advisories need a database from the network: `cargo deny check advisories` by hand. The walls between
//! our own crates are tests/architecture.rs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::license;
use crate::terminal;
use crate::workspace::{Workspace, capture, run};

/// Checks the whole tree, for every platform, build and test dependencies too.
///
/// # Errors
/// Each dependency that breaks a rule, with what it declares.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    if capture(&mut workspace.cargo(&["deny", "--version"])).is_ok() {
        let checks = ["deny", "--workspace", "check", "bans", "licenses", "sources"];
        return run(&mut workspace.cargo(&checks));
    }
    let deny =
        fs::read_to_string(workspace.root.join("deny.toml")).context("cannot read deny.toml")?;
    let allowed =
        allowed_licenses(&deny).context("deny.toml has no `allow = [` list of licenses")?;
    let arguments = ["tree", "--workspace", "--locked", "--edges", "normal,build,dev"];
    let format = ["--target", "all", "--prefix", "none", "--format", "{p}\t{l}"];
    let tree = capture(&mut workspace.cargo(&[arguments.as_slice(), &format].concat()))?;
    let packages = packages(&tree);
    let complaints = complaints(&packages, &workspace.root, &allowed);
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    terminal::say(&format!("{} packages; cargo-deny is not installed", packages.len()));
    Ok(())
}

/// A line of the tree.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    /// `name vVersion`
    name: String,
    /// The folder, repository or foreign registry; empty for crates.io.
    source: String,
    /// The license expression, empty if none is declared.
    license: String,
}

/// Each package of `cargo tree --prefix none --format "{p}\t{l}"` once.
fn packages(tree: &str) -> BTreeSet<Package> {
    let lines = tree.lines().filter_map(|line| line.split_once('\t'));
    lines
        .map(|(package, license)| {
            let package = package.replace(" (proc-macro)", "");
            let (name, source) = package.split_once(" (").unwrap_or((&package, ""));
            Package {
                name: name.to_owned(),
                source: source.trim_end_matches(')').to_owned(),
                license: license.trim_end_matches(" (*)").trim().to_owned(),
            }
        })
        .collect()
}

/// The strings of deny.toml's first `allow = [ ... ]`.
fn allowed_licenses(deny: &str) -> Option<Vec<String>> {
    let (_, list) = deny.split_once("\nallow = [")?;
    let (list, _) = list.split_once("\n]")?;
    let lines = list.lines().map(str::trim).filter(|line| line.starts_with('"'));
    Some(lines.map(|line| line.trim_matches([',', '"']).to_owned()).collect())
}

fn complaints(packages: &BTreeSet<Package>, root: &Path, allowed: &[String]) -> Vec<String> {
    let foreign = packages.iter().filter(|package| !Path::new(&package.source).starts_with(root));
    let complaint = |package: &Package| {
        let Package { name, source, license } = package;
        if !source.is_empty() {
            Some(format!("{name} comes from {source}: take it from crates.io"))
        } else if !license::is_met(license, allowed) {
            Some(format!("{name} has the license `{license}`, which deny.toml does not allow"))
        } else {
            None
        }
    };
    foreign.filter_map(complaint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = "[licenses]\nallow = [\n  \"MIT\",\n  # why\n  \"Zlib\",\n]\n[bans]\n";

    fn check(line: &str, complaint: Option<&str>) {
        let allowed = allowed_licenses(DENY).unwrap();
        let found = complaints(&packages(line), Path::new("/home/kudos"), &allowed);
        assert_eq!(found.first().map(String::as_str), complaint, "{line}");
    }

    #[test]
    fn a_dependency_passes_with_an_allowed_license_from_crates_io_alone() {
        check("serde v1.0.0\tMIT OR Apache-2.0", None);
        check("serde_derive v1.0.0 (proc-macro)\tMIT (*)", None);
        check("kudos-core v0.1.0 (/home/kudos/crates/core)\t", None);
        let license = "has the license `GPL-3.0`, which deny.toml does not allow";
        check("copyleft v1.0.0\tGPL-3.0", Some(&format!("copyleft v1.0.0 {license}")));
        let nothing = "has the license ``, which deny.toml does not allow";
        check("silent v1.0.0\t", Some(&format!("silent v1.0.0 {nothing}")));
        let git = "comes from https://example.org/x#1: take it from crates.io";
        check("x v1.0.0 (https://example.org/x#1)\tMIT", Some(&format!("x v1.0.0 {git}")));
        let path = "comes from /home/other: take it from crates.io";
        check("other v1.0.0 (/home/other)\tMIT", Some(&format!("other v1.0.0 {path}")));
    }

    #[test]
    fn the_list_of_allowed_licenses_is_that_of_deny_toml() {
        assert_eq!(allowed_licenses(DENY).unwrap(), ["MIT", "Zlib"]);
        let path = Workspace::of_this_checkout().root.join("deny.toml");
        let ours = allowed_licenses(&fs::read_to_string(path).unwrap()).unwrap();
        assert!(ours.contains(&"MIT".to_owned()) && !ours.contains(&"GPL-3.0".to_owned()));
    }

    #[test]
    fn each_package_counts_once() {
        assert_eq!(packages("a v1\tMIT\n\nb v1\tMIT\na v1\tMIT (*)\n").len(), 2);
    }
}
