//! `trainer convert`: a policy of any kind as a Hugging Face folder, which Python's transformers loads.

use anyhow::Result;

use crate::args::ConvertArgs;
use crate::output;
use crate::policy;
use crate::store::write_folder;
use crate::usage::usage;

/// Reads, converts and writes; what is there is never replaced.
///
/// # Errors
/// Usage errors, or a file that cannot be written.
pub fn run(args: &ConvertArgs) -> Result<()> {
    if args.output.exists() {
        let path = args.output.display();
        return Err(usage(format!("{path} exists: choose another --output or remove it first")));
    }
    let files = policy::read(&args.model).map_err(|error| usage(error.to_string()))?;
    let converted = files.converted(args.dtype);
    let files = converted.map_err(|error| usage(format!("{}: {error}", args.model.display())))?;
    write_folder(&args.output, |folder| policy::write(&files, folder))?;
    output::result(&format!("model.safetensors  sha256 {}", files.sha256()?));
    Ok(())
}
