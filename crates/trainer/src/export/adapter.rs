//! `trainer export --alone`: an adapter as one small file, for pages that have the policy it is laid upon.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use kudos_core::bundle::{pack_adapter, sha256};
use kudos_core::tuning::read_adapter;
use kudos_schema::PolicyManifest;

use super::{check, described};
use crate::args::ExportArgs;
use crate::policy::{self, EMBEDDED};
use crate::store::write_file;
use crate::usage::usage;
use crate::{output, tuned};

/// Packs the adapter in `folder`.
///
/// # Errors
/// Usage errors, or a file that cannot be written.
pub(super) fn run(args: &ExportArgs, folder: &Path) -> Result<()> {
    let base = bundle(args.model.as_deref())?;
    let usable = |error: &dyn std::fmt::Display| usage(error.to_string());
    let unpacked = kudos_core::bundle::unpack(&base).map_err(|error| usable(&error))?;
    let policy = unpacked.load(&Device::flex()).map_err(|error| usable(&error))?;
    let label = folder.display();
    let files = tuned::adapter_files(folder)?;
    // What does not fit is found here, not in the page.
    read_adapter(&policy.model, &files).map_err(|error| usage(format!("{label}: {error}")))?;
    let name = args.output.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let own = PolicyManifest { name, ..unpacked.manifest };
    let manifest = described(args.card.as_deref(), own)?;
    check(&manifest)?;
    let name = manifest.name.clone();
    let bundle = pack_adapter(manifest, &base, &files);
    let bundle = bundle.map_err(|error| usage(format!("{label}: {error}")))?;
    write_file(&args.output, &bundle)?;
    let (bytes, of, hash) = (bundle.len(), sha256(&base), sha256(&bundle));
    output::result(&format!("{name}  {bytes} bytes, sha256 {hash}, on {of}"));
    Ok(())
}

/// The bytes of the bundle that pages have.
fn bundle(model: Option<&Path>) -> Result<Vec<u8>> {
    match model {
        None => Ok(EMBEDDED.to_vec()),
        Some(path) if super::is_bundle(path) => Ok(policy::read_bytes(path)?),
        Some(path) => Err(usage(format!(
            "{}: an adapter alone names the bundle that it is laid upon: give the bundle that pages have as --model",
            path.display()
        ))),
    }
}
