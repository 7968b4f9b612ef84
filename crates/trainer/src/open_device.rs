//! From `--device` to a device, with what the user should know about it on standard error.

use std::path::PathBuf;

use anyhow::Result;

use crate::args::{DeviceArgs, DevicesArgs};
use crate::device::{DeviceChoice, Selected, Trust, select};
use crate::usage::usage;
use crate::{devices, output};

/// Takes the device that was asked for.
///
/// # Errors
/// If there is no such device.
pub fn open(args: &DeviceArgs) -> Result<Selected> {
    let choice: DeviceChoice =
        args.device.parse().map_err(|error| usage(format!("--device: {error}")))?;
    let trust = if args.trust_device { Trust::Always } else { Trust::AfterSelfTest };
    let selected = select(choice, trust, cache_dir().as_deref())
        .map_err(|error| usage(format!("--device: {error}")))?;
    selected.notes.iter().for_each(|note| output::note(note));
    Ok(selected)
}

/// `trainer devices`.
///
/// # Errors
/// If the list cannot be written as JSON.
pub fn list(args: &DevicesArgs) -> Result<()> {
    let list = devices::list(cache_dir().as_deref());
    output::result(&if args.json { serde_json::to_string(&list)? } else { list.table() });
    Ok(())
}

/// Where results of self-tests are kept: `KUDOS_CACHE_DIR`, or a folder in the user's cache.
fn cache_dir() -> Option<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    from("KUDOS_CACHE_DIR")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(from("XDG_CACHE_HOME")?).join("kudos")))
        .or_else(|| Some(PathBuf::from(from("HOME")?).join(".cache/kudos")))
        .or_else(|| Some(PathBuf::from(from("LOCALAPPDATA")?).join("kudos")))
}
