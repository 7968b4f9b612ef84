//! What every training verb shares: the run directory, the journal, checkpoints, the live line.
//!
//! A checkpoint holds everything that decides the rest of the run: weights, optimizer, the step
//! (from which schedule, data position and coins follow) and where the journal stood.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use burn::tensor::Device;
use kudos_core::model::{Transformer, cast};
use kudos_core::objective::PolicyGradientState;
use kudos_core::optim::{AdamW, AdamWConfig};
use kudos_core::tuning::{Tuning, merge, small_from_bytes};
use pollster::block_on;
use serde::{Deserialize, Serialize};

use crate::interrupt::Interrupt;
use crate::journal::{EventWriter, Journal, Mark, SampleRow, host_name};
use crate::plan::Plan;
use crate::policy::{self, Policy, PolicyFiles};
use crate::progress::{Display, Progress, StepReport};
use crate::recipe::Precision;
use crate::store::{Checkpoints, FillError, RunDirectory};
use crate::tuned;
use crate::usage::usage;

/// The file of a checkpoint beside `model/` and the optimizer.
const STATE: &str = "state.json";
/// The optimizer's state in a checkpoint.
const OPTIMIZER: &str = "optimizer.safetensors";

/// Items of a batch that an error names.
const LISTED: usize = 8;

/// What a run knows beside weights and optimizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Optimizer steps done.
    pub step: usize,
    /// Completion tokens learned from.
    pub tokens: u64,
    /// Seconds spent, over all parts of an interrupted run.
    pub seconds: f64,
    /// What the objective remembers.
    pub objective: PolicyGradientState,
    /// Where the journal stood.
    pub mark: Mark,
    /// What is learned from, where that may grow between two parts of a run.
    #[serde(default)]
    pub examples: Option<Examples>,
}

/// Examples by which a run knows them again: their order and number decide which a step learns from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Examples {
    /// How many.
    pub count: usize,
    /// A hash of all of them, those held out too.
    pub hash: String,
}

/// A run in progress.
#[derive(Debug)]
pub struct Session {
    /// Where everything is written.
    pub directory: RunDirectory,
    /// The step, the tokens and the objective's memory.
    pub state: State,
    journal: Journal,
    events: EventWriter,
    checkpoints: Checkpoints,
    progress: Progress,
    interrupt: Interrupt,
    started: Instant,
    seconds_before: f64,
    tuning: Tuning,
    advised: Advised,
}

/// Whether a preference loss was commented on in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Advised {
    Yes,
    NotYet,
}

/// Files of a checkpoint that only one verb has, by name.
pub(crate) type Beside = Vec<(&'static str, Vec<u8>)>;

/// What a resumed run continues with.
#[derive(Debug)]
pub struct Resumed {
    /// What of the policy the checkpoint keeps.
    weights: Weights,
    /// The optimizer at the checkpoint.
    pub optimizer: AdamW,
    folder: PathBuf,
}

/// What a checkpoint keeps of a policy.
#[derive(Debug)]
enum Weights {
    /// All of it.
    Whole(PolicyFiles),
    /// Its small parameters.
    Small(Vec<u8>),
}

impl Resumed {
    /// The model at the checkpoint, from the one that the run started with.
    ///
    /// # Errors
    /// If the checkpoint is damaged or belongs to another model.
    pub fn model(&self, start: Transformer, device: &Device) -> Result<Transformer> {
        match &self.weights {
            Weights::Whole(files) => Ok(files.load(device)?.model.passing(start.passes())),
            Weights::Small(bytes) => Ok(small_from_bytes(start, bytes)?),
        }
    }

    /// A file of the checkpoint that only one verb has.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn beside(&self, name: &str) -> Result<Vec<u8>> {
        Ok(policy::read_bytes(&self.folder.join(name))?)
    }
}

/// One step's numbers.
#[derive(Debug, Clone)]
pub struct StepNumbers {
    /// What the run is about: reward or loss.
    pub headline: (&'static str, f64),
    /// What the live line shows beside it.
    pub figures: Vec<(&'static str, f64)>,
    /// What only the journal takes.
    pub others: Vec<(String, f64)>,
    /// What the step learned from, by name or number, for the error that stops a run.
    pub batch: Vec<String>,
    /// Tokens handled in this step.
    pub tokens: usize,
    /// Wall-clock seconds of this step.
    pub seconds: f64,
}

impl StepNumbers {
    /// Every metric in the order of the journal.
    fn all(&self) -> Vec<(&str, f64)> {
        let others = self.others.iter().map(|(name, value)| (name.as_str(), *value));
        std::iter::once(self.headline).chain(self.figures.iter().copied()).chain(others).collect()
    }
}

impl Session {
    /// Starts a run, or finds the last checkpoint of an interrupted one.
    ///
    /// # Errors
    /// If the output directory holds another run, or a checkpoint is damaged.
    pub fn open(plan: &Plan, device: &Device) -> Result<(Self, Option<Resumed>)> {
        let recipe = plan.recipe_text();
        let path = &plan.output_dir;
        let opened = if plan.resume {
            RunDirectory::resume(path, &recipe)
        } else {
            RunDirectory::start(path, &recipe)
        };
        let directory = opened.map_err(|error| usage(error.to_string()))?;
        let keep = NonZeroUsize::new(plan.recipe.watch.keep).expect("validated in the plan");
        let checkpoints = Checkpoints::open(&directory.path().join("checkpoints"), keep)?;
        let latest = if plan.resume { checkpoints.latest()? } else { None };
        let (state, resumed) = match &latest {
            None => (State::new(plan), None),
            Some(checkpoint) => {
                let (state, resumed) = read_checkpoint(&checkpoint.path, plan, device)?;
                (state, Some(resumed))
            }
        };
        let journal = Journal::open(directory.path(), &state.mark)?;
        let (host, now) = (host_name(), unix_seconds());
        let events = match state.step {
            0 => EventWriter::start(directory.path(), &host, now)?,
            step => EventWriter::resume(directory.path(), &host, now, step as u64)?,
        };
        let (first, steps) = (state.step as u64, plan.recipe.steps as u64);
        let session = Self {
            directory,
            seconds_before: state.seconds,
            state,
            journal,
            events,
            checkpoints,
            progress: Progress::new(Display::detect(), first, steps),
            interrupt: plan.interrupt.clone(),
            started: Instant::now(),
            tuning: plan.recipe.tuning.clone(),
            advised: Advised::NotYet,
        };
        Ok((session, resumed))
    }

    /// Seconds of the run so far, earlier parts included.
    pub fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    /// Notes what the run learns from, which must be what its earlier part learned from.
    ///
    /// # Errors
    /// A usage error if it is not.
    pub fn learn_from(&mut self, examples: Examples) -> Result<()> {
        if let Some(before) = self.state.examples.as_ref().filter(|before| **before != examples) {
            let (was, now, step) = (before.count, examples.count, self.state.step);
            let folder = self.directory.path().display();
            return Err(usage(format!(
                "--resume: the first {step} steps learned from {was} examples, now there are {now} or they say \
                 something else: give feedback.ratings and feedback.raters as they were, or start a new run \
                 with --model {folder}/checkpoints/step-{step:06}/model"
            )));
        }
        self.state.examples = Some(examples);
        Ok(())
    }

    /// Whether Ctrl-C was pressed.
    pub fn interrupted(&self) -> bool {
        self.interrupt.requested()
    }

    /// Shows a line above the live one.
    pub fn note(&self, text: &str) {
        self.progress.note(text);
    }

    /// Says what the numbers of the step mean, the first time that there is something to say.
    pub fn advise(&mut self, advice: Option<&str>) {
        if let (Some(advice), Advised::NotYet) = (advice, self.advised) {
            self.note(&format!("step {}: {advice}", self.state.step + 1));
            self.advised = Advised::Yes;
        }
    }

    /// Writes a finished step into the journal and shows it; counts it.
    ///
    /// # Errors
    /// If a number is not finite, with the step, the batch and the last good checkpoint named, or
    /// the disk is full.
    pub fn record(&mut self, numbers: &StepNumbers) -> Result<()> {
        let step = self.state.step + 1;
        let metrics = numbers.all();
        if let Some((name, value)) = metrics.iter().find(|(_, value)| !value.is_finite()) {
            let last = match self.checkpoints.latest()? {
                Some(checkpoint) => checkpoint.path.display().to_string(),
                None => "there is none yet".to_owned(),
            };
            anyhow::bail!(
                "{name} is {value} at step {step}, learning from {}; the last good checkpoint: \
                 {last}; lower learning_rate or max_grad_norm and resume from it",
                listed(&numbers.batch)
            );
        }
        self.state.step = step;
        let speed = numbers.tokens as f64 / numbers.seconds.max(1e-9);
        let timing = [("step_time", numbers.seconds), ("tokens_per_second", speed)];
        self.journal.metrics(step as u64, &metrics)?;
        self.journal.timing(step as u64, &timing)?;
        self.events.scalars(step as u64, unix_seconds(), &metrics)?;
        self.events.scalars(step as u64, unix_seconds(), &timing)?;
        let report = StepReport {
            step: step as u64,
            headline: numbers.headline,
            figures: numbers.figures.clone(),
            tokens_per_second: speed,
        };
        self.progress.show(&report, self.started.elapsed());
        Ok(())
    }

    /// Writes a completion into samples.jsonl.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn sample(&mut self, row: &SampleRow) -> Result<()> {
        Ok(self.journal.sample(row)?)
    }

    /// Writes a checkpoint of this step.
    ///
    /// # Errors
    /// If the device does not return the weights or the disk is full.
    pub(crate) fn save(
        &mut self,
        (policy, optimizer): (&Policy, &AdamW),
        beside: &[(&'static str, Vec<u8>)],
        score: Option<f64>,
    ) -> Result<()> {
        self.state.mark = self.journal.mark()?;
        self.state.seconds = self.seconds();
        let optimizer = block_on(optimizer.to_bytes())?;
        let state = serde_json::to_string_pretty(&self.state)?;
        self.checkpoints.save(self.state.step as u64, score, |folder| {
            tuned::keep(policy, &self.tuning, folder)?;
            std::fs::write(folder.join(OPTIMIZER), &optimizer)?;
            for (name, bytes) in beside {
                std::fs::write(folder.join(name), bytes)?;
            }
            Ok::<(), FillError>(std::fs::write(folder.join(STATE), state + "\n")?)
        })?;
        Ok(())
    }

    /// Ends the live line.
    pub fn finish(self) -> RunDirectory {
        self.progress.finish();
        self.directory
    }
}

impl State {
    fn new(plan: &Plan) -> Self {
        Self {
            step: 0,
            tokens: 0,
            seconds: 0.0,
            objective: plan.recipe.objective.initial_state(),
            mark: Mark::default(),
            examples: None,
        }
    }
}

fn read_checkpoint(path: &Path, plan: &Plan, device: &Device) -> Result<(State, Resumed)> {
    let text = std::fs::read_to_string(path.join(STATE))
        .with_context(|| format!("checkpoint {}", path.display()))?;
    let state: State =
        serde_json::from_str(&text).with_context(|| format!("{}/{STATE}", path.display()))?;
    let bytes = std::fs::read(path.join(OPTIMIZER))
        .with_context(|| format!("{}/{OPTIMIZER}", path.display()))?;
    let config: AdamWConfig = plan.recipe.optimizer.adamw;
    let optimizer = AdamW::from_bytes(config, &bytes, device)?;
    let optimizer = tuned::remembering(optimizer, &plan.recipe, (&bytes, device))?;
    let weights = if plan.recipe.tuning.is_full() {
        Weights::Whole(policy::read(&path.join("model"))?)
    } else {
        Weights::Small(policy::read_bytes(&path.join(tuned::SMALL))?)
    };
    Ok((state, Resumed { weights, optimizer, folder: path.to_owned() }))
}

/// The first few names, and how many more there are.
fn listed(names: &[String]) -> String {
    let shown = names.len().min(LISTED);
    match names.len() - shown {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..shown].join(", ")),
    }
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Makes the device's own generator repeat itself from a step on, for dropout.
pub fn seed_device(device: &Device, seed: u64, step: usize) {
    use rand::Rng;
    let mut coins = crate::batches::coins(seed, crate::batches::Purpose::Device, step as u64);
    device.seed(coins.next_u64());
}

/// The copy of `model` that a step computes with, in the recipe's number type.
pub fn working(model: &Transformer, precision: Precision) -> Transformer {
    match precision {
        Precision::F32 => model.clone(),
        Precision::F16 | Precision::Bf16 => cast(model.clone(), precision.dtype()),
    }
}

/// A trained copy of `model` for reading only, without autodiff; small parameters are in its weights as
/// far as they can be.
pub fn frozen(model: &Transformer) -> Transformer {
    use burn::module::Module;
    merge(model.valid())
}
