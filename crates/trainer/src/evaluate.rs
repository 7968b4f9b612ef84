//! A policy on held-out items: a completion each, judged by a reward; `trainer eval`.

use anyhow::{Context, Result};
use kudos_core::model::Transformer;
use kudos_core::reward::{Reward, RewardSpec, reward};
use kudos_core::rollout::{Generation, Rollout};
use kudos_core::task::{Item, Prompt, TaskData};
use kudos_schema::{EvalResult, Sampling};

use crate::args::EvalArgs;
use crate::batches::{Purpose, coins};
use crate::best_of::{self, BestOf};
use crate::parallel::Workers;
use crate::policy::{self, Policy, PolicyFiles};
use crate::recipe::Recipe;
use crate::usage::usage;
use crate::{bootstrap, data, memory, open_device, output, pictures, tuned};

/// Prompts decoded together.
pub(crate) const BATCH: usize = 128;

/// Bytes of the cache that prompts decoded together share at most.
pub(crate) const CACHE: usize = 1 << 28;

/// The step number of held-out draws: no training step reaches it, so no coin is used twice.
pub(crate) const HELD_OUT_STEP: u64 = u64::MAX;

/// One item with what the policy wrote.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The prompt as text.
    pub prompt: String,
    /// The first reference.
    pub reference: Option<String>,
    /// What the policy wrote.
    pub text: String,
    /// Its score.
    pub score: f64,
}

/// A policy's completions of items.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// One entry an item to which the metric applies.
    pub judged: Vec<Judged>,
    /// Everything drawn, one completion an item.
    pub rollout: Rollout,
}

impl Evaluation {
    /// The scores in the order of the items.
    pub fn scores(&self) -> Vec<f64> {
        self.judged.iter().map(|one| one.score).collect()
    }

    /// Mean completion length in tokens.
    pub fn mean_length(&self) -> f64 {
        let tokens: usize = self.rollout.completions.iter().map(Vec::len).sum();
        tokens as f64 / self.rollout.completions.len().max(1) as f64
    }
}

/// The metric that reports on a task.
pub fn metric_of(task: &str) -> &'static str {
    match task {
        "triples" => "triple_f1",
        "summary" => "rougeL",
        "dialogue" => "rouge1",
        "captions" | "keywords" => "cider",
        _ => "chrf",
    }
}

/// The reward of this name that reports on a task.
///
/// # Errors
/// If there is none, or it needs more than the task has.
pub fn metric(name: &str, task: &TaskData) -> Result<Box<dyn Reward>> {
    let documents = data::documents_for(name, task);
    let spec = RewardSpec { documents: &documents, ..RewardSpec::of(name) };
    reward(&spec).map_err(|error| usage(error.to_string()))
}

/// Items that fit: their prompts as tokens, in order, at most `limit` of them (0 = all).
///
/// # Errors
/// If a chat template does not take the messages.
pub fn fitting(
    policy: &Policy,
    items: &[Item],
    (longest, limit): (usize, usize),
) -> Result<Vec<(Item, Vec<u32>)>> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut kept = Vec::new();
    for item in items {
        if kept.len() == limit {
            break;
        }
        let prompt = policy.encode_asked(item)?;
        if !prompt.is_empty() && prompt.len() <= longest {
            kept.push((item.clone(), prompt));
        }
    }
    Ok(kept)
}

/// A completion for each prompt, a batch at a time.
///
/// # Errors
/// If the device fails.
pub fn complete(
    policy: &Policy,
    prompts: &[Vec<u32>],
    generation: &Generation<'_>,
) -> Result<Rollout> {
    let workers = Workers::of(&policy.model.device());
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let positions = longest + generation.sampling.max_completion_length;
    let row = positions * memory::cache_bytes_per_token(policy.config());
    let together = (CACHE / row.max(1)).clamp(1, BATCH);
    let mut rollout = Rollout::default();
    for (batch, part) in prompts.chunks(together).enumerate() {
        let first_index = generation.first_index + batch * together;
        let generation = Generation { first_index, ..generation.clone() };
        rollout.append(workers.generate(&policy.model, part, &generation)?);
    }
    Ok(rollout)
}

/// Draws a completion for each item and judges it.
///
/// # Errors
/// If the device fails.
pub fn evaluate(
    policy: &Policy,
    items: &[(Item, Vec<u32>)],
    metric: &dyn Reward,
    (sampling, seed): (&Sampling, u64),
) -> Result<Evaluation> {
    let rollout = best_of::held_out(policy, items, 1, (sampling, seed))?;
    Ok(judge(policy, items, metric, rollout))
}

/// What a metric says of one completion of each item.
pub(crate) fn judge(
    policy: &Policy,
    items: &[(Item, Vec<u32>)],
    metric: &dyn Reward,
    rollout: Rollout,
) -> Evaluation {
    let of_items: Vec<&Item> = items.iter().map(|(item, _)| item).collect();
    let scores = best_of::scores(policy, &of_items, &rollout, metric);
    let mut judged = Vec::new();
    for ((item, ids), score) in of_items.iter().zip(&rollout.completions).zip(scores) {
        if let Some(score) = score {
            let reference = item.references.first().cloned();
            let (prompt, text) = (item.prompt.text(), policy.tokenizer.decode(ids));
            judged.push(Judged { prompt, reference, text, score: score.into() });
        }
    }
    Evaluation { judged, rollout }
}

/// An evaluation under the recipe's sampling.
///
/// # Errors
/// If the device fails.
pub fn draw(
    policy: &Policy,
    items: &[(Item, Vec<u32>)],
    metric: &dyn Reward,
    recipe: &Recipe,
) -> Result<Evaluation> {
    evaluate(policy, items, metric, (&recipe.sampling, recipe.seed))
}

/// An evaluation of the most likely tokens.
///
/// # Errors
/// If the device fails.
pub fn greedy(
    policy: &Policy,
    items: &[(Item, Vec<u32>)],
    metric: &dyn Reward,
    recipe: &Recipe,
) -> Result<Evaluation> {
    let sampling = Sampling {
        temperature: 0.0,
        max_completion_length: recipe.sampling.max_completion_length,
        ..Sampling::default()
    };
    evaluate(policy, items, metric, (&sampling, recipe.seed))
}

/// Mean divergence of the policy that drew `rollout` from `other`, in nats a completion.
///
/// # Errors
/// If the device fails.
pub fn kl_nats(rollout: &Rollout, other: &Transformer, temperature: f64) -> Result<f64> {
    let workers = Workers::of(&other.device());
    let reference = workers.log_probs(other, &pairs(rollout), temperature, BATCH)?;
    let sums = rollout.logprobs_full.iter().zip(&reference).map(|(own, other)| {
        own.iter().zip(other).map(|(a, b)| f64::from(*a) - f64::from(*b)).sum::<f64>()
    });
    Ok(sums.sum::<f64>() / rollout.completions.len().max(1) as f64)
}

/// The prompts with their completions.
pub fn pairs(rollout: &Rollout) -> Vec<(&[u32], &[u32])> {
    let rows = rollout.prompts.iter().zip(&rollout.completions);
    rows.map(|(prompt, completion)| (prompt.as_slice(), completion.as_slice())).collect()
}

/// Mean negative log-likelihood of the first references in nats a token; none without references.
///
/// # Errors
/// If the device fails.
pub fn nll_nats(policy: &Policy, items: &[(Item, Vec<u32>)]) -> Result<Option<f64>> {
    let context = policy.config().context_length;
    let encoded: Vec<(&[u32], Vec<u32>)> = items
        .iter()
        .filter_map(|(item, prompt)| {
            let completion = policy.encode_completion(item.references.first()?);
            (prompt.len() + completion.len() <= context).then_some((prompt.as_slice(), completion))
        })
        .collect();
    let pairs: Vec<(&[u32], &[u32])> =
        encoded.iter().map(|(prompt, completion)| (*prompt, completion.as_slice())).collect();
    nll_of_pairs(policy, &pairs)
}

/// Mean negative log-likelihood of completions behind their prompts, in nats a token; none without any.
///
/// # Errors
/// If the device fails.
pub(crate) fn nll_of_pairs(policy: &Policy, pairs: &[(&[u32], &[u32])]) -> Result<Option<f64>> {
    if pairs.is_empty() {
        return Ok(None);
    }
    let workers = Workers::of(&policy.model.device());
    let log_probs = workers.log_probs(&policy.model, pairs, 1.0, BATCH)?;
    let all = log_probs.iter().flatten();
    let (sum, count) = all.fold((0.0, 0usize), |(sum, n), p| (sum - f64::from(*p), n + 1));
    Ok(Some(sum / count as f64))
}

/// A policy's files: a folder, a bundle, or the shipped one.
///
/// # Errors
/// Usage errors that name the file.
pub fn policy_files(model: Option<&std::path::Path>) -> Result<PolicyFiles> {
    match model {
        None => Ok(policy::embedded()),
        Some(path) => policy::read(path).map_err(|error| usage(error.to_string())),
    }
}

/// `trainer eval`.
///
/// # Errors
/// Usage errors, or a failing device.
pub fn run(args: &EvalArgs) -> Result<()> {
    let sampling = args.sampling.on(Sampling { temperature: 0.0, ..Sampling::default() });
    sampling.validate().map_err(|error| usage(error.to_string()))?;
    let data = match (&args.task, &args.dataset) {
        (_, Some(path)) => data::to_judge(path)?,
        (Some(task), None) => data::task(task)?,
        (None, None) => return Err(usage("nothing to judge: give --task or --dataset")),
    };
    let name = args.metric.as_deref().unwrap_or(metric_of(&data.name));
    let metric = metric(name, &data)?;
    let task = data.name;
    let items = match &args.dataset {
        Some(_) => data.train,
        None => data.test,
    };
    let (items, pictures) = match &args.images {
        Some(folder) => pictures::in_style(items, folder)?,
        None => (items, data.pictures),
    };
    let selected = open_device::open(&args.device)?;
    let files = policy_files(args.model.as_deref())?;
    let policy = files.load(&selected.device).map_err(|error| usage(error.to_string()))?;
    let policy = match &args.adapter {
        Some(folder) => tuned::with_adapter(&policy, folder)?,
        None => policy,
    };
    let policy = Policy { model: pictures::shown(policy.model, &pictures)?, ..policy };
    let asked = Asked { args, sampling, task };
    let judged = match texts(&items) {
        Some(texts) => asked.of_texts(&policy, &texts)?,
        None => asked.of_items(&policy, &items, metric.as_ref())?,
    };
    let result = EvalResult { device: selected.name, model_sha256: files.sha256()?, ..judged };
    if args.json {
        output::result(&serde_json::to_string(&result)?);
    } else {
        output::result(&in_words(&result));
    }
    Ok(())
}

/// The texts of a data set that has nothing else: rows of `{text}`.
fn texts(items: &[Item]) -> Option<Vec<&str>> {
    items.iter().map(text_alone).collect()
}

fn text_alone(item: &Item) -> Option<&str> {
    match (&item.prompt, item.references.as_slice()) {
        (Prompt::Text(prompt), [text]) if prompt.is_empty() => Some(text),
        (Prompt::Text(_) | Prompt::Messages(_), _) => None,
    }
}

/// What a policy is judged on.
struct Asked<'a> {
    args: &'a EvalArgs,
    sampling: Sampling,
    task: String,
}

impl Asked<'_> {
    /// Completions of prompts beside their references.
    fn of_items(self, policy: &Policy, items: &[Item], metric: &dyn Reward) -> Result<EvalResult> {
        let (args, sampling) = (self.args, &self.sampling);
        let longest = policy.config().context_length.saturating_sub(sampling.max_completion_length);
        let items = fitting(policy, items, (longest, args.items))?;
        let nll = nll_nats(policy, &items)?.context("no item has a reference that fits")?;
        let draws = (sampling, args.seed);
        let (evaluation, expected) = match BestOf::of_eval(args, metric, sampling, policy)? {
            None => (evaluate(policy, &items, metric, draws)?, Vec::new()),
            Some(best_of) => best_of.evaluate(policy, &items, metric, draws)?,
        };
        let scores = evaluation.scores();
        let mut coins = coins(args.seed, Purpose::Bootstrap, 0);
        Ok(EvalResult {
            metric: Some(metric.name().to_owned()),
            n: scores.len(),
            score: Some(bootstrap::mean(&scores, &mut coins)?),
            mean_length: Some(evaluation.mean_length()),
            expected_best: expected,
            ..self.result(nll)
        })
    }

    /// Texts as they are, without an end: each token behind the first, in windows of the context.
    fn of_texts(self, policy: &Policy, texts: &[&str]) -> Result<EvalResult> {
        let limit = if self.args.items == 0 { usize::MAX } else { self.args.items };
        let texts = &texts[..texts.len().min(limit)];
        let ids: Vec<Vec<u32>> = texts.iter().map(|text| policy.tokenizer.encode(text)).collect();
        let windows = ids.iter().flat_map(|ids| ids.chunks(policy.config().context_length));
        let windows: Vec<_> =
            windows.filter(|ids| ids.len() > 1).map(|ids| ids.split_at(1)).collect();
        let nll = nll_of_pairs(policy, &windows)?;
        let nll = nll.ok_or_else(|| usage("no text has two tokens: give longer ones"))?;
        Ok(EvalResult { n: texts.len(), ..self.result(nll) })
    }

    fn result(self, nll_nats: f64) -> EvalResult {
        EvalResult {
            version: 1,
            task: self.task,
            metric: None,
            n: 0,
            score: None,
            nll_nats,
            perplexity: nll_nats.exp(),
            mean_length: None,
            expected_best: Vec::new(),
            seed: self.args.seed,
            device: String::new(),
            model_sha256: String::new(),
        }
    }
}

fn in_words(result: &EvalResult) -> String {
    let EvalResult { n, task, nll_nats, perplexity, .. } = result;
    let likelihood = format!("perplexity {perplexity:.3} ({nll_nats:.4} nats a token)");
    let expected = best_of::in_words(&result.expected_best);
    match (&result.metric, result.score, result.mean_length) {
        (Some(metric), Some(score), Some(length)) => format!(
            "{metric} on {n} items of {task}: {:.4} [{:.4}, {:.4}]\n{likelihood}, mean length {length:.1} \
             tokens{expected}",
            score.mean, score.low, score.high,
        ),
        _ => format!("{n} texts of {task}: {likelihood}"),
    }
}
