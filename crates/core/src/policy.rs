//! A policy: weights, tokenizer and chat template, in memory and as the files of a Hugging Face folder.
//!
//! Leaves out: where the files lie; see `bundle` for all of them in one.

#[cfg(feature = "train")]
use crate::gguf::Gguf;
use crate::model::hugging_face::{
    Adapter, CheckpointError, SpecialTokens, StoredAs, Weights, config_from_json, config_to_json,
    read_adapted, read_weights, write_weights,
};
#[cfg(feature = "train")]
use crate::model::hugging_face::{Stored, as_safetensors};
#[cfg(feature = "train")]
use crate::model::vision::patches;
use crate::model::{Transformer, TransformerConfig};
use crate::rollout::StopTokens;
use crate::task::{Item, Prompt};
use crate::text::chat::{ChatError, ChatTemplate};
use crate::text::tokenizer::{Tokenizer, TokenizerError};
use burn::tensor::Device;
use thiserror::Error;

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
    /// `model.safetensors`, or a GGUF file as it is
    pub weights: Weights,
    /// `tokenizer.json`
    pub tokenizer: String,
    /// `tokenizer_config.json`
    pub tokenizer_config: String,
}

/// Why a policy cannot be used.
#[derive(Debug, Error)]
pub enum PolicyError {
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
    /// The files that a GGUF file stands for; its weights stay as they are.
    ///
    /// # Errors
    /// If it is damaged, or its architecture or tokenizer is not known.
    #[cfg(feature = "train")]
    pub fn from_gguf(weights: impl Into<Weights>) -> Result<Self, PolicyError> {
        let weights = weights.into();
        let file = Gguf::open(Stored::from(&weights))?;
        let config = file.config_json().map_err(CheckpointError::from)?;
        let tokenizer = file.tokenizer_json().map_err(CheckpointError::from)?;
        let tokenizer_config = file.tokenizer_config().map_err(CheckpointError::from)?;
        Ok(Self { config, weights, tokenizer, tokenizer_config })
    }

    /// The same with safetensors in place of a GGUF file, as folders and bundles have them.
    ///
    /// # Errors
    /// If the weights are damaged.
    #[cfg(feature = "train")]
    pub fn in_safetensors(self, stored_as: StoredAs) -> Result<Self, PolicyError> {
        if Gguf::is_one(Stored::from(&self.weights))? {
            self.converted(stored_as)
        } else {
            Ok(self)
        }
    }

    /// The same policy as Hugging Face keeps it, weights in this number type: what was a GGUF file, or
    /// of a family that is read as another, becomes a folder of GPT-2 or Llama.
    ///
    /// # Errors
    /// If the weights are damaged, or the tokenizer is unusable.
    #[cfg(feature = "train")]
    pub fn converted(self, stored_as: StoredAs) -> Result<Self, PolicyError> {
        let config = config_from_json(&self.config)?;
        let tokenizer = Tokenizer::from_json(&self.tokenizer)?;
        let template = ChatTemplate::from_tokenizer_config(&self.tokenizer_config)?;
        let special = special_tokens(&tokenizer, &template);
        Ok(Self {
            config: config_to_json(&config, special, stored_as)?,
            weights: as_safetensors(&config, Stored::from(&self.weights), stored_as)?.into(),
            ..self
        })
    }

    /// SHA-256 of the weights, in hexadecimal digits.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn sha256(&self) -> Result<String, CheckpointError> {
        self.weights.sha256()
    }

    /// Puts the policy on a device.
    ///
    /// # Errors
    /// If a file is damaged, or weights and tokenizer do not fit each other.
    pub fn load(&self, device: &Device) -> Result<Policy, PolicyError> {
        let template = ChatTemplate::from_tokenizer_config(&self.tokenizer_config)?;
        self.load_with((template, None), device)
    }

    /// Puts the policy on a device, with a template that was read before, and an adapter in its weights if one
    /// is given.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(
        &self,
        (template, adapter): (ChatTemplate, Option<&Adapter>),
        device: &Device,
    ) -> Result<Policy, PolicyError> {
        let config = config_from_json(&self.config)?;
        let tokenizer = Tokenizer::from_json(&self.tokenizer)?;
        if tokenizer.vocab_size() > config.vocab_size {
            return Err(PolicyError::Vocabulary {
                tokenizer: tokenizer.vocab_size(),
                weights: config.vocab_size,
            });
        }
        let model = match adapter {
            None => read_weights(&config, &self.weights, device)?,
            Some(adapter) => read_adapted(&config, (&self.weights, adapter), device)?,
        };
        Ok(Policy { model, tokenizer, template })
    }
}

/// The tokens that `config.json` names; a text that nothing begins begins as one ends.
fn special_tokens(tokenizer: &Tokenizer, template: &ChatTemplate) -> SpecialTokens {
    let end = tokenizer.end_id();
    let begin = tokenizer.special_id(template.bos_token()).unwrap_or(end);
    SpecialTokens { pad: tokenizer.pad_id(), begin, end }
}

impl Policy {
    /// The policy as files.
    ///
    /// # Errors
    /// If the device does not return the weights or no Hugging Face family describes the model.
    pub async fn files(&self, stored_as: StoredAs) -> Result<PolicyFiles, CheckpointError> {
        self.around(write_weights(&self.model, stored_as).await?.into(), stored_as)
    }

    /// The policy as files, its weights written already, in this number type.
    ///
    /// # Errors
    /// If no Hugging Face family describes the model.
    pub fn around(
        &self,
        weights: Weights,
        stored_as: StoredAs,
    ) -> Result<PolicyFiles, CheckpointError> {
        let special = special_tokens(&self.tokenizer, &self.template);
        let config = self.config();
        Ok(PolicyFiles {
            config: config_to_json(config, special, stored_as)?,
            weights,
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

    /// The prompt of an item as tokens, behind its picture where it has one and the policy has eyes.
    ///
    /// # Errors
    /// If the chat template does not take the messages.
    pub fn encode_asked(&self, item: &Item) -> Result<Vec<u32>, ChatError> {
        let prompt = self.encode_prompt(&item.prompt)?;
        #[cfg(feature = "train")]
        if let (Some(picture), Some(vision)) = (item.picture(), self.config().vision) {
            return Ok([patches(picture, vision), prompt].concat());
        }
        Ok(prompt)
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
        let prompt = self.encode_asked(item)?;
        Ok(Some((prompt, self.encode_completion(reference))))
    }
}
