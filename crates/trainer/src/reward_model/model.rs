//! A learned reward: several scorers, their mean and what they disagree about; as a folder and as a
//! [`Reward`].
//!
//! The folder holds each trunk as a Hugging Face folder (`0/`, `1/`, ...) and `reward.json` with the heads
//! and the scale: a reward of 0 is the mean of the texts it was trained on, 1 their standard deviation.

use std::path::Path;

use anyhow::Result;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use kudos_core::model::Scorer;
use kudos_core::model::hugging_face::StoredAs;
use kudos_core::reward::{Completion, Reward};
use kudos_core::task::Prompt;
use pollster::block_on;
use serde::{Deserialize, Serialize};

use super::verdicts::Reader;
use crate::parallel::Workers;
use crate::policy::{self, Policy};
use crate::store::{FillError, write_folder};
use crate::usage::usage;

/// The file of the heads.
const HEADS: &str = "reward.json";
/// Version of that file.
const VERSION: u32 = 1;
/// Texts scored together.
const BATCH: usize = 64;

/// Scorers with the scale of their mean.
#[derive(Debug)]
pub struct RewardModel {
    /// Tokenizer and template of the trunks; the first trunk.
    policy: Policy,
    members: Vec<Scorer>,
    scale: Scale,
}

/// From scores to rewards.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scale {
    /// Mean score of the texts trained on.
    pub(crate) mean: f64,
    /// Their standard deviation.
    pub(crate) deviation: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Heads {
    version: u32,
    scale: Scale,
    heads: Vec<Head>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    weight: Vec<f32>,
    bias: f32,
}

/// A text's reward with the standard deviation over members.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Mean over members, on the reward's scale.
    pub reward: f64,
    /// Standard deviation over members (ddof 0).
    pub uncertainty: f64,
}

impl RewardModel {
    pub(crate) fn new(policy: Policy, members: Vec<Scorer>) -> Self {
        Self { policy, members, scale: Scale { mean: 0.0, deviation: 1.0 } }
    }

    /// How many scorers it is the mean of.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// Takes the scale from the scores of texts.
    ///
    /// # Errors
    /// A failing device.
    pub(crate) fn calibrated(self, texts: &[&[u32]]) -> Result<Self> {
        let scores = self.means(texts)?;
        let count = scores.len().max(1) as f64;
        let mean = scores.iter().sum::<f64>() / count;
        let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / count;
        let deviation = if variance > 0.0 { variance.sqrt() } else { 1.0 };
        Ok(Self { scale: Scale { mean, deviation }, ..self })
    }

    /// The members' mean score of each text.
    ///
    /// # Errors
    /// A failing device.
    pub(crate) fn means(&self, texts: &[&[u32]]) -> Result<Vec<f64>> {
        let all = self.scores(texts)?;
        let count = all.len().max(1) as f64;
        let mean = |place: usize| all.iter().map(|member| member[place]).sum::<f64>() / count;
        Ok((0..texts.len()).map(mean).collect())
    }

    /// Each member's score of each text.
    fn scores(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f64>>> {
        let workers = Workers::of(&self.policy.model.device());
        self.members.iter().map(|member| workers.scores(member, texts, BATCH)).collect()
    }

    /// Judges completions behind their prompts.
    ///
    /// # Errors
    /// A failing device, or messages that the trunk's template does not take.
    pub fn judge(&self, texts: &[(&Prompt, &str)]) -> Result<Vec<Judged>> {
        let reader = Reader { policy: &self.policy };
        let ids = texts.iter().map(|(prompt, text)| reader.tokens(prompt, text));
        let ids = ids.collect::<Result<Vec<Vec<u32>>>>()?;
        let all = self.scores(&ids.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        let count = all.len() as f64;
        Ok((0..texts.len())
            .map(|place| {
                let scores = all
                    .iter()
                    .map(|member| (member[place] - self.scale.mean) / self.scale.deviation);
                let reward = scores.clone().sum::<f64>() / count;
                let variance = scores.map(|score| (score - reward).powi(2)).sum::<f64>() / count;
                Judged { reward, uncertainty: variance.sqrt() }
            })
            .collect())
    }

    /// Writes the folder.
    ///
    /// # Errors
    /// A failing device, a full disk.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let mut heads = Heads { version: VERSION, scale: self.scale, heads: Vec::new() };
        let mut trunks = Vec::new();
        for member in &self.members {
            let weight = numbers(member.head.weight.val().flatten(0, 1))?;
            let bias = member.head.bias.as_ref().expect("a scorer's head has a bias").val();
            heads.heads.push(Head { weight, bias: numbers(bias)?[0] });
            let policy = Policy { model: member.trunk.clone(), ..self.policy.clone() };
            trunks.push(block_on(policy.files(StoredAs::F32))?);
        }
        let text = serde_json::to_string(&heads)? + "\n";
        write_folder(folder, |folder| {
            for (place, files) in trunks.iter().enumerate() {
                let trunk = folder.join(place.to_string());
                std::fs::create_dir(&trunk)?;
                policy::write(files, &trunk)?;
            }
            Ok::<(), FillError>(std::fs::write(folder.join(HEADS), &text)?)
        })?;
        Ok(())
    }

    /// Reads a folder that `trainer reward` wrote.
    ///
    /// # Errors
    /// Usage errors that name the file.
    pub fn read(folder: &Path, device: &Device) -> Result<Self> {
        let path = folder.join(HEADS);
        let name = path.display();
        let remedy = "give the folder model/ of a `trainer reward` run";
        let text = std::fs::read_to_string(&path)
            .map_err(|error| usage(format!("{name}: {error}; {remedy}")))?;
        let heads: Heads = serde_json::from_str(&text)
            .map_err(|error| usage(format!("{name}: {error}; {remedy}")))?;
        let mut policies = Vec::new();
        let mut members = Vec::new();
        for (place, head) in heads.heads.iter().enumerate() {
            let files = policy::read(&folder.join(place.to_string()))
                .map_err(|error| usage(error.to_string()))?;
            let policy = files.load(device).map_err(|error| usage(error.to_string()))?;
            let width = policy.config().d_model;
            if head.weight.len() != width {
                let found = head.weight.len();
                return Err(usage(format!(
                    "{name}: head {place} has {found} numbers, not {width}"
                )));
            }
            members.push(with_head(policy.model.clone(), head, device));
            policies.push(policy);
        }
        let first = policies.into_iter().next();
        let policy = first.ok_or_else(|| usage(format!("{name} has no heads; {remedy}")))?;
        Ok(Self { policy, members, scale: heads.scale })
    }
}

fn with_head(trunk: kudos_core::model::Transformer, head: &Head, device: &Device) -> Scorer {
    let mut scorer = Scorer::zeroed(trunk);
    let weight = TensorData::new(head.weight.clone(), [head.weight.len(), 1]);
    scorer.head.weight = scorer.head.weight.map(|_| Tensor::from_data(weight, device));
    scorer.head.bias = scorer
        .head
        .bias
        .map(|bias| bias.map(|_| Tensor::from_data(TensorData::new(vec![head.bias], [1]), device)));
    scorer.no_grad()
}

fn numbers(tensor: Tensor<1>) -> Result<Vec<f32>> {
    let data = block_on(tensor.into_data_async()).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    Ok(data.convert::<f32>().try_to_vec().expect("converted to f32"))
}

impl Reward for RewardModel {
    fn name(&self) -> &str {
        "learned"
    }

    fn score(&self, completion: &Completion<'_>) -> Option<f32> {
        self.score_all(&[*completion])[0]
    }

    fn score_all(&self, completions: &[Completion<'_>]) -> Vec<Option<f32>> {
        let reader = Reader { policy: &self.policy };
        // A template that does not take the messages is the item's matter: it does not apply to that one.
        let readable = |one: &&Completion<'_>| reader.tokens(one.prompt, one.text).is_ok();
        let texts: Vec<(&Prompt, &str)> =
            completions.iter().filter(readable).map(|one| (one.prompt, one.text)).collect();
        let judged = self.judge(&texts).expect("the device that generates also judges");
        let mut rewards = judged.into_iter().map(|one| one.reward as f32);
        completions.iter().map(|one| if readable(&one) { rewards.next() } else { None }).collect()
    }
}
