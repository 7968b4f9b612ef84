//! A learned reward: several scorers, their mean and what they disagree about; as a folder and as a
//! [`Reward`].
//!
//! The folder holds each trunk as a Hugging Face folder (`0/`, `1/`, ...; a frozen one once) and `reward.json` with the heads
//! and the scale: a reward of 0 is the mean of the texts it was trained on, 1 their standard deviation.

use std::path::Path;

use anyhow::Result;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};
use kudos_core::learn::head_scores;
use kudos_core::model::{Scorer, Trunk};
use kudos_core::reward::{Completion, Reward};
use kudos_core::task::Prompt;
use pollster::block_on;
use serde::{Deserialize, Serialize};

use super::member::Learner;
use super::reading::{Reading, ReadingFiles};
use crate::parallel::Workers;
use crate::store::{FillError, write_folder};
use crate::usage::usage;

/// The file of the heads.
const HEADS: &str = "reward.json";
/// Version of that file.
const VERSION: u32 = 2;
/// Texts scored together.
pub(super) const BATCH: usize = 64;

/// Scorers with the scale of their mean.
#[derive(Debug)]
pub struct RewardModel {
    /// What turns texts into tokens.
    reading: Reading,
    groups: Vec<Group>,
    scale: Scale,
}

/// A trunk with the heads on it: one, or all members that share a frozen trunk.
#[derive(Debug)]
struct Group {
    trunk: Trunk,
    heads: Vec<Linear>,
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
    /// The folder of its trunk.
    trunk: usize,
    weight: Vec<f32>,
    bias: f32,
}

/// A text's reward with what members disagree about.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Mean over members, on the reward's scale.
    pub reward: f64,
    /// Standard deviation over members (ddof 0).
    pub uncertainty: f64,
    /// What each member says, on the same scale.
    pub members: Vec<f64>,
}

impl Scale {
    /// The scale on which these scores have mean 0 and deviation 1.
    pub(crate) fn of(scores: &[f64]) -> Self {
        let count = scores.len().max(1) as f64;
        let mean = scores.iter().sum::<f64>() / count;
        let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / count;
        Self { mean, deviation: if variance > 0.0 { variance.sqrt() } else { 1.0 } }
    }
}

impl RewardModel {
    /// What members learned; heads on a frozen trunk are on that of `reading`.
    pub(super) fn new(reading: Reading, learners: Vec<Learner>, scale: Scale) -> Self {
        let mut groups = Vec::new();
        let mut heads = Vec::new();
        for learner in learners {
            match learner {
                Learner::Whole(scorer) => {
                    let Scorer { trunk, head } = scorer.valid();
                    groups.push(Group { trunk, heads: vec![head] });
                }
                Learner::Head(head, _) => heads.push(head.valid()),
            }
        }
        if !heads.is_empty() {
            groups.push(Group { trunk: reading.trunk(), heads });
        }
        Self { reading, groups, scale }
    }

    /// How many scorers it is the mean of.
    pub fn members(&self) -> usize {
        self.groups.iter().map(|group| group.heads.len()).sum()
    }

    /// Judges completions behind their prompts.
    ///
    /// # Errors
    /// A failing device, or messages that the trunk's template does not take.
    pub fn judge(&self, texts: &[(&Prompt, &str)]) -> Result<Vec<Judged>> {
        let ids = texts.iter().map(|(prompt, text)| self.reading.tokens(prompt, text));
        let ids = ids.collect::<Result<Vec<Vec<u32>>>>()?;
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let mut all = vec![Vec::new(); texts.len()];
        for Group { trunk, heads } in &self.groups {
            let features = Workers::of(&trunk.device()).features(trunk, &ids, BATCH)?;
            let features: Vec<&[f32]> = features.iter().map(Vec::as_slice).collect();
            for head in heads {
                let scores = block_on(head_scores(head, &features)).map_err(anyhow::Error::msg)?;
                all.iter_mut().zip(scores).for_each(|(text, score)| text.push(f64::from(score)));
            }
        }
        Ok(all.into_iter().map(|scores| self.judged(&scores)).collect())
    }

    /// From the members' scores of a text.
    fn judged(&self, scores: &[f64]) -> Judged {
        let on_scale = |score: &f64| (score - self.scale.mean) / self.scale.deviation;
        let members: Vec<f64> = scores.iter().map(on_scale).collect();
        let count = members.len() as f64;
        let reward = members.iter().sum::<f64>() / count;
        let variance = members.iter().map(|score| (score - reward).powi(2)).sum::<f64>() / count;
        Judged { reward, uncertainty: variance.sqrt(), members }
    }

    /// Writes the folder.
    ///
    /// # Errors
    /// A failing device, a full disk.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let mut heads = Heads { version: VERSION, scale: self.scale, heads: Vec::new() };
        let mut trunks = Vec::new();
        for (trunk, group) in self.groups.iter().enumerate() {
            for head in &group.heads {
                let weight = numbers(head.weight.val().flatten(0, 1))?;
                let bias = head.bias.as_ref().expect("a scorer's head has a bias").val();
                heads.heads.push(Head { trunk, weight, bias: numbers(bias)?[0] });
            }
            trunks.push(self.reading.files(&group.trunk)?);
        }
        let text = serde_json::to_string(&heads)? + "\n";
        write_folder(folder, |folder| {
            for (place, files) in trunks.iter().enumerate() {
                let trunk = folder.join(place.to_string());
                std::fs::create_dir(&trunk)?;
                files.write(&trunk)?;
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
        let refuse = |what: &str| {
            usage(format!("{name}: {what}; give the folder model/ of a `trainer reward` run"))
        };
        let text = std::fs::read_to_string(&path).map_err(|error| refuse(&error.to_string()))?;
        let heads: Heads =
            serde_json::from_str(&text).map_err(|error| refuse(&error.to_string()))?;
        if heads.version != VERSION {
            let version = heads.version;
            return Err(refuse(&format!("version {version}, this program reads {VERSION}")));
        }
        let mut groups: Vec<Group> = Vec::new();
        let mut first = None;
        for head in &heads.heads {
            if head.trunk == groups.len() {
                let files = ReadingFiles::read(Some(&folder.join(head.trunk.to_string())))?;
                let reading = files.load(device)?;
                groups.push(Group { trunk: reading.trunk(), heads: Vec::new() });
                first.get_or_insert(reading);
            }
            let group = groups
                .get_mut(head.trunk)
                .ok_or_else(|| refuse(&format!("a head on trunk {}", head.trunk)))?;
            let (found, width) = (head.weight.len(), group.trunk.width());
            if found != width {
                return Err(refuse(&format!("a head has {found} numbers, not {width}")));
            }
            group.heads.push(with_numbers(&group.trunk, head));
        }
        let reading = first.ok_or_else(|| refuse("no heads"))?;
        Ok(Self { reading, groups, scale: heads.scale })
    }
}

/// A head for `trunk` with stored numbers.
fn with_numbers(trunk: &Trunk, head: &Head) -> Linear {
    let device = trunk.device();
    let empty = Scorer::zeroed_head(trunk.width(), &device);
    let weight = TensorData::new(head.weight.clone(), [head.weight.len(), 1]);
    let bias = TensorData::new(vec![head.bias], [1]);
    let filled = Linear {
        weight: empty.weight.map(|_| Tensor::from_data(weight, &device)),
        bias: empty.bias.map(|old| old.map(|_| Tensor::from_data(bias, &device))),
    };
    filled.no_grad()
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
        // A template that does not take the messages is the item's matter: it does not apply to that one.
        let readable = |one: &&Completion<'_>| self.reading.tokens(one.prompt, one.text).is_ok();
        let texts: Vec<(&Prompt, &str)> =
            completions.iter().filter(readable).map(|one| (one.prompt, one.text)).collect();
        let judged = self.judge(&texts).expect("the device that generates also judges");
        let mut rewards = judged.into_iter().map(|one| one.reward as f32);
        completions.iter().map(|one| if readable(&one) { rewards.next() } else { None }).collect()
    }
}
