//! `trainer off-policy`, `trainer dpo` and `trainer kto`: learning from what people said.
//!
//! A tenth of the prompts is held out; what is said of them judges the policy before and after.

mod labels;
pub(crate) mod method;
pub(crate) mod off_policy;
mod outcome;
pub(crate) mod pairs;
pub(crate) mod said;

use std::time::Instant;

use anyhow::Result;
use kudos_core::learn::training_device;
use kudos_core::model::Transformer;
use kudos_core::optim::AdamW;

use crate::batches::items_of_step;
use crate::device::Selected;
use crate::drive::{self, Ended, Look, Occasion, Training, drive};
use crate::evaluate::policy_files;
use crate::parallel::Workers;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::recipe::{Recipe, Stage};
use crate::session::{Session, StepNumbers, frozen, seed_device, working};
use crate::usage::usage;
use crate::{data, pictures, tuned};
use labels::Labels;
use method::{At, Method, Models, moved};
use off_policy::OffPolicy;
use pairs::Pairs;
use said::{Heard, LeftOut};

/// A run in progress.
struct Rated<'a> {
    recipe: &'a Recipe,
    method: Box<dyn Method>,
    reference: Transformer,
    policy: Policy,
    optimizer: AdamW,
}

/// Runs the stage.
///
/// # Errors
/// Usage errors, a failing device, a full disk, a number that is not finite.
pub fn run(plan: &Plan, selected: &Selected) -> Result<()> {
    let recipe = &plan.recipe;
    let device = training_device(&selected.device, recipe.optimizer.activations);
    let files = policy_files(recipe.model.as_deref())?;
    let (mut before, mut policy) = tuned::start(&files, recipe, &device)?;
    let feedback = &recipe.feedback;
    let mut heard = said::read(&feedback.ratings, feedback.raters.as_deref())?;
    let seen = pictures::of_ratings(&mut heard)?;
    before.model = pictures::of_ratings_shown(before.model, &seen)?;
    policy.model = pictures::of_ratings_shown(policy.model, &seen)?;
    let mut out = LeftOut::default();
    let method = method((recipe, &heard), &before, &mut out)?;
    if method.count() == 0 {
        let reasons = out.text().map_or(String::new(), |text| format!(" ({text})"));
        let verb = recipe.stage.name();
        return Err(usage(format!(
            "{verb} has nothing to learn from{reasons}: give other ratings"
        )));
    }
    let (mut session, resumed) = Session::open(plan, &selected.device)?;
    session.learn_from(method.examples())?;
    let reference = working(&before.model, recipe.optimizer.precision);
    let optimizer = tuned::optimizer(recipe);
    let mut rated = Rated { recipe, method, reference, policy, optimizer };
    if let Some(resumed) = resumed {
        rated.policy.model = resumed.model(rated.policy.model, &device)?;
        rated.optimizer = resumed.optimizer;
    }
    session.note(&format!(
        "{} examples on {}; {}",
        rated.method.count(),
        selected.name,
        selected.reason
    ));
    if let Some(text) = out.text() {
        session.note(&text);
    }
    if drive(&mut rated, &mut session, recipe)? == Ended::Interrupted {
        drive::saved(session);
        return Ok(());
    }
    tuned::write(session.directory.path(), &rated.policy, recipe)?;
    let after = Policy { model: frozen(&rated.policy.model), ..rated.policy };
    outcome::write(session, (recipe, &selected.name), rated.method.as_ref(), (&before, &after))
}

fn method(
    (recipe, heard): (&Recipe, &[Heard]),
    policy: &Policy,
    out: &mut LeftOut,
) -> Result<Box<dyn Method>> {
    let feedback = &recipe.feedback;
    let items = match &recipe.data.dataset {
        None => Vec::new(),
        Some(path) => {
            let data = data::of_texts(data::dataset(path)?)?;
            [data.train, data.validation, data.test].concat()
        }
    };
    Ok(match recipe.stage {
        Stage::Dpo => {
            let mut examples = pairs::of_ratings(heard, policy, out);
            examples.extend(pairs::of_rows(&items, policy, out)?);
            Box::new(Pairs::new(examples, feedback.preference))
        }
        Stage::Kto => {
            let mut examples = labels::of_ratings(heard, policy, out);
            examples.extend(labels::of_rows(&items, policy, out)?);
            Box::new(Labels::new(examples, feedback.kto))
        }
        Stage::OffPolicy
        | Stage::Reward
        | Stage::Pretrain
        | Stage::Sft
        | Stage::Reinforce
        | Stage::Distill
        | Stage::SelfPlay => {
            let examples = off_policy::of_ratings(heard, policy, out);
            Box::new(OffPolicy::new(examples, feedback.importance, recipe.objective.clone()))
        }
    })
}

impl Rated<'_> {
    /// Moves the policy along the gradient of a step.
    fn advance(&mut self, step: usize) -> Result<(StepNumbers, Option<String>)> {
        let start = Instant::now();
        let recipe = self.recipe;
        let count = recipe.batch.prompts * recipe.batch.gradient_accumulation_steps;
        let indices = items_of_step(recipe.seed, step, count, self.method.count());
        let tracked = working(&self.policy.model, recipe.optimizer.precision);
        let reading = frozen(&tracked);
        let workers = Workers::of(&tracked.device());
        let models = Models { policy: &reading, reference: &self.reference, workers };
        seed_device(&self.policy.model.device(), recipe.seed, step);
        let taught = self.method.learn(&At { tracked: &tracked, models, recipe }, &indices)?;
        let mut others: Vec<(String, f64)> =
            taught.others.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let weights = (&mut self.policy.model, &mut self.optimizer);
        others.extend(moved(taught.learned, weights, recipe, step)?);
        let numbers = StepNumbers {
            headline: taught.headline,
            figures: taught.figures,
            others,
            batch: indices.iter().map(|index| self.method.name(*index).to_owned()).collect(),
            tokens: taught.tokens,
            seconds: start.elapsed().as_secs_f64(),
        };
        Ok((numbers, taught.advice))
    }
}

impl Training for Rated<'_> {
    fn step(&mut self, session: &mut Session) -> Result<()> {
        let (numbers, advice) = self.advance(session.state.step)?;
        session.state.tokens += numbers.tokens as u64;
        session.advise(advice.as_deref());
        session.record(&numbers)
    }

    fn look(&self, occasion: Occasion) -> Result<Option<Look>> {
        if occasion == Occasion::End {
            return Ok(None);
        }
        let reading = frozen(&self.policy.model);
        let workers = Workers::of(&reading.device());
        let models = Models { policy: &reading, reference: &self.reference, workers };
        let points = self.method.judge(&models)?;
        let score = outcome::weighted_mean(&points);
        Ok(Some(Look { text: format!("held out {score:.4}"), score }))
    }

    fn state(&self) -> (&Policy, &AdamW) {
        (&self.policy, &self.optimizer)
    }
}
