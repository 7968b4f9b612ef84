//! What the tests need from outside Cargo: a Python with its packages, to check our files with the tools of others, a
//! Vulkan driver in software, to check the GPU path on any machine, and PostgreSQL for the collector.
//!
//! Whatever is missing is named with the command that mends it. Only the Python packages are installed by themselves,
//! into a virtual environment in the target folder.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::terminal;
use crate::workspace::{Workspace, run};

const PYTHON_VARIABLE: &str = "KUDOS_PYTHON";
const ICD_VARIABLE: &str = "KUDOS_LAVAPIPE_ICD";
const REQUIREMENTS: &str = "tests/golden/requirements-test.txt";

const ICD_FOLDERS: [&str; 4] = [
    "/usr/share/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/etc/vulkan/icd.d",
    "/opt/homebrew/share/vulkan/icd.d",
];
const NO_VULKAN: &str = "software Vulkan is missing (no lvp_icd*.json): \
    run `apt-get install -y mesa-vulkan-drivers libvulkan1`, or set KUDOS_LAVAPIPE_ICD to the driver's ICD file";
const NO_PYTHON: &str = "Python is missing or too bare for a virtual environment: \
    run `apt-get install -y python3 python3-venv`, or set KUDOS_PYTHON to an interpreter that has the packages of \
    tests/golden/requirements-test.txt";

const POSTGRES_VARIABLE: &str = "KUDOS_POSTGRES";
const NO_POSTGRES: &str = "PostgreSQL is missing: run `apt-get install -y postgresql`, or set KUDOS_POSTGRES to the folder of \
    its programs, or to `none` to leave its tests out";

/// Exits with the packages that are missing or of another version; a local part such as `+cpu` does not count.
const COMPARE_PACKAGES: &str = "\
import sys
from importlib.metadata import PackageNotFoundError, version
wrong = []
for requirement in sys.argv[1:]:
    name, wanted = requirement.split('==')
    try:
        found = version(name).split('+')[0]
    except PackageNotFoundError:
        found = 'nothing'
    if found != wanted:
        wrong.append(f'{requirement} (found {found})')
sys.exit(', '.join(wrong) or 0)
";

/// The places of what the tests need.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    python: PathBuf,
    lavapipe_icd: PathBuf,
    postgres: Option<PathBuf>,
}

impl Tools {
    /// Tells the command's process where the tools are.
    pub(crate) fn offer_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env(PYTHON_VARIABLE, &self.python)
            .env(ICD_VARIABLE, &self.lavapipe_icd)
            .env(POSTGRES_VARIABLE, self.postgres.as_deref().unwrap_or(Path::new("none")))
            // The Vulkan loader reads this one; the GPU path is tested on software everywhere alike.
            .env("VK_ICD_FILENAMES", &self.lavapipe_icd)
    }
}

/// Looks for the tools, and makes the Python environment where there is none.
///
/// # Errors
/// What is missing, with the command that mends it.
pub(crate) fn find(workspace: &Workspace) -> Result<Tools> {
    let lavapipe_icd = match env::var_os(ICD_VARIABLE) {
        Some(named) => existing(PathBuf::from(named), ICD_VARIABLE)?,
        None => lavapipe_icd_in(&ICD_FOLDERS.map(Path::new)).context(NO_VULKAN)?,
    };
    let python = match env::var_os(PYTHON_VARIABLE) {
        Some(named) => {
            let named = existing(PathBuf::from(named), PYTHON_VARIABLE)?;
            Requirements::read(workspace, REQUIREMENTS)?.compare(&named)?;
            named
        }
        None => python_with(workspace, "python", REQUIREMENTS)?,
    };
    let postgres = postgres()?;
    let shown = postgres.as_deref().map_or("left out".into(), Path::to_string_lossy);
    let (python_at, vulkan_at) = (python.display(), lavapipe_icd.display());
    terminal::say(&format!("python {python_at}\nvulkan {vulkan_at}\npostgresql {shown}"));
    Ok(Tools { python, lavapipe_icd, postgres })
}

/// The folder of PostgreSQL's programs; none if it is to be left out.
///
/// # Errors
/// PostgreSQL is not there.
pub(crate) fn postgres() -> Result<Option<PathBuf>> {
    let has = |folder: &PathBuf| ["initdb", "pg_ctl"].iter().all(|it| folder.join(it).exists());
    match env::var_os(POSTGRES_VARIABLE) {
        Some(named) if named == "none" => Ok(None),
        Some(named) => {
            let folder = Some(PathBuf::from(named)).filter(has);
            folder.map(Some).context("KUDOS_POSTGRES names no folder with initdb and pg_ctl")
        }
        None => {
            let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
            let mut folders: Vec<PathBuf> =
                versions.map(|version| version.path().join("bin")).filter(has).collect();
            folders.sort();
            folders.pop().context(NO_POSTGRES).map(Some)
        }
    }
}

fn existing(path: PathBuf, variable: &str) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("{variable} names {}, which is not there: correct or unset it", path.display());
    }
    Ok(path)
}

/// The first ICD file of Mesa's software driver, by name within each folder.
fn lavapipe_icd_in(folders: &[&Path]) -> Option<PathBuf> {
    folders.iter().find_map(|folder| {
        let files = fs::read_dir(folder).ok()?;
        let mut paths: Vec<PathBuf> = files.filter_map(|file| Some(file.ok()?.path())).collect();
        paths.sort();
        paths.into_iter().find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("lvp_icd") && name.ends_with(".json")
        })
    })
}

/// The `name==version` lines.
fn pinned(requirements: &str) -> Vec<String> {
    let lines = requirements.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// A Python in `folder` of the target folder that has the packages of `file`; made where it is not there or does not fit.
///
/// # Errors
/// Python is missing, or its packages cannot be installed.
pub(crate) fn python_with(workspace: &Workspace, folder: &str, file: &str) -> Result<PathBuf> {
    let requirements = Requirements::read(workspace, file)?;
    let folder = workspace.target.join(folder);
    let python = folder.join("bin").join("python");
    if python.is_file() && requirements.compare(&python).is_ok() {
        return Ok(python);
    }
    let packages = requirements.packages.join(", ");
    terminal::say(&format!("installing {packages} into {}", folder.display()));
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder)).context(NO_PYTHON)?;
    let pip = ["-m", "pip", "install", "--quiet", "--requirement", file];
    run(Command::new(&python).args(pip).current_dir(&workspace.root)).with_context(|| {
        format!("cannot install the packages of {file}: is pip's index reachable?")
    })?;
    requirements.compare(&python)?;
    Ok(python)
}

/// A file of pinned Python packages.
struct Requirements<'a> {
    file: &'a str,
    packages: Vec<String>,
}

impl<'a> Requirements<'a> {
    fn read(workspace: &Workspace, file: &'a str) -> Result<Self> {
        let text = fs::read_to_string(workspace.root.join(file))
            .with_context(|| format!("cannot read {file}"))?;
        Ok(Self { file, packages: pinned(&text) })
    }

    fn compare(&self, python: &Path) -> Result<()> {
        let output = Command::new(python)
            .args(["-c", COMPARE_PACKAGES])
            .args(&self.packages)
            .output()
            .with_context(|| format!("cannot start {}", python.display()))?;
        if !output.status.success() {
            let lacking = String::from_utf8_lossy(&output.stderr);
            let (lacking, python, file) = (lacking.trim(), python.display(), self.file);
            bail!("{python} lacks {lacking}: run `{python} -m pip install -r {file}`");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_the_lines_that_are_no_comment() {
        assert_eq!(
            pinned("# why\n\ntorch==2.11.0\n  safetensors==0.8.0\n"),
            ["torch==2.11.0", "safetensors==0.8.0"]
        );
    }

    #[test]
    fn the_repository_pins_every_package_that_tests_call() {
        let text =
            fs::read_to_string(Workspace::of_this_checkout().root.join(REQUIREMENTS)).unwrap();
        assert!(!pinned(&text).is_empty());
        assert!(pinned(&text).iter().all(|line| line.split("==").count() == 2), "{text}");
    }

    #[test]
    fn only_the_software_driver_is_taken_from_the_icd_folder() {
        let folder = env::temp_dir().join(format!("kudos-icd-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("intel_icd.x86_64.json"), "{}").unwrap();
        let before = lavapipe_icd_in(&[Path::new("/nonexistent"), &folder]);
        fs::write(folder.join("lvp_icd.x86_64.json"), "{}").unwrap();
        let after = lavapipe_icd_in(&[Path::new("/nonexistent"), &folder]);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(before, None);
        assert_eq!(after, Some(folder.join("lvp_icd.x86_64.json")));
    }

    #[test]
    fn a_named_tool_that_is_not_there_is_refused_by_its_variable() {
        let error = existing(PathBuf::from("/nonexistent/python"), PYTHON_VARIABLE).unwrap_err();
        assert!(error.to_string().starts_with("KUDOS_PYTHON names /nonexistent/python"), "{error}");
    }
}
