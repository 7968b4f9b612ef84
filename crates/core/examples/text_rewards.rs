//! How fast the text rewards are: what `benches/rewards/bench.py` measures beside sacrebleu and rouge-score.
//!
//! `text_rewards COMPLETIONS REFERENCES` reads files with a text a line and prints a line of JSON a reward: seconds, the best of three turns
//! of one thread, and all scores from 0 to 1, so that equal work can be seen to be equal.
#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]
#![expect(clippy::disallowed_methods, reason = "it reads files and the clock, as its caller would")]
#![expect(clippy::disallowed_types, reason = "likewise")]

use std::error::Error;
use std::time::Instant;

use kudos_core::reward::{Bleu, Chrf, Completion, Reward, Rouge, RougeKind};
use kudos_core::task::Prompt;
use serde_json::{Map, json};

const TURNS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [texts, references] = arguments.as_slice() else {
        return Err("usage: text_rewards COMPLETIONS REFERENCES".into());
    };
    let (texts, references) =
        (std::fs::read_to_string(texts)?, std::fs::read_to_string(references)?);
    let references: Vec<[String; 1]> = references.lines().map(|line| [line.to_owned()]).collect();
    let (prompt, extra) = (Prompt::Text(String::new()), Map::new());
    let completion = |(text, references)| Completion {
        prompt: &prompt,
        text,
        references,
        ended: true,
        n_tokens: 1,
        extra: &extra,
    };
    let pairs = texts.lines().zip(references.iter().map(<[String; 1]>::as_slice));
    let completions: Vec<Completion<'_>> = pairs.map(completion).collect();
    let rewards: [&dyn Reward; 3] = [&Bleu, &Chrf, &Rouge(RougeKind::Longest)];
    for reward in rewards {
        let turns = (0..TURNS).map(|_| {
            let begin = Instant::now();
            let scores = reward.score_all(&completions);
            (begin.elapsed().as_secs_f64(), scores)
        });
        let best = turns.min_by(|one, other| one.0.total_cmp(&other.0));
        let (seconds, scores) = best.expect("there are turns");
        println!("{}", json!({ "reward": reward.name(), "seconds": seconds, "scores": scores }));
    }
    Ok(())
}
