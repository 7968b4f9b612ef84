//! What a run learns from: games, the tokenizer that reads them, trajectories.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use kudos_core::objective::{Method, ValueLearning};
use kudos_core::rollout::{Trajectory, Transcript, trajectories};
use kudos_core::task::game::scripted::Scripted;
use kudos_core::task::game::words::Words;
use kudos_core::task::game::{Episode, Kind};
use kudos_core::text::tokenizer::Tokenizer;

use super::recipe::{Alike, QRecipe};
use crate::games::{Outcome, Tally, one_game, script};
use crate::usage::usage;

/// Games that the tokenizer learns its words from.
const READ: usize = 500;

/// What is learned from.
#[derive(Debug)]
pub(super) struct Examples {
    pub(super) tokenizer: Tokenizer,
    /// Tokens that the policy reads at most.
    pub(super) longest: usize,
    /// Each token chosen with weight 1.
    pub(super) trajectories: Vec<Trajectory>,
    /// What the games came to, before the best were taken.
    pub(super) outcome: Outcome,
}

/// Games of a program or of a file, the best of them, as trajectories with scaled rewards. A policy that is there already
/// reads with its own tokenizer, and so many tokens at most.
///
/// # Errors
/// Usage errors: a file that cannot be read, a program that does not play, nothing left to learn from.
pub(super) fn gather(
    recipe: &QRecipe,
    words: &Arc<Words>,
    read_by: Option<(Tokenizer, usize)>,
) -> Result<Examples> {
    let episodes = match &recipe.data.dataset {
        Some(path) => read(path, recipe.game)?,
        None => {
            let mut program = Scripted::new(script(&recipe.data.policy, recipe.game)?);
            let at = |index| (recipe.seed, index);
            let play = |index| one_game((recipe.game, words), &mut program, at(index));
            (0..recipe.data.games).map(play).collect()
        }
    };
    let mut tally = Tally::default();
    episodes.iter().for_each(|episode| tally.add(episode));
    let (tokenizer, longest) = match read_by {
        Some(read_by) => read_by,
        None => {
            let tokenizer = tokenizer(&episodes, recipe.architecture.vocab_size)?;
            (tokenizer, recipe.architecture.context_length)
        }
    };
    let share = recipe.data.best_share;
    let trajectories = best_of(episodes, share, (recipe, &tokenizer, longest));
    if trajectories.is_empty() {
        return Err(usage(format!(
            "no game fits a context of {longest} tokens and has a choice to learn from: give a larger one, or a lower value.imitated_from"
        )));
    }
    Ok(Examples { tokenizer, longest, trajectories, outcome: tally.outcome() })
}

impl Examples {
    /// Puts new trajectories behind the newest of the old ones. Where there is no new one, what there was is better than nothing.
    pub(super) fn renew(&mut self, new: Vec<Trajectory>, replay: usize) {
        if !new.is_empty() {
            let kept = self.trajectories.len().saturating_sub(replay);
            self.trajectories.drain(..kept);
            self.trajectories.extend(new);
        }
    }
}

/// The best share of some games as trajectories with scaled rewards, of those that fit the context and have a choice to
/// learn from.
pub(super) fn best_of(
    mut episodes: Vec<Episode>,
    share: f64,
    (recipe, tokenizer, longest): (&QRecipe, &Tokenizer, usize),
) -> Vec<Trajectory> {
    best(&mut episodes, share);
    at_most_of_a_return(&mut episodes, recipe.data.most_of_a_return);
    for turn in episodes.iter_mut().flat_map(|episode| &mut episode.turns) {
        turn.reward *= recipe.data.reward_scale;
    }
    let all = episodes
        .iter()
        .flat_map(|one| trajectories(&Transcript::of(one, tokenizer), recipe.value.gamma));
    let all = all.map(|one| match recipe.value.method {
        Method::Bc => heeding((&recipe.value, recipe.data.opening_weight as f32), one),
        // The worth of what is not imitated is learned, too.
        Method::Mc | Method::Dqn | Method::DoubleDqn | Method::Cql | Method::Ilql => one,
    });
    let fits = |one: &Trajectory| {
        one.experience.prompt.len() + one.experience.completion.len() <= longest
            && one.after.len() <= longest
            && one.count() > 0
    };
    match recipe.data.alike {
        Alike::Each => all.filter(fits).collect(),
        Alike::Once => once(all.filter(fits)),
    }
}

/// A trajectory of which only what is imitated is learned, its first action by a weight of its own; the rest is read, in no
/// batch's count.
fn heeding((learning, opening): (&ValueLearning, f32), mut one: Trajectory) -> Trajectory {
    let first = one.chosen().take_while(|chosen| *chosen).count();
    let tokens = one.experience.weights.iter_mut().zip(&one.returns).enumerate();
    for (place, (weight, value)) in tokens {
        if !learning.imitates(*value) {
            *weight = if place < first { opening } else { 0.0 };
        }
    }
    one
}

/// Choices that were met several times, once, with the mean of what followed them.
fn once(trajectories: impl Iterator<Item = Trajectory>) -> Vec<Trajectory> {
    let mut places = BTreeMap::new();
    let mut all: Vec<(Trajectory, f32)> = Vec::new();
    for one in trajectories {
        let own = &one.experience;
        let alike = (own.prompt.clone(), own.completion.clone(), one.after.clone());
        let place = *places.entry(alike).or_insert(all.len());
        match all.get_mut(place) {
            None => all.push((one, 1.0)),
            Some((met, times)) => {
                *times += 1.0;
                for (mean, more) in met.returns.iter_mut().zip(&one.returns) {
                    *mean += (more - *mean) / *times;
                }
            }
        }
    }
    all.into_iter().map(|(one, _)| one).collect()
}

/// Keeps the share of the highest return; of equal ones the earlier.
fn best(episodes: &mut Vec<Episode>, share: f64) {
    let count = (episodes.len() as f64 * share).ceil() as usize;
    episodes.sort_by(|one, other| other.total().total_cmp(&one.total()));
    episodes.truncate(count.max(1));
}

/// Keeps the first `most` games of each return; all where it is 0.
fn at_most_of_a_return(episodes: &mut Vec<Episode>, most: usize) {
    let mut met = BTreeMap::new();
    episodes.retain(|episode| {
        let count = met.entry(episode.total().to_bits()).or_insert(0);
        *count += 1;
        most == 0 || *count <= most
    });
}

/// Bytes and whole words of the games, text by text as they are read.
fn tokenizer(episodes: &[Episode], vocabulary: usize) -> Result<Tokenizer> {
    let turns = episodes.iter().take(READ).flat_map(|episode| &episode.turns);
    let texts = turns.flat_map(|turn| [turn.said.as_str(), turn.action.as_str()]);
    Tokenizer::train(texts, vocabulary).map_err(|error| usage(error.to_string()))
}

fn read(path: &Path, game: Kind) -> Result<Vec<Episode>> {
    let label = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| usage(format!("{label}: {error}; give games that `games` wrote")))?;
    let line = |(index, line): (usize, &str)| {
        let at = format!("{label}, line {}", index + 1);
        let episode: Episode =
            serde_json::from_str(line).map_err(|error| usage(format!("{at}: {error}")))?;
        match episode.game == game {
            true => Ok(episode),
            false => {
                let (found, wanted) = (episode.game.name(), game.name());
                Err(usage(format!("{at}: a game of {found}, not of {wanted}: give other games")))
            }
        }
    };
    text.lines().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_share_is_that_of_the_highest_return_and_returns_can_be_evened_out() {
        let mut episodes: Vec<Episode> = [-3.0, -1.0, -2.0, -1.0]
            .into_iter()
            .map(|reward| {
                let turn = kudos_core::task::game::Played {
                    said: String::new(),
                    action: String::new(),
                    reward,
                };
                Episode { game: Kind::Wordle, turns: vec![turn] }
            })
            .collect();
        let returns =
            |episodes: &[Episode]| episodes.iter().map(Episode::total).collect::<Vec<f64>>();
        let mut spread = episodes.clone();
        at_most_of_a_return(&mut spread, 0);
        assert_eq!(returns(&spread), [-3.0, -1.0, -2.0, -1.0]);
        at_most_of_a_return(&mut spread, 1);
        assert_eq!(returns(&spread), [-3.0, -1.0, -2.0]);
        best(&mut episodes, 0.5);
        assert_eq!(returns(&episodes), [-1.0, -1.0]);
    }

    #[test]
    fn what_was_met_twice_is_learned_once_with_the_mean_of_its_returns() {
        let recipe = QRecipe {
            data: super::super::recipe::GameData {
                games: 50,
                reward_scale: 1.0,
                ..Default::default()
            },
            ..QRecipe::default()
        };
        let words = Arc::new(Words::parse("slate\n").unwrap());
        let each = gather(&recipe, &words, None).unwrap().trajectories;
        let alike = super::super::recipe::GameData { alike: Alike::Once, ..recipe.data.clone() };
        let once = gather(&QRecipe { data: alike, ..recipe }, &words, None).unwrap().trajectories;
        // 25 places with four moves each, of which one reaches the goal.
        assert_eq!(once.len(), 100);
        assert_eq!(once.iter().filter(|one| one.after.is_empty()).count(), 1);
        let same = |one: &&Trajectory| one.experience == once[7].experience;
        let returns: Vec<f32> = each.iter().filter(same).map(|one| one.returns[0]).collect();
        let mean = returns.iter().sum::<f32>() / returns.len() as f32;
        assert!(returns.len() > 1 && (once[7].returns[0] - mean).abs() < 1e-3 * mean.abs());
    }

    #[test]
    fn choices_of_too_low_a_return_are_read_and_not_learned() {
        let recipe = QRecipe {
            game: Kind::Wordle,
            data: super::super::recipe::GameData { games: 40, ..Default::default() },
            value: ValueLearning {
                method: Method::Bc,
                imitated_from: Some(0.0),
                ..ValueLearning::default()
            },
            architecture: crate::recipe::Architecture {
                context_length: 128,
                ..QRecipe::default().architecture
            },
            ..QRecipe::default()
        };
        let words = Arc::new(Words::parse("slate\ncrane\nmoist\n").unwrap());
        let opening =
            super::super::recipe::GameData { opening_weight: 0.25, ..recipe.data.clone() };
        let opened = gather(&QRecipe { data: opening, ..recipe.clone() }, &words, None).unwrap();
        assert_eq!(opened.trajectories.len(), 40);
        for one in opened.trajectories {
            let weights = &one.experience.weights;
            let expected = if one.returns[0] < 0.0 { 0.25 } else { 1.0 };
            assert!(weights[..6].iter().all(|weight| *weight == expected), "{weights:?}");
        }
        let won = gather(&recipe, &words, None).unwrap().trajectories;
        // The last word of each game that was won, with the end of its line.
        assert!(!won.is_empty() && won.len() < 40);
        for one in won {
            let chosen: Vec<bool> = one.chosen().collect();
            assert!(chosen[chosen.len() - 6..].iter().all(|chosen| *chosen));
            assert_eq!(one.count(), 6);
        }
    }

    #[test]
    fn new_trajectories_replace_all_but_the_newest_of_the_old_ones() {
        let words = Arc::new(Words::parse("slate\n").unwrap());
        let recipe = QRecipe {
            data: super::super::recipe::GameData { games: 5, ..Default::default() },
            ..QRecipe::default()
        };
        let mut examples = gather(&recipe, &words, None).unwrap();
        let old = examples.trajectories.clone();
        let new = vec![old[0].clone(); 3];
        examples.renew(Vec::new(), 0);
        assert_eq!(examples.trajectories, old);
        examples.renew(new.clone(), 2);
        assert_eq!(examples.trajectories, [&old[old.len() - 2..], &new].concat());
        examples.renew(new.clone(), 0);
        assert_eq!(examples.trajectories, new);
    }

    #[test]
    fn every_letter_of_wordle_is_one_token() {
        let words = Arc::new(Words::parse("slate\ncrane\nmoist\n").unwrap());
        let recipe = QRecipe {
            game: Kind::Wordle,
            data: super::super::recipe::GameData { games: 40, ..Default::default() },
            architecture: crate::recipe::Architecture {
                context_length: 128,
                ..QRecipe::default().architecture
            },
            ..QRecipe::default()
        };
        let examples = gather(&recipe, &words, None).unwrap();
        assert_eq!(examples.tokenizer.encode("s l a t e\n").len(), 6);
        let chosen: usize = examples.trajectories.iter().map(Trajectory::count).sum();
        assert_eq!(chosen % 6, 0);
        // Scaled: the first token of a lost game sees all of it.
        assert!(examples.trajectories.iter().all(|one| one.returns[0] >= -0.6));
    }
}
