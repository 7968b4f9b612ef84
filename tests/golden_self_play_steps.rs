//! Ten steps of SPIN and of Nash-MD against torch (`tests/golden/self_play_steps.py`): the same coins draw the same
//! completions of the policy, its opponents and its mixtures, and lead to the same losses.

use burn::module::Module;
use kudos_core::learn::{learn, log_probs};
use kudos_core::model::Transformer;
use kudos_core::objective::{
    Contest, Linear, Linearized, Pair, Preference, Side, Verdicts, nash_md,
};
use kudos_core::optim::AdamW;
use kudos_core::rollout::{
    Coins, Generation, Mixture, Rollout, StopTokens, generate, generate_mixed,
};
use kudos_schema::Sampling;
use pollster::block_on;
use serde::Deserialize;

use crate::torch_models::{adamw, close, model, pairs, values};

#[derive(Deserialize)]
struct Golden {
    prompts: Vec<Vec<u32>>,
    /// What the data say after each prompt.
    references: Vec<Vec<u32>>,
    group: usize,
    length: usize,
    seed: u64,
    rate: f64,
    /// Steps of SPIN between two opponents.
    iteration: usize,
    beta: f64,
    /// Share of the start in Nash-MD's mixture.
    share: f64,
    spin: Run,
    nash_md: Run,
}

#[derive(Deserialize)]
struct Run {
    steps: Vec<Step>,
    /// Log-probability of each reference after the last step, in nats.
    after: Vec<f32>,
}

#[derive(Deserialize)]
struct Step {
    written: Vec<Vec<u32>>,
    #[serde(default)]
    others: Vec<Vec<u32>>,
    #[serde(default)]
    wins: Vec<f64>,
    loss: f64,
    norm: f64,
}

/// A prompt with a completion.
type Row<'a> = (&'a [u32], &'a [u32]);

impl Golden {
    /// Completions of a step, a group for each prompt, from the coins of the completions from `first_index` on.
    fn drawn(
        &self,
        (step, first_index): (usize, usize),
        write: impl Fn(&[Vec<u32>], &Generation<'_>) -> Rollout,
    ) -> Rollout {
        let prompts = self.prompts.iter();
        let prompts: Vec<Vec<u32>> =
            prompts.flat_map(|prompt| vec![prompt.clone(); self.group]).collect();
        let sampling = Sampling { max_completion_length: self.length, ..Sampling::default() };
        let coins = Coins::new(self.seed, step as u64);
        let stop = StopTokens(Vec::new());
        write(&prompts, &Generation { sampling: &sampling, stop: &stop, coins, first_index })
    }

    /// Takes ten steps along what `play` says of each and compares them with torch's.
    fn follow(
        &self,
        (what, run): (&str, &Run),
        mut play: impl FnMut(usize, &Transformer) -> (Linearized, Vec<(Vec<u32>, Vec<u32>)>),
    ) {
        let (mut policy, mut optimizer) = (model("llama"), AdamW::new(adamw()));
        assert_eq!(run.steps.len(), 10);
        for (index, step) in run.steps.iter().enumerate() {
            let (Linearized { loss, slopes }, rows) = play(index, &policy.valid());
            assert!((loss - step.loss).abs() < 1e-4, "{what} {index}: {loss}, not {}", step.loss);
            let rows: Vec<Row<'_>> = rows.iter().map(|(p, c)| (&p[..], &c[..])).collect();
            let experiences = Linear::experiences(&rows, &slopes);
            let mut learned = learn(&policy, &experiences, &Linear { temperature: 1.0 }, 4);
            let norm = f64::from(values(learned.gradients.clip(1.0))[0]);
            let off = (norm - step.norm).abs();
            assert!(off < 1e-3 * step.norm, "{what} {index}: norm {norm}, not {}", step.norm);
            policy = optimizer.step(policy, learned.gradients, self.rate);
        }
        let references = self.prompts.iter().zip(&self.references);
        let rows: Vec<Row<'_>> = references.map(|(p, c)| (&p[..], &c[..])).collect();
        let after: Vec<f32> =
            sums(&policy.valid(), &rows).into_iter().map(|sum| sum as f32).collect();
        close(what, &after, &run.after, 9e-4);
    }
}

fn sums(model: &Transformer, rows: &[Row<'_>]) -> Vec<f64> {
    let log_probs = block_on(log_probs(model, rows, 1.0, 8)).unwrap();
    log_probs.iter().map(|row| row.iter().map(|value| f64::from(*value)).sum()).collect()
}

fn sides(policy: &Transformer, reference: &Transformer, rows: &[Row<'_>]) -> Vec<Side> {
    let both = sums(policy, rows).into_iter().zip(sums(reference, rows)).zip(rows);
    both.map(|((policy, reference), row)| Side { policy, reference, tokens: row.1.len() }).collect()
}

fn owned(rows: &[Row<'_>]) -> Vec<(Vec<u32>, Vec<u32>)> {
    rows.iter().map(|(prompt, completion)| (prompt.to_vec(), completion.to_vec())).collect()
}

/// What a completion earns: a whole number, so that no rounding decides who is better.
fn reward(completion: &[u32]) -> f64 {
    f64::from(completion.iter().map(|token| 7 * token % 13).sum::<u32>())
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/self_play_steps.json")).unwrap()
}

#[test]
fn ten_steps_of_spin_against_fresh_opponents_follow_those_of_torch() {
    let golden = golden();
    let preference = Preference { beta: golden.beta, ..Preference::default() };
    let mut opponent = model("llama").valid();
    golden.follow(("spin", &golden.spin), |step, policy| {
        if step % golden.iteration == 0 {
            opponent = policy.clone();
        }
        let written = golden
            .drawn((step, 0), |prompts, at| block_on(generate(&opponent, prompts, at)).unwrap());
        assert_eq!(written.completions, golden.spin.steps[step].written, "step {step}");
        let rejected = pairs(&written).into_iter().enumerate();
        let rows: Vec<Row<'_>> = rejected
            .flat_map(|(row, rejected)| {
                [(rejected.0, &golden.references[row / golden.group][..]), rejected]
            })
            .collect();
        let scored = sides(policy, &opponent, &rows);
        let scored = scored.chunks(2);
        let scored: Vec<Pair> =
            scored.map(|two| Pair { chosen: two[0], rejected: two[1], weight: 1.0 }).collect();
        (preference.linearize(&scored), owned(&rows))
    });
}

#[test]
fn ten_steps_of_nash_md_against_the_mixture_follow_those_of_torch() {
    let golden = golden();
    let start = model("llama").valid();
    golden.follow(("nash-md", &golden.nash_md), |step, policy| {
        let expected = &golden.nash_md.steps[step];
        let own =
            golden.drawn((step, 0), |prompts, at| block_on(generate(policy, prompts, at)).unwrap());
        let others = golden.drawn((step, own.completions.len()), |prompts, at| {
            let mixture = Mixture { policy, reference: &start, share: golden.share };
            block_on(generate_mixed(&mixture, prompts, at)).unwrap()
        });
        assert_eq!(own.completions, expected.written, "step {step}");
        assert_eq!(others.completions, expected.others, "step {step}");
        let both = own.completions.iter().zip(&others.completions);
        let wins = both.map(|(one, other)| Verdicts::Higher.wins(reward(one), reward(other)));
        let wins: Vec<f64> = wins.collect();
        assert_eq!(wins, expected.wins, "step {step}");
        let rows = pairs(&own);
        let contests = sides(policy, &start, &rows).into_iter().zip(wins);
        let contests: Vec<Contest> = contests.map(|(side, wins)| Contest { side, wins }).collect();
        (nash_md(&contests, golden.beta), owned(&rows))
    });
}
