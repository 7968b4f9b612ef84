//! The end of a run on ratings: what the held-out ones say before and after, result.json, the policy.

use std::path::Path;

use anyhow::Result;
use kudos_core::rollout::{Coins, Generation, Rollout};
use kudos_schema::{Estimate, RunResult};

use super::method::{Method, Models, Point};
use crate::batches::{Purpose, coins};
use crate::evaluate::kl_nats;
use crate::journal::{METRICS, read_metrics, series};
use crate::parallel::Workers;
use crate::policy::Policy;
use crate::recipe::Recipe;
use crate::report::{Series, curve_svg};
use crate::session::Session;
use crate::store::write_file;
use crate::{bootstrap, output, tuned};

/// Completions of held-out prompts on which the divergence from the start is measured.
const KL_COMPLETIONS: usize = 64;
/// A step number that no training step reaches.
const HELD_OUT_STEP: u64 = u64::MAX;

/// Judges both policies, writes model/, result.json and curve.svg, and prints.
///
/// # Errors
/// A failing device, a full disk.
pub(super) fn write(
    session: Session,
    (recipe, device): (&Recipe, &str),
    method: &dyn Method,
    (before, after): (&Policy, &Policy),
) -> Result<()> {
    let workers = Workers::of(&before.model.device());
    let judge = |policy: &Policy| {
        method.judge(&Models { policy: &policy.model, reference: &before.model, workers })
    };
    let (old, new) = (judge(before)?, judge(after)?);
    let kl_nats = divergence(recipe, method, (before, after))?;
    let base_bytes = tuned::base_bytes(recipe, before);
    let context = after.config().context_length;
    let (state, seconds) = (session.state.clone(), session.seconds());
    let directory = session.finish();
    let folder = directory.path();
    tuned::write_model(folder, after, recipe)?;
    let model_sha256 = tuned::sha256(folder, after, recipe)?;
    let [before, after, difference] = estimates(&old, &new, recipe.seed);
    let result = RunResult {
        version: 1,
        task: recipe.stage.name().to_owned(),
        metric: method.measure().to_owned(),
        n: old.len(),
        before,
        after,
        difference,
        kl_nats,
        steps: state.step,
        seconds,
        tokens: state.tokens,
        seed: recipe.seed,
        device: device.to_owned(),
        model_sha256,
        base_bytes,
    };
    let json = serde_json::to_string_pretty(&result)? + "\n";
    write_file(&folder.join("result.json"), json.as_bytes())?;
    let rows = read_metrics(&folder.join(METRICS))?;
    let name = if rows.iter().any(|row| row.values.iter().any(|(name, _)| name == "loss")) {
        "loss"
    } else {
        "reward"
    };
    let curve = Series { name: name.to_owned(), points: series(&rows, name) };
    write_file(&folder.join("curve.svg"), curve_svg(name, &[curve]).as_bytes())?;
    output::result(&in_words(&result, (recipe, context), folder));
    Ok(())
}

fn in_words(result: &RunResult, (recipe, context): (&Recipe, usize), folder: &Path) -> String {
    let show = |e: Estimate| format!("{:.4} [{:.4}, {:.4}]", e.mean, e.low, e.high);
    let longest = recipe.sampling.max_completion_length;
    let kl = match result.kl_nats {
        Some(kl_nats) => format!("{kl_nats:.2} nats a completion"),
        None => format!(
            "not measured, since behind no held-out prompt do sampling.max_completion_length = {longest} \
             tokens fit into the context of {context}"
        ),
    };
    format!(
        "{}, n = {}\nbefore {}, after {}, difference {}\nKL from the start: {kl}; \
         {} steps, {:.0} s on {}\n{}",
        result.metric,
        result.n,
        show(result.before),
        show(result.after),
        show(result.difference),
        result.steps,
        result.seconds,
        result.device,
        tuned::place(folder, recipe),
    )
}

/// How far the new policy is from the old one in what it writes to held-out prompts; none where nothing
/// fits behind any of them.
fn divergence(
    recipe: &Recipe,
    method: &dyn Method,
    (before, after): (&Policy, &Policy),
) -> Result<Option<f64>> {
    let stop = after.stop_tokens();
    let longest = recipe.sampling.max_completion_length;
    let context = after.config().context_length;
    let mut prompts: Vec<Vec<u32>> = method.prompts().into_iter().map(<[u32]>::to_vec).collect();
    prompts.retain(|prompt| prompt.len() + longest <= context);
    if prompts.is_empty() {
        return Ok(None);
    }
    let prompts: Vec<Vec<u32>> = prompts.into_iter().cycle().take(KL_COMPLETIONS).collect();
    let generation = Generation {
        sampling: &recipe.sampling,
        stop: &stop,
        coins: Coins::new(recipe.seed, HELD_OUT_STEP),
        first_index: 0,
    };
    let workers = Workers::of(&after.model.device());
    let rollout: Rollout = workers.generate(&after.model, &prompts, &generation)?;
    kl_nats(&rollout, &before.model, recipe.sampling.temperature).map(Some)
}

/// Before, after, and after minus before on the same examples drawn anew.
fn estimates(old: &[Point], new: &[Point], seed: u64) -> [Estimate; 3] {
    let drawn = |points: &[Point], places: &[usize]| {
        weighted_mean(&places.iter().map(|place| points[*place]).collect::<Vec<_>>())
    };
    let estimate = |value: &dyn Fn(&[usize]) -> f64| {
        bootstrap::statistic(old.len(), &mut coins(seed, Purpose::Bootstrap, 0), value)
    };
    [
        estimate(&|places| drawn(old, places)),
        estimate(&|places| drawn(new, places)),
        estimate(&|places| drawn(new, places) - drawn(old, places)),
    ]
}

/// The mean, 0 without weight.
pub(super) fn weighted_mean(points: &[Point]) -> f64 {
    let sums = points.iter().fold((0.0, 0.0), |(value, all), point| {
        (value + point.weight * point.value, all + point.weight)
    });
    if sums.1 > 0.0 { sums.0 / sums.1 } else { 0.0 }
}
