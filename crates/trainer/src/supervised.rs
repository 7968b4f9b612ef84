//! `trainer pretrain` and `trainer sft`: maximum likelihood, on windows of text or on references.

use std::time::Instant;

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor};
use kudos_core::learn::training_device;
use kudos_core::model::{Pictures, Transformer, initialize};
use kudos_core::objective::{Aggregation, Supervised};
use kudos_core::optim::{AdamW, Schedule};
use kudos_core::task::{Item, TaskData};
use kudos_core::text::chat::ChatTemplate;
use kudos_core::text::tokenizer::Tokenizer;
use kudos_core::tuning::trained;
use pollster::block_on;

use crate::batches::{Purpose, Windows, coins, items_of_step};
use crate::device::Selected;
use crate::drive::{self, Ended, Look, Occasion, Training, drive};
use crate::evaluate::{self, policy_files};
use crate::journal::{METRICS, read_metrics, series};
use crate::parallel::Workers;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::recipe::{Recipe, Stage};
use crate::report::{Series, curve_svg};
use crate::session::{Session, StepNumbers, frozen, seed_device, working};
use crate::store::write_file;
use crate::usage::usage;
use crate::{data, output, pictures, tuned, variation};

/// Items with their prompts as tokens.
type Encoded = Vec<(Item, Vec<u32>)>;

/// What the examples of a step are cut from.
enum Examples {
    /// One long text; an example is a window of it.
    Text(Windows),
    /// Prompts with references.
    Pairs(Vec<(Vec<u32>, Vec<u32>)>),
}

/// A run in progress.
struct Imitation<'a> {
    recipe: &'a Recipe,
    policy: Policy,
    optimizer: AdamW,
    examples: Examples,
    held_out: Encoded,
    seen: Pictures,
}

impl Examples {
    /// How many a step takes.
    fn count(recipe: &Recipe) -> usize {
        recipe.batch.prompts * recipe.batch.gradient_accumulation_steps
    }

    /// What the examples of a step are called.
    fn names(&self, recipe: &Recipe, step: usize) -> Vec<String> {
        match self {
            Self::Text(_) => vec![format!("the windows of step {step}")],
            Self::Pairs(pairs) => {
                items_of_step(recipe.seed, step, Self::count(recipe), pairs.len())
                    .into_iter()
                    .map(|index| format!("training item {index}"))
                    .collect()
            }
        }
    }

    /// The examples of one gradient, shortest first so that micro-batches are padded little.
    fn of_step(&self, recipe: &Recipe, step: usize) -> Vec<(Vec<u32>, Vec<u32>)> {
        let count = Self::count(recipe);
        let mut examples: Vec<(Vec<u32>, Vec<u32>)> = match self {
            Self::Text(windows) => windows
                .of_step(recipe.seed, step, count)
                .into_iter()
                .map(|window| (window[..1].to_vec(), window[1..].to_vec()))
                .collect(),
            Self::Pairs(pairs) => items_of_step(recipe.seed, step, count, pairs.len())
                .into_iter()
                .map(|index| pairs[index].clone())
                .collect(),
        };
        examples.sort_by_key(|(prompt, completion)| prompt.len() + completion.len());
        examples
    }
}

/// Runs either stage.
///
/// # Errors
/// Usage errors, a failing device, a full disk, a loss that is not finite.
pub fn run(plan: &Plan, selected: &Selected) -> Result<()> {
    let recipe = &plan.recipe;
    let device = training_device(&selected.device, recipe.optimizer.activations);
    let mut sources = sources(recipe)?;
    let seen = pictures::gather(&mut sources)?;
    let (mut policy, examples, held_out) = prepare(recipe, (&sources, &seen), &device)?;
    let (mut session, resumed) = Session::open(plan, &selected.device)?;
    policy = tuned::begin(policy, recipe)?;
    let mut optimizer = tuned::optimizer(recipe);
    if let Some(resumed) = resumed {
        policy.model = resumed.model(policy.model, &device)?;
        optimizer = resumed.optimizer;
    }
    policy.model = pictures::shown(policy.model, &seen)?;
    session.note(&format!(
        "{} parameters on {}; {}",
        trained(&policy.model),
        selected.name,
        selected.reason
    ));
    let mut training = Imitation { recipe, policy, optimizer, examples, held_out, seen };
    if drive(&mut training, &mut session, recipe)? == Ended::Interrupted {
        drive::saved(session);
        return Ok(());
    }
    let policy = training.policy;
    let directory = session.finish();
    let folder = directory.path();
    tuned::write(folder, &policy, recipe)?;
    let after = Policy { model: frozen(&policy.model), ..policy };
    tuned::write_model(folder, &after, recipe)?;
    let points = series(&read_metrics(&folder.join(METRICS))?, "loss");
    let svg = curve_svg("Loss, nats a token", &[Series { name: "loss".to_owned(), points }]);
    write_file(&folder.join("curve.svg"), svg.as_bytes())?;
    output::result(&tuned::place(folder, recipe));
    Ok(())
}

/// The model with the pictures of a step's examples before its eyes, each shown a little otherwise.
fn varied(
    model: &Transformer,
    examples: &mut [(Vec<u32>, Vec<u32>)],
    (seen, recipe): (&Pictures, &Recipe),
    step: usize,
) -> Result<Transformer> {
    let (model, strength) = (model.clone(), recipe.data.picture_variation);
    if seen.is_empty() || strength == 0.0 {
        return Ok(model);
    }
    let mut coins = coins(recipe.seed, Purpose::Pictures, step as u64);
    let prompts = examples.iter_mut().map(|(prompt, _)| prompt);
    pictures::shown(model, &variation::of_prompts(prompts, (seen, strength), &mut coins))
}

/// The learning-rate schedule of a recipe.
pub fn schedule(recipe: &Recipe) -> Schedule {
    Schedule {
        peak: recipe.optimizer.learning_rate,
        warmup_steps: recipe.optimizer.warmup_steps,
        total_steps: recipe.steps,
        decay: recipe.optimizer.decay,
    }
}

impl Imitation<'_> {
    fn learn(&mut self, step: usize) -> Result<StepNumbers> {
        let (recipe, policy) = (self.recipe, &mut self.policy);
        let start = Instant::now();
        let objective = Supervised { aggregation: Aggregation::TokenMean };
        let mut examples = self.examples.of_step(recipe, step);
        let shown = varied(&policy.model, &mut examples, (&self.seen, recipe), step)?;
        let experiences = objective.experiences(&examples);
        let tokens = experiences.iter().map(|one| one.completion.len()).sum();
        seed_device(&policy.model.device(), recipe.seed, step);
        let model = working(&shown, recipe.optimizer.precision);
        let workers = Workers::of(&model.device());
        let mut learned =
            workers.learn(&model, &experiences, &objective, recipe.batch.micro_batch_size);
        self.optimizer.regularize(&policy.model, &mut learned.gradients);
        let norm = learned.gradients.clip(recipe.optimizer.max_grad_norm);
        let learning_rate = schedule(recipe).learning_rate(step);
        let model = policy.model.clone();
        policy.model = self.optimizer.step(model, learned.gradients, learning_rate);
        Ok(StepNumbers {
            headline: ("loss", number(learned.loss)?),
            figures: vec![("grad_norm", number(norm)?), ("learning_rate", learning_rate)],
            others: vec![("num_tokens".to_owned(), tokens as f64)],
            batch: self.examples.names(recipe, step),
            tokens,
            seconds: start.elapsed().as_secs_f64(),
        })
    }
}

impl Training for Imitation<'_> {
    fn step(&mut self, session: &mut Session) -> Result<()> {
        let numbers = self.learn(session.state.step)?;
        session.state.tokens += numbers.tokens as u64;
        session.record(&numbers)
    }

    fn look(&self, _: Occasion) -> Result<Option<Look>> {
        let nll = held_out_nll(&self.policy, &self.held_out)?;
        Ok(nll.map(|nll| Look { text: format!("validation loss {nll:.4}"), score: -nll }))
    }

    fn state(&self) -> (&Policy, &AdamW) {
        (&self.policy, &self.optimizer)
    }
}

/// Reads one number from the device. `[1]`
///
/// # Errors
/// If the device does not return it.
pub fn number(tensor: Tensor<1>) -> Result<f64> {
    let data = block_on(tensor.into_data_async()).context("the device does not answer")?;
    let values = data.convert::<f32>().try_to_vec::<f32>().context("one number")?;
    Ok(f64::from(values[0]))
}

/// The items that a recipe names: of a file, or of tasks.
///
/// # Errors
/// If there is no such file or task.
pub(crate) fn sources(recipe: &Recipe) -> Result<Vec<TaskData>> {
    match &recipe.data.dataset {
        Some(path) => Ok(vec![data::dataset(path)?]),
        None => recipe.data.tasks.iter().map(|name| data::task(name)).collect(),
    }
}

/// The policy to start from, what it learns from, and validation items.
fn prepare(
    recipe: &Recipe,
    (sources, seen): (&[TaskData], &Pictures),
    device: &Device,
) -> Result<(Policy, Examples, Encoded)> {
    let validation: Vec<Item> =
        sources.iter().flat_map(|source| source.validation.iter().cloned()).collect();
    match recipe.stage {
        Stage::Pretrain => {
            let documents = data::documents()?;
            let policy = new_policy(recipe, &documents, device)?;
            let tokens = one_text(&policy.tokenizer, &documents);
            let context = recipe.architecture.context_length;
            let length = match recipe.batch.max_length {
                0 => context,
                length => length.min(context),
            };
            let windows = Windows { tokens, length, repeat_share: recipe.data.repeat_share };
            let held_out = evenly(&policy, &validation, recipe)?;
            Ok((policy, Examples::Text(windows), held_out))
        }
        Stage::Sft
        | Stage::Reinforce
        | Stage::OffPolicy
        | Stage::Dpo
        | Stage::Kto
        | Stage::Reward
        | Stage::Distill
        | Stage::SelfPlay => {
            let files = policy_files(recipe.model.as_deref())?;
            let policy = files.load(device).map_err(|error| usage(error.to_string()))?;
            let policy = pictures::with_eyes(policy, seen, recipe);
            let longest = policy.config().context_length;
            let mut pairs = Vec::new();
            for item in sources.iter().flat_map(|source| &source.train) {
                let pair = policy.encode_item(item)?;
                pairs.extend(pair.filter(|(prompt, completion)| {
                    !prompt.is_empty() && prompt.len() + completion.len() <= longest
                }));
            }
            if pairs.is_empty() {
                return Err(usage("no item has a reference that fits the context"));
            }
            let held_out = evenly(&policy, &validation, recipe)?;
            Ok((policy, Examples::Pairs(pairs), held_out))
        }
    }
}

/// Validation items spread evenly over all tasks.
fn evenly(policy: &Policy, items: &[Item], recipe: &Recipe) -> Result<Vec<(Item, Vec<u32>)>> {
    let stride = (items.len() / recipe.watch.validation_items.max(1)).max(1);
    let spread: Vec<Item> = items.iter().step_by(stride).cloned().collect();
    evaluate::fitting(policy, &spread, (recipe.data.max_prompt_length, 0))
}

/// A tokenizer trained on the documents and random weights.
fn new_policy(recipe: &Recipe, documents: &[String], device: &Device) -> Result<Policy> {
    let corpus = documents.iter().map(String::as_str);
    let tokenizer = Tokenizer::train(corpus, recipe.architecture.vocab_size)
        .map_err(|error| usage(error.to_string()))?;
    let config = recipe.architecture.transformer(tokenizer.vocab_size());
    let mut coins = coins(recipe.seed, Purpose::Weights, 0);
    let model = initialize(Transformer::zeroed(&config, device), &mut coins);
    Ok(Policy { model, tokenizer, template: ChatTemplate::default() })
}

/// All documents, each closed by the end token.
fn one_text(tokenizer: &Tokenizer, documents: &[String]) -> Vec<u32> {
    let end = tokenizer.end_id();
    documents
        .iter()
        .flat_map(|document| {
            let mut ids = tokenizer.encode(document);
            ids.push(end);
            ids
        })
        .collect()
}

/// Negative log-likelihood of validation references, in nats a token; none without any.
fn held_out_nll(policy: &Policy, items: &[(Item, Vec<u32>)]) -> Result<Option<f64>> {
    let reading = Policy { model: frozen(&policy.model), ..policy.clone() };
    evaluate::nll_nats(&reading, items)
}
