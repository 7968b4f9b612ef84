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
use kudos_rows::{
    Halves, Heads, add, attend, gelu_tanh, layer_norm, rms_norm, silu_times, times, turn,
};

use super::block::Block;
use super::config::RotaryPairing;
use super::feed_forward::FeedForward;
use super::norm::Norm;
use super::rotary::Rotation;
use super::transformer::Transformer;

/// The numbers of a tensor as they lie in the host's memory.
pub trait HostNumbers: Debug + Send + Sync {
    /// All of them, row by row.
    fn numbers(&self) -> &[f32];
}

/// Looks at a tensor's numbers without copying them; none unless they are f32 in the host's memory, row
/// by row. `[N, D]`
pub type HostView = fn(Tensor<2>) -> Option<Arc<dyn HostNumbers>>;

/// All blocks with what they remember of one sequence.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    blocks: Arc<[RowBlock]>,
    /// Keys and values of each block.
    layers: Vec<(Heads, Heads)>,
    norm: Arc<RowNorm>,
    view: HostView,
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

/// A matrix that lies in memory column by column.
#[derive(Debug)]
pub(super) struct RowLinear {
    columns: Arc<dyn HostNumbers>,
    bias: Option<Arc<dyn HostNumbers>>,
    n_columns: usize,
}

impl Rows {
    /// Views of all blocks and room for `capacity` positions; none if the device does not show them.
    pub(super) fn new(model: &Transformer, capacity: usize, view: HostView) -> Option<Self> {
        let (blocks, config) = (&model.blocks, model.config());
        let epsilon = config.norm_epsilon as f32;
        let rows = blocks.iter().map(|block| RowBlock::new(block, epsilon, view));
        let empty = || Heads::new(config.n_kv_heads, config.d_head, capacity);
        Some(Self {
            blocks: rows.collect::<Option<_>>()?,
            layers: blocks.iter().map(|_| (empty(), empty())).collect(),
            norm: Arc::new(RowNorm::new(&model.norm, epsilon, view)?),
            view,
        })
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
        let look = |tensor: Tensor<2>| (self.view)(tensor).expect("the device shows its tensors");
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
            for (block, layer) in self.blocks.iter().zip(&mut self.layers) {
                block.step(row, angles, (layer, length + place));
            }
            row.copy_from_slice(&self.norm.apply(row));
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
            Norm::Layer(norm) => (&norm.gamma, Some(view(norm.beta.val().unsqueeze())?)),
            Norm::Rms(norm) => (&norm.gamma, None),
        };
        Some(Self { gain: view(gain.val().unsqueeze())?, bias, epsilon })
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
    pub(super) fn new(weight: Tensor<2>, bias: Option<Tensor<1>>, view: HostView) -> Option<Self> {
        let n_columns = weight.dims()[1];
        let bias = match bias {
            None => None,
            Some(bias) => Some(view(bias.unsqueeze())?),
        };
        Some(Self { columns: view(weight.transpose())?, bias, n_columns })
    }

    /// `[D] -> [F]`
    pub(super) fn apply(&self, row: &[f32]) -> Vec<f32> {
        let mut product = times(row, self.columns.numbers(), self.n_columns);
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
