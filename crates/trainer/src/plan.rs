//! From what was typed to a run that can only be right.

use std::path::{Path, PathBuf};

use anyhow::Result;
use burn::tensor::Device;
use kudos_core::objective::{Aggregation, Baseline, KlCoefficient, RatioBound};
use kudos_core::reward::{Mix, Reward, RewardSpec, reward};
use kudos_core::text::edit_distance::edit_distance;

use crate::args::{Overrides, RunArgs};
use crate::device::Selected;
use crate::interrupt::Interrupt;
use crate::recipe::{Recipe, RewardRecipe, Stage};
use crate::reward_model::RewardModel;
use crate::store::RECIPE;
use crate::usage::usage;

/// The recipe of the main job.
const DEFAULT_RECIPE: &str = include_str!("../../../recipes/triples.toml");

/// The reward that is a model of its own.
const LEARNED: &str = "learned";

/// A validated run.
#[derive(Debug)]
pub struct Plan {
    /// Every choice, resolved.
    pub recipe: Recipe,
    /// Where everything is written.
    pub output_dir: PathBuf,
    /// Continue what is there.
    pub resume: bool,
    /// Set by Ctrl-C.
    pub interrupt: Interrupt,
}

impl Plan {
    /// Reads the recipe, applies the flags and checks everything that can be checked before work.
    ///
    /// # Errors
    /// Usage errors that name the field and the remedy.
    pub fn new(args: &RunArgs, stage: Option<Stage>, interrupt: Interrupt) -> Result<Self> {
        let stored = args.output_dir.as_ref().map(|folder| folder.join(RECIPE));
        let mut recipe = match (&args.config, stored) {
            (Some(path), _) => read(path)?,
            (None, Some(path)) if args.resume && path.is_file() => read(&path)?,
            (None, _) if stage.is_none() => parse(DEFAULT_RECIPE, "the built-in recipe")?,
            (None, _) => Recipe::of(stage.unwrap_or_default()),
        };
        if let (Some(stage), Some(path)) = (stage, &args.config)
            && recipe.stage != stage
        {
            return Err(usage(
                format!(
                    "{} is a recipe for {:?}: call that verb, or give another --config",
                    path.display(),
                    recipe.stage
                )
                .to_lowercase(),
            ));
        }
        apply(&mut recipe, &args.overrides);
        validate(&recipe)?;
        let output_dir = args.output_dir.clone().unwrap_or_else(|| default_output(&recipe, args));
        Ok(Self { recipe, output_dir, resume: args.resume, interrupt })
    }

    /// Checks what depends on the device.
    ///
    /// # Errors
    /// If the device lacks the recipe's number type.
    pub fn fits(&self, selected: &Selected) -> Result<()> {
        let dtype = self.recipe.optimizer.precision.dtype();
        if selected.device.supports_dtype(dtype) {
            return Ok(());
        }
        let name = dtype.name();
        let device = &selected.name;
        Err(usage(format!("optimizer.precision is {name}, which {device} lacks: take f32")))
    }

    /// The recipe as resolved, in TOML.
    pub fn recipe_text(&self) -> String {
        toml::to_string_pretty(&self.recipe).expect("a recipe prints as TOML")
    }

    /// The rewards of the recipe, learned ones on `device`.
    ///
    /// # Errors
    /// If one is unknown or lacks its setting.
    pub fn rewards(&self, device: &Device) -> Result<Mix> {
        mix(&self.recipe, device)
    }
}

/// `runs/TASK-SEED`, or the first free number after it.
fn default_output(recipe: &Recipe, args: &RunArgs) -> PathBuf {
    let name = recipe.data.tasks.first().map_or("dataset", String::as_str);
    let stage = if recipe.stage == Stage::Reinforce { name } else { recipe.stage.name() };
    let base = format!("runs/{stage}-{}", recipe.seed);
    let first = PathBuf::from(&base);
    if args.resume || !first.exists() {
        return first;
    }
    let numbered = (2..).map(|number| PathBuf::from(format!("{base}-{number}")));
    numbered.into_iter().find(|path| !path.exists()).expect("some number is free")
}

fn read(path: &Path) -> Result<Recipe> {
    let label = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| usage(format!("{label}: {error}; give an existing recipe")))?;
    parse(&text, &label)
}

/// Parses a recipe; an unknown field is named with the nearest known one.
fn parse(text: &str, label: &str) -> Result<Recipe> {
    let recipe = toml::from_str(text).map_err(|error| {
        let message = error.message().to_owned();
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        let hint = nearest_field(&message)
            .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        usage(format!("{label}, line {line}: {message}{hint}"))
    })?;
    Ok(on_defaults(recipe, text))
}

/// The recipe on top of what its verb does without one: tables of the recipe replace single fields.
fn on_defaults(recipe: Recipe, text: &str) -> Recipe {
    let table = |text: &str| toml::from_str::<toml::Table>(text).expect("it was read before");
    let defaults = Recipe::of(recipe.stage);
    let mut merged = table(&toml::to_string(&defaults).expect("a recipe prints as TOML"));
    for (name, value) in table(text) {
        match (merged.get_mut(&name), value) {
            (Some(toml::Value::Table(fields)), toml::Value::Table(own)) => fields.extend(own),
            (_, value) => drop(merged.insert(name, value)),
        }
    }
    merged.try_into().unwrap_or(recipe)
}

/// The known field nearest to the unknown one in serde's message
/// "unknown field `x`, expected one of `a`, `b`".
fn nearest_field(message: &str) -> Option<String> {
    if !message.starts_with("unknown") {
        return None;
    }
    let mut names = message.split('`').skip(1).step_by(2).map(str::to_owned);
    let unknown = names.next()?;
    names.min_by_key(|name| edit_distance(&unknown, name))
}

fn apply(recipe: &mut Recipe, flags: &Overrides) {
    fn set<T: Clone>(place: &mut T, flag: &Option<T>) {
        if let Some(value) = flag {
            place.clone_from(value);
        }
    }
    if flags.model.is_some() {
        recipe.model.clone_from(&flags.model);
    }
    if let Some(task) = &flags.task {
        recipe.data.tasks = vec![task.clone()];
        recipe.data.dataset = None;
    }
    if flags.dataset.is_some() {
        recipe.data.dataset.clone_from(&flags.dataset);
        recipe.data.tasks.clear();
        recipe.feedback.ratings.clear();
    }
    set(&mut recipe.seed, &flags.seed);
    set(&mut recipe.steps, &flags.steps);
    set(&mut recipe.optimizer.learning_rate, &flags.learning_rate);
    set(&mut recipe.batch.num_generations, &flags.num_generations);
    set(&mut recipe.batch.gradient_accumulation_steps, &flags.gradient_accumulation_steps);
    recipe.sampling = flags.sampling.on(recipe.sampling.clone());
    if let Some(beta) = flags.beta {
        recipe.objective.kl_coefficient = KlCoefficient::Fixed(beta);
        recipe.feedback.preference.beta = beta;
        recipe.feedback.kto.beta = beta;
    }
    if !flags.ratings.is_empty() {
        recipe.feedback.ratings.clone_from(&flags.ratings);
        recipe.data.dataset = None;
    }
    // The temperature of the draw is the temperature of the gradient.
    recipe.objective.temperature = recipe.sampling.temperature;
}

fn validate(recipe: &Recipe) -> Result<()> {
    let positive = [
        ("batch.prompts", recipe.batch.prompts),
        ("batch.num_generations", recipe.batch.num_generations),
        ("batch.micro_batch_size", recipe.batch.micro_batch_size),
        ("batch.gradient_accumulation_steps", recipe.batch.gradient_accumulation_steps),
        ("watch.keep", recipe.watch.keep),
    ];
    if let Some((field, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
        return Err(usage(format!("{field} is 0: it must be at least 1")));
    }
    let rate = recipe.optimizer.learning_rate;
    if !(rate.is_finite() && rate > 0.0) {
        return Err(usage(format!("learning_rate is {rate}: it must be above 0")));
    }
    if !(0.0..=1.0).contains(&recipe.data.repeat_share) {
        return Err(usage("data.repeat_share is a share: give a number from 0 to 1"));
    }
    let norm = recipe.optimizer.max_grad_norm;
    if norm.is_nan() || norm <= 0.0 {
        return Err(usage("max_grad_norm must be above 0; a large value switches clipping off"));
    }
    recipe.sampling.validate().map_err(|error| usage(format!("sampling.{error}")))?;
    recipe
        .architecture
        .transformer(recipe.architecture.vocab_size)
        .validate()
        .map_err(|error| usage(format!("architecture: {error}")))?;
    match recipe.stage {
        Stage::Pretrain => Ok(()),
        Stage::Sft => some_data(recipe),
        Stage::Reinforce => validate_reinforce(recipe),
        Stage::OffPolicy | Stage::Dpo | Stage::Kto | Stage::Reward => validate_feedback(recipe),
    }
}

fn some_data(recipe: &Recipe) -> Result<()> {
    match (recipe.data.tasks.len(), &recipe.data.dataset) {
        (0, None) => Err(usage("nothing to learn from: give --task or --dataset")),
        (1.., Some(_)) => {
            Err(usage("data.tasks and data.dataset contradict each other: keep one of them"))
        }
        _ => Ok(()),
    }
}

fn validate_feedback(recipe: &Recipe) -> Result<()> {
    let feedback = &recipe.feedback;
    let verb = recipe.stage.name();
    match (feedback.ratings.is_empty(), &recipe.data.dataset) {
        (true, None) => {
            return Err(usage(format!("{verb} has nothing to learn from: give --ratings")));
        }
        (_, Some(_)) if recipe.stage == Stage::OffPolicy => {
            return Err(usage(
                "off-policy needs the probabilities that ratings carry: give --ratings instead of --dataset",
            ));
        }
        (false, Some(_)) => {
            return Err(usage(
                "feedback.ratings and data.dataset contradict each other: keep one of them",
            ));
        }
        (true, Some(_)) | (false, None) => {}
    }
    if recipe.sampling.temperature == 0.0 {
        return Err(usage(
            "sampling.temperature is 0: what a greedy policy writes has no probability",
        ));
    }
    let gradient = &recipe.objective;
    if recipe.stage == Stage::OffPolicy && gradient.baseline != Baseline::None {
        return Err(usage(
            "objective.baseline must be none: off-policy takes the mean of each kind of verdict off",
        ));
    }
    if recipe.stage == Stage::OffPolicy && gradient.aggregation == Aggregation::Constant(0) {
        return Err(usage("objective.aggregation constant is 0: give a positive length"));
    }
    let bound = match feedback.importance.bound {
        RatioBound::None => 1.0,
        RatioBound::Truncate(most) | RatioBound::Mask(most) => most,
    };
    let share = |value: f64| (0.0..=1.0).contains(&value);
    let smoothing = |value: f64| (0.0..0.5).contains(&value);
    let rules = [
        ("importance.bound", bound >= 1.0, "at least 1"),
        (
            "importance.min_effective_share",
            share(feedback.importance.min_effective_share),
            "a share",
        ),
        ("importance.max_drift_nats", feedback.importance.max_drift_nats > 0.0, "above 0"),
        ("preference.beta", feedback.preference.beta > 0.0, "above 0"),
        ("preference.label_smoothing", smoothing(feedback.preference.label_smoothing), "below 0.5"),
        ("preference.rpo_alpha", feedback.preference.rpo_alpha >= 0.0, "0 or more"),
        ("kto.beta", feedback.kto.beta > 0.0, "above 0"),
        ("reward.label_smoothing", smoothing(feedback.reward.label_smoothing), "below 0.5"),
        ("reward.margin", feedback.reward.margin >= 0.0, "0 or more"),
        ("members", feedback.members > 0, "at least 1"),
    ];
    match rules.into_iter().find(|(_, holds, _)| !holds) {
        None => Ok(()),
        Some((field, _, range)) => Err(usage(format!("feedback.{field} must be {range}"))),
    }
}

fn validate_reinforce(recipe: &Recipe) -> Result<()> {
    some_data(recipe)?;
    if recipe.data.tasks.len() > 1 {
        return Err(usage("data.tasks names several tasks: reinforce takes one"));
    }
    if recipe.reward.is_empty() {
        return Err(usage("there is no reward: add a [[reward]] with its kind to the recipe"));
    }
    mix(recipe, &Device::flex())?;
    if recipe.sampling.temperature == 0.0 {
        return Err(usage(
            "sampling.temperature is 0: a greedy policy draws nothing to learn from",
        ));
    }
    let grouped = match recipe.objective.baseline {
        Baseline::LeaveOneOut | Baseline::GroupZScore { .. } => true,
        Baseline::None | Baseline::RunningMean { .. } | Baseline::BatchMean => false,
    };
    if grouped && recipe.batch.num_generations < 2 {
        return Err(usage(
            "objective.baseline compares completions of one prompt: \
             batch.num_generations must be at least 2",
        ));
    }
    if recipe.objective.aggregation == Aggregation::Constant(0) {
        return Err(usage("objective.aggregation constant is 0: give a positive length"));
    }
    Ok(())
}

fn mix(recipe: &Recipe, device: &Device) -> Result<Mix> {
    let parts = recipe.reward.iter().map(|part| Ok((one_reward(part, device)?, part.weight)));
    Mix::new(parts.collect::<Result<_>>()?).map_err(|error| usage(format!("reward: {error}")))
}

fn one_reward(part: &RewardRecipe, device: &Device) -> Result<Box<dyn Reward>> {
    match (&part.model, part.kind == LEARNED) {
        (Some(model), true) => Ok(Box::new(RewardModel::read(model, device)?)),
        (None, true) => Err(usage(
            "reward: `learned` lacks its model: give the folder model/ of a `trainer reward` run",
        )),
        (Some(_), false) => Err(usage(format!("reward: `{}` takes no model", part.kind))),
        (None, false) => {
            let (pattern, target) = (part.pattern.as_deref(), part.target);
            let spec = RewardSpec { kind: &part.kind, pattern, target };
            reward(&spec).map_err(|error| usage(format!("reward: {error}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_named_with_the_nearest_known_one() {
        let error = parse("[optimizer]\nlearning_rat = 1.0\n", "my.toml").unwrap_err().to_string();
        assert!(error.starts_with("my.toml, line 2"), "{error}");
        assert!(error.contains("`learning_rat`"), "{error}");
        assert!(error.ends_with("did you mean `learning_rate`?"), "{error}");
    }

    #[test]
    fn the_built_in_recipe_is_valid_and_survives_printing() {
        let recipe = parse(DEFAULT_RECIPE, "built-in").unwrap();
        validate(&recipe).unwrap();
        let printed = toml::to_string_pretty(&recipe).unwrap();
        assert_eq!(parse(&printed, "printed").unwrap(), recipe);
    }

    #[test]
    fn a_recipe_lies_on_top_of_what_its_verb_does_without_one() {
        let text = "stage = 'off_policy'\nsteps = 7\n[objective]\ntemperature = 0.5\n\
                    kl_coefficient = { adaptive = { initial = 0.1, target = 1.0, horizon = 9.0 } }\n";
        let recipe = parse(text, "my.toml").unwrap();
        let defaults = Recipe::of(Stage::OffPolicy);
        assert_eq!((recipe.steps, recipe.objective.temperature), (7, 0.5));
        assert_eq!(recipe.optimizer, defaults.optimizer);
        assert_eq!(recipe.objective.aggregation, defaults.objective.aggregation);
        assert_eq!(recipe.objective.baseline, Baseline::None);
        let plain = parse("stage = 'sft'\n", "my.toml").unwrap();
        assert_eq!(plain, Recipe { stage: Stage::Sft, ..Recipe::default() });
    }

    #[test]
    fn contradictions_are_refused_with_a_remedy() {
        let check = |change: fn(&mut Recipe), expected: &str| {
            let mut recipe = parse(DEFAULT_RECIPE, "built-in").unwrap();
            change(&mut recipe);
            let error = validate(&recipe).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(crate::usage::exit_code(&error), 2);
        };
        check(|recipe| recipe.reward.clear(), "[[reward]]");
        check(|recipe| recipe.reward[0].kind = "triple_f2".to_owned(), "triple_f1");
        check(|recipe| recipe.batch.num_generations = 1, "num_generations");
        check(|recipe| recipe.sampling.temperature = 0.0, "temperature");
        check(|recipe| recipe.data.dataset = Some("x.jsonl".into()), "keep one");
        check(|recipe| recipe.optimizer.learning_rate = f64::NAN, "learning_rate");
        check(|recipe| recipe.watch.keep = 0, "watch.keep");
    }
}
