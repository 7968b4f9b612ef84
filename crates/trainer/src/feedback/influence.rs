//! `trainer feedback influence`: what a step of learning would be without one rater.
//!
//! The step is that of `off-policy` over all ratings at once, without bound and without KL: the gradient of
//! the estimated reward. Both gradients, with and without the rater, point somewhere; the angle between
//! them and the change in length are the rater's influence.

use anyhow::Result;
use kudos_core::learn::{Activations, Learned, training_device};
use kudos_core::objective::{Experience, Importance, Linear, RatioBound, RatioLevel};
use kudos_core::optim::Gradients;
use kudos_schema::InfluenceReport;

use crate::args::InfluenceArgs;
use crate::evaluate::policy_files;
use crate::parallel::Workers;
use crate::policy::Policy;
use crate::rated::off_policy::{self, Rewarded};
use crate::rated::said::{self, Heard, LeftOut};
use crate::session::frozen;
use crate::supervised::number;
use crate::usage::usage;
use crate::{open_device, output, pictures};

/// Sequences in one forward and backward pass.
const MICRO_BATCH: usize = 16;
/// Sequence ratios as they are.
const EVERYTHING: Importance = Importance {
    level: RatioLevel::Sequence,
    bound: RatioBound::None,
    max_drift_nats: f64::INFINITY,
    min_effective_share: 0.0,
};
/// Version of [`InfluenceReport`].
const VERSION: u32 = 1;

/// Reads, takes both gradients and prints.
///
/// # Errors
/// Usage errors; a failing device.
pub(super) fn run(args: &InfluenceArgs) -> Result<()> {
    let mut heard = said::read(&args.files, None)?;
    let seen = pictures::of_ratings(&mut heard)?;
    let (own, others): (Vec<Heard>, Vec<Heard>) =
        heard.iter().cloned().partition(|heard| heard.rating.rater == args.rater);
    if own.is_empty() || others.is_empty() {
        return Err(usage(format!(
            "{} of {} ratings are of rater {}: name one of several raters",
            own.len(),
            heard.len(),
            args.rater
        )));
    }
    let selected = open_device::open(&args.device)?;
    let device = training_device(&selected.device, Activations::Keep);
    let files = policy_files(args.model.as_deref())?;
    let mut policy = files.load(&device).map_err(|error| usage(error.to_string()))?;
    policy.model = pictures::of_ratings_shown(policy.model, &seen)?;
    let mut out = LeftOut::default();
    let (with, all) = gradient(&heard, &policy, &mut out)?;
    let (without, rest) = gradient(&others, &policy, &mut LeftOut::default())?;
    if let Some(text) = out.text() {
        output::note(&text);
    }
    let (long, short) = (number(with.norm())?, number(without.norm())?);
    let product: f64 = dot(&with, &without)?;
    let report = InfluenceReport {
        version: VERSION,
        rater: args.rater.clone(),
        ratings: own.len(),
        completions: all - rest,
        share: (all - rest) as f64 / all as f64,
        cosine: if long * short > 0.0 { product / (long * short) } else { 0.0 },
        norm_with: long,
        norm_without: short,
    };
    output::result(&if args.json { serde_json::to_string(&report)? } else { table(&report) });
    Ok(())
}

/// The gradient of the negative estimated reward, and how many completions it rests on.
fn gradient(heard: &[Heard], policy: &Policy, out: &mut LeftOut) -> Result<(Gradients, usize)> {
    let rewarded = off_policy::of_ratings(heard, policy, out);
    let examples: Vec<&Rewarded> = rewarded.iter().collect();
    if examples.is_empty() {
        return Err(usage("no rating says what a drawn completion is worth: give other ratings"));
    }
    let workers = Workers::of(&policy.model.device());
    let current = off_policy::log_probs(workers, &frozen(&policy.model), &examples)?;
    let behavior: Vec<Vec<f32>> = examples.iter().map(|one| one.behavior.clone()).collect();
    let factors = EVERYTHING.weigh(&current, &behavior).factors;
    let share = (examples.len() as f32).recip();
    let rows = examples.iter().zip(factors);
    let experiences = rows.map(|(one, factors)| {
        let experience = Experience {
            prompt: one.prompt.clone(),
            completion: one.completion.clone(),
            weights: vec![share * one.weight as f32; one.completion.len()],
            advantages: factors.iter().map(|factor| factor * one.advantage as f32).collect(),
            reference: vec![0.0; one.completion.len()],
            old: vec![0.0; one.completion.len()],
        };
        (one.temperature, experience)
    });
    let parts = off_policy::by_temperature(experiences).map(|(temperature, mut experiences)| {
        experiences.sort_by_key(|one| one.prompt.len() + one.completion.len());
        workers.learn(&policy.model, &experiences, &Linear { temperature }, MICRO_BATCH)
    });
    let learned = parts.reduce(Learned::plus).expect("there are examples");
    Ok((learned.gradients, examples.len()))
}

fn dot(one: &Gradients, other: &Gradients) -> Result<f64> {
    let parts = one.names().filter_map(|name| Some((one.get(name)?, other.get(name)?)));
    let products = parts.map(|(a, b)| (a * b).sum());
    products.reduce(|sum, part| sum + part).map_or(Ok(0.0), number)
}

fn table(report: &InfluenceReport) -> String {
    format!(
        "{} ratings, {} completions, {:.1} % of all\n\
         the step with and without them: cosine {:.4}, length {:.4e} and {:.4e}",
        report.ratings,
        report.completions,
        100.0 * report.share,
        report.cosine,
        report.norm_with,
        report.norm_without
    )
}
