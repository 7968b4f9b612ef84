//! PEFT's files as small parameters of a model.

use burn::module::Module as _;
use burn::nn::Linear;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::config::AdapterConfig;
use super::modules::{Module, modules};
use super::{AdapterFiles, BOTTLENECK, EMBEDDINGS, PREFIX};
use crate::model::Transformer;
use crate::tuning::install::{attach, from_host};
use crate::tuning::low_rank::LowRank;
use crate::tuning::rescale::{Rescale, Side};
use crate::tuning::stored::{ByName, Host, fill, read_container};
use crate::tuning::target::{Place, Target, places};
use crate::tuning::{BottleneckOptions, Tuning, TuningError, extra, install};

/// The model with an adapter at it, everything else frozen. `model` itself shares its weights with the
/// result and stays as it is, so that several adapters can be had of one base.
///
/// # Errors
/// If the files are damaged, of a kind or with a setting that is not supported, or belong to another
/// model.
pub fn read_adapter(model: &Transformer, files: &AdapterFiles) -> Result<Transformer, TuningError> {
    let config = AdapterConfig::read(&files.config)?;
    let mut tensors = read_container(&files.weights)?;
    let mut model = model.clone().no_grad();
    match config.peft_type.as_str() {
        "LORA" => each(&mut model, |module, targets| lora(&config, &mut tensors, module, targets))?,
        "ADALORA" => {
            each(&mut model, |module, targets| adalora(&config, &mut tensors, module, targets))?;
        }
        "IA3" => each(&mut model, |module, targets| ia3(&mut tensors, module, targets))?,
        "PREFIX_TUNING" => prefix(&mut model, some(EMBEDDINGS, take(&mut tensors, EMBEDDINGS)?)?)?,
        "PROMPT_TUNING" => prompt(&mut model, some(EMBEDDINGS, take(&mut tensors, EMBEDDINGS)?)?)?,
        BOTTLENECK => return bottleneck(model, files, tensors),
        _ => {
            let value = config.peft_type;
            return Err(TuningError::Setting { field: "peft_type", value });
        }
    }
    match tensors.into_keys().next() {
        Some(name) => Err(TuningError::Foreign(name)),
        None => Ok(model),
    }
}

/// Our projections that a module holds, with where the outputs of each start.
type Parts<'a> = Vec<(Target, &'a mut Linear, usize)>;

fn each(
    model: &mut Transformer,
    mut work: impl FnMut(&Module, Parts<'_>) -> Result<(), TuningError>,
) -> Result<(), TuningError> {
    let config = model.config().clone();
    let mut all = places(model).into_iter().peekable();
    for layer in 0..config.n_layers {
        for module in modules(&config, layer) {
            let mut start = 0;
            let mut parts = Parts::new();
            // `places` walks in the same order; a gate that a model lacks is no module's.
            for (target, outputs) in &module.parts {
                if let Some(Place { linear, .. }) = all.next_if(|place| place.target == *target) {
                    parts.push((*target, linear, start));
                }
                start += outputs;
            }
            work(&module, parts)?;
        }
    }
    Ok(())
}

fn lora(
    config: &AdapterConfig,
    tensors: &mut ByName,
    module: &Module,
    parts: Parts<'_>,
) -> Result<(), TuningError> {
    let path = format!("{PREFIX}{}", module.path);
    let name = format!("{path}.lora_A.weight");
    let Some(a) = tensors.remove(&name) else { return Ok(()) };
    let a = some(&name, a)?;
    let b = take(tensors, &format!("{path}.lora_B.weight"))?;
    let magnitude = tensors.remove(&format!("{path}.lora_magnitude_vector"));
    let scale = config.scale(&module.path, a.shape[0]);
    let fused = parts.len() > 1;
    for (_, linear, start) in parts {
        let mut sum = cut(&path, (&a, &b, None), linear, start)?;
        if fused && magnitude.is_none() && sum.shrink() == 0 {
            continue;
        }
        let mut small = sum.at(linear, scale).with_dropout(config.lora_dropout);
        if let Some(magnitude) = &magnitude {
            let [_, outputs] = linear.weight.dims();
            let own = magnitude.values.get(start..start + outputs).unwrap_or_default().to_vec();
            let magnitude = checked(&path, own, outputs)?;
            small = small.with_magnitude(from_host(&linear.weight, magnitude, [outputs]));
        }
        attach(linear, small);
    }
    Ok(())
}

fn adalora(
    config: &AdapterConfig,
    tensors: &mut ByName,
    module: &Module,
    parts: Parts<'_>,
) -> Result<(), TuningError> {
    let path = format!("{PREFIX}{}", module.path);
    // PEFT keeps the rank of the start among the parameters; it is the configuration's.
    tensors.remove(&format!("{path}.ranknum"));
    let Some(a) = tensors.remove(&format!("{path}.lora_A")) else { return Ok(()) };
    let b = take(tensors, &format!("{path}.lora_B"))?;
    let e = take(tensors, &format!("{path}.lora_E"))?;
    if a.shape[0] == 0 {
        // The budget left nothing here.
        return Ok(());
    }
    let scale = config.lora_alpha / (config.init_r + 1e-5);
    for (_, linear, start) in parts {
        let sum = cut(&path, (&a, &b, Some(&e)), linear, start)?;
        let values = from_host(&linear.weight, sum.e.clone(), [sum.rank]);
        let small = sum.at(linear, scale).with_dropout(config.lora_dropout);
        attach(linear, small.with_singular_values(values));
    }
    Ok(())
}

fn ia3(tensors: &mut ByName, module: &Module, parts: Parts<'_>) -> Result<(), TuningError> {
    let name = format!("{PREFIX}{}.ia3_l", module.path);
    let Some(all) = tensors.remove(&name) else { return Ok(()) };
    for (target, linear, start) in parts {
        let [inputs, outputs] = linear.weight.dims();
        let side = Side::of(target);
        let (start, width) = match side {
            Side::Input => (0, inputs),
            Side::Output => (start, outputs),
        };
        let own = all.values.get(start..start + width).unwrap_or_default().to_vec();
        let factor = from_host(&linear.weight, checked(&name, own, width)?, [width]);
        attach(linear, Rescale::new(factor, side));
    }
    Ok(())
}

fn prefix(model: &mut Transformer, all: Host) -> Result<(), TuningError> {
    let config = model.config();
    let (layers, heads, width) = (config.n_layers, config.n_kv_heads, config.d_head);
    let row = layers * 2 * heads * width;
    let length = all.shape[0];
    if all.shape != [length, row] {
        let (name, found) = (EMBEDDINGS.to_owned(), all.shape);
        return Err(TuningError::Shape { name, found, expected: vec![length, row] });
    }
    let one = |layer: usize, part: usize| -> Vec<f32> {
        let places = (0..heads).flat_map(|head| (0..length).map(move |place| (head, place)));
        let start = |(head, place): (usize, usize)| {
            place * row + ((layer * 2 + part) * heads + head) * width
        };
        places.map(start).flat_map(|at| all.values[at..at + width].iter().copied()).collect()
    };
    let drawn = (0..layers).map(|layer| (one(layer, 0), one(layer, 1))).collect();
    room(model, length)?;
    extra::prefix(model, drawn, length);
    Ok(())
}

fn prompt(model: &mut Transformer, all: Host) -> Result<(), TuningError> {
    let width = model.config().d_model;
    let length = all.shape[0];
    if all.shape != [length, width] {
        let (name, found) = (EMBEDDINGS.to_owned(), all.shape);
        return Err(TuningError::Shape { name, found, expected: vec![length, width] });
    }
    room(model, length)?;
    let embeddings = from_host(&model.token_embedding.weight, all.values, [length, width]);
    extra::prompt(model, embeddings);
    Ok(())
}

/// Refuses a tensor without numbers.
fn some(name: &str, tensor: Host) -> Result<Host, TuningError> {
    match tensor.values.is_empty() {
        true => Err(TuningError::Container(format!("`{name}` holds no numbers"))),
        false => Ok(tensor),
    }
}

/// Refuses learned positions that leave none for tokens.
fn room(model: &Transformer, length: usize) -> Result<(), TuningError> {
    let context = model.config().context_length;
    if length < context {
        return Ok(());
    }
    let value = format!("{length} in a context of {context}");
    Err(TuningError::Setting { field: "num_virtual_tokens", value })
}

fn bottleneck(
    model: Transformer,
    files: &AdapterFiles,
    tensors: ByName,
) -> Result<Transformer, TuningError> {
    let mut fields: serde_json::Value = serde_json::from_str(&files.config)?;
    let mut own = serde_json::Map::new();
    for field in ["width", "after"] {
        own.insert(field.to_owned(), fields[field].take());
    }
    let options: BottleneckOptions = serde_json::from_value(serde_json::Value::Object(own))?;
    let stored = tensors.values().map(|one| one.values.len()).sum();
    if options.numbers(model.config()) != Some(stored) {
        return Err(TuningError::Other { found: stored });
    }
    // The numbers that it draws are all replaced.
    let mut coins = ChaCha8Rng::seed_from_u64(0);
    fill(install::install(model, &Tuning::Bottleneck(options), &mut coins), tensors)
}

/// A sum on the host.
struct Sum {
    inputs: usize,
    outputs: usize,
    rank: usize,
    /// `[D, R]`
    a: Vec<f32>,
    /// `[R, F]`
    b: Vec<f32>,
    e: Vec<f32>,
}

/// The part of a module's sum whose outputs start at `start`.
fn cut(
    path: &str,
    (a, b, e): (&Host, &Host, Option<&Host>),
    linear: &Linear,
    start: usize,
) -> Result<Sum, TuningError> {
    let [inputs, outputs] = linear.weight.dims();
    let rank = a.shape[0];
    let wrong = |part: &str, found: &Host, expected: Vec<usize>| TuningError::Shape {
        name: format!("{path}.{part}"),
        found: found.shape.clone(),
        expected,
    };
    if a.shape != [rank, inputs] {
        return Err(wrong("lora_A", a, vec![rank, inputs]));
    }
    if b.shape.len() != 2 || b.shape[1] != rank || b.shape[0] < start + outputs {
        return Err(wrong("lora_B", b, vec![start + outputs, rank]));
    }
    if let Some(e) = e.filter(|e| e.values.len() != rank) {
        return Err(wrong("lora_E", e, vec![rank, 1]));
    }
    let own = b.values[start * rank..(start + outputs) * rank].to_vec();
    let own = Host { shape: vec![outputs, rank], values: own };
    let e = e.map_or(Vec::new(), |e| e.values.clone());
    let (a, b) = (a.transposed().values, own.transposed().values);
    Ok(Sum { inputs, outputs, rank, a, b, e })
}

impl Sum {
    /// Leaves out what adds nothing: of a fused sum, what belongs to the other parts. The rank left.
    fn shrink(&mut self) -> usize {
        let rows = self.b.chunks(self.outputs);
        let used: Vec<bool> = rows.map(|row| row.iter().any(|value| *value != 0.0)).collect();
        let kept = |place: &usize| used[*place];
        let ranks: Vec<usize> = (0..self.rank).filter(kept).collect();
        let row = |rank: &usize| &self.b[rank * self.outputs..(rank + 1) * self.outputs];
        self.b = ranks.iter().flat_map(row).copied().collect();
        let a = self.a.chunks(self.rank);
        self.a = a.flat_map(|row| ranks.iter().map(|rank| row[*rank])).collect();
        self.rank = ranks.len();
        self.rank
    }

    /// As the parameters of a projection.
    fn at(self, linear: &Linear, scale: f64) -> LowRank {
        let a = from_host(&linear.weight, self.a, [self.inputs, self.rank]);
        let b = from_host(&linear.weight, self.b, [self.rank, self.outputs]);
        LowRank::new(a, b, scale)
    }
}

fn take(tensors: &mut ByName, name: &str) -> Result<Host, TuningError> {
    tensors.remove(name).ok_or_else(|| TuningError::Missing(name.to_owned()))
}

/// As many numbers as there are places.
fn checked(name: &str, values: Vec<f32>, expected: usize) -> Result<Vec<f32>, TuningError> {
    if values.len() == expected {
        return Ok(values);
    }
    let (name, found) = (name.to_owned(), vec![values.len()]);
    Err(TuningError::Shape { name, found, expected: vec![expected] })
}
