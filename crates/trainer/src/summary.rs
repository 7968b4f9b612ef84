//! The end of a reinforcement run: the held-out table, samples side by side, result.json, the report.

use anyhow::Result;
use kudos_core::reward::Reward;
use kudos_core::task::Item;
use kudos_schema::{Estimate, RunResult};

use crate::batches::{Purpose, coins};
use crate::evaluate::{Evaluation, draw, greedy};
use crate::journal::{METRICS, read_metrics, series};
use crate::policy::Policy;
use crate::recipe::Recipe;
use crate::report::{self, Better, Chart, HeldOut, Report, SamplePair, Scored, Series, curve_svg};
use crate::session::Session;
use crate::store::write_file;
use crate::{bootstrap, output, tuned};

/// Samples shown side by side at the end.
const SHOWN: usize = 5;

/// One policy on the held-out items, in two ways.
#[derive(Debug, Clone)]
pub struct Looks {
    /// Drawn as in training: what the run optimizes.
    pub drawn: Evaluation,
    /// The most likely tokens.
    pub greedy: Evaluation,
}

/// Everything the end of a run is written from.
#[derive(Debug)]
pub struct Finished<'a> {
    /// The recipe as resolved.
    pub recipe: &'a Recipe,
    /// The task's name.
    pub task: &'a str,
    /// The held-out metric's name.
    pub metric: &'a str,
    /// The device in words.
    pub device: &'a str,
    /// The starting policy on the held-out items.
    pub before: &'a Looks,
    /// The resulting policy on the same items with the same coins.
    pub after: &'a Looks,
    /// Divergence of the result from the start, in nats a completion.
    pub kl_nats: f64,
    /// The resulting policy.
    pub policy: &'a Policy,
    /// Bytes in which frozen projections were held while the rest learned.
    pub base_bytes: Option<u64>,
}

/// Judges a policy on items; every policy with the same coins.
///
/// # Errors
/// If the device fails.
pub fn looks(
    recipe: &Recipe,
    metric: &dyn Reward,
    policy: &Policy,
    items: &[(Item, Vec<u32>)],
) -> Result<Looks> {
    Ok(Looks {
        drawn: draw(policy, items, metric, recipe)?,
        greedy: greedy(policy, items, metric, recipe)?,
    })
}

/// Writes model/, result.json, report.html and curve.svg, and prints the table.
///
/// # Errors
/// If the disk is full.
pub fn write(session: Session, finished: &Finished<'_>) -> Result<()> {
    let Finished { recipe, task, metric: name, device, before, after, .. } = finished;
    let Finished { kl_nats, policy, base_bytes, .. } = finished;
    let rows = [
        held_out(&format!("{name}, drawn"), &before.drawn, &after.drawn, recipe.seed)?,
        held_out(&format!("{name}, greedy"), &before.greedy, &after.greedy, recipe.seed)?,
    ];
    let (state, seconds) = (session.state.clone(), session.seconds());
    let directory = session.finish();
    let folder = directory.path().to_owned();
    tuned::write_model(&folder, policy, recipe)?;
    let result = RunResult {
        version: 1,
        task: (*task).to_owned(),
        metric: (*name).to_owned(),
        n: rows[0].n,
        before: rows[0].before,
        after: rows[0].after,
        difference: rows[0].difference,
        kl_nats: Some(*kl_nats),
        steps: state.step,
        seconds,
        tokens: state.tokens,
        seed: recipe.seed,
        device: (*device).to_owned(),
        model_sha256: tuned::sha256(&folder, policy, recipe)?,
        base_bytes: *base_bytes,
    };
    let json = serde_json::to_string_pretty(&result)? + "\n";
    write_file(&folder.join("result.json"), json.as_bytes())?;
    let curves = curves(&read_metrics(&folder.join(METRICS))?);
    let svg = curve_svg(&curves[0].title, &curves[0].series);
    write_file(&folder.join("curve.svg"), svg.as_bytes())?;
    let samples = samples(&before.drawn, &after.drawn);
    print(&rows, &result, &samples);
    let report = Report {
        title: format!("{task}: before and after"),
        summary: format!(
            "{} steps of policy gradient on {device}, seed {}, {seconds:.0} s.",
            state.step, recipe.seed
        ),
        figures: vec![
            ("KL from the start, nats a completion".to_owned(), format!("{kl_nats:.2}")),
            ("completion tokens learned from".to_owned(), state.tokens.to_string()),
        ],
        held_out: rows.to_vec(),
        curves,
        samples,
        configuration: vec![(
            "recipe.toml".to_owned(),
            toml::to_string_pretty(recipe).expect("a recipe prints as TOML"),
        )],
    };
    write_file(&folder.join("report.html"), report::render(&report).as_bytes())?;
    output::result(&format!("report: {}", folder.join("report.html").display()));
    Ok(())
}

fn held_out(metric: &str, before: &Evaluation, after: &Evaluation, seed: u64) -> Result<HeldOut> {
    let (old, new) = (before.scores(), after.scores());
    let mut coins = coins(seed, Purpose::Bootstrap, 0);
    Ok(HeldOut {
        metric: metric.to_owned(),
        n: old.len(),
        before: bootstrap::mean(&old, &mut coins)?,
        after: bootstrap::mean(&new, &mut coins)?,
        difference: bootstrap::paired_difference(&old, &new, &mut coins)?,
        better: Better::Higher,
    })
}

fn curves(rows: &[crate::journal::MetricsRow]) -> Vec<Chart> {
    let chart = |title: &str, name: &str| Chart {
        title: title.to_owned(),
        series: vec![Series { name: name.to_owned(), points: series(rows, name) }],
    };
    vec![
        chart("Reward", "reward"),
        chart("KL from the starting policy, nats a completion", "kl"),
        chart("Completion length, tokens", "completions/mean_length"),
        chart("Entropy, nats a token", "entropy"),
    ]
}

fn samples(before: &Evaluation, after: &Evaluation) -> Vec<SamplePair> {
    let stride = (before.judged.len() / SHOWN).max(1);
    let pairs = before.judged.iter().zip(&after.judged).step_by(stride).take(SHOWN);
    pairs
        .map(|(old, new)| SamplePair {
            prompt: old.prompt.clone(),
            reference: old.reference.clone(),
            before: Scored { text: old.text.clone(), reward: Some(old.score) },
            after: Scored { text: new.text.clone(), reward: Some(new.score) },
        })
        .collect()
}

fn print(rows: &[HeldOut], result: &RunResult, samples: &[SamplePair]) {
    let show = |e: &Estimate| format!("{:.4} [{:.4}, {:.4}]", e.mean, e.low, e.high);
    output::result(&format!(
        "\n{} unseen items, mean and 95 % bootstrap interval\n{:<20} {:<25} {:<25} {:<27}",
        result.n, "metric", "before", "after", "difference"
    ));
    for row in rows {
        output::result(&format!(
            "{:<20} {:<25} {:<25} {:<27}",
            row.metric,
            show(&row.before),
            show(&row.after),
            show(&row.difference)
        ));
    }
    let kl_nats = result.kl_nats.expect("what completions were judged on fits the context");
    output::result(&format!(
        "KL from the start: {kl_nats:.2} nats a completion; {} steps, {:.0} s on {}\n",
        result.steps, result.seconds, result.device
    ));
    for sample in samples {
        let line = |label: &str, text: &str| format!("  {label:<10} {}", text.replace('\n', " ; "));
        output::result(&line("text", &sample.prompt));
        output::result(&line("reference", sample.reference.as_deref().unwrap_or("-")));
        output::result(&line("before", &sample.before.text));
        output::result(&format!("{}\n", line("after", &sample.after.text)));
    }
}
