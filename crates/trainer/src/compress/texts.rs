//! The texts that show what matters and what was lost, and how good a policy is at them.

use std::time::Instant;

use anyhow::Result;
use burn::tensor::Device;
use kudos_core::compress::{Foretold, given};
use kudos_core::model::parameters::count;
use kudos_core::task::{Item, Prompt, TaskData};
use kudos_schema::{Sampling, Size};

use crate::args::CompressArgs;
use crate::evaluate::{evaluate, fitting, metric, metric_of};
use crate::policy::{Policy, PolicyFiles};
use crate::usage::usage;
use crate::{data, pictures};

/// Most bytes of a text without a prompt that are given to be continued.
const BEGINNING: usize = 200;

/// Longest completion that is drawn to judge and to time; half of the context where that is shorter.
const LONGEST: usize = 64;

/// The texts to look at and to measure with.
pub(super) struct Texts<'a> {
    args: &'a CompressArgs,
    pub(super) data: TaskData,
}

impl<'a> Texts<'a> {
    /// Reads them.
    ///
    /// # Errors
    /// If there are none.
    pub(super) fn read(args: &'a CompressArgs) -> Result<Self> {
        let mut data = match (&args.task, &args.dataset) {
            (Some(task), _) => data::task(task)?,
            (None, Some(path)) => data::dataset(path)?,
            (None, None) => {
                return Err(usage("no texts to measure with: give --task or --dataset"));
            }
        };
        // A file may have items held out for one purpose alone.
        if data.test.is_empty() {
            data.test.clone_from(&data.validation);
        }
        if args.items == 0 || data.train.is_empty() || data.test.is_empty() {
            return Err(usage("no texts to measure with: give more rows, and --items above 0"));
        }
        Ok(Self { args, data })
    }

    /// A policy, with the pictures of the texts before its eyes if there are any.
    ///
    /// # Errors
    /// If it cannot be used.
    pub(super) fn shown_to(&self, files: &PolicyFiles, device: &Device) -> Result<Policy> {
        let policy = files.load(device).map_err(|error| usage(error.to_string()))?;
        Ok(Policy { model: pictures::shown(policy.model, &self.data.pictures)?, ..policy })
    }

    /// Training texts that show what matters, as the tokens that a policy reads.
    ///
    /// # Errors
    /// If the chat template does not take the messages.
    pub(super) fn seen(&self, policy: &Policy) -> Result<Vec<Vec<u32>>> {
        let chosen = self.chosen(&self.data.train);
        chosen.map(|item| Ok(read_by(policy, item)?.tokens)).collect()
    }

    /// Texts to measure with.
    ///
    /// # Errors
    /// If the chat template does not take the messages, or no text has anything to foretell.
    pub(super) fn held_out(&self, policy: &Policy) -> Result<Vec<Foretold>> {
        let texts = self.chosen(&self.data.test).map(|item| read_by(policy, item));
        let texts: Vec<Foretold> = texts.collect::<Result<_>>()?;
        if texts.iter().all(|text| text.tokens.len() <= text.given) {
            return Err(usage(
                "no held-out text has an answer to measure with: give rows with a completion, or shorter prompts",
            ));
        }
        Ok(texts)
    }

    /// As many as were asked for, from all over.
    fn chosen<'b>(&self, items: &'b [Item]) -> impl Iterator<Item = &'b Item> + use<'b> {
        let stride = (items.len() / self.args.items).max(1);
        items.iter().step_by(stride).take(self.args.items)
    }

    /// How often each token of a policy stands in the training texts.
    ///
    /// # Errors
    /// If the chat template does not take the messages.
    pub(super) fn uses(&self, policy: &Policy) -> Result<Vec<u64>> {
        let mut uses = vec![0; policy.config().vocab_size];
        for item in &self.data.train {
            for id in read_by(policy, item)?.tokens {
                // Those beyond are patches of pictures.
                if let Some(uses) = uses.get_mut(id as usize) {
                    *uses += 1;
                }
            }
        }
        Ok(uses)
    }

    /// How large, how good and how fast a policy is.
    ///
    /// # Errors
    /// A failing device.
    pub(super) fn size(&self, policy: &Policy, bundle: &[u8], nll_nats: f64) -> Result<Size> {
        let items: Vec<Item> = self.data.test.iter().map(asked).collect();
        let context = policy.config().context_length;
        let drawn = LONGEST.min(context / 2);
        let items = fitting(policy, &items, (context - drawn, self.args.items))?;
        let mut size = Size {
            bytes: bundle.len() as u64,
            parameters: count(&policy.model) as u64,
            nll_nats,
            perplexity: nll_nats.exp(),
            metric: None,
            reward: None,
            tokens_per_second: None,
        };
        if items.is_empty() {
            return Ok(size);
        }
        let name = metric_of(&self.data.name);
        let metric = metric(name, &self.data)?;
        let greedy =
            Sampling { temperature: 0.0, max_completion_length: drawn, ..Sampling::default() };
        let begin = Instant::now();
        let evaluation = evaluate(policy, &items, metric.as_ref(), (&greedy, 1))?;
        let tokens = evaluation.mean_length() * items.len() as f64;
        let scores = evaluation.scores();
        size.tokens_per_second = Some(tokens / begin.elapsed().as_secs_f64());
        size.metric = Some(name.to_owned());
        size.reward = Some(scores.iter().sum::<f64>() / scores.len().max(1) as f64);
        Ok(size)
    }
}

/// An item as the tokens that a policy reads, as far as they fit its context, and what of it answers the prompt.
fn read_by(policy: &Policy, item: &Item) -> Result<Foretold> {
    let mut tokens = policy.encode_asked(item)?;
    let asked = tokens.len();
    tokens.extend(
        item.references.first().into_iter().flat_map(|text| policy.encode_completion(text)),
    );
    tokens.truncate(policy.config().context_length);
    Ok(Foretold { given: asked.max(given(&tokens)), tokens })
}

/// The item itself, or, where it is a text without a prompt, its first words to be continued by the rest.
fn asked(item: &Item) -> Item {
    match (&item.prompt, item.references.first()) {
        (Prompt::Text(prompt), Some(text)) if prompt.is_empty() => {
            let ends = text.char_indices().filter(|(_, letter)| *letter == ' ');
            let middle = (text.len() / 2).min(BEGINNING);
            let end = ends.map(|(place, _)| place).take_while(|place| *place <= middle).last();
            let (begin, rest) = text.split_at(end.unwrap_or(0));
            let (prompt, references) = (Prompt::Text(begin.to_owned()), vec![rest.to_owned()]);
            Item { prompt, references, ..item.clone() }
        }
        _ => item.clone(),
    }
}
