//! What reads texts for a reward model: a policy or a sentence encoder, from the disk and back.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use kudos_core::model::Trunk;
use kudos_core::model::hugging_face::StoredAs;
use kudos_core::sentence_encoder::{EncoderFiles, SentenceEncoder};
use kudos_core::task::Prompt;
use pollster::block_on;

use crate::evaluate::policy_files;
use crate::policy::{self, Policy, PolicyFiles};
use crate::store::FillError;
use crate::usage::usage;

/// A trunk with what turns text into its tokens.
#[derive(Debug, Clone)]
pub(crate) enum Reading {
    Policy(Box<Policy>),
    Encoder(Box<SentenceEncoder>),
}

/// The same as files.
#[derive(Debug)]
pub(crate) enum ReadingFiles {
    Policy(PolicyFiles),
    Encoder(EncoderFiles),
}

impl ReadingFiles {
    /// Reads a policy, or the folder of an encoder; without a path, the policy that ships with the program.
    ///
    /// # Errors
    /// Usage errors that name the file.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self> {
        match path.filter(|path| is_encoder(path)) {
            None => Ok(Self::Policy(policy_files(path)?)),
            Some(folder) => {
                let file = |name: &str| {
                    policy::read_bytes(&folder.join(name)).map_err(|error| usage(error.to_string()))
                };
                let text = |name: &str| {
                    let not_text = |_| usage(format!("{}/{name} is not text", folder.display()));
                    String::from_utf8(file(name)?).map_err(not_text)
                };
                Ok(Self::Encoder(EncoderFiles {
                    config: text("config.json")?,
                    weights: file("model.safetensors")?,
                    tokenizer: text("tokenizer.json")?,
                }))
            }
        }
    }

    /// Puts it on a device.
    ///
    /// # Errors
    /// Usage errors: a file is damaged, or the files do not fit each other.
    pub(crate) fn load(&self, device: &Device) -> Result<Reading> {
        match self {
            Self::Policy(files) => files
                .load(device)
                .map(|policy| Reading::Policy(Box::new(policy)))
                .map_err(|error| usage(error.to_string())),
            Self::Encoder(files) => files
                .load(device)
                .map(|encoder| Reading::Encoder(Box::new(encoder)))
                .map_err(|error| usage(error.to_string())),
        }
    }

    /// Writes the files into an existing folder.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), FillError> {
        match self {
            Self::Policy(files) => policy::write(files, folder),
            Self::Encoder(files) => {
                std::fs::write(folder.join("config.json"), &files.config)?;
                std::fs::write(folder.join("model.safetensors"), &files.weights)?;
                Ok(std::fs::write(folder.join("tokenizer.json"), &files.tokenizer)?)
            }
        }
    }
}

/// Whether a folder's `config.json` is that of an encoder; what cannot be read is left to the policy's
/// own errors.
fn is_encoder(path: &Path) -> bool {
    let text = std::fs::read_to_string(path.join("config.json")).unwrap_or_default();
    serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|json| json["model_type"] == "bert")
}

impl Reading {
    /// The weights.
    pub(crate) fn trunk(&self) -> Trunk {
        match self {
            Self::Policy(policy) => Trunk::Policy(policy.model.clone()),
            Self::Encoder(encoder) => Trunk::Encoder(encoder.model.clone()),
        }
    }

    /// The same tokens read by another trunk of its kind, as files.
    ///
    /// # Errors
    /// A failing device.
    pub(crate) fn files(&self, trunk: &Trunk) -> Result<ReadingFiles> {
        match (self, trunk) {
            (Self::Policy(policy), Trunk::Policy(model)) => {
                let policy = Policy { model: model.clone(), ..(**policy).clone() };
                Ok(ReadingFiles::Policy(block_on(policy.files(StoredAs::F32))?))
            }
            (Self::Encoder(encoder), Trunk::Encoder(model)) => {
                let tokenizer = encoder.tokenizer.clone();
                let encoder = SentenceEncoder { model: model.clone(), tokenizer };
                Ok(ReadingFiles::Encoder(block_on(encoder.files(StoredAs::F32))?))
            }
            (Self::Policy(_), Trunk::Encoder(_)) | (Self::Encoder(_), Trunk::Policy(_)) => {
                unreachable!("a model's trunks are of the kind that reads for it")
            }
        }
    }

    /// The tokens of a prompt by itself.
    ///
    /// # Errors
    /// If the chat template does not take the messages.
    pub(crate) fn prompt(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        match self {
            Self::Policy(policy) => Ok(policy.encode_prompt(prompt)?),
            Self::Encoder(encoder) => {
                let pieces =
                    segments(prompt).into_iter().flat_map(|text| encoder.tokenizer.pieces(text));
                Ok(pieces.collect())
            }
        }
    }

    /// The tokens of a completion behind its prompt; too long ones lose their beginning. A policy reads its
    /// own template, an encoder each message as a segment.
    ///
    /// # Errors
    /// If the chat template does not take the messages.
    pub(crate) fn tokens(&self, prompt: &Prompt, completion: &str) -> Result<Vec<u32>> {
        match self {
            Self::Policy(policy) => {
                let mut ids = policy.encode_prompt(prompt)?;
                ids.extend(policy.encode_completion(completion));
                let excess = ids.len().saturating_sub(policy.config().context_length);
                Ok(ids.split_off(excess))
            }
            Self::Encoder(encoder) => {
                let mut segments = segments(prompt);
                segments.push(completion);
                Ok(encoder.encode(&segments))
            }
        }
    }
}

/// What is said before the completion, empty texts left out.
fn segments(prompt: &Prompt) -> Vec<&str> {
    let texts = match prompt {
        Prompt::Text(text) => vec![text.as_str()],
        Prompt::Messages(messages) => messages.iter().map(|one| one.content.as_str()).collect(),
    };
    texts.into_iter().filter(|text| !text.is_empty()).collect()
}
