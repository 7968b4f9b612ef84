//! `trainer feedback raters`: how far to trust each rater, as weights that training takes.
//!
//! Four sources, as far as there are any: items that several raters judged (Dawid-Skene); choices between
//! policies on texts that nobody else judged (CrowdBT); items that test raters, as a collector counted them;
//! and agreement with a reward model. [`Evidence`] makes one weight of them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use kudos_core::feedback::{Evidence, Reliability, Tested, Trust, choices, labels_by_kind, wilson};
use kudos_core::task::Prompt;
use kudos_schema::{Estimate, RaterList, RaterWeights, Rating, Sample};

use crate::args::RatersArgs;
use crate::rated::said::{self, Heard, asked};
use crate::reward_model::RewardModel;
use crate::store::write_file;
use crate::usage::usage;
use crate::{open_device, output};

/// Version of [`RaterWeights`].
const VERSION: u32 = 1;
/// Raters shown in the table.
const SHOWN: usize = 20;
/// How often guessing is right: between two, or good and bad.
const CHANCE: f64 = 0.5;

/// Reads, weighs, writes and prints.
///
/// # Errors
/// Usage errors that name the file; a failing device.
pub(super) fn run(args: &RatersArgs) -> Result<()> {
    let heard = said::read(&args.files, None)?;
    let ratings: Vec<&Rating> = heard.iter().map(|heard| &heard.rating).collect();
    let names: BTreeMap<&str, usize> = {
        let names = ratings.iter().map(|rating| rating.rater.as_str());
        let names: std::collections::BTreeSet<&str> = names.collect();
        names.into_iter().zip(0..).collect()
    };
    if names.is_empty() {
        return Err(usage("there is no rating: give JSON Lines that `feedback import` kept"));
    }
    let mut evidence = Evidence::new(names.len());
    let number = |rater: &str| names[rater] as u32;
    for labels in labels_by_kind(&ratings, &number).into_values().filter(|it| !it.is_empty()) {
        evidence.add_labels(&labels);
    }
    evidence.add_votes(&choices(&ratings, &number));
    if let Some(path) = &args.tested {
        by_tests(&mut evidence, path, &names)?;
    }
    if let Some(folder) = &args.reward {
        let selected = open_device::open(&args.device)?;
        let model = RewardModel::read(folder, &selected.device)?;
        by_model(&mut evidence, &heard, (&model, &names))?;
    }
    let Trust { reliabilities, weights, others } = evidence.trust();
    let raters = names.keys().map(|name| (*name).to_owned()).zip(weights.iter().copied());
    let report = RaterWeights { version: VERSION, others: others.mean, raters: raters.collect() };
    let json = serde_json::to_string_pretty(&report)? + "\n";
    write_file(&args.output, json.as_bytes())?;
    output::result(&if args.json {
        serde_json::to_string(&report)?
    } else {
        table(&report, &reliabilities, &args.output)
    });
    Ok(())
}

/// From gold and repeated items.
fn by_tests(evidence: &mut Evidence, path: &Path, names: &BTreeMap<&str, usize>) -> Result<()> {
    let name = path.display();
    let remedy = "give what the collector answers at /v1/raters";
    let text = std::fs::read_to_string(path)
        .map_err(|error| usage(format!("--tested {name}: {error}; {remedy}")))?;
    let list: RaterList = serde_json::from_str(&text)
        .map_err(|error| usage(format!("--tested {name}: {error}; {remedy}")))?;
    for tally in list.raters {
        let Some(rater) = names.get(tally.rater.as_str()) else { continue };
        if tally.gold_right > tally.gold || tally.repeats_same > tally.repeats {
            let rater = tally.rater;
            return Err(usage(format!(
                "--tested {name}: more of {rater} are right than there are"
            )));
        }
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let tested = Tested {
            gold: count(tally.gold),
            gold_right: count(tally.gold_right),
            repeats: count(tally.repeats),
            repeats_same: count(tally.repeats_same),
        };
        evidence.add(*rater, tested.reliability(CHANCE));
    }
    Ok(())
}

/// From choices that a reward model would have made, or not.
fn by_model(
    evidence: &mut Evidence,
    heard: &[Heard],
    (model, names): (&RewardModel, &BTreeMap<&str, usize>),
) -> Result<()> {
    let decided: Vec<(&Rating, f64)> = heard
        .iter()
        .filter_map(|heard| Some((&heard.rating, heard.rating.comparison()?.share)))
        .filter(|(_, share)| *share != 0.5)
        .collect();
    let asked: Vec<(Prompt, String)> = decided.iter().map(|(rating, _)| asked(rating)).collect();
    let texts = decided.iter().zip(&asked).flat_map(|((rating, _), (prompt, begun))| {
        let text = move |sample: &Sample| (prompt, format!("{begun}{}", sample.text));
        rating.samples.iter().map(text)
    });
    let texts: Vec<(&Prompt, String)> = texts.collect();
    let texts: Vec<(&Prompt, &str)> =
        texts.iter().map(|(prompt, text)| (*prompt, text.as_str())).collect();
    let judged = model.judge(&texts)?;
    let mut counts = vec![(0, 0); names.len()];
    for ((rating, share), two) in decided.iter().zip(judged.chunks(2)) {
        if two[0].reward == two[1].reward {
            continue;
        }
        let count = &mut counts[names[rating.rater.as_str()]];
        count.0 += usize::from((two[0].reward > two[1].reward) == (*share > 0.5));
        count.1 += 1;
    }
    for (rater, (agreed, all)) in counts.into_iter().enumerate() {
        if let Some(share) = wilson(agreed, all) {
            let known = |share: f64| (share - CHANCE) / (1.0 - CHANCE);
            let Estimate { mean, low, high } = share;
            let value = Estimate { mean: known(mean), low: known(low), high: known(high) };
            evidence.add(rater, Reliability { value, judgements: all });
        }
    }
    Ok(())
}

fn table(report: &RaterWeights, reliabilities: &[Reliability], output: &Path) -> String {
    let mut rows: Vec<(&String, &Estimate, &Reliability)> = report
        .raters
        .iter()
        .zip(reliabilities)
        .map(|((name, weight), reliability)| (name, weight, reliability))
        .collect();
    rows.sort_by(|a, b| a.1.mean.total_cmp(&b.1.mean));
    let mut lines = vec![format!("{:36}  weight                judgements behind it", "rater")];
    lines.extend(rows.iter().take(SHOWN).map(|(name, weight, reliability)| {
        let Estimate { mean, low, high } = weight;
        format!("{name:36}  {mean:.3} [{low:.3}, {high:.3}]  {}", reliability.judgements)
    }));
    if rows.len() > SHOWN {
        lines.push(format!("and {} more, each with a larger weight", rows.len() - SHOWN));
    }
    lines.push(format!(
        "anybody else: {:.3}; the weights are in {}",
        report.others,
        output.display()
    ));
    lines.join("\n")
}
