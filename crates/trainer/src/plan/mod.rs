//! From what was typed to a run that can only be right.

mod distil;
mod objective;
mod preference;
mod reading;
mod rules;
mod self_play;

use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Device;
use kudos_core::reward::{Mix, Reward, RewardSpec, reward};

use crate::args::RunArgs;
use crate::device::Selected;
use crate::interrupt::Interrupt;
use crate::likeness::{EncoderReward, Likeness};
use crate::recipe::{Recipe, RewardRecipe, Stage};
use crate::reward_model::RewardModel;
use crate::store::RECIPE;
use crate::usage::usage;
use crate::{data, reinforce};
pub(crate) use reading::text_of;
use reading::{apply, parse, read};
use rules::validate;

/// The recipe of the main job.
const DEFAULT_RECIPE: &str = include_str!("../../../../recipes/triples.toml");

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

/// The first run's folder, or the first free number after it.
fn default_output(recipe: &Recipe, args: &RunArgs) -> PathBuf {
    let base = first_output(recipe);
    let first = PathBuf::from(&base);
    if args.resume || !first.exists() {
        return first;
    }
    let numbered = (2..).map(|number| PathBuf::from(format!("{base}-{number}")));
    numbered.into_iter().find(|path| !path.exists()).expect("some number is free")
}

/// `runs/TASK-SEED` of what learns a task by rewards, else `runs/STAGE-SEED`.
fn first_output(recipe: &Recipe) -> String {
    let name = match (recipe.stage, recipe.data.tasks.first()) {
        (Stage::Reinforce, Some(task)) => task,
        (stage, _) => stage.name(),
    };
    format!("runs/{name}-{}", recipe.seed)
}

fn mix(recipe: &Recipe, device: &Device) -> Result<Mix> {
    let parts = recipe.reward.iter();
    let parts = parts.map(|part| Ok((one_reward(part, (recipe, device))?, part.weight)));
    Mix::new(parts.collect::<Result<_>>()?).map_err(|error| usage(format!("reward: {error}")))
}

/// The reward that a recipe asks for, its model on `device`.
///
/// # Errors
/// If it is unknown or lacks its setting.
pub(crate) fn one_reward(
    part: &RewardRecipe,
    (recipe, device): (&Recipe, &Device),
) -> Result<Box<dyn Reward>> {
    if let Some(likeness) = Likeness::of(&part.kind) {
        let model = part.model.as_deref().ok_or_else(|| {
            usage(format!(
                "reward: `{}` lacks its model: give the folder of a sentence encoder of the BERT family",
                part.kind
            ))
        })?;
        return Ok(Box::new(EncoderReward::read(likeness, model, device)?));
    }
    match (&part.model, part.kind == LEARNED) {
        (Some(model), true) => Ok(Box::new(RewardModel::read(model, device)?)),
        (None, true) => Err(usage(
            "reward: `learned` lacks its model: give the folder model/ of a `trainer reward` run",
        )),
        (Some(_), false) => Err(usage(format!("reward: `{}` takes no model", part.kind))),
        (None, false) => {
            let (pattern, target) = (part.pattern.as_deref(), part.target);
            let documents = match part.kind.as_str() {
                "cider" => data::documents_for("cider", &reinforce::source(recipe)?),
                _ => Vec::new(),
            };
            let spec = RewardSpec { kind: &part.kind, pattern, target, documents: &documents };
            reward(&spec).map_err(|error| usage(format!("reward: {error}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::q_learn::{QRecipe, read_recipe};
    use crate::reinforce_games::GamesRecipe;
    use kudos_core::objective::{Aggregation, Algorithm, Baseline, Compat, PolicyGradient};

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
    fn an_algorithm_says_everything_that_the_recipe_does_not() {
        let text = "stage = 'reinforce'\n[objective]\nalgorithm = 'grpo'\ncompat = 'trl'\n\
                    aggregation = 'sequence_mean'\n";
        let recipe = parse(text, "my.toml").unwrap();
        let trl = Algorithm::Grpo.of(Compat::Trl).unwrap();
        let expected = PolicyGradient { aggregation: Aggregation::SequenceMean, ..trl };
        assert_eq!(recipe.objective, expected);
        let text = text.replace("grpo", "remax");
        let error = parse(&text, "my.toml").unwrap_err().to_string();
        assert!(error.contains("leave compat out"), "{error}");
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

    #[test]
    fn every_recipe_that_ships_is_read_by_the_verb_in_its_header() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for folder in ["recipes", "recipes/lmrl"] {
            let entries = std::fs::read_dir(root.join(folder)).unwrap();
            let files = entries.map(|entry| entry.unwrap().path());
            for path in files.filter(|path| path.extension().is_some_and(|end| end == "toml")) {
                let name = format!("{folder}/{}", path.file_name().unwrap().display());
                let text = std::fs::read_to_string(&path).unwrap();
                // `trainer VERB --config NAME`; the main job needs neither.
                let call = text.split_once(&format!(" --config {name}"));
                match call.and_then(|(before, _)| before.rsplit(' ').next()) {
                    Some("q-learn") => drop(read_recipe::<QRecipe>(&path).unwrap()),
                    Some("reinforce-games") => drop(read_recipe::<GamesRecipe>(&path).unwrap()),
                    Some(verb) => check_run(&text, &name, verb),
                    None => assert_eq!(text, DEFAULT_RECIPE, "{name} does not say who reads it"),
                }
            }
        }
    }

    fn check_run(text: &str, name: &str, verb: &str) {
        let recipe = parse(text, name).unwrap();
        assert_eq!(recipe.stage.name(), verb, "{name}");
        // A reward that is a model is read by the check, and does not ship.
        if recipe.reward.iter().all(|part| part.model.is_none()) {
            assert!(validate(&recipe).is_ok(), "{name}: {:?}", validate(&recipe));
        }
    }

    #[test]
    fn the_readme_finds_what_its_runs_leave_and_overwrites_nothing_that_ships() {
        let readme = include_str!("../../../../README.md");
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let left = |name: &str| {
            let text = std::fs::read_to_string(root.join("recipes").join(name)).unwrap();
            first_output(&parse(&text, name).unwrap())
        };
        // From a pretrained model to the page; then the main job's policy.
        for (recipe, before, after) in [
            ("talk-lora.toml", "--teacher ", "/model"),
            ("distill-talk.toml", "W=", "/written.jsonl"),
            ("triples.toml", "--model ", "/model"),
        ] {
            let expected = format!("{before}{}{after}", left(recipe));
            assert!(readme.contains(&expected), "{recipe}: no `{expected}`");
        }
        let outputs =
            readme.split("--output ").skip(1).filter_map(|rest| rest.split_whitespace().next());
        for output in outputs {
            let output = output.trim_end_matches(|end: char| !end.is_ascii_alphanumeric());
            assert!(!root.join(output).exists(), "{output} is there already");
        }
    }
}
