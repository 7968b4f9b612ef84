//! `trainer self-play`: a policy learns from its own samples, in pairs or in contests.
//!
//! One step: prompts -> completions -> who is better -> slopes of a preference loss -> weights. Online DPO and
//! Nash-MD ask the rewards; SPIN takes the data's references for better than anything of its own.
//!
//! Measures: online DPO, whether the policy's log-ratios to its start order its own completions as the rewards do;
//! SPIN, how well they tell the data's references from what its opponent writes, the policy as the iteration began;
//! Nash-MD, how often a completion is preferred to one of a mixture of the policy and its start.
//! Formula: of a pair the recipe's preference loss, `-log s(b d)` unless another is asked for, with
//! `d = (log p(c) - log r(c)) - (log p(x) - log r(x))`. Online DPO: c and x are drawn from p, c earned more, r is the
//! start. SPIN: c is the reference, x is drawn from r, the opponent. Nash-MD: the mean over contests of
//! `b (log p(y) - log r(y)) - (P - 1/2)`, P the probability that y is preferred, r the start.
//! Misleads when: the loss is read as progress. Online DPO: pairs are new at every step, those that earned the same are
//! left out, and so fewer as the policy settles; it learns whatever the rewards overrate. SPIN: each iteration begins
//! at d = 0 again, the opponent being the policy, and references no better than its own samples are learned all the same.
//! Nash-MD: between equals half of all contests are won. Watch the reward, and `logps/chosen` in pairs.
//! Reference: Guo et al. 2024 (online DPO), Dong et al. 2024 (the best against the worst); Chen et al. 2024 (SPIN); Munos
//! et al. 2023 (Nash-MD).

mod game;
mod opponent;

use std::time::Instant;

use anyhow::Result;
use kudos_core::learn::training_device;
use kudos_core::model::Transformer;
use kudos_core::objective::flat_groups;
use kudos_core::optim::AdamW;

use crate::batches::items_of_step;
use crate::device::Selected;
use crate::drive::{self, Ended, Look, Occasion, Training, drive};
use crate::evaluate::policy_files;
use crate::parallel::Workers;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::rated::method::{At, Models, moved};
use crate::recipe::SelfPlay;
use crate::reinforce::{Setting, finish, held_out, look, metrics, source};
use crate::session::{Session, StepNumbers, frozen, seed_device, working};
use crate::{pictures, tuned};
use game::{Played, Players, play};

/// A run in progress.
struct Playing<'a> {
    setting: Setting<'a>,
    policy: Policy,
    optimizer: AdamW,
    /// Whose samples SPIN rejects, and what it compares with; else the start.
    opponent: Transformer,
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
    let task = source(recipe)?;
    before.model = pictures::shown(before.model, &task.pictures)?;
    let mut setting = Setting::new(plan, &before, &task)?;
    if let SelfPlay::Spin { .. } = recipe.self_play.method {
        game::keep_with_references(&mut setting.train, &before)?;
    }
    let held_out = held_out(recipe, &before, &task)?;
    let (mut session, resumed) = Session::open(plan, &selected.device)?;
    let mut optimizer = tuned::optimizer(recipe);
    if let Some(resumed) = resumed {
        policy.model = resumed.model(policy.model, &device)?;
        optimizer = resumed.optimizer;
    }
    policy.model = pictures::shown(policy.model, &task.pictures)?;
    session.note(&format!("{}; {}", selected.name, selected.reason));
    let opponent = opponent::at(&session, recipe, &setting.reference)?;
    let opponent = pictures::shown(opponent, &task.pictures)?;
    let mut training = Playing { setting, policy, optimizer, opponent };
    if drive(&mut training, &mut session, recipe)? == Ended::Interrupted {
        drive::saved(session);
        return Ok(());
    }
    let Playing { setting, policy, .. } = training;
    tuned::write(session.directory.path(), &policy, recipe)?;
    finish(session, &setting, (&before, policy), (&task.name, &selected.name, &held_out))
}

impl Playing<'_> {
    /// One step of learning.
    fn advance(&mut self, session: &mut Session) -> Result<()> {
        let start = Instant::now();
        let recipe = &self.setting.plan.recipe;
        let index = session.state.step;
        let tracked = working(&self.policy.model, recipe.optimizer.precision);
        let reading = Policy { model: frozen(&tracked), ..self.policy.clone() };
        if opponent::begins(recipe, index) {
            self.opponent.clone_from(&reading.model);
            opponent::write(session, &reading)?;
        }
        let count = recipe.batch.prompts * recipe.batch.gradient_accumulation_steps;
        let places = items_of_step(recipe.seed, index, count, self.setting.train.len());
        let items = places.into_iter().map(|place| &self.setting.train[place]).collect();
        let reference = match recipe.self_play.method {
            SelfPlay::Spin { .. } => &self.opponent,
            SelfPlay::OnlineDpo(_) | SelfPlay::NashMd { .. } => &self.setting.reference,
        };
        let workers = Workers::of(&tracked.device());
        let models = Models { policy: &reading.model, reference, workers };
        seed_device(&self.policy.model.device(), recipe.seed, index);
        let at = At { tracked: &tracked, models, recipe };
        let players = Players { setting: &self.setting, policy: &reading, at: &at, step: index };
        let Played { rewarded, taught } = play(&players, items)?;
        let group = recipe.batch.num_generations;
        let flat = flat_groups(&rewarded.totals, group);
        let flat = flat.iter().filter(|flat| **flat).count() as f64 / flat.len().max(1) as f64;
        let (reward, mut others) = metrics::of_rewards(&self.setting.rewards, &rewarded, flat);
        let weights = (&mut self.policy.model, &mut self.optimizer);
        others.extend(moved(taught.learned, weights, recipe, index)?);
        session.state.tokens += taught.tokens as u64;
        session.advise(taught.advice.as_deref());
        let of_game = taught.figures.into_iter().chain(taught.others);
        others.extend(of_game.map(|(name, value)| (name.to_owned(), value)));
        others.push(("num_tokens".to_owned(), session.state.tokens as f64));
        for row in metrics::sample_rows(&rewarded, index + 1, group) {
            session.sample(&row)?;
        }
        session.record(&StepNumbers {
            headline: ("reward", reward),
            figures: vec![taught.headline],
            others,
            batch: rewarded.items.iter().map(|item| format!("`{}`", item.0.id)).collect(),
            tokens: taught.tokens,
            seconds: start.elapsed().as_secs_f64(),
        })
    }
}

impl Training for Playing<'_> {
    fn step(&mut self, session: &mut Session) -> Result<()> {
        self.advance(session)
    }

    fn look(&self, occasion: Occasion) -> Result<Option<Look>> {
        look(&self.setting, &self.policy, occasion)
    }

    fn state(&self) -> (&Policy, &AdamW) {
        (&self.policy, &self.optimizer)
    }
}
