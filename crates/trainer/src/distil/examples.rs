//! What a student learns from: items of the data, or what the teacher wrote to their prompts.

use anyhow::Result;
use kudos_core::reward::{Completion, Mix};
use kudos_core::task::{Item, Prompt};
use serde_json::Map;

use super::teacher::{Teacher, Written};
use crate::policy::{Example, Policy};
use crate::recipe::{CutOff, DistilRecipe};

/// Words of a plain text that are given where something is to be written.
const OPENING_WORDS: usize = 8;

/// A prompt with what the teacher wrote to it.
pub(super) struct Answer<'a> {
    /// What was asked.
    pub(super) item: &'a Item,
    /// The same in the teacher's tokens.
    pub(super) prompt: Vec<u32>,
    pub(super) written: Written,
    /// What it earned; none where no reward applies.
    pub(super) reward: Option<f32>,
}

/// What is asked of an item: its prompt, or the opening of its text where it has none.
pub(super) fn asked(item: &Item) -> Prompt {
    match (&item.prompt, item.references.first()) {
        (Prompt::Text(prompt), Some(text)) if prompt.is_empty() => {
            let words: Vec<&str> = text.split_whitespace().take(OPENING_WORDS).collect();
            Prompt::Text(words.join(" "))
        }
        (Prompt::Text(_) | Prompt::Messages(_), _) => item.prompt.clone(),
    }
}

/// A prompt with `instruction` after what was said last, in place of what the system says: in our tasks that is the
/// task's name, which says nothing to a foreign teacher.
fn instructed(prompt: Prompt, instruction: &str) -> Prompt {
    if instruction.is_empty() {
        return prompt;
    }
    match prompt {
        Prompt::Text(text) => Prompt::Text(format!("{text} {instruction}")),
        Prompt::Messages(mut messages) => {
            messages.retain(|message| message.role != "system");
            if let Some(last) = messages.last_mut() {
                last.content = format!("{} {instruction}", last.content);
            }
            Prompt::Messages(messages)
        }
    }
}

/// Items whose prompts fit into `longest` of the teacher's tokens, with those tokens, the instruction among them.
///
/// # Errors
/// If the chat template does not take the messages.
pub(super) fn askable<'a>(
    teacher: &Teacher,
    items: &'a [Item],
    (longest, instruction): (usize, &str),
) -> Result<(Vec<&'a Item>, Vec<Vec<u32>>)> {
    let mut kept = (Vec::new(), Vec::new());
    for item in items {
        let prompt = teacher.encode_prompt(&instructed(asked(item), instruction))?;
        if !prompt.is_empty() && prompt.len() <= longest {
            kept.0.push(item);
            kept.1.push(prompt);
        }
    }
    Ok(kept)
}

/// The references of items in a policy's tokens, at most `length` of them each with the prompt; a plain
/// text is cut into windows, whose first `opening` tokens are the prompt.
///
/// # Errors
/// If the chat template does not take the messages.
pub(super) fn of_data(
    policy: &Policy,
    items: &[Item],
    (length, opening): (usize, usize),
) -> Result<Vec<Example>> {
    let mut examples = Vec::new();
    for item in items {
        let Some((prompt, completion)) = policy.encode_item(item)? else { continue };
        if !prompt.is_empty() {
            if prompt.len() + completion.len() <= length {
                examples.push((prompt, completion));
            }
            continue;
        }
        for window in completion.chunks(length).filter(|window| window.len() > opening) {
            let (prompt, completion) = window.split_at(opening);
            examples.push((prompt.to_vec(), completion.to_vec()));
        }
    }
    Ok(examples)
}

/// What the teacher wrote, in the student's tokens and in its own.
///
/// # Errors
/// If the chat template does not take the messages.
pub(super) fn of_answers(
    student: &Policy,
    answers: &[Answer<'_>],
    length: usize,
) -> Result<(Vec<Example>, Vec<Example>)> {
    let mut examples = (Vec::new(), Vec::new());
    for answer in answers {
        let prompt = student.encode_prompt(&asked(answer.item))?;
        let mut completion = student.encode_completion(&answer.written.text);
        if !answer.written.ended {
            completion.pop();
        }
        let fits = prompt.len() + completion.len() <= length;
        if fits && !prompt.is_empty() && !completion.is_empty() {
            examples.0.push((prompt, completion));
            examples.1.push((answer.prompt.clone(), answer.written.tokens.clone()));
        }
    }
    Ok(examples)
}

/// What each text earns.
pub(super) fn rewarded<'a>(
    items: &[&'a Item],
    written: Vec<(Vec<u32>, Written)>,
    rewards: Option<&Mix>,
) -> Vec<Answer<'a>> {
    let prompts: Vec<Prompt> = items.iter().map(|item| asked(item)).collect();
    let none = Map::new();
    let rows = items.iter().zip(&written).zip(&prompts);
    let completions: Vec<Completion<'_>> = rows
        .map(|((item, (_, written)), prompt)| Completion {
            prompt,
            text: &written.text,
            references: &item.references,
            ended: written.ended,
            n_tokens: written.tokens.len(),
            extra: if item.extra.is_empty() { &none } else { &item.extra },
        })
        .collect();
    let totals: Vec<Option<f32>> = match rewards {
        None => vec![None; completions.len()],
        Some(mix) => mix.score_all(&completions).into_iter().map(|one| one.total).collect(),
    };
    let rows = items.iter().zip(written).zip(totals);
    rows.map(|((item, (prompt, written)), reward)| Answer { item, prompt, written, reward })
        .collect()
}

/// The answers that are learned from, in the order they came in.
pub(super) fn best<'a>(answers: Vec<Answer<'a>>, recipe: &DistilRecipe) -> Vec<Answer<'a>> {
    let written = answers.len();
    let kept = answers.into_iter().filter(|one| match recipe.cut_off {
        CutOff::Keep => true,
        CutOff::Drop => one.written.ended,
    });
    let kept = kept.filter(|one| match (recipe.min_reward, one.reward) {
        (Some(least), reward) => reward.is_some_and(|reward| f64::from(reward) >= least),
        (None, _) => true,
    });
    let mut ranked: Vec<(usize, Answer<'a>)> = kept.enumerate().collect();
    let value = |one: &Answer<'_>| one.reward.unwrap_or(f32::NEG_INFINITY);
    ranked.sort_by(|(_, a), (_, b)| value(b).total_cmp(&value(a)));
    ranked.truncate((written as f64 * recipe.best_share).ceil() as usize);
    ranked.sort_by_key(|(place, _)| *place);
    ranked.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use kudos_schema::Message;

    use super::*;

    fn item(prompt: &str, reference: &str) -> Item {
        Item {
            id: String::new(),
            prompt: Prompt::Text(prompt.to_owned()),
            references: vec![reference.to_owned()],
            extra: Map::new(),
        }
    }

    fn answers<'a>(item: &'a Item, rewards: &[(f32, bool)]) -> Vec<Answer<'a>> {
        let one = |&(reward, ended): &(f32, bool)| Answer {
            item,
            prompt: vec![1],
            written: Written { text: reward.to_string(), tokens: vec![1], ended },
            reward: Some(reward),
        };
        rewards.iter().map(one).collect()
    }

    fn check(recipe: DistilRecipe, expected: &[&str]) {
        let item = item("a", "b");
        let all = answers(&item, &[(0.5, true), (0.9, false), (0.1, true), (0.7, true)]);
        let kept = best(all, &recipe);
        let texts: Vec<&str> = kept.iter().map(|one| one.written.text.as_str()).collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn what_is_learned_is_chosen_by_share_threshold_and_end() {
        let all = DistilRecipe::default();
        check(all.clone(), &["0.5", "0.9", "0.1", "0.7"]);
        check(DistilRecipe { best_share: 0.5, ..all.clone() }, &["0.9", "0.7"]);
        check(DistilRecipe { min_reward: Some(0.5), ..all.clone() }, &["0.5", "0.9", "0.7"]);
        let ended = DistilRecipe { cut_off: CutOff::Drop, ..all };
        check(ended.clone(), &["0.5", "0.1", "0.7"]);
        check(DistilRecipe { best_share: 0.5, ..ended }, &["0.5", "0.7"]);
    }

    #[test]
    fn an_instruction_follows_what_was_said_last() {
        let user = |text: &str| Message::new("user", text);
        let said = |text| Prompt::Messages(vec![Message::new("system", "dialogue"), user(text)]);
        let told = Prompt::Messages(vec![user("Hi. Be short.")]);
        assert_eq!(instructed(said("Hi."), "Be short."), told);
        assert_eq!(instructed(said("Hi."), ""), said("Hi."));
        assert_eq!(instructed(Prompt::Text("a".into()), "b"), Prompt::Text("a b".into()));
    }

    #[test]
    fn a_text_without_a_prompt_is_asked_for_by_its_opening() {
        let text = item("", "one two three four five six seven eight nine");
        assert_eq!(asked(&text), Prompt::Text("one two three four five six seven eight".into()));
        assert_eq!(asked(&item("given", "x")), Prompt::Text("given".into()));
    }
}
