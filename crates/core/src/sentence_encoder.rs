//! A sentence encoder: weights and tokenizer, in memory and as the files of a Hugging Face folder.
//!
//! It reads texts and says how alike they are; a reward model can stand on it. Leaves out: where the
//! files lie.

use burn::tensor::Device;
use thiserror::Error;

use crate::model::Encoder;
use crate::model::hugging_face::{
    CheckpointError, StoredAs, encoder_config_from_json, encoder_config_to_json, read_encoder,
    write_encoder,
};
use crate::text::wordpiece::{WordPiece, WordPieceError};

/// An encoder with what turns text into its tokens.
#[derive(Debug, Clone)]
pub struct SentenceEncoder {
    /// The weights.
    pub model: Encoder,
    /// Text to tokens.
    pub tokenizer: WordPiece,
}

/// The files of a sentence encoder, as bytes.
#[derive(Debug, Clone)]
pub struct EncoderFiles {
    /// `config.json`
    pub config: String,
    /// `model.safetensors`
    pub weights: Vec<u8>,
    /// `tokenizer.json`
    pub tokenizer: String,
}

/// Why a sentence encoder cannot be used.
#[derive(Debug, Error)]
pub enum EncoderError {
    /// The weights or the configuration are unusable.
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
    /// The tokenizer is unusable.
    #[error("{0}")]
    Tokenizer(#[from] WordPieceError),
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

impl EncoderFiles {
    /// Puts the encoder on a device.
    ///
    /// # Errors
    /// If a file is damaged, or weights and tokenizer do not fit each other.
    pub fn load(&self, device: &Device) -> Result<SentenceEncoder, EncoderError> {
        let config = encoder_config_from_json(&self.config)?;
        let tokenizer = WordPiece::from_json(&self.tokenizer)?;
        if tokenizer.vocab_size() > config.vocab_size {
            return Err(EncoderError::Vocabulary {
                tokenizer: tokenizer.vocab_size(),
                weights: config.vocab_size,
            });
        }
        Ok(SentenceEncoder { model: read_encoder(&config, &self.weights, device)?, tokenizer })
    }
}

impl SentenceEncoder {
    /// The encoder as files.
    ///
    /// # Errors
    /// If the device does not return the weights.
    pub async fn files(&self, stored_as: StoredAs) -> Result<EncoderFiles, CheckpointError> {
        Ok(EncoderFiles {
            config: encoder_config_to_json(self.model.config(), stored_as),
            weights: write_encoder(&self.model, stored_as).await?,
            tokenizer: self.tokenizer.to_json().to_owned(),
        })
    }

    /// Segments as the encoder reads them; too long ones lose their beginning.
    pub fn encode(&self, segments: &[&str]) -> Vec<u32> {
        self.tokenizer.encode(segments, self.model.config().context_length)
    }
}
