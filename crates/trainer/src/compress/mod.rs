//! `trainer compress`: a smaller bundle of a policy, with what it lost on held-out texts.

mod texts;

use anyhow::Result;
use kudos_core::bundle::{Unpacked, pack as pack_bundle, sha256};
use kudos_core::compress::{
    Divergence, Foretold, Storage, Without, divergence, importance, moments, pack_sparse, prune,
    with_tokens,
};
use kudos_core::learn::{Activations, training_device};
use kudos_core::model::hugging_face::{StoredAs, config_from_json};
use kudos_schema::{CompressResult, Size};
use pollster::block_on;

use crate::args::CompressArgs;
use crate::export::{check, described, source};
use crate::policy::{Policy, PolicyFiles};
use crate::store::write_file;
use crate::usage::usage;
use crate::{open_device, output, pictures};

use texts::Texts;

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
    if args.sparsity > 0.0 && !args.weights.packing().may_be_sparse() {
        return Err(usage(
            "--sparsity needs a zero in a byte of its own: give --weights int8 or f16",
        ));
    }
    let texts = Texts::read(args)?;
    let original = source(args.model.as_deref())?;
    let selected = open_device::open(&args.device)?;
    let load = |files: &PolicyFiles| texts.shown_to(files, &selected.device);
    let policy = load(&original.files)?;
    let held_out = texts.held_out(&policy)?;
    let fewer = fewer_tokens((args, &texts), &policy)?;
    let spoken = fewer.as_ref().map_or(&policy, |(spoken, _)| spoken);
    let seen = texts.seen(spoken)?;
    let smaller = pruned((args, &texts), spoken, &seen)?;
    let changed = smaller.as_ref().or(fewer.as_ref().map(|(spoken, _)| spoken));
    let files = packed(args, (&original.files, &policy), (changed, &seen))?;
    let compressed = load(&files)?;
    let manifest = described(args.card.as_deref(), original.manifest.clone())?;
    check(&manifest)?;
    let bundle = bundled(&Unpacked { manifest: manifest.clone(), files })?;
    let before = bundled(&Unpacked { manifest, files: original.files })?;
    let (lost, before_nll_nats) =
        judged(&texts, (&policy, &held_out), fewer.as_ref(), &compressed)?;
    let size = |policy: &Policy, bundle: &[u8], nll_nats: f64| texts.size(policy, bundle, nll_nats);
    let result = CompressResult {
        version: 1,
        kl_nats: lost.kl_nats,
        tokens: lost.tokens,
        before: size(&policy, &before, before_nll_nats)?,
        after: size(&compressed, &bundle, lost.nll_nats)?,
        device: selected.name.clone(),
        sha256: sha256(&bundle),
    };
    match args.max_kl {
        Some(most) if result.kl_nats.is_nan() || result.kl_nats > most => {
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

/// The policy over the tokens that training texts use most, with their numbers in the original; none where that is not asked for.
fn fewer_tokens(
    (args, texts): (&CompressArgs, &Texts<'_>),
    policy: &Policy,
) -> Result<Option<(Policy, Vec<u32>)>> {
    let Some(size) = args.vocabulary else { return Ok(None) };
    let kept = policy.tokenizer.with_most_used(&texts.uses(policy)?, size);
    let (tokenizer, tokens) = kept.map_err(|error| usage(error.to_string()))?;
    let model = with_tokens(&policy.model, &tokens);
    Ok(Some((Policy { model, tokenizer, template: policy.template.clone() }, tokens)))
}

/// What held-out texts say was lost, and how likely the original finds them, cut into its own tokens.
fn judged(
    texts: &Texts<'_>,
    (policy, own): (&Policy, &[Foretold]),
    fewer: Option<&(Policy, Vec<u32>)>,
    compressed: &Policy,
) -> Result<(Divergence, f64)> {
    let Some((spoken, tokens)) = fewer else {
        let lost = compared(policy, compressed, own)?;
        return Ok((lost, lost.original_nll_nats));
    };
    let held_out = texts.held_out(spoken)?;
    let lost = compared(spoken, compressed, &held_out)?;
    let lost = of_fewer((policy, tokens), lost, &held_out)?;
    Ok((lost, compared(policy, policy, own)?.original_nll_nats))
}

fn compared(original: &Policy, changed: &Policy, texts: &[Foretold]) -> Result<Divergence> {
    block_on(divergence(&original.model, &changed.model, texts)).map_err(anyhow::Error::msg)
}

/// What was lost together with tokens. `lost` is told from the original that may say no others, over `texts` in their
/// new numbers. That one is `-ln P` nats from the original, P the probability of what stayed, and says `-ln P` less of
/// each token that stayed: the difference of the two likelihoods is the divergence.
fn of_fewer(
    (original, tokens): (&Policy, &[u32]),
    lost: Divergence,
    texts: &[Foretold],
) -> Result<Divergence> {
    let old = |id: &u32| tokens.get(*id as usize).copied().unwrap_or(*id);
    let of_old =
        |text: &Foretold| Foretold { tokens: text.tokens.iter().map(old).collect(), ..*text };
    let texts: Vec<Foretold> = texts.iter().map(of_old).collect();
    let original_nll_nats = compared(original, original, &texts)?.original_nll_nats;
    let unsaid = original_nll_nats - lost.original_nll_nats;
    Ok(Divergence { kl_nats: lost.kl_nats + unsaid, original_nll_nats, ..lost })
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

/// The files of the policy, or of what was left of it, with packed weights.
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
    let packing = args.weights.packing();
    let inputs = packing.has_blocks().then(|| block_on(moments(model, &seen)));
    let inputs = inputs.transpose().map_err(anyhow::Error::msg)?;
    let config = config_from_json(&files.config)?;
    let storage = Storage { packing, sparsity: args.sparsity };
    let weights = pack_sparse((&config, &files.weights), storage, inputs.as_ref())?;
    Ok(PolicyFiles { weights: weights.into(), ..files })
}

fn bundled(policy: &Unpacked) -> Result<Vec<u8>> {
    pack_bundle(policy.manifest.clone(), &policy.files).map_err(|error| usage(error.to_string()))
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
