//! Bundles: a whole policy as one file, packed and unpacked with its hashes checked.
//!
//! The layout is that of [`kudos_schema::Container`]; the parts are the files of a Hugging Face folder,
//! so a bundle can be taken apart into one. Weights are f32 or f16, as `config.json` says.

use burn::tensor::Device;
use kudos_schema::{Container, ContainerError, Part, PolicyManifest, hexadecimal, pack_bundle};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::model::hugging_face::{config_from_json, stored_numbers};
use crate::policy::{Policy, PolicyError, PolicyFiles};
use crate::text::chat::ChatTemplate;

/// Names of the parts.
const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const WEIGHTS: &str = "model.safetensors";

/// A bundle that was taken apart.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// What it says of itself.
    pub manifest: PolicyManifest,
    /// The policy.
    pub files: PolicyFiles,
}

impl Unpacked {
    /// Puts the policy on a device. The chat template is the manifest's, which needs no Jinja.
    ///
    /// # Errors
    /// If a file is damaged, or weights and tokenizer do not fit each other.
    pub fn load(&self, device: &Device) -> Result<Policy, PolicyError> {
        let turns = self.manifest.turns.clone();
        let template = ChatTemplate::with_turns(&self.files.tokenizer_config, turns)?;
        self.files.load_with(template, device)
    }

    /// Reads the chat template itself and compares it with what the manifest says of it.
    ///
    /// # Errors
    /// If they differ, or the template is unusable.
    pub fn check_template(&self) -> Result<(), BundleError> {
        let template = ChatTemplate::from_tokenizer_config(&self.files.tokenizer_config);
        let template = template.map_err(PolicyError::from)?;
        if *template.turns() != self.manifest.turns {
            return Err(BundleError::Template);
        }
        Ok(())
    }
}

/// Why a bundle cannot be packed or unpacked.
#[derive(Debug, Error)]
pub enum BundleError {
    /// The container is unusable.
    #[error("{0}")]
    Container(#[from] ContainerError),
    /// A part has another hash.
    #[error("part {part} of the bundle is damaged: fetch or export it again")]
    Damaged {
        /// The part's name.
        part: String,
    },
    /// A part is not text.
    #[error("part {part} of the bundle is not UTF-8 text: export it again")]
    NotText {
        /// The part's name.
        part: String,
    },
    /// Page and trainer would write messages differently.
    #[error("the turns of the bundle are not those of its chat template: export it again")]
    Template,
    /// The files are no policy.
    #[error("{0}")]
    Policy(#[from] PolicyError),
}

/// Packs `files` under what `manifest` says for people; everything that follows from the files
/// (sizes, number type, template, parts) is filled in.
///
/// # Errors
/// If the files are no policy.
pub fn pack(manifest: PolicyManifest, files: &PolicyFiles) -> Result<Vec<u8>, BundleError> {
    let config = config_from_json(&files.config).map_err(PolicyError::from)?;
    let template = ChatTemplate::from_tokenizer_config(&files.tokenizer_config);
    let template = template.map_err(PolicyError::from)?;
    let (parameters, stored_as) = stored_numbers(&files.weights).map_err(PolicyError::from)?;
    let manifest = PolicyManifest {
        parameters,
        stored_as,
        architecture: format!(
            "{} layers, width {}, {} heads",
            config.n_layers, config.d_model, config.n_heads
        ),
        context_length: config.context_length,
        vocab_size: config.vocab_size,
        cache_bytes_per_token: 8 * (config.n_layers * config.n_kv_heads * config.d_head) as u64,
        turns: template.turns().clone(),
        ..manifest
    };
    let weights = files.weights.bytes().map_err(PolicyError::from)?;
    let parts: [(&str, &[u8]); 4] = [
        (CONFIG, files.config.as_bytes()),
        (TOKENIZER, files.tokenizer.as_bytes()),
        (TOKENIZER_CONFIG, files.tokenizer_config.as_bytes()),
        (WEIGHTS, &weights),
    ];
    Ok(pack_bundle(manifest, &parts.map(|(name, bytes)| (name, sha256(bytes), bytes))))
}

/// Takes a bundle apart.
///
/// # Errors
/// If it is no bundle or damaged.
pub fn unpack(bytes: &[u8]) -> Result<Unpacked, BundleError> {
    let container = Container::read(bytes)?;
    let files = PolicyFiles {
        config: text(container.part(CONFIG)?)?,
        weights: sound(container.part(WEIGHTS)?)?.to_vec().into(),
        tokenizer: text(container.part(TOKENIZER)?)?,
        tokenizer_config: text(container.part(TOKENIZER_CONFIG)?)?,
    };
    Ok(Unpacked { manifest: container.manifest, files })
}

/// SHA-256 in lower-case hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// The bytes of a part whose hash is right.
fn sound<'a>((part, bytes): (&Part, &'a [u8])) -> Result<&'a [u8], BundleError> {
    if sha256(bytes) != part.sha256 {
        return Err(BundleError::Damaged { part: part.name.clone() });
    }
    Ok(bytes)
}

fn text((part, bytes): (&Part, &[u8])) -> Result<String, BundleError> {
    let text = std::str::from_utf8(sound((part, bytes))?);
    text.map(str::to_owned).map_err(|_| BundleError::NotText { part: part.name.clone() })
}
