//! `trainer games`: programs and policies play, and their games can be kept to learn from.

mod learned;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use kudos_core::task::game::scripted::{Script, Scripted};
use kudos_core::task::game::words::Words;
use kudos_core::task::game::{Episode, Kind, play};
use serde::{Deserialize, Serialize};

use crate::args::GamesArgs;
use crate::batches::{Purpose, coins};
use crate::usage::usage;
use crate::{data, open_device, output};
use learned::Learned;

/// What games came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How many were played.
    pub games: usize,
    /// Mean return.
    pub mean: f64,
    /// Its standard error, as of independent games (ddof 1).
    pub standard_error: f64,
    /// Share that was won.
    pub success: f64,
    /// Mean number of turns.
    pub length: f64,
}

/// Sums over games.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    games: usize,
    sum: f64,
    squares: f64,
    won: usize,
    turns: usize,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Row<'a> {
    game: &'a str,
    policy: &'a str,
    seed: u64,
    words: Option<usize>,
    #[serde(flatten)]
    outcome: Outcome,
}

impl Tally {
    /// Counts a game.
    pub fn add(&mut self, episode: &Episode) {
        let total = episode.total();
        self.games += 1;
        self.sum += total;
        self.squares += total * total;
        self.won += usize::from(episode.won());
        self.turns += episode.turns.len();
    }

    /// Means over what was counted.
    pub fn outcome(&self) -> Outcome {
        let count = self.games.max(1) as f64;
        let mean = self.sum / count;
        let variance = (self.squares - count * mean * mean).max(0.0) / (count - 1.0).max(1.0);
        Outcome {
            games: self.games,
            mean,
            standard_error: (variance / count).sqrt(),
            success: self.won as f64 / count,
            length: self.turns as f64 / count,
        }
    }
}

impl Outcome {
    /// In words.
    pub fn text(&self) -> String {
        format!(
            "mean return {:.4} (standard error {:.4}), won {:.4}, length {:.3}, {} games",
            self.mean, self.standard_error, self.success, self.length, self.games
        )
    }
}

/// The game called `name`.
///
/// # Errors
/// If there is none.
pub fn kind(name: &str) -> Result<Kind> {
    let known = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    known.ok_or_else(|| {
        let names = Kind::ALL.map(Kind::name).join(", ");
        usage(format!("there is no game `{name}`: choose one of {names}"))
    })
}

/// The program called `name`, if it plays `kind`.
///
/// # Errors
/// If there is none, or it does not know the game.
pub fn script(name: &str, kind: Kind) -> Result<Script> {
    let plays = |script: &Script| match (kind, script) {
        (_, Script::Uniform) => true,
        (Kind::Wordle, Script::Consistent | Script::Data | Script::InformationGain) => true,
        (Kind::Maze | Kind::PartialMaze, Script::Optimum) => true,
        (Kind::Wordle, Script::Optimum) => false,
        (
            Kind::Maze | Kind::PartialMaze,
            Script::Consistent | Script::Data | Script::InformationGain,
        ) => false,
    };
    let able: Vec<Script> = Script::ALL.into_iter().filter(plays).collect();
    able.iter().copied().find(|script| script.name() == name).ok_or_else(|| {
        let names: Vec<&str> = able.iter().map(|script| script.name()).collect();
        usage(format!(
            "no policy `{name}` plays {}: choose one of {}",
            kind.name(),
            names.join(", ")
        ))
    })
}

/// One game of a program; its coins belong to the seed and its number alone.
pub fn one_game(
    (kind, words): (Kind, &Arc<Words>),
    program: &mut Scripted,
    at: (u64, usize),
) -> Episode {
    let (seed, index) = at;
    let mut coins = coins(seed, Purpose::Games, index as u64);
    play((kind, kind.start(index, words)), &mut coins, |game, coins| {
        program.choose(game, coins).expect("the program was asked whether it knows the game")
    })
}

/// Plays and prints.
///
/// # Errors
/// Usage errors, a file that cannot be written, a failing device.
pub fn run(args: &GamesArgs) -> Result<()> {
    let kind = kind(&args.game)?;
    if args.games == 0 {
        return Err(usage("--games is 0: play at least one"));
    }
    if args.candidates == Some(0) {
        return Err(usage("--candidates is 0: give 1 to choose token by token, or more"));
    }
    if args.temperature.is_some_and(|temperature| !(0.0..f64::INFINITY).contains(&temperature)) {
        return Err(usage("--temperature must be 0 or more: 0 is greedy"));
    }
    if args.beta.is_some_and(|beta| !beta.is_finite()) {
        return Err(usage("--beta must be a number"));
    }
    let words = Arc::new(data::words(args.words.as_deref())?);
    let (mut player, name) = player(args, kind)?;
    let mut file = args.output.as_deref().map(create).transpose()?;
    let mut tally = Tally::default();
    let mut keep = |episode: &Episode| -> Result<()> {
        tally.add(episode);
        match &mut file {
            None => Ok(()),
            Some(file) => writeln!(file, "{}", serde_json::to_string(episode)?).context("--output"),
        }
    };
    match &mut player {
        Plays::Program(program) => {
            for index in 0..args.games {
                keep(&one_game((kind, &words), program, (args.seed, index)))?;
            }
        }
        Plays::Learned(learned) => {
            learned.games((kind, &words), args)?.iter().try_for_each(keep)?;
        }
    }
    if let Some(mut file) = file {
        file.flush().context("--output")?;
    }
    let outcome = tally.outcome();
    output::result(&if args.json {
        let words = (kind == Kind::Wordle).then_some(words.count());
        let row = Row { game: kind.name(), policy: &name, seed: args.seed, words, outcome };
        serde_json::to_string(&row)?
    } else {
        outcome.text()
    });
    Ok(())
}

/// Who plays.
enum Plays {
    Program(Scripted),
    Learned(Box<Learned>),
}

/// With its name.
fn player(args: &GamesArgs, kind: Kind) -> Result<(Plays, String)> {
    match (&args.model, &args.policy) {
        (Some(path), _) => {
            let device = open_device::open(&args.device)?.device;
            let learned = Learned::new(path, kind, (args, &device))?;
            Ok((Plays::Learned(Box::new(learned)), path.display().to_string()))
        }
        (None, Some(name)) => {
            let script = script(name, kind)?;
            Ok((Plays::Program(Scripted::new(script)), name.clone()))
        }
        (None, None) => Err(usage("nobody plays: give --policy, a program, or --model, a policy")),
    }
}

fn create(path: &Path) -> Result<std::io::BufWriter<std::fs::File>> {
    let file = std::fs::File::create(path);
    let file = file.map_err(|error| usage(format!("--output {}: {error}", path.display())))?;
    Ok(std::io::BufWriter::new(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kudos_core::task::game::Played;

    fn episode(rewards: &[f64]) -> Episode {
        let turn =
            |reward: &f64| Played { said: String::new(), action: String::new(), reward: *reward };
        Episode { game: Kind::Maze, turns: rewards.iter().map(turn).collect() }
    }

    #[test]
    fn a_tally_is_the_mean_with_its_standard_error() {
        let mut tally = Tally::default();
        [&[-1.0, 0.0][..], &[-1.0, -1.0, -1.0], &[-1.0, -1.0, 0.0]]
            .into_iter()
            .for_each(|rewards| tally.add(&episode(rewards)));
        let outcome = tally.outcome();
        // Returns -1, -3, -2: deviation 1, error 1 / sqrt(3).
        assert_eq!((outcome.games, outcome.mean), (3, -2.0));
        assert!((outcome.standard_error - 3.0f64.sqrt().recip()).abs() < 1e-12);
        assert!((outcome.success - 2.0 / 3.0).abs() < 1e-12);
        assert!((outcome.length - 8.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_program_is_refused_where_it_does_not_know_the_game() {
        let refused = script("data", Kind::Maze).unwrap_err().to_string();
        assert!(refused.contains("uniform, optimum"), "{refused}");
        assert_eq!(script("data", Kind::Wordle).unwrap(), Script::Data);
        assert!(kind("chess").unwrap_err().to_string().contains("partial-maze"));
    }
}
