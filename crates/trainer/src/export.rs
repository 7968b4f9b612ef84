//! `trainer export`: a policy as one file for the page, or a bundle taken apart into a folder.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use kudos_core::bundle::{pack, unpack};
use kudos_schema::{PolicyManifest, Sampling};
use serde::Deserialize;

use crate::args::ExportArgs;
use crate::evaluate::policy_files;
use crate::policy::{self, PolicyFiles};
use crate::store::{write_file, write_folder};
use crate::usage::usage;
use crate::{data, output};

/// What people should know of a policy, as a TOML file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// The policy's name.
    pub name: String,
    /// One sentence for people.
    pub summary: String,
    /// Tasks that it was taught, by name.
    pub tasks: Vec<String>,
    /// Licence of the weights, as SPDX names it.
    pub license: String,
    /// How it was made.
    pub recipe: String,
    /// How it is meant to be sampled.
    #[serde(default)]
    pub sampling: Sampling,
    /// Prompts to try, by task.
    #[serde(default)]
    pub prompts: BTreeMap<String, Vec<String>>,
}

impl Card {
    fn manifest(self) -> PolicyManifest {
        PolicyManifest {
            name: self.name,
            summary: self.summary,
            tasks: self.tasks,
            license: self.license,
            recipe: self.recipe,
            sampling: self.sampling,
            prompts: self.prompts,
            ..PolicyManifest::default()
        }
    }
}

/// Packs or unpacks.
///
/// # Errors
/// Usage errors, or a file that cannot be written.
pub fn run(args: &ExportArgs) -> Result<()> {
    if args.output.exists() {
        let path = args.output.display();
        return Err(usage(format!("{path} exists: choose another --output or remove it first")));
    }
    let files = policy_files(args.model.as_deref())?;
    if args.output.extension().is_some_and(|extension| extension == "kudos") {
        let manifest = manifest(args)?;
        let bundle = pack(manifest, &files).map_err(|error| usage(error.to_string()))?;
        let unpacked = unpack(&bundle)?;
        write_file(&args.output, &bundle)?;
        let bytes = bundle.len();
        output::result(&format!(
            "{}  {bytes} bytes, sha256 {}",
            unpacked.manifest.name, unpacked.sha256
        ));
        return Ok(());
    }
    write_unpacked(&files, &args.output)
}

fn write_unpacked(files: &PolicyFiles, folder: &Path) -> Result<()> {
    write_folder(folder, |folder| policy::write(files, folder))?;
    output::result(&format!("model.safetensors  sha256 {}", files.sha256()));
    Ok(())
}

/// What the card says; without one, what the bundle itself says, or the name of the folder alone.
fn manifest(args: &ExportArgs) -> Result<PolicyManifest> {
    let manifest = match &args.card {
        Some(path) => card(path)?.manifest(),
        None => match &args.model {
            None => policy::embedded_manifest(),
            Some(path) if path.is_file() => policy::read_manifest(path)?,
            Some(path) => {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
                PolicyManifest { name: name.unwrap_or_default(), ..PolicyManifest::default() }
            }
        },
    };
    manifest.sampling.validate().map_err(|error| usage(error.to_string()))?;
    for task in manifest.tasks.iter().chain(manifest.prompts.keys()) {
        data::check_task(task)?;
    }
    Ok(manifest)
}

fn card(path: &Path) -> Result<Card> {
    let label = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| usage(format!("{label}: {error}; give an existing TOML file")))?;
    toml::from_str(&text).map_err(|error| usage(format!("{label}: {}", error.message())))
}
