//! A recipe from its text: on top of what its verb does without one, under the flags.

use std::path::Path;

use anyhow::Result;
use kudos_core::objective::KlCoefficient;
use kudos_core::text::edit_distance::edit_distance;

use crate::args::Overrides;
use crate::recipe::Recipe;
use crate::usage::usage;

pub(super) fn read(path: &Path) -> Result<Recipe> {
    let (label, text) = text_of(path)?;
    parse(&text, &label)
}

/// A recipe's name for messages, and its text.
///
/// # Errors
/// A usage error where there is none.
pub(crate) fn text_of(path: &Path) -> Result<(String, String)> {
    let label = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| usage(format!("{label}: {error}; give an existing recipe")))?;
    Ok((label, text))
}

/// Parses a recipe; an unknown field is named with the nearest known one.
pub(super) fn parse(text: &str, label: &str) -> Result<Recipe> {
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
        if value.get("algorithm").is_some() {
            // An algorithm says everything of its table that the recipe does not.
            merged.remove(&name);
        }
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

pub(super) fn apply(recipe: &mut Recipe, flags: &Overrides) {
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
    recipe.objective = recipe.objective.clone().drawn_by(&recipe.sampling);
}
