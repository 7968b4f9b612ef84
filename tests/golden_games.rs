//! Games against exact numbers from a program of its own (`tests/golden/games.py`): Wordle by recursion over what is
//! known letter by letter, the maze by value iteration.

use std::sync::Arc;

use kudos_core::task::game::maze::{distance, starts};
use kudos_core::task::game::scripted::{Script, Scripted};
use kudos_core::task::game::words::{Marks, Words};
use kudos_core::task::game::{Episode, Kind, play};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

const SENTENCES: &str = include_str!("../data/sentences.txt");

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/games.json")).unwrap()
}

fn texts(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

/// Games of a program, each with coins of its own.
fn played(kind: Kind, script: Script, words: &Arc<Words>, count: usize) -> Vec<Episode> {
    let mut program = Scripted::new(script);
    (0..count)
        .map(|index| {
            let mut coins = ChaCha8Rng::seed_from_u64(index as u64);
            let game = kind.start(index, words);
            play((kind, game), &mut coins, |game, coins| program.choose(game, coins).unwrap())
        })
        .collect()
}

/// Mean return, success and length are the exact ones to within four standard errors.
fn check(episodes: &[Episode], exact: &[f64], name: &str) {
    let of = |number: fn(&Episode) -> f64| episodes.iter().map(number).collect::<Vec<f64>>();
    let found = [
        of(Episode::total),
        of(|one| f64::from(u8::from(one.won()))),
        of(|one| one.turns.len() as f64),
    ];
    for (values, exact) in found.iter().zip(exact) {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let error = (variance / count).sqrt();
        assert!((mean - exact).abs() <= 4.0 * error + 1e-12, "{name}: {mean}, not {exact}");
    }
}

#[test]
fn the_shipped_words_and_their_marks_are_those_of_the_python_script() {
    let golden = golden();
    let words = texts(&golden["words"]);
    assert_eq!(Words::frequent(SENTENCES, words.len()).unwrap().all(), words);
    for case in golden["marks"].as_array().unwrap() {
        let case = texts(case);
        assert_eq!(Marks::of(&case[0], &case[1]).text(), case[2], "{case:?}");
    }
}

#[test]
fn programs_earn_in_wordle_what_they_must() {
    let golden = golden();
    let words = Arc::new(Words::parse(&texts(&golden["played"]).join("\n")).unwrap());
    let programs = [
        ("uniform", Script::Uniform),
        ("consistent", Script::Consistent),
        ("data", Script::Data),
        ("information_gain", Script::InformationGain),
    ];
    for (name, script) in programs {
        let episodes = played(Kind::Wordle, script, &words, 20_000);
        check(&episodes, &numbers(&golden["wordle"][name]), name);
    }
}

#[test]
fn programs_earn_in_the_maze_what_they_must() {
    let golden = golden();
    let maze = &golden["maze"];
    let words = Arc::new(Words::parse("slate").unwrap());
    let expected: Vec<(usize, usize)> = serde_json::from_value(maze["starts"].clone()).unwrap();
    assert_eq!(starts(), expected);
    for (start, value) in expected.iter().zip(numbers(&maze["optimum_from"])) {
        assert_eq!(1.0 - distance(*start).unwrap() as f64, value);
    }
    let best = played(Kind::PartialMaze, Script::Optimum, &words, 25);
    let mean = best.iter().map(Episode::total).sum::<f64>() / 25.0;
    assert!((mean - maze["optimum"].as_f64().unwrap()).abs() < 1e-12);
    // Starts come in turn, which only narrows the error.
    let uniform = played(Kind::Maze, Script::Uniform, &words, 5000);
    check(&uniform, &numbers(&maze["uniform"]), "uniform");
}
