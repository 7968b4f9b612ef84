//! The loop that all training verbs share: step, look, save, stop when asked to.

use anyhow::Result;
use kudos_core::optim::AdamW;

use crate::output;
use crate::policy::Policy;
use crate::recipe::Recipe;
use crate::session::{Beside, Session};

/// What a verb does of its own.
pub(crate) trait Training {
    /// One optimizer step, recorded in the session.
    ///
    /// # Errors
    /// A failing device, a full disk, a number that is not finite.
    fn step(&mut self, session: &mut Session) -> Result<()>;

    /// Judges the policy on validation items; none where there is nothing to say.
    ///
    /// # Errors
    /// A failing device.
    fn look(&self, occasion: Occasion) -> Result<Option<Look>>;

    /// What a checkpoint holds.
    fn state(&self) -> (&Policy, &AdamW);

    /// What a checkpoint holds beside that.
    ///
    /// # Errors
    /// If the device does not return it.
    fn beside(&self) -> Result<Beside> {
        Ok(Vec::new())
    }
}

/// Why the policy is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// The recipe says so.
    Due,
    /// It was the last step.
    End,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Look {
    /// In words.
    pub(crate) text: String,
    /// Higher is better.
    pub(crate) score: f64,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With its last step.
    Done,
    /// By Ctrl-C, with a checkpoint.
    Interrupted,
}

/// Takes the steps of the recipe that are left.
///
/// # Errors
/// What a step, a look or a checkpoint reports.
pub(crate) fn drive(
    training: &mut dyn Training,
    session: &mut Session,
    recipe: &Recipe,
) -> Result<Ended> {
    while session.state.step < recipe.steps {
        training.step(session)?;
        let done = session.state.step == recipe.steps;
        let due = |every: usize| every > 0 && session.state.step.is_multiple_of(every);
        let look = if due(recipe.watch.eval_every) {
            training.look(Occasion::Due)?
        } else if done {
            training.look(Occasion::End)?
        } else {
            None
        };
        if let Some(look) = &look {
            session.note(&format!("step {}: {}", session.state.step, look.text));
        }
        if due(recipe.watch.save_every) || done || session.interrupted() {
            let (policy, optimizer) = training.state();
            let beside = training.beside()?;
            session.save((policy, optimizer), &beside, look.map(|look| look.score))?;
        }
        if session.interrupted() && !done {
            return Ok(Ended::Interrupted);
        }
    }
    Ok(Ended::Done)
}

/// Says how an interrupted run goes on.
pub(crate) fn saved(session: Session) {
    let directory = session.finish();
    let path = directory.path().display();
    output::note(&format!("saved; continue with --resume --output-dir {path}"));
}
