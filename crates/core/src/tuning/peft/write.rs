//! The small parameters of a model as PEFT's files.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::modules::{Module, modules};
use super::{AdapterFiles, BOTTLENECK, EMBEDDINGS, PREFIX, config};
use crate::model::{Positions, Transformer, TransformerConfig};
use crate::tuning::stored::{ByName, Host, container, to_host};
use crate::tuning::{AdaLora, Lora, Target, Tuning, TuningError};

/// Tensors as they are stored.
type Stored = Vec<(String, Vec<usize>, Vec<f32>)>;

/// The small parameters of `model`, which `tuning` installed.
///
/// # Errors
/// If the device does not return them, or PEFT has no form for them: for `full`, and for DoRA at some
/// but not all of GPT-2's query, key and value.
pub async fn write_adapter(
    model: &Transformer,
    tuning: &Tuning,
) -> Result<AdapterFiles, TuningError> {
    let host = to_host(model).await?;
    let model = model.config();
    let (config, stored) = match tuning {
        Tuning::Full {} => {
            return Err(TuningError::Setting { field: "method", value: "full".to_owned() });
        }
        Tuning::Lora(lora) => lora_files(model, lora, &host)?,
        Tuning::Adalora(ada) => adalora_files(model, ada, &host),
        Tuning::Ia3(ia3) => ia3_files(model, &ia3.target_modules, &host),
        Tuning::Prefix(tokens) => {
            let (length, layers) = (tokens.num_virtual_tokens, model.n_layers);
            prefix_files(model, &host, (length, layers))
        }
        Tuning::Prompt(tokens) => {
            let prompt = &host["prompt"];
            let fields = virtual_fields(model, tokens.num_virtual_tokens);
            let stored = vec![(EMBEDDINGS.to_owned(), prompt.shape.clone(), prompt.values.clone())];
            (config::text("PROMPT_TUNING", fields), stored)
        }
        Tuning::Bottleneck(options) => {
            let fields = serde_json::to_value(options)?;
            let stored = host.into_iter().map(|(name, one)| (name, one.shape, one.values));
            (config::text(BOTTLENECK, fields), stored.collect())
        }
    };
    Ok(AdapterFiles { config, weights: container(stored)? })
}

fn lora_files(
    model: &TransformerConfig,
    lora: &Lora,
    host: &ByName,
) -> Result<(String, Stored), TuningError> {
    let (mut stored, mut shorts) = (Stored::new(), BTreeSet::new());
    let (mut ranks, mut alphas) = (BTreeMap::new(), BTreeMap::new());
    for layer in 0..model.n_layers {
        for module in modules(model, layer) {
            let Some(sum) = Sum::of(host, layer, &module) else { continue };
            let path = format!("{PREFIX}{}", module.path);
            shorts.insert(module.short);
            if sum.rank != lora.rank {
                let rank = sum.rank as f64;
                let divisor = if lora.use_rslora { rank.sqrt() } else { rank };
                ranks.insert(module.short, sum.rank);
                alphas.insert(module.short, lora.scale() * divisor);
            }
            let (inputs, outputs) = (sum.inputs, module.outputs());
            stored.push((format!("{path}.lora_A.weight"), vec![sum.rank, inputs], sum.a));
            stored.push((format!("{path}.lora_B.weight"), vec![outputs, sum.rank], sum.b));
            if lora.use_dora {
                let magnitude = module.side_by_side(host, layer, "low_rank.magnitude");
                let magnitude = magnitude.ok_or_else(|| TuningError::Setting {
                    field: "use_dora",
                    value: format!("true for a part of {}", module.short),
                })?;
                let name = format!("{path}.lora_magnitude_vector");
                stored.push((name, vec![outputs], magnitude));
            }
        }
    }
    let fields = json!({
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": shorts,
        "use_rslora": lora.use_rslora,
        "use_dora": lora.use_dora,
        "rank_pattern": ranks,
        "alpha_pattern": alphas,
        "fan_in_fan_out": is_gpt2(model),
        "bias": "none",
    });
    Ok((config::text("LORA", fields), stored))
}

/// In PEFT all targets have one rank, so smaller ones are filled up with singular values of zero.
fn adalora_files(model: &TransformerConfig, ada: &AdaLora, host: &ByName) -> (String, Stored) {
    let all = (0..model.n_layers).flat_map(|layer| {
        let own = modules(model, layer).into_iter();
        own.filter_map(move |module| Some((Sum::of(host, layer, &module)?, module)))
    });
    let all: Vec<(Sum, Module)> = all.collect();
    let rank = all.iter().map(|(sum, _)| sum.rank).max().unwrap_or(ada.init_rank);
    let factor = ada.scale() / (ada.alpha / (rank as f64 + 1e-5));
    let (mut stored, mut shorts) = (Stored::new(), BTreeSet::new());
    for (sum, module) in all {
        let (inputs, outputs) = (sum.inputs, module.outputs());
        let path = format!("{PREFIX}{}", module.path);
        shorts.insert(module.short);
        let mut a = sum.a;
        a.resize(rank * inputs, 0.0);
        let mut e: Vec<f32> = sum.e.iter().map(|e| (f64::from(*e) * factor) as f32).collect();
        e.resize(rank, 0.0);
        let filled = |row: &[f32]| [row, &vec![0.0; rank - sum.rank]].concat();
        let b = sum.b.chunks(sum.rank).flat_map(filled).collect();
        stored.push((format!("{path}.lora_A"), vec![rank, inputs], a));
        stored.push((format!("{path}.lora_E"), vec![rank, 1], e));
        stored.push((format!("{path}.lora_B"), vec![outputs, rank], b));
    }
    let fields = json!({
        "init_r": rank,
        "r": rank,
        "target_r": ada.target_rank,
        "lora_alpha": ada.alpha,
        "lora_dropout": ada.dropout,
        "target_modules": shorts,
        "tinit": ada.t_init,
        "tfinal": ada.t_final,
        "deltaT": ada.delta_t,
        "beta1": ada.beta_1,
        "beta2": ada.beta_2,
        "orth_reg_weight": ada.orthogonality,
        // PEFT wants the run's length, though the run is over.
        "total_step": (ada.t_init + ada.t_final + 1).max(1),
        "fan_in_fan_out": is_gpt2(model),
        "bias": "none",
    });
    (config::text("ADALORA", fields), stored)
}

fn ia3_files(model: &TransformerConfig, targets: &[Target], host: &ByName) -> (String, Stored) {
    let (mut stored, mut shorts, mut inner) = (Stored::new(), BTreeSet::new(), BTreeSet::new());
    for layer in 0..model.n_layers {
        for module in modules(model, layer) {
            if !module.parts.iter().any(|(target, _)| targets.contains(target)) {
                continue;
            }
            shorts.insert(module.short);
            let name = format!("{PREFIX}{}.ia3_l", module.path);
            if module.parts[0].0 == Target::Down {
                inner.insert(module.short);
                let factor = &host[&format!("{}.rescale.factor", Target::Down.weight(layer))];
                stored.push((name, vec![1, factor.values.len()], factor.values.clone()));
                continue;
            }
            let mut values = Vec::with_capacity(module.outputs());
            for (target, outputs) in &module.parts {
                match host.get(&format!("{}.rescale.factor", target.weight(layer))) {
                    Some(factor) => values.extend_from_slice(&factor.values),
                    None => values.resize(values.len() + outputs, 1.0),
                }
            }
            stored.push((name, vec![values.len(), 1], values));
        }
    }
    let fields = json!({
        "target_modules": shorts,
        "feedforward_modules": inner,
        "fan_in_fan_out": is_gpt2(model),
        "modules_to_save": null,
    });
    (config::text("IA3", fields), stored)
}

/// One row a position: of each layer the key, then the value, head after head.
fn prefix_files(
    model: &TransformerConfig,
    host: &ByName,
    (length, layers): (usize, usize),
) -> (String, Stored) {
    let (heads, width) = (model.n_kv_heads, model.d_head);
    let mut values = Vec::with_capacity(length * layers * 2 * heads * width);
    for place in 0..length {
        for layer in 0..layers {
            for part in ["key", "value"] {
                let one = &host[&format!("blocks.{layer}.attention.prefix.{part}")];
                for head in 0..heads {
                    let start = (head * length + place) * width;
                    values.extend_from_slice(&one.values[start..start + width]);
                }
            }
        }
    }
    let shape = vec![length, layers * 2 * heads * width];
    let mut fields = virtual_fields(model, length);
    fields["token_dim"] = json!(heads * width);
    fields["num_attention_heads"] = json!(heads);
    fields["encoder_hidden_size"] = json!(heads * width);
    fields["prefix_projection"] = json!(false);
    (config::text("PREFIX_TUNING", fields), vec![(EMBEDDINGS.to_owned(), shape, values)])
}

fn virtual_fields(model: &TransformerConfig, length: usize) -> Value {
    json!({
        "num_virtual_tokens": length,
        "token_dim": model.d_model,
        "num_transformer_submodules": 1,
        "num_attention_heads": model.n_heads,
        "num_layers": model.n_layers,
    })
}

fn is_gpt2(model: &TransformerConfig) -> bool {
    matches!(model.positions, Positions::Learned)
}

/// The sums of a module's parts as one.
struct Sum {
    rank: usize,
    inputs: usize,
    /// `[R, D]`
    a: Vec<f32>,
    /// `[F, R]`
    b: Vec<f32>,
    /// `[R]`, empty where there is none
    e: Vec<f32>,
}

impl Sum {
    /// None where no part of the module has one.
    fn of(host: &ByName, layer: usize, module: &Module) -> Option<Self> {
        let of = |target: &Target, part: &str| {
            host.get(&format!("{}.low_rank.{part}", target.weight(layer)))
        };
        let own = |(target, outputs): &(Target, usize)| {
            (of(target, "a").zip(of(target, "b")), of(target, "e"), *outputs)
        };
        let parts: Vec<_> = module.parts.iter().map(own).collect();
        let rank = parts.iter().filter_map(|(sum, ..)| Some(sum.as_ref()?.0.shape[1])).sum();
        let inputs = parts.iter().find_map(|(sum, ..)| Some(sum.as_ref()?.0.shape[0]))?;
        let mut all = Self { rank, inputs, a: Vec::new(), b: Vec::new(), e: Vec::new() };
        let mut before = 0;
        for (sum, e, outputs) in parts {
            let Some((a, b)) = sum else {
                all.b.resize(all.b.len() + outputs * rank, 0.0);
                continue;
            };
            let own = a.shape[1];
            all.a.extend(a.transposed().values);
            for row in b.transposed().values.chunks(own) {
                let mut wide = vec![0.0; rank];
                wide[before..before + own].copy_from_slice(row);
                all.b.extend(wide);
            }
            all.e.extend(e.iter().flat_map(|e: &&Host| e.values.iter().copied()));
            before += own;
        }
        Some(all)
    }
}

impl Module {
    fn outputs(&self) -> usize {
        self.parts.iter().map(|(_, outputs)| outputs).sum()
    }

    /// A vector over the outputs; none where a part has none.
    fn side_by_side(&self, host: &ByName, layer: usize, part: &str) -> Option<Vec<f32>> {
        let own = self.parts.iter().map(|(target, _)| {
            host.get(&format!("{}.{part}", target.weight(layer))).map(|one| one.values.clone())
        });
        Some(own.collect::<Option<Vec<_>>>()?.concat())
    }
}
