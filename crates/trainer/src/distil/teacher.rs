//! The teacher: what it writes and what it says of texts, from the cache where that is possible.
//!
//! Its weights come onto the device when a question is asked that the cache cannot answer.

use std::cell::OnceCell;
use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use kudos_core::model::TransformerConfig;
use kudos_core::model::hugging_face::config_from_json;
use kudos_core::objective::{Told, tell};
use kudos_core::rollout::{Coins, Generation, Rollout};
use kudos_core::task::Prompt;
use kudos_core::text::chat::ChatTemplate;
use kudos_core::text::tokenizer::Tokenizer;
use kudos_schema::{EndReason, Sampling};
use pollster::block_on;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cache::{Cache, Parts};
use crate::evaluate::{complete, nll_of_pairs, policy_files};
use crate::interrupt::Interrupt;
use crate::output;
use crate::policy::{Example, Policy, PolicyFiles};
use crate::usage::usage;

/// Completions that are written together and kept together.
const WRITTEN: usize = 128;
/// Texts that are read together and kept together.
const READ: usize = 64;
/// Logits that are held at once: a quarter of a GiB.
const LOGITS: usize = 1 << 26;

/// A policy that is learned from.
pub(super) struct Teacher {
    files: PolicyFiles,
    hash: String,
    pub(super) config: TransformerConfig,
    pub(super) tokenizer: Tokenizer,
    template: ChatTemplate,
    device: Device,
    loaded: OnceCell<Policy>,
    pub(super) cache: Cache,
    interrupt: Interrupt,
}

/// What a teacher wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Written {
    /// The completion, without special tokens.
    pub(super) text: String,
    /// Its tokens, the end token included.
    pub(super) tokens: Vec<u32>,
    /// Whether it came to an end of its own.
    pub(super) ended: bool,
}

/// How a teacher writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writing<'a> {
    pub(super) sampling: &'a Sampling,
    pub(super) seed: u64,
    /// Which stream of the seed.
    pub(super) stream: u64,
}

impl Teacher {
    /// Reads the files of a teacher.
    ///
    /// # Errors
    /// Usage errors that name the file.
    pub(super) fn read(
        path: &Path,
        (device, cache, interrupt): (&Device, Cache, &Interrupt),
    ) -> Result<Self> {
        let files = policy_files(Some(path))?;
        let refused = |error: String| usage(format!("the teacher {}: {error}", path.display()));
        let config = config_from_json(&files.config).map_err(|error| refused(error.to_string()))?;
        let tokenizer =
            Tokenizer::from_json(&files.tokenizer).map_err(|error| refused(error.to_string()))?;
        let template = ChatTemplate::from_tokenizer_config(&files.tokenizer_config)
            .map_err(|error| refused(error.to_string()))?;
        Ok(Self {
            hash: files.sha256()?,
            files,
            config,
            tokenizer,
            template,
            device: device.clone(),
            loaded: OnceCell::new(),
            cache,
            interrupt: interrupt.clone(),
        })
    }

    /// Its template, for a student that reads its tokens.
    pub(super) fn template(&self) -> &ChatTemplate {
        &self.template
    }

    /// A prompt in its tokens.
    ///
    /// # Errors
    /// If the chat template does not take the messages.
    pub(super) fn encode_prompt(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        Ok(match prompt {
            Prompt::Text(text) => self.tokenizer.encode(text),
            Prompt::Messages(messages) => self.template.prompt(&self.tokenizer, messages)?,
        })
    }

    /// The policy on the device; this is where it is opened.
    ///
    /// # Errors
    /// If its weights are damaged.
    pub(super) fn policy(&self) -> Result<&Policy> {
        if self.loaded.get().is_none() {
            output::note("the teacher is opened");
            let policy = self.files.load(&self.device).map_err(|error| usage(error.to_string()))?;
            // Nobody else sets it: this is one thread.
            let _ = self.loaded.set(policy);
        }
        Ok(self.loaded.get().expect("it was set above"))
    }

    /// A completion for each prompt.
    ///
    /// # Errors
    /// A failing device, a full disk, Ctrl-C.
    pub(super) fn write(&self, prompts: &[Vec<u32>], how: Writing<'_>) -> Result<Vec<Written>> {
        let parts = self.answer(json!({
            "question": "write", "sampling": how.sampling, "seed": how.seed, "stream": how.stream,
        }))?;
        let mut all = Vec::with_capacity(prompts.len());
        for (index, part) in prompts.chunks(WRITTEN).enumerate() {
            // Its place decides its coins.
            let first = index * WRITTEN;
            let mut data = bytes_of(&[first as u32]);
            part.iter().for_each(|prompt| data.extend(framed(prompt)));
            let bytes = parts.part(&data, || {
                self.going_on("writes", first, prompts.len())?;
                let written = self.write_now(part, first, how)?;
                Ok(serde_json::to_vec(&written)?)
            })?;
            let written: Vec<Written> =
                serde_json::from_slice(&bytes).map_err(|_| damaged(&parts))?;
            all.extend(written);
        }
        Ok(all)
    }

    fn write_now(
        &self,
        prompts: &[Vec<u32>],
        first_index: usize,
        how: Writing<'_>,
    ) -> Result<Vec<Written>> {
        let policy = self.policy()?;
        let stop = policy.stop_tokens();
        let coins = Coins::new(how.seed, how.stream);
        let generation = Generation { sampling: how.sampling, stop: &stop, coins, first_index };
        let rollout = complete(policy, prompts, &generation)?;
        Ok(Written::of(rollout, &policy.tokenizer))
    }

    /// What it says at each token of completions after their prompts.
    ///
    /// # Errors
    /// A failing device, a full disk, Ctrl-C.
    pub(super) fn tell(
        &self,
        examples: &[Example],
        (top_k, temperature): (usize, f64),
    ) -> Result<Vec<Told>> {
        let parts = self.answer(json!({
            "question": "tell", "top_k": top_k, "temperature": temperature,
        }))?;
        let mut all = Vec::with_capacity(examples.len());
        for (index, part) in examples.chunks(READ).enumerate() {
            let bytes = parts.part(&data_of(part), || {
                self.going_on("reads", index * READ, examples.len())?;
                Ok(packed(&self.tell_now(part, (top_k, temperature))?))
            })?;
            let told = unpacked(&bytes, part, top_k).ok_or_else(|| damaged(&parts))?;
            all.extend(told);
        }
        Ok(all)
    }

    /// The same, asked now.
    ///
    /// # Errors
    /// A failing device.
    pub(super) fn tell_now(
        &self,
        examples: &[Example],
        (top_k, temperature): (usize, f64),
    ) -> Result<Vec<Told>> {
        let model = &self.policy()?.model;
        let longest = examples.iter().map(|(_, completion)| completion.len()).max().unwrap_or(1);
        let together = (LOGITS / (longest.max(1) * self.config.vocab_size)).max(1);
        let mut all = Vec::with_capacity(examples.len());
        for part in examples.chunks(together) {
            let told = block_on(tell(model, &pairs(part), (top_k, temperature)));
            all.extend(told.map_err(anyhow::Error::msg)?);
        }
        Ok(all)
    }

    /// Mean negative log-likelihood of completions, in nats a token; none without any.
    ///
    /// # Errors
    /// A failing device, a full disk.
    pub(super) fn nll_nats(&self, examples: &[Example]) -> Result<Option<f64>> {
        let parts = self.answer(json!({ "question": "likelihood" }))?;
        let bytes = parts.part(&data_of(examples), || {
            Ok(serde_json::to_vec(&nll_of_pairs(self.policy()?, &pairs(examples))?)?)
        })?;
        serde_json::from_slice(&bytes).map_err(|_| damaged(&parts))
    }

    /// The place of answers in the cache: what decides it is the question and the teacher.
    fn answer(&self, mut about: Value) -> Result<Parts<'_>> {
        about["teacher"] = self.hash.clone().into();
        self.cache.answer(&about)
    }

    fn going_on(&self, does: &str, done: usize, all: usize) -> Result<()> {
        if self.interrupt.requested() {
            anyhow::bail!(
                "stopped while the teacher {does}: what it said is kept, --resume goes on"
            );
        }
        output::note(&format!("the teacher {does}: {done} of {all}"));
        Ok(())
    }
}

impl Written {
    /// The completions of a rollout.
    pub(super) fn of(rollout: Rollout, tokenizer: &Tokenizer) -> Vec<Self> {
        let rows = rollout.completions.into_iter().zip(rollout.end_reasons);
        rows.map(|(tokens, reason)| Self {
            text: tokenizer.decode(&tokens),
            tokens,
            ended: reason == EndReason::Stop,
        })
        .collect()
    }
}

/// Prompts and completions as slices.
pub(super) fn pairs(examples: &[Example]) -> Vec<(&[u32], &[u32])> {
    examples.iter().map(|(prompt, completion)| (&prompt[..], &completion[..])).collect()
}

fn damaged(parts: &Parts<'_>) -> anyhow::Error {
    usage(format!("{} is damaged: delete the folder, the teacher will say it again", parts.place()))
}

/// Texts as bytes: no two lists of texts give the same.
fn data_of(examples: &[Example]) -> Vec<u8> {
    examples.iter().flat_map(|one| [framed(&one.0), framed(&one.1)].concat()).collect()
}

/// Tokens with their number before them.
fn framed(tokens: &[u32]) -> Vec<u8> {
    [bytes_of(&[tokens.len() as u32]), bytes_of(tokens)].concat()
}

fn bytes_of(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// All tokens of all texts, then all numbers, in little-endian words.
fn packed(told: &[Told]) -> Vec<u8> {
    let ids = told.iter().flat_map(|one| bytes_of(&one.ids));
    let numbers = told.iter().flat_map(|one| &one.log_probs).flat_map(|one| one.to_le_bytes());
    ids.chain(numbers).collect()
}

fn unpacked(bytes: &[u8], examples: &[Example], top_k: usize) -> Option<Vec<Told>> {
    let places: usize = examples.iter().map(|(_, completion)| completion.len()).sum();
    let (words, []) = bytes.as_chunks::<4>() else { return None };
    if words.len() != places * (2 * top_k + 1) {
        return None;
    }
    let (mut ids, mut numbers) = words.split_at(places * top_k);
    let told = examples.iter().map(|(_, completion)| {
        let own_ids = ids.split_off(..completion.len() * top_k)?;
        let own_numbers = numbers.split_off(..completion.len() * (top_k + 1))?;
        Some(Told {
            top_k,
            ids: own_ids.iter().map(|word| u32::from_le_bytes(*word)).collect(),
            log_probs: own_numbers.iter().map(|word| f32::from_le_bytes(*word)).collect(),
        })
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_survives_packing_and_a_cut_file_is_noticed() {
        let told = |places: usize| Told {
            top_k: 2,
            ids: (0..places as u32 * 2).collect(),
            log_probs: (0..places * 3).map(|place| -(place as f32)).collect(),
        };
        let examples = vec![(vec![1], vec![2, 3]), (vec![4, 5], vec![6])];
        let all = vec![told(2), told(1)];
        let bytes = packed(&all);
        assert_eq!(unpacked(&bytes, &examples, 2), Some(all));
        assert_eq!(unpacked(&bytes[4..], &examples, 2), None);
        assert_eq!(unpacked(&bytes[1..], &examples, 2), None);
    }

    #[test]
    fn where_a_prompt_ends_is_part_of_the_question() {
        let one = vec![(vec![1, 2], vec![3])];
        let other = vec![(vec![1], vec![2, 3])];
        assert_ne!(data_of(&one), data_of(&other));
    }
}
