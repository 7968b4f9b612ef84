//! The end of a distillation: student beside teacher, result.json, the policy.

use anyhow::Result;
use kudos_core::reward::Mix;
use kudos_core::rollout::{Coins, Generation};
use kudos_core::task::{Item, TaskData};
use kudos_core::text::surface::{distinct, repetition};
use kudos_core::tuning::trained;
use kudos_schema::EndReason;
use serde::Serialize;

use super::examples::{Answer, asked, rewarded};
use super::material::{HELD_OUT, Material, answers, validation};
use super::teacher::{Teacher, Written, pairs};
use crate::evaluate::{complete, nll_of_pairs};
use crate::journal::{METRICS, SampleRow, read_metrics, series};
use crate::policy::{Example, Policy};
use crate::recipe::Recipe;
use crate::report::{Series, curve_svg};
use crate::session::Session;
use crate::store::write_file;
use crate::{output, tuned};

/// Order of the n-grams in `distinct_2` and `repetition_3`.
const DISTINCT: usize = 2;
const REPETITION: usize = 3;

/// What a run came to.
#[derive(Debug, Serialize)]
struct DistilResult<'a> {
    version: u32,
    level: crate::recipe::Level,
    steps: usize,
    seed: u64,
    seconds: f64,
    device: &'a str,
    /// Trained values of the student.
    parameters: usize,
    /// Held-out completions that both are judged on.
    n: usize,
    student: Standing,
    teacher: Standing,
}

/// How one of them does on held-out prompts.
#[derive(Debug, Serialize)]
struct Standing {
    /// Of the held-out completions, by its own tokens.
    nll_nats: Option<f64>,
    /// `exp(nll_nats)`: to compare only where both have one tokenizer.
    perplexity: Option<f64>,
    /// The same likelihood by bytes of text, which compares any two.
    nats_per_byte: Option<f64>,
    /// Completions that it wrote.
    written: usize,
    /// Mean reward of those it applies to.
    reward: Option<f64>,
    /// Share of different pairs of words among all.
    distinct_2: Option<f64>,
    /// Mean share of triples of words that were there before in the same text.
    repetition_3: Option<f64>,
    /// Share that came to an end of their own.
    ended: f64,
}

/// Judges both, writes model/, samples.jsonl, result.json and curve.svg, and prints.
///
/// # Errors
/// A failing device, a full disk.
pub(super) fn write(
    mut session: Session,
    (recipe, device): (&Recipe, &str),
    (material, teacher): (&Material, &Teacher),
    (sources, rewards): (&[TaskData], Option<&Mix>),
) -> Result<()> {
    let Material { student, held_out, held_out_of_teacher: theirs, .. } = material;
    let items = validation(sources, recipe.watch.eval_items);
    let by_teacher = answers(recipe, (teacher, rewards), (&items, HELD_OUT))?;
    let items: Vec<&Item> = by_teacher.iter().map(|one| one.item).collect();
    let by_student = written_by_student(recipe, student, &items)?;
    let by_student = rewarded(&items, by_student, rewards);
    let step = session.state.step as u64;
    for (own, reference) in by_student.iter().zip(&by_teacher) {
        session.sample(&row(step, own, reference))?;
    }
    let bytes: usize = held_out.iter().map(|one| text_of(student, one).len()).sum();
    let likelihoods = [
        (nll_of_pairs(student, &pairs(held_out))?, tokens(held_out)),
        (teacher.nll_nats(theirs)?, tokens(theirs)),
    ];
    let [student_standing, teacher_standing] = [(0, &by_student), (1, &by_teacher)]
        .map(|(place, answers)| Standing::of(answers, likelihoods[place], bytes));
    let result = DistilResult {
        version: 1,
        level: recipe.distil.level,
        steps: session.state.step,
        seed: recipe.seed,
        seconds: session.seconds(),
        device,
        parameters: trained(&student.model),
        n: held_out.len(),
        student: student_standing,
        teacher: teacher_standing,
    };
    leave(session, (recipe, student), &result)
}

fn leave(
    session: Session,
    (recipe, student): (&Recipe, &Policy),
    result: &DistilResult<'_>,
) -> Result<()> {
    let directory = session.finish();
    let folder = directory.path();
    tuned::write_model(folder, student, recipe)?;
    let points = series(&read_metrics(&folder.join(METRICS))?, "loss");
    let svg = curve_svg("Loss, nats a token", &[Series { name: "loss".to_owned(), points }]);
    write_file(&folder.join("curve.svg"), svg.as_bytes())?;
    let text = serde_json::to_string_pretty(result)? + "\n";
    directory.write("result.json", &text)?;
    output::result(text.trim_end());
    Ok(())
}

fn written_by_student(
    recipe: &Recipe,
    student: &Policy,
    items: &[&Item],
) -> Result<Vec<(Vec<u32>, Written)>> {
    let context = student.config().context_length;
    let prompts = items.iter().map(|item| {
        let prompt = student.encode_prompt(&asked(item))?;
        // The end of a prompt that is too long for the student: it has to say something.
        let room = context.saturating_sub(recipe.sampling.max_completion_length).max(1);
        Ok(prompt[prompt.len().saturating_sub(room)..].to_vec())
    });
    let prompts: Vec<Vec<u32>> = prompts.collect::<Result<_>>()?;
    let stop = student.stop_tokens();
    let coins = Coins::new(recipe.seed, HELD_OUT);
    let generation = Generation { sampling: &recipe.sampling, stop: &stop, coins, first_index: 0 };
    let rollout = complete(student, &prompts, &generation)?;
    Ok(prompts.into_iter().zip(Written::of(rollout, &student.tokenizer)).collect())
}

fn row(step: u64, own: &Answer<'_>, teacher: &Answer<'_>) -> SampleRow {
    SampleRow {
        step,
        prompt: asked(own.item).text(),
        completion: own.written.text.clone(),
        reference: Some(teacher.written.text.clone()),
        reward: own.reward.map(f64::from),
        end_reason: if own.written.ended { EndReason::Stop } else { EndReason::Length },
    }
}

fn text_of(policy: &Policy, (_, completion): &Example) -> String {
    policy.tokenizer.decode(completion)
}

fn tokens(examples: &[Example]) -> usize {
    examples.iter().map(|(_, completion)| completion.len()).sum()
}

impl Standing {
    fn of(answers: &[Answer<'_>], (nll_nats, tokens): (Option<f64>, usize), bytes: usize) -> Self {
        let texts: Vec<&str> = answers.iter().map(|one| one.written.text.as_str()).collect();
        let rewards: Vec<f64> =
            answers.iter().filter_map(|one| one.reward).map(f64::from).collect();
        let repeated: Vec<f64> =
            texts.iter().filter_map(|text| repetition(text, REPETITION)).collect();
        let ended = answers.iter().filter(|one| one.written.ended).count();
        Self {
            nll_nats,
            perplexity: nll_nats.map(f64::exp),
            nats_per_byte: nll_nats.map(|nll| nll * tokens as f64 / bytes.max(1) as f64),
            written: answers.len(),
            reward: mean(&rewards),
            distinct_2: distinct(&texts, DISTINCT),
            repetition_3: mean(&repeated),
            ended: ended as f64 / answers.len().max(1) as f64,
        }
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
