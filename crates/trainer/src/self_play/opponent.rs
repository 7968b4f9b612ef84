//! The opponent of SPIN: the policy as it was when the iteration began, kept in the run's folder so that a
//! resumed run meets the same one.

use anyhow::Result;
use kudos_core::model::Transformer;
use kudos_core::model::hugging_face::StoredAs;
use pollster::block_on;

use crate::policy::{self, Policy};
use crate::recipe::{Recipe, SelfPlay};
use crate::session::{Session, working};
use crate::store::{remove_folder, write_folder};
use crate::usage::usage;

/// The folder of opponents in a run's.
const FOLDER: &str = "opponents";

/// Opponents kept: a run that is killed may go on from a checkpoint before the last iteration began.
const KEPT: usize = 2;

/// Whether an iteration begins with this step; the first has the start for its opponent.
pub(super) fn begins(recipe: &Recipe, step: usize) -> bool {
    step > 0 && step == iteration(recipe, step)
}

/// The step that the iteration of a step began with.
fn iteration(recipe: &Recipe, step: usize) -> usize {
    match recipe.self_play.method {
        SelfPlay::Spin { iteration_steps } => step - step % iteration_steps,
        SelfPlay::OnlineDpo(_) | SelfPlay::NashMd { .. } => 0,
    }
}

fn name(step: usize) -> String {
    format!("step-{step:06}")
}

/// Whom the run meets at the step where it stands.
///
/// # Errors
/// If the opponent of an interrupted iteration is missing or damaged.
pub(super) fn at(session: &Session, recipe: &Recipe, start: &Transformer) -> Result<Transformer> {
    let step = session.state.step;
    let began = iteration(recipe, step);
    if began == 0 || began == step {
        // An iteration that begins with the next step makes its own.
        return Ok(start.clone());
    }
    let path = session.directory.path().join(FOLDER).join(name(began));
    let files = policy::read(&path).map_err(|error| usage(error.to_string()))?;
    let model = files.load(&start.device()).map_err(|error| usage(error.to_string()))?.model;
    Ok(working(&model, recipe.optimizer.precision))
}

/// Keeps the opponent of the iteration that begins, and forgets old ones.
///
/// # Errors
/// A failing device, a full disk.
pub(super) fn write(session: &Session, opponent: &Policy) -> Result<()> {
    let folder = session.directory.path().join(FOLDER);
    std::fs::create_dir_all(&folder)?;
    let files = block_on(opponent.files(StoredAs::F32))?;
    let path = folder.join(name(session.state.step));
    write_folder(&path, |folder| policy::write(&files, folder))?;
    let mut all: Vec<_> = std::fs::read_dir(&folder)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("step-"))
        })
        .collect();
    all.sort();
    let old = all.len().saturating_sub(KEPT);
    Ok(all[..old].iter().try_for_each(|path| remove_folder(path))?)
}
