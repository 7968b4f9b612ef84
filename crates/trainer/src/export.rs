//! `trainer export`: a policy as one file for the page, or a bundle taken apart into a folder.

mod adapter;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use kudos_core::bundle::{Unpacked, pack, sha256};
use kudos_core::model::hugging_face::{StoredAs, stored_numbers};
use kudos_core::tuning::trained;
use kudos_schema::{PolicyManifest, Sampling};
use pollster::block_on;
use serde::Deserialize;

use crate::args::ExportArgs;
use crate::policy::{self, PolicyError, PolicyFiles};
use crate::store::{write_file, write_folder};
use crate::usage::usage;
use crate::{data, output, tuned};

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
    if let Some(folder) = args.adapter.as_deref().filter(|_| args.alone) {
        return adapter::run(args, folder);
    }
    let mut source = source(args.model.as_deref())?;
    if let Some(folder) = &args.adapter {
        source.files = merged(&source.files, folder)?;
    }
    if args.output.extension().is_none_or(|extension| extension != "kudos") {
        return write_unpacked(source.files, &args.output);
    }
    let manifest = described(args.card.as_deref(), source.manifest)?;
    check(&manifest)?;
    let name = manifest.name.clone();
    let bundle = pack(manifest, &source.files).map_err(|error| usage(error.to_string()))?;
    write_file(&args.output, &bundle)?;
    let (bytes, sha256) = (bundle.len(), sha256(&bundle));
    output::result(&format!("{name}  {bytes} bytes, sha256 {sha256}"));
    Ok(())
}

/// The files of a policy with an adapter in its weights.
fn merged(files: &PolicyFiles, adapter: &Path) -> Result<PolicyFiles> {
    let policy = files.load(&Device::flex()).map_err(|error| usage(error.to_string()))?;
    let tuned = tuned::with_adapter(&policy, adapter)?;
    if trained(&tuned.model) != trained(&policy.model) {
        return Err(usage(format!(
            "{}: this adapter cannot become part of the weights: take LoRA, AdaLoRA or (IA)3",
            adapter.display()
        )));
    }
    Ok(block_on(tuned.files(StoredAs::F32))?)
}

/// Others read what is not packed.
fn write_unpacked(files: PolicyFiles, folder: &Path) -> Result<()> {
    let usable = |error: PolicyError| usage(error.to_string());
    let (_, stored_as) = stored_numbers(&files.weights).map_err(|error| usable(error.into()))?;
    let is_packed = stored_as.starts_with("int");
    let files = if is_packed { files.converted(StoredAs::F32).map_err(usable)? } else { files };
    write_folder(folder, |folder| policy::write(&files, folder))?;
    output::result(&format!("model.safetensors  sha256 {}", files.sha256()?));
    Ok(())
}

/// What the card says of a policy, or what it says of itself.
///
/// # Errors
/// Usage errors that name the card.
pub(crate) fn described(path: Option<&Path>, own: PolicyManifest) -> Result<PolicyManifest> {
    path.map_or(Ok(own), |path| card(path).map(Card::manifest))
}

/// A policy with what it says of itself: a bundle's manifest, of anything else the name alone.
///
/// # Errors
/// Usage errors that name the file.
pub(crate) fn source(model: Option<&Path>) -> Result<Unpacked> {
    let read = match model {
        None => Ok(policy::embedded_bundle()),
        Some(path) if is_bundle(path) => policy::read_bundle(path),
        Some(path) => policy::read(path).map(|files| {
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
            let name = name.unwrap_or_default();
            Unpacked { manifest: PolicyManifest { name, ..PolicyManifest::default() }, files }
        }),
    };
    let Unpacked { manifest, files } = read.map_err(|error| usage(error.to_string()))?;
    let files = files.in_safetensors(StoredAs::F32).map_err(|error| usage(error.to_string()))?;
    Ok(Unpacked { manifest, files })
}

/// Whether a path is a bundle by its name; other files tell what they are by their first bytes.
fn is_bundle(path: &Path) -> bool {
    path.is_file() && path.extension().is_none_or(|extension| extension != "gguf")
}

/// Whether tasks and settings are known here.
///
/// # Errors
/// What is not known.
pub(crate) fn check(manifest: &PolicyManifest) -> Result<()> {
    manifest.sampling.validate().map_err(|error| usage(error.to_string()))?;
    let tasks = manifest.tasks.iter().chain(manifest.prompts.keys());
    tasks.map(String::as_str).try_for_each(|task| data::check_task(task).map(drop))
}

fn card(path: &Path) -> Result<Card> {
    let label = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| usage(format!("{label}: {error}; give an existing TOML file")))?;
    toml::from_str(&text).map_err(|error| usage(format!("{label}: {}", error.message())))
}
