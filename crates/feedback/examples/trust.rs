//! `cargo xtask bench trust`: trust in ratings, timed on the data that `benches/trust/peer.py data` wrote.
//!
//! `trust MODE FOLDER` prints one JSON line in the peer's form: seconds of the call alone, the best of three turns, and the
//! answer, so that equal work can be seen to be equal.
#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]
#![expect(
    clippy::disallowed_methods,
    reason = "it reads a file and the clock, as its caller would"
)]
#![expect(clippy::disallowed_types, reason = "likewise")]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use kudos_feedback::{
    BradleyTerry, Comparisons, CrowdBt, Label, Otherwise, Outcome, Scale, Vote, alpha,
    count_values, dawid_skene,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const TURNS: usize = 3;
const RESAMPLES: usize = 1000;
const RATERS: usize = 500;
const STARS: [f64; 5] = [1.0, 2.0, 3.0, 4.0, 5.0];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, folder] = arguments.as_slice() else {
        return Err("usage: trust dawid_skene|crowd_bt|bradley_terry|alpha FOLDER".into());
    };
    let folder = Path::new(folder);
    let (seconds, answer) = match mode.as_str() {
        "dawid_skene" => {
            let labels = labels(folder)?;
            timed(|| classes(&labels))
        }
        "crowd_bt" => {
            let votes = votes(folder)?;
            let model = CrowdBt { otherwise: Otherwise::Side, ..CrowdBt::default() };
            timed(|| model.fit(&votes).scores)
        }
        "bradley_terry" => {
            let votes = votes(folder)?;
            timed(|| strengths(&votes))
        }
        "alpha" => {
            let stars = read(&folder.join("stars.u8"))?;
            timed(|| {
                let counts = count_values(&stars, RATERS, STARS.len() as u8);
                alpha(&counts, &STARS, Scale::Nominal).into_iter().collect()
            })
        }
        other => return Err(format!("there is no mode `{other}`").into()),
    };
    println!("{}", json!({ "seconds": seconds, "answer": answer }));
    Ok(())
}

fn classes(labels: &[Label]) -> Vec<f64> {
    let found = dawid_skene(labels);
    let likeliest = |item: &[f64]| {
        let first = |best: usize, class: usize| if item[class] > item[best] { class } else { best };
        (0..item.len()).fold(0, first) as f64
    };
    found.posteriors.chunks(found.n_classes).map(likeliest).collect()
}

fn strengths(votes: &[Vote]) -> Vec<f64> {
    let mut coins = ChaCha8Rng::seed_from_u64(1);
    let comparisons = Comparisons::new(votes);
    let found = BradleyTerry::default().standings(&comparisons, RESAMPLES, &mut coins);
    found.strengths.iter().map(|strength| strength.mean).collect()
}

/// Seconds of the best turn, and the answer.
fn timed(mut work: impl FnMut() -> Vec<f64>) -> (f64, Vec<f64>) {
    let turns = (0..TURNS).map(|_| {
        let start = Instant::now();
        let answer = work();
        (start.elapsed().as_secs_f64(), answer)
    });
    turns.min_by(|a, b| a.0.total_cmp(&b.0)).expect("there are turns")
}

fn labels(folder: &Path) -> Result<Vec<Label>> {
    let rows = numbers(&folder.join("labels.u32"))?;
    let label = |row: &[u32]| Label { rater: row[0], item: row[1], class: row[2] };
    Ok(rows.chunks_exact(3).map(label).collect())
}

fn votes(folder: &Path) -> Result<Vec<Vote>> {
    let rows = numbers(&folder.join("votes.u32"))?;
    let vote = |row: &[u32]| Vote {
        rater: row[0],
        left: row[1],
        right: row[2],
        outcome: if row[3] == 0 { Outcome::Left } else { Outcome::Right },
    };
    Ok(rows.chunks_exact(4).map(vote).collect())
}

fn numbers(path: &Path) -> Result<Vec<u32>> {
    let number = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Ok(read(path)?.chunks_exact(4).map(number).collect())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let remedy = "write it with benches/trust/peer.py data";
    std::fs::read(path).map_err(|error| format!("{}: {error}; {remedy}", path.display()).into())
}
