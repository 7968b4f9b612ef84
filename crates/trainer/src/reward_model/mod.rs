//! `trainer reward`: a model of what people think of completions.
//!
//! All members learn side by side, each from verdicts drawn anew (a Poisson weight each), so that what
//! they disagree about is what the verdicts leave open. A tenth of the prompts is held out. A run is
//! short: it keeps no checkpoints.

mod judge;
mod member;
mod model;
mod outcome;
mod reading;
mod verdicts;

use std::time::Instant;

use anyhow::Result;
use kudos_core::learn::training_device;
use kudos_schema::{Estimate, RewardResult};

pub use judge::{judge, uncertainty};
pub use model::{Judged, RewardModel};
pub(crate) use reading::{Reading, ReadingFiles};

use crate::batches::items_of_step;
use crate::device::Selected;
use crate::journal::{METRICS, read_metrics, series};
use crate::plan::Plan;
use crate::rated::said::{self, Dealt, LeftOut, deal};
use crate::recipe::{Recipe, TrunkUse};
use crate::report::{Series, curve_svg};
use crate::session::{Session, StepNumbers, seed_device};
use crate::store::write_file;
use crate::supervised::{number, schedule};
use crate::usage::usage;
use crate::{data, output, pictures};
use member::{Learner, Member};
use model::Scale;
use outcome::{Foretold, grades, report};
use verdicts::{Judgement, flat};

/// Runs the stage.
///
/// # Errors
/// Usage errors, a failing device, a full disk, a number that is not finite.
pub fn run(plan: &Plan, selected: &Selected) -> Result<()> {
    let recipe = &plan.recipe;
    if plan.resume {
        return Err(usage("reward keeps no checkpoints: leave --resume out and start again"));
    }
    let files = ReadingFiles::read(recipe.model.as_deref())?;
    let reading = files.load(&selected.device)?;
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
    let mut members = members(&files, &dealt, (recipe, selected))?;
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
    let learners = members.into_iter().map(|member| member.learner).collect();
    finish(session, (reading, learners), &dealt, (recipe, &selected.name))
}

/// As many members as the recipe says, all alike but for what each learns from.
fn members(
    files: &ReadingFiles,
    dealt: &Dealt<Judgement>,
    (recipe, selected): (&Recipe, &Selected),
) -> Result<Vec<Member>> {
    let how = recipe.feedback.trunk;
    let device = training_device(&selected.device, recipe.optimizer.activations);
    let trunk = match how {
        TrunkUse::Tuned => files.load(&device)?.trunk(),
        TrunkUse::Frozen => files.load(&selected.device)?.trunk(),
    };
    let judgements = dealt.train.iter().chain(&dealt.held_out);
    let texts: Vec<&[u32]> =
        judgements.flat_map(|one| one.texts.iter().map(Vec::as_slice)).collect();
    let learner = Learner::new(trunk, &texts, (how, &device))?;
    let member = |place| Member::new(learner.clone(), dealt.train.len(), (recipe, place));
    Ok((0..recipe.feedback.members).map(member).collect())
}

fn judgements(recipe: &Recipe, reading: &Reading, out: &mut LeftOut) -> Result<Vec<Judgement>> {
    let feedback = &recipe.feedback;
    let mut heard = said::read(&feedback.ratings, feedback.raters.as_deref())?;
    if !pictures::of_ratings(&mut heard)?.is_empty() {
        output::note("a reward model reads texts alone: the pictures of ratings are not looked at");
    }
    let mut all = verdicts::of_ratings(reading, &heard, out)?;
    if let Some(path) = &recipe.data.dataset {
        let data = data::dataset(path)?;
        all.extend(verdicts::of_rows(
            reading,
            &[data.train, data.validation, data.test].concat(),
            out,
        )?);
    }
    Ok(all)
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
        let size = recipe.batch.micro_batch_size;
        seed_device(&member.learner.device(), recipe.seed, step);
        let scores = member.learner.scores(&texts, size)?;
        let linearized = recipe.feedback.reward.linearize(&scores, &verdicts);
        let mut gradients = member.learner.learn(&texts, &linearized.slopes, size);
        norms += number(gradients.clip(recipe.optimizer.max_grad_norm))? / n_members;
        member.learner = member.learner.step(&mut member.optimizer, gradients, learning_rate);
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

/// The learners' mean score of each text.
fn means(learners: &[Learner], texts: &[&[u32]]) -> Result<Vec<f64>> {
    let all: Result<Vec<Vec<f64>>> =
        learners.iter().map(|learner| learner.scores(texts, model::BATCH)).collect();
    let (all, count) = (all?, learners.len() as f64);
    let mean = |place: usize| all.iter().map(|scores| scores[place]).sum::<f64>() / count;
    Ok((0..texts.len()).map(mean).collect())
}

/// Judgements with their own weights.
fn weighed(judgements: &[Judgement]) -> Vec<(&Judgement, f64)> {
    judgements.iter().map(|one| (one, one.weight)).collect()
}

/// Judges, writes model/, result.json and curve.svg, and prints.
fn finish(
    session: Session,
    (reading, learners): (Reading, Vec<Learner>),
    dealt: &Dealt<Judgement>,
    (recipe, device): (&Recipe, &str),
) -> Result<()> {
    let scale = Scale::of(&means(&learners, &flat(&weighed(&dealt.train)).0)?);
    let (texts, verdicts) = flat(&weighed(&dealt.held_out));
    let scores = means(&learners, &texts)?;
    let model = RewardModel::new(reading, learners, scale);
    let foretold = verdicts.iter().zip(&dealt.held_out).map(|(one, judgement)| Foretold {
        probability: one.verdict.probability(&scores),
        share: judgement.share,
        weight: judgement.weight,
        texts: judgement.texts.len(),
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
