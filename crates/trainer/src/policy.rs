//! A policy on disk and in memory: weights, tokenizer and chat template as one Hugging Face folder.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use kudos_core::model::hugging_face::{
    CheckpointError, SpecialTokens, StoredAs, config_from_json, config_to_json, read_weights,
    write_weights,
};
use kudos_core::model::{Transformer, TransformerConfig};
use kudos_core::rollout::StopTokens;
use kudos_core::task::{Item, Prompt};
use kudos_core::text::chat::{ChatError, ChatTemplate};
use kudos_core::text::tokenizer::{Tokenizer, TokenizerError};
use pollster::block_on;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::store::FillError;

/// A model with what turns text into its tokens and back.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The weights.
    pub model: Transformer,
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// Messages to text.
    pub template: ChatTemplate,
}

/// A prompt and the completion to imitate, as tokens.
pub type Example = (Vec<u32>, Vec<u32>);

/// The files of a policy, as bytes.
#[derive(Debug, Clone)]
pub struct PolicyFiles {
    /// `config.json`
    pub config: String,
    /// `model.safetensors`
    pub weights: Vec<u8>,
    /// `tokenizer.json`
    pub tokenizer: String,
    /// `tokenizer_config.json`
    pub tokenizer_config: String,
}

/// Why a policy cannot be used.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// A file of the folder cannot be read.
    #[error(
        "{path}: {source}; a policy is a folder with config.json, model.safetensors, tokenizer.json and tokenizer_config.json"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The weights or the configuration are unusable.
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
    /// The tokenizer is unusable.
    #[error("{0}")]
    Tokenizer(#[from] TokenizerError),
    /// The template is unusable.
    #[error("{0}")]
    Chat(#[from] ChatError),
    /// Tokenizer and weights do not fit each other.
    #[error(
        "tokenizer.json has {tokenizer} tokens and the weights {weights}: \
         they come from different models, take both from one folder"
    )]
    Vocabulary {
        /// Tokens of the tokenizer.
        tokenizer: usize,
        /// Rows of the embedding.
        weights: usize,
    },
}

impl PolicyFiles {
    /// Reads a folder.
    ///
    /// # Errors
    /// If a file is missing or not text where it must be.
    pub fn read(folder: &Path) -> Result<Self, PolicyError> {
        let bytes = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|source| PolicyError::Read { path, source })
        };
        let text = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(|source| PolicyError::Read { path, source })
        };
        Ok(Self {
            config: text("config.json")?,
            weights: bytes("model.safetensors")?,
            tokenizer: text("tokenizer.json")?,
            tokenizer_config: text("tokenizer_config.json")?,
        })
    }

    /// The policy that ships with the program.
    pub fn embedded() -> Self {
        Self {
            config: include_str!("../../../policies/base/config.json").to_owned(),
            weights: include_bytes!("../../../policies/base/model.safetensors").to_vec(),
            tokenizer: include_str!("../../../policies/base/tokenizer.json").to_owned(),
            tokenizer_config: include_str!("../../../policies/base/tokenizer_config.json")
                .to_owned(),
        }
    }

    /// Writes the files into an existing folder.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, folder: &Path) -> Result<(), FillError> {
        std::fs::write(folder.join("config.json"), &self.config)?;
        std::fs::write(folder.join("model.safetensors"), &self.weights)?;
        std::fs::write(folder.join("tokenizer.json"), &self.tokenizer)?;
        Ok(std::fs::write(folder.join("tokenizer_config.json"), &self.tokenizer_config)?)
    }

    /// SHA-256 of the weights, in hexadecimal digits.
    pub fn sha256(&self) -> String {
        Sha256::digest(&self.weights).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Puts the policy on a device.
    ///
    /// # Errors
    /// If a file is damaged, or weights and tokenizer do not fit each other.
    pub fn load(&self, device: &Device) -> Result<Policy, PolicyError> {
        let config = config_from_json(&self.config)?;
        let tokenizer = Tokenizer::from_json(&self.tokenizer)?;
        if tokenizer.vocab_size() > config.vocab_size {
            return Err(PolicyError::Vocabulary {
                tokenizer: tokenizer.vocab_size(),
                weights: config.vocab_size,
            });
        }
        let template = ChatTemplate::from_tokenizer_config(&self.tokenizer_config)?;
        let model = read_weights(&config, &self.weights, device)?;
        Ok(Policy { model, tokenizer, template })
    }
}

impl Policy {
    /// The policy as files.
    ///
    /// # Errors
    /// If the device does not return the weights or no Hugging Face family describes the model.
    pub fn files(&self, stored_as: StoredAs) -> Result<PolicyFiles, CheckpointError> {
        let special = SpecialTokens { pad: self.tokenizer.pad_id(), end: self.tokenizer.end_id() };
        let config = self.config();
        Ok(PolicyFiles {
            config: config_to_json(config, special, stored_as)?,
            weights: block_on(write_weights(&self.model, stored_as))?,
            tokenizer: self.tokenizer.to_json(),
            tokenizer_config: self.template.to_tokenizer_config(config.context_length),
        })
    }

    /// The model's configuration.
    pub fn config(&self) -> &TransformerConfig {
        self.model.config()
    }

    /// What ends a completion.
    pub fn stop_tokens(&self) -> StopTokens {
        StopTokens(vec![self.tokenizer.end_id()])
    }

    /// A prompt as tokens.
    ///
    /// # Errors
    /// If the chat template does not take the messages.
    pub fn encode_prompt(&self, prompt: &Prompt) -> Result<Vec<u32>, ChatError> {
        match prompt {
            Prompt::Text(text) => Ok(self.tokenizer.encode(text)),
            Prompt::Messages(messages) => self.template.prompt(&self.tokenizer, messages),
        }
    }

    /// A completion as tokens, its end token last.
    pub fn encode_completion(&self, text: &str) -> Vec<u32> {
        let mut ids = self.tokenizer.encode(text);
        ids.push(self.tokenizer.end_id());
        ids
    }

    /// Prompt and first reference of an item as tokens; none if it has no reference.
    ///
    /// # Errors
    /// If the chat template does not take the messages.
    pub fn encode_item(&self, item: &Item) -> Result<Option<Example>, ChatError> {
        let Some(reference) = item.references.first() else { return Ok(None) };
        let prompt = self.encode_prompt(&item.prompt)?;
        Ok(Some((prompt, self.encode_completion(reference))))
    }
}
