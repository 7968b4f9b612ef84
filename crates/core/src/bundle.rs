//! Bundles: a whole policy as one file, packed and unpacked with its hashes checked.
//!
//! The layout is that of [`kudos_schema::Container`]; the parts are the files of a Hugging Face folder,
//! so a bundle can be taken apart into one. Weights are f32, f16 or packed in 8 or 4 bits, as each stored tensor says. The bundle of an
//! adapter holds PEFT's files and names the bundle that it is laid upon, so that it is as small as they are.

use burn::tensor::Device;
use kudos_schema::{
    Adapts, Container, ContainerError, MAX_HEAD_BYTES, Part, PolicyManifest, hexadecimal,
    pack_bundle, read_manifest,
};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::model::hugging_face::{Adapter, Stored, Weights, config_from_json, stored_numbers};
use crate::policy::{Policy, PolicyError, PolicyFiles};
use crate::text::chat::ChatTemplate;
#[cfg(feature = "train")]
use crate::tuning::{AdapterFiles, TuningError};

/// Names of the parts.
const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const WEIGHTS: &str = "model.safetensors";
#[cfg(feature = "train")]
const ADAPTER_CONFIG: &str = "adapter_config.json";
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

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
        self.load_adapted(None, device)
    }

    /// Puts the policy on a device, with an adapter in its weights.
    ///
    /// # Errors
    /// As [`Self::load`], or the adapter does not fit.
    pub fn load_adapted(
        &self,
        adapter: Option<&Adapter>,
        device: &Device,
    ) -> Result<Policy, PolicyError> {
        let turns = self.manifest.turns.clone();
        let template = ChatTemplate::with_turns(&self.files.tokenizer_config, turns)?;
        self.files.load_with((template, adapter), device)
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
    /// An adapter without its base.
    #[error(
        "the bundle is an adapter of the policy whose bundle has the SHA-256 {0}: give that one too"
    )]
    Base(String),
    /// Page and trainer would write messages differently.
    #[error("the turns of the bundle are not those of its chat template: export it again")]
    Template,
    /// The files are no policy.
    #[error("{0}")]
    Policy(#[from] PolicyError),
    /// An adapter of another form.
    #[cfg(feature = "train")]
    #[error(
        "{0}: the page reads plain LoRA, make the adapter part of the policy's weights instead"
    )]
    Form(#[from] TuningError),
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
        image_size: config.vision.map(|vision| vision.image_size),
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

/// Takes a bundle apart. Weights of a bundle that lies elsewhere stay there until they are asked for.
///
/// # Errors
/// If it is no bundle or damaged.
pub fn unpack<'a>(bundle: impl Into<Stored<'a>>) -> Result<Unpacked, BundleError> {
    let bundle = bundle.into();
    let size = bundle.size();
    let head = bundle.piece(0, size.min(MAX_HEAD_BYTES)).map_err(PolicyError::from)?;
    let manifest = read_manifest(&head)?;
    manifest.check_places(size as u64)?;
    if let Some(adapts) = manifest.adapts {
        return Err(BundleError::Base(adapts.base));
    }
    let part = |name| sound(bundle, manifest.part(name)?);
    let text = |name| {
        let bytes = part(name)?;
        let bytes = bytes.bytes().map_err(PolicyError::from)?;
        let text = String::from_utf8(bytes.into_owned());
        text.map_err(|_| BundleError::NotText { part: name.to_owned() })
    };
    let files = PolicyFiles {
        config: text(CONFIG)?,
        weights: part(WEIGHTS)?,
        tokenizer: text(TOKENIZER)?,
        tokenizer_config: text(TOKENIZER_CONFIG)?,
    };
    Ok(Unpacked { manifest, files })
}

/// An adapter whose bundle was taken apart.
#[derive(Debug, Clone)]
pub struct UnpackedAdapter {
    /// What it says of itself.
    pub manifest: PolicyManifest,
    /// SHA-256 of the bundle that it is laid upon.
    pub base: String,
    /// Its matrices.
    pub adapter: Adapter,
}

/// Takes a bundle apart that may be an adapter's; none if it is a whole policy's.
///
/// # Errors
/// If it is no bundle or damaged.
pub fn unpack_adapter(bytes: &[u8]) -> Result<Option<UnpackedAdapter>, BundleError> {
    let container = Container::read(bytes)?;
    let Some(Adapts { base, scale }) = container.manifest.adapts.clone() else { return Ok(None) };
    let weights = sound(bytes.into(), container.manifest.part(ADAPTER_WEIGHTS)?)?;
    let weights = weights.bytes().map_err(PolicyError::from)?.into_owned();
    let (manifest, adapter) = (container.manifest, Adapter { weights, scale });
    Ok(Some(UnpackedAdapter { manifest, base, adapter }))
}

/// Puts the policy of a bundle on a device; behind an adapter's bundle stands that of its base.
///
/// # Errors
/// If a bundle is none or damaged, or the base is not the adapter's.
pub fn load(bundles: &[&[u8]], device: &Device) -> Result<(PolicyManifest, Policy), BundleError> {
    let first = bundles.first().copied().unwrap_or_default();
    let Some(upper) = unpack_adapter(first)? else {
        let unpacked = unpack(first)?;
        let policy = unpacked.load(device)?;
        return Ok((unpacked.manifest, policy));
    };
    let base = bundles.get(1).filter(|base| sha256(base) == upper.base);
    let base = unpack(*base.ok_or(BundleError::Base(upper.base))?)?;
    Ok((upper.manifest, base.load_adapted(Some(&upper.adapter), device)?))
}

/// Packs an adapter of the policy in `base` under what `manifest` says for people.
///
/// # Errors
/// If `base` is no whole policy, or the adapter has not the form `W + scale B A` everywhere.
#[cfg(feature = "train")]
pub fn pack_adapter(
    manifest: PolicyManifest,
    base: &[u8],
    files: &AdapterFiles,
) -> Result<Vec<u8>, BundleError> {
    let scale = files.scale()?;
    let of_base = unpack(base)?.manifest;
    let (_, stored_as) = stored_numbers(&files.weights).map_err(PolicyError::from)?;
    let manifest = PolicyManifest {
        name: manifest.name,
        summary: manifest.summary,
        tasks: manifest.tasks,
        license: manifest.license,
        recipe: manifest.recipe,
        sampling: manifest.sampling,
        prompts: manifest.prompts,
        adapts: Some(Adapts { base: sha256(base), scale }),
        stored_as,
        ..of_base
    };
    let parts: [(&str, &[u8]); 2] =
        [(ADAPTER_CONFIG, files.config.as_bytes()), (ADAPTER_WEIGHTS, &files.weights)];
    Ok(pack_bundle(manifest, &parts.map(|(name, bytes)| (name, sha256(bytes), bytes))))
}

/// SHA-256 in lower-case hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// A part of a bundle, whose hash is right.
fn sound(bundle: Stored<'_>, part: &Part) -> Result<Weights, BundleError> {
    let bytes = bundle.within(part.offset as usize, part.bytes as usize);
    let bytes = bytes.map_err(PolicyError::from)?;
    if bytes.sha256().map_err(PolicyError::from)? != part.sha256 {
        return Err(BundleError::Damaged { part: part.name.clone() });
    }
    Ok(bytes)
}
