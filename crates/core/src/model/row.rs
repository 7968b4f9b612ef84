//! One sequence through the blocks on plain slices, where a device's memory is the host's.
//!
//! Decoding a single sequence is some two hundred small tensor operations a token; on a CPU, and more so
//! in wasm, dispatching them takes longer than their arithmetic. The weights are views of the tensors'
//! own memory. A prompt is read token by token too, which keeps matrix products out of an engine of one
//! thread; whether it costs time there has not been measured (LOG.md).

use std::fmt::Debug;
use std::sync::Arc;

use burn::nn::Linear;
use burn::tensor::{Tensor, TensorData};
use kudos_rows::{Halves, Heads, add, attend, gelu_tanh, layer_norm, rms_norm, silu_times, turn};

use super::block::Block;
use super::config::{RotaryPairing, TransformerConfig};
use super::feed_forward::FeedForward;
use super::norm::Norm;
use super::rotary::Rotation;
use super::transformer::Transformer;

/// The numbers of a tensor as they lie in the host's memory.
pub trait HostNumbers: Debug + Send + Sync {
    /// All of them, row by row.
    fn numbers(&self) -> &[f32];
}

/// A matrix as a host multiplies with it.
pub trait HostMatrix: Debug + Send + Sync {
    /// `[K] x [K, N] -> [N]`
    fn times(&self, row: &[f32]) -> Vec<f32>;
}

/// What a host can show of a device's memory.
#[derive(Debug, Clone, Copy)]
pub struct HostView {
    /// The numbers of a tensor; none unless they are f32 and can be looked at. `[N, D]`
    pub numbers: fn(Tensor<2>) -> Option<Arc<dyn HostNumbers>>,
    /// A matrix of weights; none where it cannot be multiplied with. `[K, N]`
    pub matrix: fn(Tensor<2>) -> Option<Arc<dyn HostMatrix>>,
}

/// A model on plain slices. What it looks at must not change.
#[derive(Debug)]
pub(super) struct OnHost {
    blocks: Vec<RowBlock>,
    norm: RowNorm,
    head: RowLinear,
    view: HostView,
}

/// All blocks with what they remember of one sequence.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    model: Arc<OnHost>,
    /// Keys and values of each block.
    layers: Vec<(Heads, Heads)>,
}

/// What queries and keys of one position turn by. `[D/2]` each, D the width of a head.
#[derive(Debug, Clone, Copy)]
struct Angles<'a> {
    cosine: &'a [f32],
    sine: &'a [f32],
    halves: Halves,
}

#[derive(Debug)]
struct RowBlock {
    attention_norm: RowNorm,
    query: RowLinear,
    key: RowLinear,
    value: RowLinear,
    output: RowLinear,
    feed_forward_norm: RowNorm,
    gate: Option<RowLinear>,
    up: RowLinear,
    down: RowLinear,
}

#[derive(Debug)]
struct RowNorm {
    gain: Arc<dyn HostNumbers>,
    /// Of a norm that takes the mean off.
    bias: Option<Arc<dyn HostNumbers>>,
    epsilon: f32,
}

#[derive(Debug)]
struct RowLinear {
    weight: Arc<dyn HostMatrix>,
    bias: Option<Arc<dyn HostNumbers>>,
}

impl OnHost {
    /// Views of all blocks; none if the device does not show them.
    pub(super) fn new(model: &Transformer, view: HostView) -> Option<Self> {
        let epsilon = model.config().norm_epsilon as f32;
        let blocks = model.blocks.iter().map(|block| RowBlock::new(block, epsilon, view));
        let head = match &model.head {
            Some(head) => head.weight.val(),
            None => model.token_embedding.weight.val().transpose(),
        };
        Some(Self {
            blocks: blocks.collect::<Option<_>>()?,
            norm: RowNorm::new(&model.norm, epsilon, view)?,
            head: RowLinear::new(head, None, view)?,
            view,
        })
    }

    /// Rows through a linear layer that is none of the blocks'; none where the host does not multiply with it.
    /// `[R, K], [K, N], [N] -> [R, N]`
    pub(super) fn product(
        &self,
        rows: &Tensor<2>,
        weight: Tensor<2>,
        bias: Tensor<1>,
    ) -> Option<Tensor<2>> {
        let ([count, width], [_, outputs]) = (rows.dims(), weight.dims());
        let layer = RowLinear::new(weight, Some(bias), self.view)?;
        let numbers = (self.view.numbers)(rows.clone())?;
        let sums = numbers.numbers().chunks_exact(width).flat_map(|row| layer.apply(row));
        let sums = TensorData::new(sums.collect::<Vec<f32>>(), [count, outputs]);
        Some(Tensor::from_data(sums, &rows.device()))
    }

    /// Logits of hidden states, position by position; none where the device does not show them.
    /// `[B, T, D] -> [B, T, V]`
    pub(super) fn logits(&self, hidden: &Tensor<3>) -> Option<Tensor<3>> {
        let [batch, time, width] = hidden.dims();
        let rows = (self.view.numbers)(hidden.clone().reshape([batch * time, width]))?;
        let logits = rows.numbers().chunks_exact(width).flat_map(|row| self.head.apply(row));
        let logits: Vec<f32> = logits.collect();
        let vocabulary = logits.len() / (batch * time);
        let logits = TensorData::new(logits, [batch, time, vocabulary]);
        Some(Tensor::from_data(logits, &hidden.device()))
    }
}

impl Rows {
    /// Room for `capacity` positions.
    pub(super) fn new(model: Arc<OnHost>, config: &TransformerConfig, capacity: usize) -> Self {
        let empty = || Heads::new(config.n_kv_heads, config.d_head, capacity);
        Self { layers: model.blocks.iter().map(|_| (empty(), empty())).collect(), model }
    }

    /// The embeddings of the positions after the first `length` ones, through all blocks and the last norm.
    /// `[1, T, D] -> [1, T, D]`
    ///
    /// # Panics
    /// If the device, which showed the weights, does not show what was computed from them.
    pub(super) fn step(
        &mut self,
        stream: Tensor<3>,
        rotation: Option<&Rotation>,
        length: usize,
    ) -> Tensor<3> {
        let ([_, time, width], device) = (stream.dims(), stream.device());
        let view = self.model.view.numbers;
        let look = |tensor: Tensor<2>| view(tensor).expect("the device shows its tensors");
        let angles = rotation.map(|rotation| {
            let (cosine, sine, halves) = angles(rotation);
            (look(cosine), look(sine), halves)
        });
        let mut rows = look(stream.reshape([time, width])).numbers().to_vec();
        for (place, row) in rows.chunks_exact_mut(width).enumerate() {
            let angles = angles.as_ref().map(|(cosine, sine, halves)| Angles {
                cosine: of_row(cosine.numbers(), time, place),
                sine: of_row(sine.numbers(), time, place),
                halves: *halves,
            });
            for (block, layer) in self.model.blocks.iter().zip(&mut self.layers) {
                block.step(row, angles, (layer, length + place));
            }
            row.copy_from_slice(&self.model.norm.apply(row));
        }
        Tensor::from_data(TensorData::new(rows, [1, time, width]), &device)
    }
}

impl RowBlock {
    fn new(block: &Block, epsilon: f32, view: HostView) -> Option<Self> {
        let linear = |layer: &Linear| {
            RowLinear::new(layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val()), view)
        };
        let norm = |norm: &Norm| RowNorm::new(norm, epsilon, view);
        let FeedForward { gate, up, down } = &block.feed_forward;
        Some(Self {
            attention_norm: norm(&block.attention_norm)?,
            query: linear(&block.attention.query)?,
            key: linear(&block.attention.key)?,
            value: linear(&block.attention.value)?,
            output: linear(&block.attention.output)?,
            feed_forward_norm: norm(&block.feed_forward_norm)?,
            gate: match gate {
                None => None,
                Some(gate) => Some(linear(gate)?),
            },
            up: linear(up)?,
            down: linear(down)?,
        })
    }

    /// Transforms the residual stream of one position. `[D]`
    fn step(
        &self,
        stream: &mut [f32],
        angles: Option<Angles<'_>>,
        ((keys, values), length): (&mut (Heads, Heads), usize),
    ) {
        let normed = self.attention_norm.apply(stream);
        let mut query = self.query.apply(&normed);
        let mut key = self.key.apply(&normed);
        if let Some(Angles { cosine, sine, halves }) = angles {
            turn(&mut query, (cosine, sine), halves);
            turn(&mut key, (cosine, sine), halves);
        }
        keys.write(length, &key);
        values.write(length, &self.value.apply(&normed));
        add(stream, &self.output.apply(&attend(&query, keys, values, length + 1)));
        let normed = self.feed_forward_norm.apply(stream);
        let up = self.up.apply(&normed);
        let inner = match &self.gate {
            None => {
                let mut inner = up;
                gelu_tanh(&mut inner);
                inner
            }
            Some(gate) => {
                let mut inner = gate.apply(&normed);
                silu_times(&mut inner, &up);
                inner
            }
        };
        add(stream, &self.down.apply(&inner));
    }
}

impl RowNorm {
    fn new(norm: &Norm, epsilon: f32, view: HostView) -> Option<Self> {
        let (gain, bias) = match norm {
            Norm::Layer(norm) => (&norm.gamma, Some((view.numbers)(norm.beta.val().unsqueeze())?)),
            Norm::Rms(norm) => (&norm.gamma, None),
        };
        Some(Self { gain: (view.numbers)(gain.val().unsqueeze())?, bias, epsilon })
    }

    /// `[D] -> [D]`
    fn apply(&self, row: &[f32]) -> Vec<f32> {
        let gain = self.gain.numbers();
        match &self.bias {
            None => rms_norm(row, gain, self.epsilon),
            Some(bias) => layer_norm(row, (gain, bias.numbers()), self.epsilon),
        }
    }
}

impl RowLinear {
    /// `[D, F], [F]`
    fn new(weight: Tensor<2>, bias: Option<Tensor<1>>, view: HostView) -> Option<Self> {
        let bias = match bias {
            None => None,
            Some(bias) => Some((view.numbers)(bias.unsqueeze())?),
        };
        Some(Self { weight: (view.matrix)(weight)?, bias })
    }

    /// `[D] -> [F]`
    fn apply(&self, row: &[f32]) -> Vec<f32> {
        let mut product = self.weight.times(row);
        if let Some(bias) = &self.bias {
            add(&mut product, bias.numbers());
        }
        product
    }
}

/// Cosines and sines of all positions, and which numbers turn together. `[T, D/2]` twice
fn angles(rotation: &Rotation) -> (Tensor<2>, Tensor<2>, Halves) {
    let (cosine, sine, pairing) = rotation.parts();
    let halves = match pairing {
        RotaryPairing::HalfSplit => Halves::Split,
        RotaryPairing::Interleaved => Halves::Interleaved,
    };
    let rows = |angles: Tensor<4>| {
        let [_, _, time, half] = angles.dims();
        angles.reshape([time, half])
    };
    (rows(cosine), rows(sine), halves)
}

/// One of `count` rows.
fn of_row(numbers: &[f32], count: usize, row: usize) -> &[f32] {
    let width = numbers.len() / count;
    &numbers[row * width..][..width]
}
