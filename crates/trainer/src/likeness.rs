//! Rewards that ask a sentence encoder how like its reference a completion is.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use kudos_core::likeness::{dot, greedy_match};
use kudos_core::reward::{Completion, Reward};
use kudos_core::sentence_encoder::SentenceEncoder;
use pollster::block_on;

use crate::reward_model::{Reading, ReadingFiles};
use crate::usage::usage;

/// What of two texts is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// Their vectors: the reward `embedding`.
    Embedding,
    /// Their tokens, greedily matched: the reward `bert_score`, its F1.
    BertScore,
}

impl Likeness {
    /// By its name in recipes.
    pub fn of(kind: &str) -> Option<Self> {
        [Self::Embedding, Self::BertScore].into_iter().find(|one| one.name() == kind)
    }

    /// Its name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::BertScore => "bert_score",
        }
    }
}

/// Likeness to the most similar reference.
#[derive(Debug)]
pub struct EncoderReward {
    encoder: SentenceEncoder,
    likeness: Likeness,
}

impl EncoderReward {
    /// Reads the folder of a sentence encoder.
    ///
    /// # Errors
    /// Usage errors that name the file.
    pub fn read(likeness: Likeness, folder: &Path, device: &Device) -> Result<Self> {
        match ReadingFiles::read(Some(folder))?.load(device)? {
            Reading::Encoder(encoder) => Ok(Self { encoder: *encoder, likeness }),
            Reading::Policy(_) => {
                let (name, folder) = (likeness.name(), folder.display());
                Err(usage(format!(
                    "reward: {folder} writes texts and `{name}` needs what reads them: \
                     give the folder of a sentence encoder of the BERT family"
                )))
            }
        }
    }

    /// The score of each text by the best of its references.
    ///
    /// # Errors
    /// What the device reports.
    pub(crate) fn best(
        &self,
        texts: &[(&str, &[String])],
        likeness: Likeness,
    ) -> Result<Vec<f32>, String> {
        let all: Vec<&str> = texts
            .iter()
            .flat_map(|(text, references)| {
                std::iter::once(*text).chain(references.iter().map(String::as_str))
            })
            .collect();
        let alike: Vec<f32> = match likeness {
            Likeness::Embedding => {
                best_of_each(texts, &block_on(self.encoder.embeddings(&all))?, |text, reference| {
                    dot(text, reference)
                })
            }
            Likeness::BertScore => {
                let vectors = block_on(self.encoder.token_vectors(&all))?;
                best_of_each(texts, &vectors, |text, reference| greedy_match(text, reference).f1)
            }
        };
        Ok(alike)
    }
}

/// `of` holds what was read of each text and, behind it, of its references.
fn best_of_each<T>(
    texts: &[(&str, &[String])],
    mut of: &[T],
    alike: impl Fn(&T, &T) -> f32,
) -> Vec<f32> {
    let mut best = Vec::with_capacity(texts.len());
    for (_, references) in texts {
        let (own, rest) = of.split_at(1 + references.len());
        let (text, references) = own.split_first().expect("a text stands before its references");
        let scores = references.iter().map(|reference| alike(text, reference));
        best.push(scores.fold(f32::NEG_INFINITY, f32::max));
        of = rest;
    }
    best
}

impl Reward for EncoderReward {
    fn name(&self) -> &str {
        self.likeness.name()
    }

    fn score(&self, completion: &Completion<'_>) -> Option<f32> {
        self.score_all(&[*completion])[0]
    }

    fn score_all(&self, completions: &[Completion<'_>]) -> Vec<Option<f32>> {
        let texts: Vec<(&str, &[String])> = completions
            .iter()
            .filter(|one| !one.references.is_empty())
            .map(|one| (one.text, one.references))
            .collect();
        let scores =
            self.best(&texts, self.likeness).expect("the device that generates also judges");
        let mut scores = scores.into_iter();
        let applies = completions.iter().map(|one| !one.references.is_empty());
        applies.map(|applies| if applies { scores.next() } else { None }).collect()
    }
}
