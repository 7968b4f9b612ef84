//! `trainer compress`: a smaller bundle of a policy, with what it lost on held-out texts.

use std::time::Instant;

use anyhow::Result;
use burn::tensor::Device;
use kudos_core::bundle::{Unpacked, pack as pack_bundle, sha256};
use kudos_core::compress::{
    Packing, Storage, Without, divergence, importance, loudness, pack_sparse, prune,
};
use kudos_core::learn::{Activations, training_device};
use kudos_core::model::hugging_face::{StoredAs, config_from_json};
use kudos_core::model::parameters::count;
use kudos_core::task::{Item, Prompt, TaskData};
use kudos_schema::{CompressResult, Sampling, Size};
use pollster::block_on;

use crate::args::CompressArgs;
use crate::evaluate::{evaluate, fitting, metric, metric_of};
use crate::export::{check, described, source};
use crate::policy::{Policy, PolicyFiles};
use crate::store::write_file;
use crate::usage::usage;
use crate::{data, open_device, output, pictures};

/// Most bytes of a text without a prompt that are given to be continued.
const BEGINNING: usize = 200;

/// Longest completion that is drawn to judge and to time; half of the context where that is shorter.
const LONGEST: usize = 64;

/// Prunes, packs, measures, and writes what did not lose too much.
///
/// # Errors
/// Usage errors, a failing device, or a policy that lost more than `--max-kl`.
pub fn run(args: &CompressArgs) -> Result<()> {
    if args.output.exists() {
        let path = args.output.display();
        return Err(usage(format!("{path} exists: choose another --output or remove it first")));
    }
    if args.output.extension().is_none_or(|extension| extension != "kudos") {
        return Err(usage("--output is a bundle: give a file name that ends in .kudos"));
    }
    if !(0.0..1.0).contains(&args.sparsity) {
        return Err(usage("--sparsity is a share: give a number from 0 to below 1"));
    }
    if args.sparsity > 0.0 && args.weights.packing() == Packing::Int4 {
        return Err(usage(
            "--sparsity needs a zero, which 4 bits do not have: give --weights int8 or f16",
        ));
    }
    let texts = Texts::read(args)?;
    let original = source(args.model.as_deref())?;
    let selected = open_device::open(&args.device)?;
    let load = |files: &PolicyFiles| texts.shown_to(files, &selected.device);
    let policy = load(&original.files)?;
    let seen = texts.tokens(&policy, &texts.data.train)?;
    let smaller = pruned((args, &texts), &policy, &seen)?;
    let files = packed(args, (&original.files, &policy), (smaller.as_ref(), &seen))?;
    let compressed = load(&files)?;
    let manifest = described(args.card.as_deref(), original.manifest.clone())?;
    check(&manifest)?;
    let bundle = bundled(&Unpacked { manifest: manifest.clone(), files })?;
    let before = bundled(&Unpacked { manifest, files: original.files })?;
    let held_out = texts.tokens(&policy, &texts.data.test)?;
    let held_out: Vec<&[u32]> = held_out.iter().map(Vec::as_slice).collect();
    let lost = block_on(divergence(&policy.model, &compressed.model, &held_out));
    let lost = lost.map_err(anyhow::Error::msg)?;
    let size = |policy: &Policy, bundle: &[u8], nll_nats: f64| texts.size(policy, bundle, nll_nats);
    let result = CompressResult {
        version: 1,
        kl_nats: lost.kl_nats,
        tokens: lost.tokens,
        before: size(&policy, &before, lost.original_nll_nats)?,
        after: size(&compressed, &bundle, lost.nll_nats)?,
        device: selected.name.clone(),
        sha256: sha256(&bundle),
    };
    match args.max_kl {
        Some(most) if result.kl_nats > most => {
            let kl = result.kl_nats;
            return Err(usage(format!(
                "nothing is written: {kl:.4} nats a token are lost, more than --max-kl {most}: leave out less, keep more bits, or raise it"
            )));
        }
        Some(_) | None => write_file(&args.output, &bundle)?,
    }
    output::result(&if args.json { serde_json::to_string(&result)? } else { in_words(&result) });
    Ok(())
}

/// The policy without what matters least; none if nothing is to be left out.
fn pruned(
    (args, texts): (&CompressArgs, &Texts<'_>),
    policy: &Policy,
    seen: &[Vec<u32>],
) -> Result<Option<Policy>> {
    let (layers, heads, channels) = (args.prune_layers, args.prune_heads, args.prune_channels);
    if layers + heads + channels == 0 {
        return Ok(None);
    }
    let seen: Vec<&[u32]> = seen.iter().map(Vec::as_slice).collect();
    let device = training_device(&policy.model.device(), Activations::Keep);
    let learning = texts.shown_to(&block_on(policy.files(StoredAs::F32))?, &device)?.model;
    let found = block_on(importance(&learning, &seen)).map_err(anyhow::Error::msg)?;
    let model = prune(&policy.model, &found, Without { layers, heads, channels }).map_err(usage)?;
    let model = pictures::shown(model, &texts.data.pictures)?;
    Ok(Some(Policy { model, ..policy.clone() }))
}

/// The files of the policy, or of what pruning left of it, with packed weights.
fn packed(
    args: &CompressArgs,
    (files, policy): (&PolicyFiles, &Policy),
    (smaller, seen): (Option<&Policy>, &[Vec<u32>]),
) -> Result<PolicyFiles> {
    let files = match smaller {
        None => files.clone(),
        Some(smaller) => block_on(smaller.files(StoredAs::F32))?,
    };
    let model = &smaller.unwrap_or(policy).model;
    let seen: Vec<&[u32]> = seen.iter().map(Vec::as_slice).collect();
    let loud = block_on(loudness(model, &seen)).map_err(anyhow::Error::msg)?;
    let config = config_from_json(&files.config)?;
    let storage = Storage { packing: args.weights.packing(), sparsity: args.sparsity };
    let weights = pack_sparse((&config, &files.weights), storage, Some(&loud))?;
    Ok(PolicyFiles { weights: weights.into(), ..files })
}

fn bundled(policy: &Unpacked) -> Result<Vec<u8>> {
    pack_bundle(policy.manifest.clone(), &policy.files).map_err(|error| usage(error.to_string()))
}

/// The texts to look at and to measure with.
struct Texts<'a> {
    args: &'a CompressArgs,
    data: TaskData,
}

impl<'a> Texts<'a> {
    fn read(args: &'a CompressArgs) -> Result<Self> {
        let data = match (&args.task, &args.dataset) {
            (Some(task), _) => data::task(task)?,
            (None, Some(path)) => data::dataset(path)?,
            (None, None) => {
                return Err(usage("no texts to measure with: give --task or --dataset"));
            }
        };
        if args.items == 0 || data.train.is_empty() || data.test.is_empty() {
            return Err(usage("no texts to measure with: give more rows, and --items above 0"));
        }
        Ok(Self { args, data })
    }

    /// A policy, with the pictures of the texts before its eyes if there are any.
    fn shown_to(&self, files: &PolicyFiles, device: &Device) -> Result<Policy> {
        let policy = files.load(device).map_err(|error| usage(error.to_string()))?;
        Ok(Policy { model: pictures::shown(policy.model, &self.data.pictures)?, ..policy })
    }

    /// Items as the tokens that a policy reads, as far as they fit its context.
    fn tokens(&self, policy: &Policy, items: &[Item]) -> Result<Vec<Vec<u32>>> {
        let stride = (items.len() / self.args.items).max(1);
        let context = policy.config().context_length;
        let chosen = items.iter().step_by(stride).take(self.args.items);
        let tokens = chosen.map(|item| {
            let mut ids = policy.encode_asked(item)?;
            ids.extend(
                item.references.first().into_iter().flat_map(|text| policy.encode_completion(text)),
            );
            ids.truncate(context);
            Ok(ids)
        });
        tokens.collect()
    }

    /// How large, how good and how fast a policy is.
    fn size(&self, policy: &Policy, bundle: &[u8], nll_nats: f64) -> Result<Size> {
        let items: Vec<Item> = self.data.test.iter().map(asked).collect();
        let context = policy.config().context_length;
        let drawn = LONGEST.min(context / 2);
        let items = fitting(policy, &items, (context - drawn, self.args.items))?;
        let mut size = Size {
            bytes: bundle.len() as u64,
            parameters: count(&policy.model) as u64,
            nll_nats,
            perplexity: nll_nats.exp(),
            metric: None,
            reward: None,
            tokens_per_second: None,
        };
        if items.is_empty() {
            return Ok(size);
        }
        let name = metric_of(&self.data.name);
        let metric = metric(name, &self.data)?;
        let greedy =
            Sampling { temperature: 0.0, max_completion_length: drawn, ..Sampling::default() };
        let begin = Instant::now();
        let evaluation = evaluate(policy, &items, metric.as_ref(), (&greedy, 1))?;
        let tokens = evaluation.mean_length() * items.len() as f64;
        let scores = evaluation.scores();
        size.tokens_per_second = Some(tokens / begin.elapsed().as_secs_f64());
        size.metric = Some(name.to_owned());
        size.reward = Some(scores.iter().sum::<f64>() / scores.len().max(1) as f64);
        Ok(size)
    }
}

/// The item itself, or, where it is a text without a prompt, its first words to be continued by the rest.
fn asked(item: &Item) -> Item {
    match (&item.prompt, item.references.first()) {
        (Prompt::Text(prompt), Some(text)) if prompt.is_empty() => {
            let ends = text.char_indices().filter(|(_, letter)| *letter == ' ');
            let middle = (text.len() / 2).min(BEGINNING);
            let end = ends.map(|(place, _)| place).take_while(|place| *place <= middle).last();
            let (begin, rest) = text.split_at(end.unwrap_or(0));
            let (prompt, references) = (Prompt::Text(begin.to_owned()), vec![rest.to_owned()]);
            Item { prompt, references, ..item.clone() }
        }
        _ => item.clone(),
    }
}

fn in_words(result: &CompressResult) -> String {
    let row = |name: &str, size: &Size| {
        let reward = match (&size.metric, size.reward, size.tokens_per_second) {
            (Some(metric), Some(reward), Some(speed)) => {
                format!(", {metric} {reward:.4} (greedy), {speed:.0} tokens/s")
            }
            _ => String::new(),
        };
        let Size { bytes, parameters, perplexity, .. } = size;
        format!(
            "{name}  {bytes} bytes, {parameters} parameters, perplexity {perplexity:.3}{reward}\n"
        )
    };
    let CompressResult { kl_nats, tokens, before, after, sha256, .. } = result;
    let rows = row("before", before) + &row("after ", after);
    format!("{rows}{kl_nats:.5} nats a token lost on {tokens} held-out tokens\nsha256 {sha256}")
}
