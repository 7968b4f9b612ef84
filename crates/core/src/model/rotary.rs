//! Rotary positions: queries and keys turn by an angle that grows with their position.
//!
//! burn's `RotaryEncoding` assumes consecutive positions and one pairing; padding on the left and
//! two model families need given positions and both pairings. Angles are computed on the host in
//! double precision, since shader languages do not promise an accurate sine of large arguments.
//! Source: Su et al. 2021, <https://arxiv.org/abs/2104.09864>.

use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::config::RotaryPairing;

/// Tables of cosines and sines for every position of the context.
#[derive(Module, Debug)]
pub struct Rotary {
    /// Cosine of each position's angles. `[T, D/2]`, D the width of a head.
    cosine: Tensor<2>,
    /// Sine of each position's angles. `[T, D/2]`
    sine: Tensor<2>,
    #[module(skip)]
    pairing: RotaryPairing,
}

/// The angles of one batch, looked up once and used by every block.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// `[B, 1, T, D/2]`
    cosine: Tensor<4>,
    /// `[B, 1, T, D/2]`
    sine: Tensor<4>,
    pairing: RotaryPairing,
}

impl Rotary {
    /// Tables for `context_length` positions of heads `d_head` wide.
    pub(super) fn init(
        context_length: usize,
        d_head: usize,
        theta: f64,
        pairing: RotaryPairing,
        device: &Device,
    ) -> Self {
        let half = d_head / 2;
        let angle = |index: usize| {
            let (position, pair) = (index / half, index % half);
            position as f64 * theta.powf(-(2.0 * pair as f64) / d_head as f64)
        };
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f32> = (0..context_length * half).map(|i| f(angle(i)) as f32).collect();
            Tensor::from_data(TensorData::new(values, [context_length, half]), device)
        };
        Self { cosine: table(f64::cos), sine: table(f64::sin), pairing }
    }

    /// Looks up the angles of `positions`, for heads of type `dtype`. `[B, T] -> [B, 1, T, D/2]`
    pub(super) fn rotation(&self, positions: &Tensor<2, Int>, dtype: DType) -> Rotation {
        let [batch, time] = positions.dims();
        let flat = positions.clone().reshape([batch * time]);
        let look_up = |table: &Tensor<2>| {
            let half = table.dims()[1];
            table.clone().select(0, flat.clone()).reshape([batch, 1, time, half]).cast(dtype)
        };
        Rotation { cosine: look_up(&self.cosine), sine: look_up(&self.sine), pairing: self.pairing }
    }
}

impl Rotation {
    /// Cosines, sines and which numbers turn together. `[B, 1, T, D/2]` twice
    pub(super) fn parts(&self) -> (Tensor<4>, Tensor<4>, RotaryPairing) {
        (self.cosine.clone(), self.sine.clone(), self.pairing)
    }

    /// Turns every head of queries or keys. `[B, H, T, D] -> [B, H, T, D]`
    pub fn apply(&self, heads: Tensor<4>) -> Tensor<4> {
        let [batch, n_heads, time, d_head] = heads.dims();
        let half = d_head / 2;
        let (cosine, sine) = (self.cosine.clone(), self.sine.clone());
        match self.pairing {
            RotaryPairing::HalfSplit => {
                let first = heads.clone().narrow(3, 0, half);
                let second = heads.narrow(3, half, half);
                let turned_first = first.clone() * cosine.clone() - second.clone() * sine.clone();
                let turned_second = second * cosine + first * sine;
                Tensor::cat(vec![turned_first, turned_second], 3)
            }
            RotaryPairing::Interleaved => {
                let pairs = heads.reshape([batch, n_heads, time, half, 2]);
                let part = |i| pairs.clone().narrow(4, i, 1).reshape([batch, n_heads, time, half]);
                let (first, second) = (part(0), part(1));
                let turned_first = first.clone() * cosine.clone() - second.clone() * sine.clone();
                let turned_second = second * cosine + first * sine;
                Tensor::stack::<5>(vec![turned_first, turned_second], 4)
                    .reshape([batch, n_heads, time, d_head])
            }
        }
    }
}
