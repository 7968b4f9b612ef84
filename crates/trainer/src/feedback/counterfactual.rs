//! `trainer feedback evaluate`: what people would have rated another policy, before it is shipped.
//!
//! The new policy is taken as it would be sampled: with the temperature and the cuts that each rated
//! completion was drawn with. Raters, not ratings, are drawn anew for the intervals, since one rater's
//! verdicts hang together.

use std::collections::BTreeMap;

use anyhow::Result;
use kudos_core::feedback::{Logged, Modeled, doubly_robust, effective_number, ips, snips};
use kudos_core::rollout::{Coins, Generation};
use kudos_core::task::Prompt;
use kudos_schema::{Counterfactual, Estimate};

use super::recompute::{Cut, recompute};
use crate::args::EvaluateArgs;
use crate::batches::{Purpose, coins};
use crate::evaluate::{complete, policy_files};
use crate::policy::Policy;
use crate::rated::said::{self, Drawn, LeftOut, asked, drawn};
use crate::reward_model::RewardModel;
use crate::usage::usage;
use crate::{bootstrap, open_device, output, pictures};

/// Completions of the new policy for each prompt, which the reward model judges.
const DRAWN: usize = 4;
/// Below this effective number nothing can be told.
const LEAST_NUMBER: f64 = 30.0;
/// How far the mean weight may lie from 1, at the nearer end of its interval.
const MOST_MISSING: f64 = 0.1;

/// Reads, weighs and prints.
///
/// # Errors
/// Usage errors, a failing device.
pub(super) fn run(args: &EvaluateArgs) -> Result<()> {
    let selected = open_device::open(&args.device)?;
    let files = policy_files(Some(&args.policy))?;
    let mut policy = files.load(&selected.device).map_err(|error| usage(error.to_string()))?;
    let mut heard = said::read(&args.files, None)?;
    let seen = pictures::of_ratings(&mut heard)?;
    policy.model = pictures::of_ratings_shown(policy.model, &seen)?;
    let mut out = LeftOut::default();
    let cases = drawn(&heard, &policy, &mut out);
    if let Some(text) = out.text() {
        output::note(&text);
    }
    if cases.is_empty() {
        return Err(usage("no rating says what a drawn completion is worth: give other ratings"));
    }
    let mut logged: Vec<Logged> = cases.iter().map(|case| weigh(case, &policy)).collect();
    if let Some(folder) = &args.reward {
        let model = RewardModel::read(folder, &selected.device)?;
        let modeled = model_all(&cases, &policy, &model, args.seed)?;
        logged.iter_mut().zip(modeled).for_each(|(one, modeled)| one.modeled = Some(modeled));
    }
    let report = report(&cases, &logged, args.seed);
    output::result(&if args.json { serde_json::to_string(&report)? } else { table(&report) });
    Ok(())
}

fn weigh(case: &Drawn<'_>, policy: &Policy) -> Logged {
    let sample = &case.heard.rating.samples[case.place];
    let new =
        recompute(&policy.model, &case.heard.rating.prompt.token_ids, sample, Cut::Exact).drawn;
    let pairs = new.iter().zip(&sample.logprobs_drawn);
    let log_weight: f64 = pairs.map(|(new, old)| f64::from(*new) - f64::from(*old)).sum();
    Logged { reward: case.reward, weight: log_weight.exp(), modeled: None }
}

/// What the reward model says, brought to the scale of rewards by least squares.
fn model_all(
    cases: &[Drawn<'_>],
    policy: &Policy,
    model: &RewardModel,
    seed: u64,
) -> Result<Vec<Modeled>> {
    let asked: Vec<(Prompt, String)> = cases.iter().map(|case| asked(&case.heard.rating)).collect();
    let texts = cases.iter().zip(&asked).map(|(case, (prompt, begun))| {
        (prompt, format!("{begun}{}", case.heard.rating.samples[case.place].text))
    });
    let logged = judge(model, &texts.collect::<Vec<_>>())?;
    let line = Line::through(&logged, &cases.iter().map(|case| case.reward).collect::<Vec<_>>());
    let written = draw(cases, policy, seed)?;
    let texts = written.chunks(DRAWN).zip(&asked).flat_map(|(texts, (prompt, begun))| {
        texts.iter().map(move |text| (prompt, format!("{begun}{text}")))
    });
    let judged = judge(model, &texts.collect::<Vec<_>>())?;
    let new = judged
        .chunks(DRAWN)
        .map(|group| group.iter().map(|score| line.at(*score)).sum::<f64>() / DRAWN as f64);
    let rows = logged.iter().zip(new);
    Ok(rows.map(|(logged, new)| Modeled { logged: line.at(*logged), new }).collect())
}

fn judge(model: &RewardModel, texts: &[(&Prompt, String)]) -> Result<Vec<f64>> {
    let texts: Vec<(&Prompt, &str)> =
        texts.iter().map(|(prompt, text)| (*prompt, text.as_str())).collect();
    Ok(model.judge(&texts)?.into_iter().map(|judged| judged.reward).collect())
}

/// Completions of the new policy, [`DRAWN`] for each case in a row.
fn draw(cases: &[Drawn<'_>], policy: &Policy, seed: u64) -> Result<Vec<String>> {
    let stop = policy.stop_tokens();
    let mut texts = vec![Vec::new(); cases.len()];
    let mut by_sampling: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (place, case) in cases.iter().enumerate() {
        let sampling = &case.heard.rating.samples[case.place].sampling;
        by_sampling.entry(serde_json::to_string(sampling)?).or_default().push(place);
    }
    for (number, places) in by_sampling.values().enumerate() {
        let first = &cases[places[0]];
        let generation = Generation {
            sampling: &first.heard.rating.samples[first.place].sampling,
            stop: &stop,
            coins: Coins::new(seed, number as u64),
            first_index: 0,
        };
        let prompts = places.iter().flat_map(|place| {
            std::iter::repeat_n(cases[*place].heard.rating.prompt.token_ids.clone(), DRAWN)
        });
        let rollout = complete(policy, &prompts.collect::<Vec<_>>(), &generation)?;
        let groups = rollout.completions.chunks(DRAWN);
        for (place, group) in places.iter().zip(groups) {
            texts[*place] = group.iter().map(|ids| policy.tokenizer.decode(ids)).collect();
        }
    }
    Ok(texts.concat())
}

/// The least-squares line from scores to rewards.
struct Line {
    slope: f64,
    offset: f64,
}

impl Line {
    fn through(scores: &[f64], rewards: &[f64]) -> Self {
        let count = scores.len().max(1) as f64;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / count;
        let (center, level) = (mean(scores), mean(rewards));
        let rows = scores.iter().zip(rewards);
        let (covariance, variance) = rows.fold((0.0, 0.0), |(covariance, variance), (s, r)| {
            (covariance + (s - center) * (r - level), variance + (s - center).powi(2))
        });
        let slope = if variance > 0.0 { covariance / variance } else { 0.0 };
        Self { slope, offset: level - slope * center }
    }

    fn at(&self, score: f64) -> f64 {
        self.offset + self.slope * score
    }
}

fn report(cases: &[Drawn<'_>], logged: &[Logged], seed: u64) -> Counterfactual {
    let mut by_rater: BTreeMap<&str, Vec<Logged>> = BTreeMap::new();
    for (case, logged) in cases.iter().zip(logged) {
        by_rater.entry(&case.heard.rating.rater).or_default().push(*logged);
    }
    // A single rater's verdicts are taken as independent: there is nothing else to draw.
    let groups: Vec<Vec<Logged>> = match by_rater.len() {
        1 => logged.iter().map(|one| vec![*one]).collect(),
        _ => by_rater.values().cloned().collect(),
    };
    let estimate = |of: &dyn Fn(&[Logged]) -> f64| -> Estimate {
        let drawn = |places: &[usize]| {
            let all: Vec<Logged> =
                places.iter().flat_map(|place| groups[*place].iter().copied()).collect();
            of(&all)
        };
        bootstrap::statistic(groups.len(), &mut coins(seed, Purpose::Bootstrap, 0), &drawn)
    };
    let count = |all: &[Logged]| all.len().max(1) as f64;
    let mean_weight = estimate(&|all| all.iter().map(|one| one.weight).sum::<f64>() / count(all));
    let effective_n = effective_number(logged);
    let near = mean_weight.high >= 1.0 - MOST_MISSING && mean_weight.low <= 1.0 + MOST_MISSING;
    Counterfactual {
        version: 1,
        n: logged.len(),
        raters: by_rater.len(),
        effective_n,
        mean_weight,
        logged: estimate(&|all| all.iter().map(|one| one.reward).sum::<f64>() / count(all)),
        ips: estimate(&ips),
        snips: estimate(&snips),
        doubly_robust: doubly_robust(logged)
            .map(|_| estimate(&|all| doubly_robust(all).unwrap_or_default())),
        tells: effective_n >= LEAST_NUMBER && near,
    }
}

fn table(report: &Counterfactual) -> String {
    let show = |e: Estimate| format!("{:.4} [{:.4}, {:.4}]", e.mean, e.low, e.high);
    let verdict = if report.tells {
        "the data reach as far as this policy".to_owned()
    } else {
        format!(
            "too far from the data to tell: {:.0} effective completions of {} (at least {LEAST_NUMBER:.0}), \
             mean weight {} (about 1)",
            report.effective_n,
            report.n,
            show(report.mean_weight)
        )
    };
    let mut lines = vec![
        format!(
            "{} rated completions, {} raters, {:.1} effective",
            report.n, report.raters, report.effective_n
        ),
        format!("mean weight    {}", show(report.mean_weight)),
        format!("rated          {}", show(report.logged)),
        format!("IPS            {}", show(report.ips)),
        format!("SNIPS          {}", show(report.snips)),
    ];
    if let Some(robust) = report.doubly_robust {
        lines.push(format!("doubly robust  {}", show(robust)));
    }
    lines.push(verdict);
    lines.join("\n")
}
