//! Leaving out whole layers, heads and feed-forward channels: what matters least on real text goes first.
//!
//! Formula: of a head or a channel `|sum w dL/dw|` over all its weights, the first-order change of the loss if
//! they were zero; of a layer `1 - cos(x, y)`, x and y the residual stream before and after it. Every layer
//! keeps as many heads and channels as the others, so that the result is an ordinary transformer. Query heads
//! go together with the key head that they share.
//! Misleads when: much is left out at once; train the rest again (`trainer sft`, `trainer distill`).
//! Source: Molchanov et al. 2019; Ma et al. 2023 (LLM-Pruner); Men et al. 2024 (ShortGPT) for layers.

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::given;
use crate::learn::learn;
use crate::model::{Block, PaddingSide, Tokens, Transformer, TransformerConfig};
use crate::objective::{Aggregation, Supervised};

/// How much each part matters; one entry a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Importance {
    /// Of whole layers.
    pub layers: Vec<f32>,
    /// Of the key heads of each layer, with the query heads that share them.
    pub heads: Vec<Vec<f32>>,
    /// Of the feed-forward channels of each layer.
    pub channels: Vec<Vec<f32>>,
}

/// How many of each are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Without {
    /// Layers.
    pub layers: usize,
    /// Key heads of every layer.
    pub heads: usize,
    /// Feed-forward channels of every layer.
    pub channels: usize,
}

/// How much each part matters for foretelling these texts; `model` must live on an autodiff device.
///
/// # Errors
/// What the device reports when it does not return the numbers.
///
/// # Panics
/// If no text has two tokens.
pub async fn importance(model: &Transformer, texts: &[&[u32]]) -> Result<Importance, String> {
    let pairs: Vec<(Vec<u32>, Vec<u32>)> = texts
        .iter()
        .filter(|text| text.len() > given(text))
        .map(|text| text.split_at(given(text)))
        .map(|(given, foretold)| (given.to_vec(), foretold.to_vec()))
        .collect();
    let objective = Supervised { aggregation: Aggregation::TokenMean };
    let gradients = learn(model, &objective.experiences(&pairs), &objective, 1).gradients;
    let config = model.config();
    let (mut heads, mut channels) = (Vec::new(), Vec::new());
    for (place, block) in model.blocks.iter().enumerate() {
        let change = |linear: &Linear, name: &str| {
            let weight = linear.weight.val().without_autodiff();
            let name = format!("blocks.{place}.{name}.weight");
            let gradient = gradients.get(&name).expect("every parameter has a gradient");
            weight.clone() * gradient.reshape(weight.dims())
        };
        let layer = &block.feed_forward;
        let mut of_channels = by_row(change(&layer.down, "feed_forward.down"))
            + by_column(change(&layer.up, "feed_forward.up"));
        if let Some(gate) = &layer.gate {
            of_channels = of_channels + by_column(change(gate, "feed_forward.gate"));
        }
        channels.push(host(of_channels.abs()).await?);
        let attention = &block.attention;
        let of_heads = of_groups(by_column(change(&attention.query, "attention.query")), config)
            + of_groups(by_column(change(&attention.key, "attention.key")), config)
            + of_groups(by_column(change(&attention.value, "attention.value")), config)
            + of_groups(by_row(change(&attention.output, "attention.output")), config);
        heads.push(host(of_heads.abs()).await?);
    }
    Ok(Importance { layers: influence(model, texts).await?, heads, channels })
}

/// `1 - cos` of the residual stream before and after each layer, the mean over tokens.
async fn influence(model: &Transformer, texts: &[&[u32]]) -> Result<Vec<f32>, String> {
    let mut sums = vec![0.0; model.blocks.len()];
    for text in texts.iter().filter(|text| !text.is_empty()) {
        let tokens = Tokens::new(&[text], PaddingSide::Right, &model.device());
        for (sum, stages) in sums.iter_mut().zip(model.stages(&tokens)) {
            let before = stages.before.without_autodiff();
            let after = stages.after.without_autodiff();
            let dot = (before.clone() * after.clone()).sum_dim(2);
            let lengths = before.square().sum_dim(2) * after.square().sum_dim(2);
            let cosine = dot / lengths.sqrt().clamp_min(1e-12);
            *sum += host((-cosine).add_scalar(1.0).mean()).await?[0];
        }
    }
    Ok(sums.into_iter().map(|sum| sum / texts.len().max(1) as f32).collect())
}

/// `[F, D] -> [F]`
fn by_row(change: Tensor<2>) -> Tensor<1> {
    let rows = change.dims()[0];
    change.sum_dim(1).reshape([rows])
}

/// `[D, F] -> [F]`
fn by_column(change: Tensor<2>) -> Tensor<1> {
    let columns = change.dims()[1];
    change.sum_dim(0).reshape([columns])
}

/// Sums over the numbers of each group of heads. `[H * d_head] -> [K]`
fn of_groups(change: Tensor<1>, config: &TransformerConfig) -> Tensor<1> {
    let groups = config.n_kv_heads;
    let width = change.dims()[0] / groups;
    change.reshape([groups, width]).sum_dim(1).reshape([groups])
}

async fn host(tensor: Tensor<1>) -> Result<Vec<f32>, String> {
    let data = tensor.into_data_async().await.map_err(|error| format!("{error:?}"))?;
    Ok(data.convert::<f32>().try_to_vec().expect("converted to f32"))
}

/// The policy without what matters least. The device is the model's, without autodiff.
///
/// # Errors
/// If nothing would be left, in words.
pub fn prune(
    model: &Transformer,
    importance: &Importance,
    without: Without,
) -> Result<Transformer, String> {
    let config = model.config();
    let left = |name: &str, count: usize, without: usize| match count.checked_sub(without) {
        Some(left) if left > 0 => Ok(left),
        _ => Err(format!("{without} of {count} {name} cannot be left out: keep at least one")),
    };
    let n_layers = left("layers", config.n_layers, without.layers)?;
    let n_kv_heads = left("key heads", config.n_kv_heads, without.heads)?;
    let d_ff = left("feed-forward channels", config.d_ff, without.channels)?;
    let group = config.n_heads / config.n_kv_heads;
    let n_heads = n_kv_heads * group;
    let smaller = TransformerConfig { n_layers, n_kv_heads, n_heads, d_ff, ..config.clone() };
    let device = model.device().without_autodiff();
    let mut pruned = Transformer::zeroed(&smaller, &device);
    pruned.token_embedding = model.token_embedding.clone();
    pruned.position_embedding.clone_from(&model.position_embedding);
    pruned.norm = model.norm.clone();
    pruned.head.clone_from(&model.head);
    pruned.eyes.clone_from(&model.eyes);
    let layers = greatest(&importance.layers, n_layers);
    for (new, old) in pruned.blocks.iter_mut().zip(layers) {
        let heads = greatest(&importance.heads[old], n_kv_heads);
        let channels = greatest(&importance.channels[old], d_ff);
        let d_head = config.d_head;
        let keep = Chosen {
            keys: places(&spread(&heads, d_head), &device),
            queries: places(&spread(&heads, group * d_head), &device),
            channels: places(&channels, &device),
        };
        keep.fill(new, &model.blocks[old]);
    }
    Ok(pruned)
}

/// Places of the parts of a block that stay.
struct Chosen {
    keys: Tensor<1, Int>,
    queries: Tensor<1, Int>,
    channels: Tensor<1, Int>,
}

impl Chosen {
    fn fill(&self, new: &mut Block, old: &Block) {
        new.attention_norm = old.attention_norm.clone();
        new.feed_forward_norm = old.feed_forward_norm.clone();
        new.attention.query = columns(&old.attention.query, &self.queries);
        new.attention.key = columns(&old.attention.key, &self.keys);
        new.attention.value = columns(&old.attention.value, &self.keys);
        new.attention.output = rows(&old.attention.output, &self.queries);
        new.feed_forward.gate =
            old.feed_forward.gate.as_ref().map(|gate| columns(gate, &self.channels));
        new.feed_forward.up = columns(&old.feed_forward.up, &self.channels);
        new.feed_forward.down = rows(&old.feed_forward.down, &self.channels);
    }
}

/// A layer with some of its outputs. `[D, F]`
pub(super) fn columns(layer: &Linear, kept: &Tensor<1, Int>) -> Linear {
    Linear {
        weight: Param::from_tensor(layer.weight.val().without_autodiff().select(1, kept.clone())),
        bias: layer
            .bias
            .as_ref()
            .map(|bias| Param::from_tensor(bias.val().without_autodiff().select(0, kept.clone()))),
    }
}

/// A layer with some of its inputs. `[F, D]`
fn rows(layer: &Linear, kept: &Tensor<1, Int>) -> Linear {
    Linear {
        weight: Param::from_tensor(layer.weight.val().without_autodiff().select(0, kept.clone())),
        bias: layer.bias.as_ref().map(|bias| Param::from_tensor(bias.val().without_autodiff())),
    }
}

/// The places of the `count` greatest, in order; among equals the first.
fn greatest(values: &[f32], count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..values.len()).collect();
    places.sort_by(|left, right| values[*right].total_cmp(&values[*left]));
    places.truncate(count);
    places.sort_unstable();
    places
}

/// The places of all numbers of parts that are `width` wide.
fn spread(parts: &[usize], width: usize) -> Vec<usize> {
    parts.iter().flat_map(|part| part * width..(part + 1) * width).collect()
}

pub(super) fn places(places: &[usize], device: &Device) -> Tensor<1, Int> {
    let places: Vec<i32> = places.iter().map(|place| *place as i32).collect();
    let count = places.len();
    Tensor::from_data(TensorData::new(places, [count]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_stay_in_their_order() {
        assert_eq!(greatest(&[0.1, 0.9, 0.5, 0.9], 3), [1, 2, 3]);
        assert_eq!(greatest(&[1.0, 1.0, 1.0], 2), [0, 1]);
        assert_eq!(spread(&[0, 2], 3), [0, 1, 2, 6, 7, 8]);
    }
}
