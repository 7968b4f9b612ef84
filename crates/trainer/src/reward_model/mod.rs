//! `trainer reward`: a model of what people think of completions.
//!
//! All members learn side by side, each from verdicts drawn anew (a Poisson weight each), so that what
//! they disagree about is what the verdicts leave open. A tenth of the prompts is held out. A run is
//! short: it keeps no checkpoints.

mod judge;
mod model;
mod outcome;
mod verdicts;

use std::time::Instant;

use anyhow::Result;
use burn::module::Module;
use kudos_core::learn::training_device;
use kudos_core::model::Scorer;
use kudos_core::optim::AdamW;
use kudos_schema::{Estimate, RewardResult};
use rand::RngExt;

pub use judge::{judge, uncertainty};
pub use model::{Judged, RewardModel};

use crate::batches::{Purpose, coins, items_of_step};
use crate::device::Selected;
use crate::evaluate::policy_files;
use crate::journal::{METRICS, read_metrics, series};
use crate::parallel::Workers;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::rated::said::{self, Dealt, LeftOut, deal};
use crate::recipe::Recipe;
use crate::report::{Series, curve_svg};
use crate::session::{Session, StepNumbers, seed_device};
use crate::store::write_file;
use crate::supervised::{number, schedule};
use crate::usage::usage;
use crate::{data, output};
use outcome::{Foretold, grades, report};
use verdicts::{Judgement, Reader, flat};

/// A scorer in training.
struct Member {
    scorer: Scorer,
    optimizer: AdamW,
    /// How much each judgement counts for it, beside the judgement's own weight.
    drawn: Vec<f64>,
}

/// Runs the stage.
///
/// # Errors
/// Usage errors, a failing device, a full disk, a number that is not finite.
pub fn run(plan: &Plan, selected: &Selected) -> Result<()> {
    let recipe = &plan.recipe;
    if plan.resume {
        return Err(usage("reward keeps no checkpoints: leave --resume out and start again"));
    }
    let device = training_device(&selected.device, recipe.optimizer.activations);
    let files = policy_files(recipe.model.as_deref())?;
    let load = |device| files.load(device).map_err(|error| usage(error.to_string()));
    let (reading, policy) = (load(&selected.device)?, load(&device)?);
    let mut out = LeftOut::default();
    let dealt = deal(judgements(recipe, &reading, &mut out)?, |one| &one.prompt);
    if dealt.train.is_empty() {
        return Err(usage("there is no verdict on quality to learn from: give other ratings"));
    }
    let (mut session, _) = Session::open(plan, &selected.device)?;
    session.note(&format!(
        "{} verdicts on {}; {}",
        dealt.train.len(),
        selected.name,
        selected.reason
    ));
    if let Some(text) = out.text() {
        session.note(&text);
    }
    let mut members: Vec<Member> = (0..recipe.feedback.members)
        .map(|member| Member::new(&policy, &dealt, recipe, member))
        .collect();
    while session.state.step < recipe.steps {
        let numbers = step(&mut members, &dealt.train, recipe, session.state.step)?;
        session.state.tokens += numbers.tokens as u64;
        session.record(&numbers)?;
        if session.interrupted() && session.state.step < recipe.steps {
            let directory = session.finish();
            let path = directory.path().display();
            anyhow::bail!("stopped: {path} holds no reward model, which keeps no checkpoints");
        }
    }
    let scorers = members.into_iter().map(|member| member.scorer.valid()).collect();
    let model = RewardModel::new(reading, scorers);
    finish(session, model, &dealt, (recipe, &selected.name))
}

fn judgements(recipe: &Recipe, policy: &Policy, out: &mut LeftOut) -> Result<Vec<Judgement>> {
    let (reader, feedback) = (Reader { policy }, &recipe.feedback);
    let mut all =
        reader.of_ratings(&said::read(&feedback.ratings, feedback.raters.as_deref())?, out)?;
    if let Some(path) = &recipe.data.dataset {
        let data = data::dataset(path)?;
        all.extend(reader.of_rows(&[data.train, data.validation, data.test].concat(), out)?);
    }
    Ok(all)
}

impl Member {
    fn new(policy: &Policy, dealt: &Dealt<Judgement>, recipe: &Recipe, member: usize) -> Self {
        let mut coins = coins(recipe.seed, Purpose::Members, member as u64);
        let drawn = dealt.train.iter().map(|_| match recipe.feedback.members {
            1 => 1.0,
            _ => poisson(coins.random_range(0.0..1.0)),
        });
        let drawn = drawn.collect();
        let device = policy.model.device();
        let scorer = Scorer::zeroed(policy.model.clone()).fork(&device);
        Self { scorer, optimizer: AdamW::new(recipe.optimizer.adamw), drawn }
    }
}

/// The Poisson deviate of mean 1 that belongs to a uniform one, by inversion.
fn poisson(uniform: f64) -> f64 {
    let (mut count, mut probability) = (0.0, (-1.0f64).exp());
    let mut below = probability;
    while uniform >= below && probability > 1e-12 {
        count += 1.0;
        probability /= count;
        below += probability;
    }
    count
}

fn step(
    members: &mut [Member],
    train: &[Judgement],
    recipe: &Recipe,
    step: usize,
) -> Result<StepNumbers> {
    let start = Instant::now();
    let count = recipe.batch.prompts * recipe.batch.gradient_accumulation_steps;
    let places = items_of_step(recipe.seed, step, count, train.len());
    let learning_rate = schedule(recipe).learning_rate(step);
    let (mut losses, mut norms, mut tokens) = (0.0, 0.0, 0);
    let n_members = members.len() as f64;
    for member in members {
        let chosen = places
            .iter()
            .map(|place| (&train[*place], train[*place].weight * member.drawn[*place]));
        let chosen: Vec<(&Judgement, f64)> = chosen.filter(|(_, weight)| *weight > 0.0).collect();
        if chosen.is_empty() {
            continue;
        }
        let (texts, verdicts) = flat(&chosen);
        seed_device(&member.scorer.trunk.device(), recipe.seed, step);
        let workers = Workers::of(&member.scorer.trunk.device());
        let size = recipe.batch.micro_batch_size;
        let scores = workers.scores(&member.scorer.valid(), &texts, size)?;
        let linearized = recipe.feedback.reward.linearize(&scores, &verdicts);
        let mut gradients = workers.learn_scores(&member.scorer, &texts, &linearized.slopes, size);
        norms += number(gradients.clip(recipe.optimizer.max_grad_norm))? / n_members;
        let scorer = member.scorer.clone();
        member.scorer = member.optimizer.step(scorer, gradients, learning_rate);
        losses += linearized.loss / n_members;
        tokens += texts.iter().map(|text| text.len()).sum::<usize>();
    }
    Ok(StepNumbers {
        headline: ("loss", losses),
        figures: vec![("grad_norm", norms), ("learning_rate", learning_rate)],
        others: vec![("num_tokens".to_owned(), tokens as f64)],
        batch: vec![format!("the verdicts of step {step}")],
        tokens,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// Judgements with their own weights.
fn weighed(judgements: &[Judgement]) -> Vec<(&Judgement, f64)> {
    judgements.iter().map(|one| (one, one.weight)).collect()
}

/// Judges, writes model/, result.json and curve.svg, and prints.
fn finish(
    session: Session,
    model: RewardModel,
    dealt: &Dealt<Judgement>,
    (recipe, device): (&Recipe, &str),
) -> Result<()> {
    let model = model.calibrated(&flat(&weighed(&dealt.train)).0)?;
    let (texts, verdicts) = flat(&weighed(&dealt.held_out));
    let scores = model.means(&texts)?;
    let foretold = verdicts.iter().zip(&dealt.held_out).map(|(one, judgement)| Foretold {
        probability: one.verdict.probability(&scores),
        share: judgement.share,
        weight: judgement.weight,
    });
    let foretold: Vec<Foretold> = foretold.collect();
    let (state, seconds) = (session.state.clone(), session.seconds());
    let directory = session.finish();
    let folder = directory.path();
    model.write(&folder.join("model"))?;
    let result = RewardResult {
        members: recipe.feedback.members,
        steps: state.step,
        seconds,
        seed: recipe.seed,
        device: device.to_owned(),
        ..report(&foretold, &grades(&dealt.held_out, &scores), recipe.seed)
    };
    write_file(
        &folder.join("result.json"),
        (serde_json::to_string_pretty(&result)? + "\n").as_bytes(),
    )?;
    let points = series(&read_metrics(&folder.join(METRICS))?, "loss");
    let svg = curve_svg("Loss, nats a verdict", &[Series { name: "loss".to_owned(), points }]);
    write_file(&folder.join("curve.svg"), svg.as_bytes())?;
    output::result(&table(&result));
    output::result(&format!("the reward model is in {}/model", folder.display()));
    Ok(())
}

fn table(result: &RewardResult) -> String {
    let interval = |e: Estimate| format!("{:.3} [{:.3}, {:.3}]", e.mean, e.low, e.high);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    let bins = result.bins.iter().map(|bin| {
        format!("  foretold {:.2}, said {:.2} ({} verdicts)", bin.foretold, bin.said, bin.n)
    });
    format!(
        "{} held-out verdicts, {} decided\naccuracy {}\nlog loss {:.4} nats (knowing nothing: 0.6931)\n\
         Brier score {:.4}, calibration error {:.4}\n{}\ncorrelation with grades {}",
        result.n,
        result.decided,
        or_none(result.accuracy.map(interval)),
        result.log_loss,
        result.brier,
        result.calibration_error,
        bins.collect::<Vec<_>>().join("\n"),
        or_none(result.pearson.map(|r| format!("{r:.3}"))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poisson_weights_have_mean_and_variance_one() {
        let count = 10_000;
        let of = |place: usize| poisson((place as f64 + 0.5) / f64::from(count));
        let values: Vec<f64> = (0..count as usize).map(of).collect();
        let mean = values.iter().sum::<f64>() / f64::from(count);
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(count);
        assert!((mean - 1.0).abs() < 1e-3 && (variance - 1.0).abs() < 1e-2, "{mean} {variance}");
        assert_eq!((poisson(0.0), poisson(0.5)), (0.0, 1.0));
    }
}
