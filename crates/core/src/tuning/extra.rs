//! Small parameters that are parts of their own: networks behind sub-layers, keys and values before a
//! sequence, embeddings before it. None of them can become part of the weights.
//!
//! Source: Houlsby et al. 2019 (bottleneck adapters), Li and Liang 2021 (prefix tuning, without its
//! reparameterization), Lester et al. 2021 (prompt tuning, started from embeddings of the vocabulary).

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Int, Tensor, TensorData, activation};
use rand::Rng;

use super::install::{from_host, normals};
use super::options::{BottleneckOptions, SubLayer, Tuning};
use crate::model::{Transformer, project};

/// Standard deviation of random starts.
const DEVIATION: f64 = 0.02;

/// The networks behind the two parts of a block.
#[derive(Module, Debug)]
pub(crate) struct Bottlenecks {
    attention: Option<Bottleneck>,
    feed_forward: Option<Bottleneck>,
}

/// `x + up(silu(down(x)))`
#[derive(Module, Debug)]
pub(crate) struct Bottleneck {
    /// `[D, W]`
    down: Linear,
    /// `[W, D]`
    up: Linear,
}

/// Keys and values before the sequence, in one layer. H key heads of width W
#[derive(Module, Debug)]
pub(crate) struct Prefix {
    /// `[H, N, W]`
    pub(crate) key: Param<Tensor<3>>,
    /// `[H, N, W]`
    pub(crate) value: Param<Tensor<3>>,
}

impl Bottlenecks {
    /// What follows a sub-layer. `[B, T, D] -> [B, T, D]`
    pub(crate) fn after(&self, place: SubLayer, output: Tensor<3>) -> Tensor<3> {
        let own = match place {
            SubLayer::Attention => &self.attention,
            SubLayer::FeedForward => &self.feed_forward,
        };
        match own {
            None => output,
            Some(own) => own.forward(output),
        }
    }
}

impl Bottleneck {
    fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let bias = |layer: &Linear| layer.bias.as_ref().map(|bias| bias.val());
        let inner = project(input.clone(), self.down.weight.val(), bias(&self.down));
        input + project(activation::silu(inner), self.up.weight.val(), bias(&self.up))
    }
}

impl Prefix {
    /// The keys and values of a batch behind the learned ones. `[B, H, T, W]` each
    pub(crate) fn before(&self, key: Tensor<4>, value: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let batch = key.dims()[0] as i64;
        let own =
            |learned: &Param<Tensor<3>>| learned.val().unsqueeze::<4>().expand([batch, -1, -1, -1]);
        let keys = Tensor::cat(vec![own(&self.key), key], 2);
        (keys, Tensor::cat(vec![own(&self.value), value], 2))
    }

    /// How many positions.
    pub(crate) fn length(&self) -> usize {
        self.key.dims()[1]
    }
}

/// Puts fresh ones into a frozen model; bottlenecks change nothing yet.
pub(super) fn install(model: &mut Transformer, tuning: &Tuning, coins: &mut impl Rng) {
    match tuning {
        Tuning::Full {} | Tuning::Lora(_) | Tuning::Adalora(_) | Tuning::Ia3(_) => {}
        Tuning::Bottleneck(options) => bottlenecks(model, options, coins),
        Tuning::Prefix(tokens) => {
            let length = tokens.num_virtual_tokens;
            let count = length * model.config().n_kv_heads * model.config().d_head;
            let mut draw = || normals(count, DEVIATION, coins);
            let drawn = (0..model.config().n_layers).map(|_| (draw(), draw())).collect();
            prefix(model, drawn, length);
        }
        Tuning::Prompt(tokens) => {
            let (count, vocabulary) = (tokens.num_virtual_tokens, model.config().vocab_size);
            let ids: Vec<i32> =
                (0..count).map(|_| (coins.next_u64() % vocabulary as u64) as i32).collect();
            let embeddings = model.token_embedding.weight.base();
            let ids = TensorData::new(ids, [count]);
            let ids = Tensor::<1, Int>::from_data(ids, &embeddings.device());
            // A leaf of its own: cut off from the embeddings.
            prompt(model, embeddings.select(0, ids).detach());
        }
    }
}

/// Learned keys and values of every layer, each `[H, N, W]` as numbers, and N.
pub(super) fn prefix(model: &mut Transformer, layers: Vec<(Vec<f32>, Vec<f32>)>, length: usize) {
    let shape = [model.config().n_kv_heads, length, model.config().d_head];
    for (block, (key, value)) in model.blocks.iter_mut().zip(layers) {
        let beside = &block.attention.key.weight;
        let key = Param::from_tensor(from_host(beside, key, shape));
        let value = Param::from_tensor(from_host(beside, value, shape));
        block.attention.prefix = Some(Prefix { key, value });
    }
    model.reserve(length);
}

/// Learned embeddings before the sequence. `[N, D]`
pub(super) fn prompt(model: &mut Transformer, embeddings: Tensor<2>) {
    let length = embeddings.dims()[0];
    model.prompt = Some(Param::from_tensor(embeddings));
    model.reserve(length);
}

/// Takes all of them off.
pub(super) fn detach(model: &mut Transformer) {
    model.release();
    model.prompt = None;
    for block in &mut model.blocks {
        block.attention.prefix = None;
        block.bottleneck = None;
    }
}

fn bottlenecks(model: &mut Transformer, options: &BottleneckOptions, coins: &mut impl Rng) {
    let (width, inner) = (model.config().d_model, options.width);
    for block in &mut model.blocks {
        let beside = &block.attention.query.weight;
        let mut one = || {
            let down = normals(width * inner, DEVIATION, coins);
            let linear = |weight: Vec<f32>, [inputs, outputs]: [usize; 2]| Linear {
                weight: Param::from_tensor(from_host(beside, weight, [inputs, outputs])),
                bias: Some(Param::from_tensor(from_host(beside, vec![0.0; outputs], [outputs]))),
            };
            Bottleneck {
                down: linear(down, [width, inner]),
                up: linear(vec![0.0; width * inner], [inner, width]),
            }
        };
        let mut after = |place| options.after.contains(&place).then(&mut one);
        let attention = after(SubLayer::Attention);
        let feed_forward = after(SubLayer::FeedForward);
        block.bottleneck = Some(Bottlenecks { attention, feed_forward });
    }
}
