//! A frozen base in 8 or 4 bits under small parameters: QLoRA, and the same for the other methods.
//!
//! The projections' weights lie on the device as whole numbers, several in a word, with a scale (and, in 4 bits, a
//! minimum) for each block of 32 inputs of an output, as `compress` rounds them. A block is unpacked when it is
//! passed and dropped behind it. Automatic differentiation would keep what was unpacked until the backward pass, so a
//! policy with a packed base learns block by block (`model/by_block`), which unpacks a second time instead.
//!
//! Only whole-number shifts and products are asked of a device. Stays in f32: embeddings, output head, gains, biases,
//! and matrices whose inputs are no whole blocks or whose outputs are no whole words.
//! Source: Dettmers et al. 2023 (QLoRA), with the blocks of ggml's Q8_0 and Q4_1 in place of NF4.

use std::collections::BTreeMap;

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::TuningError;
use super::install::attach;
use super::low_rank::LowRank;
use super::rescale::Rescale;
use super::target::{Place, Target, of_block};
use crate::compress::{eight_bits, four_bits};
use crate::first_order::constant;
use crate::model::hugging_face::packed::BLOCK;
use crate::model::{Block, Passes, Transformer};

/// How the frozen weights of projections are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// As they are.
    #[default]
    F32,
    /// One byte a number and four a block.
    Int8,
    /// Half a byte a number and eight a block.
    Int4,
}

/// The packed weights of a block's projections.
#[derive(Debug, Clone, Default)]
pub(crate) struct PackedBlock(BTreeMap<Target, PackedMatrix>);

/// A matrix of whole numbers on a device without autodiff. D inputs, F outputs, L numbers a word: word `f` of a row
/// holds the numbers of outputs `f`, `f + F/L`, ..., the first in the lowest bits.
#[derive(Debug, Clone)]
struct PackedMatrix {
    /// `[D, F/L]`
    words: Tensor<2, Int>,
    /// `[D/32, 1, F]`
    scale: Tensor<3>,
    /// Of numbers from 0 to 15; none where they have signs. `[D/32, 1, F]`
    minimum: Option<Tensor<3>>,
}

impl Base {
    /// Bytes that a matrix takes. D inputs, F outputs.
    pub fn bytes(self, [inputs, outputs]: [usize; 2]) -> usize {
        let numbers = inputs * outputs;
        if !self.packs([inputs, outputs]) {
            return 4 * numbers;
        }
        match self {
            Self::F32 => 4 * numbers,
            Self::Int8 => numbers + 4 * numbers / BLOCK,
            Self::Int4 => numbers / 2 + 8 * numbers / BLOCK,
        }
    }

    /// Numbers in a word of 32 bits.
    fn lanes(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Int8 => 4,
            Self::Int4 => 8,
        }
    }

    /// Whether matrices of this shape are packed.
    fn packs(self, [inputs, outputs]: [usize; 2]) -> bool {
        self != Self::F32 && inputs.is_multiple_of(BLOCK) && outputs.is_multiple_of(self.lanes())
    }
}

/// The model with its projections' weights packed, which then also learns block by block.
///
/// # Errors
/// If the device does not return the weights.
pub async fn pack_base(mut model: Transformer, base: Base) -> Result<Transformer, TuningError> {
    if base == Base::F32 {
        return Ok(model);
    }
    for block in &mut model.blocks {
        let mut packed = PackedBlock::default();
        for Place { target, linear } in of_block(block) {
            let shape = linear.weight.dims();
            if !base.packs(shape) {
                continue;
            }
            let weight = linear.weight.base().without_autodiff();
            let device = weight.device();
            let data = weight.into_data_async().await;
            let data = data.map_err(|error| TuningError::Device(format!("{error:?}")))?;
            let values = data.convert::<f32>().try_to_vec().expect("converted to f32");
            packed.0.insert(target, PackedMatrix::of(&values, shape, (base, &device)));
            hollow(linear);
        }
        block.packed = Some(packed);
    }
    Ok(model.passing(Passes::ByBlock))
}

/// The model with plain weights, as they were rounded.
pub fn unpack_base(mut model: Transformer) -> Transformer {
    for block in &mut model.blocks {
        if let Some(unpacked) = unpacked(block) {
            *block = unpacked;
        }
    }
    model
}

/// Bytes of the projections' weights as they are held, small parameters apart.
pub fn base_bytes(model: &Transformer) -> usize {
    let mut model = model.clone();
    let of = |block: &mut Block| -> usize {
        let packed = block.packed.take().unwrap_or_default().0;
        let one = |Place { target, linear }: Place<'_>| match packed.get(&target) {
            Some(matrix) => matrix.bytes(),
            None => 4 * linear.weight.shape().num_elements(),
        };
        of_block(block).into_iter().map(one).sum()
    };
    model.blocks.iter_mut().map(of).sum()
}

/// Does something to a model whose base is unpacked meanwhile.
pub(super) fn with_plain_base(
    model: Transformer,
    work: impl FnOnce(Transformer) -> Transformer,
) -> Transformer {
    let packed: Vec<_> = model.blocks.iter().map(|block| block.packed.clone()).collect();
    let mut model = work(unpack_base(model));
    for (block, packed) in model.blocks.iter_mut().zip(packed) {
        if let Some(packed) = &packed {
            let kept = of_block(block).into_iter().filter(|one| packed.0.contains_key(&one.target));
            kept.for_each(|place| hollow(place.linear));
        }
        block.packed = packed;
    }
    model
}

/// A block with plain weights; none if it has them anyway.
pub(crate) fn unpacked(block: &Block) -> Option<Block> {
    let packed = block.packed.as_ref()?;
    let mut block = block.clone();
    block.packed = None;
    for Place { target, linear } in of_block(&mut block) {
        if let Some(matrix) = packed.0.get(&target) {
            rebase(linear, matrix.unpack());
        }
    }
    Some(block)
}

/// Whether a model's base is packed.
pub fn is_packed(model: &Transformer) -> bool {
    model.blocks.iter().any(|block| block.packed.is_some())
}

/// Takes the weight out of a projection; its shape stays. A single zero is seen everywhere.
fn hollow(linear: &mut Linear) {
    let base = linear.weight.base();
    let zero = Tensor::<2>::zeros([1, 1], (&base.device().without_autodiff(), base.dtype()));
    rebase(linear, zero.expand(linear.weight.dims()));
}

/// Puts another frozen weight under the small parameters of a projection. `[D, F]`
fn rebase(linear: &mut Linear, weight: Tensor<2>) {
    let old = linear.weight.base();
    let low_rank = linear.weight.reparameterization::<LowRank>().cloned();
    let rescale = linear.weight.reparameterization::<Rescale>().cloned();
    let weight = weight.to_device(&old.device().without_autodiff());
    let weight = if old.is_autodiff() { constant(weight, &old) } else { weight };
    linear.weight = Param::initialized(linear.weight.id, weight);
    if let Some(small) = low_rank {
        attach(linear, small);
    }
    if let Some(small) = rescale {
        attach(linear, small);
    }
}

impl PackedMatrix {
    /// Packs numbers in rows of outputs.
    fn of(values: &[f32], [inputs, outputs]: [usize; 2], (base, device): (Base, &Device)) -> Self {
        let (lanes, columns) = (base.lanes(), outputs / base.lanes());
        let mut words = vec![0u32; inputs * columns];
        let blocks = inputs / BLOCK;
        let mut scales = vec![0.0; blocks * outputs];
        let mut minima = vec![0.0; blocks * outputs];
        for place in 0..blocks * outputs {
            let (first, output) = (place / outputs * BLOCK, place % outputs);
            let block: Vec<f32> =
                (first..first + BLOCK).map(|input| values[input * outputs + output]).collect();
            let (scale, minimum, numbers) = base.round(&block);
            (scales[place], minima[place]) = (scale, minimum);
            let shift = 32 / lanes * (output / columns);
            for (input, number) in (first..).zip(numbers) {
                words[input * columns + output % columns] |= u32::from(number) << shift;
            }
        }
        let words = words.into_iter().map(|word| word as i32).collect::<Vec<i32>>();
        let words = TensorData::new(words, [inputs, columns]);
        let beside = |numbers| {
            Tensor::from_data(TensorData::new(numbers, [blocks, 1, outputs]), (device, DType::F32))
        };
        Self {
            words: Tensor::from_data(words, (device, DType::I32)),
            scale: beside(scales),
            minimum: (base == Base::Int4).then(|| beside(minima)),
        }
    }

    /// `[D, F]`
    fn unpack(&self) -> Tensor<2> {
        let [inputs, _] = self.words.dims();
        let [blocks, _, outputs] = self.scale.dims();
        let bits = if self.minimum.is_some() { 4 } else { 8 };
        let lane = |lane: i32| {
            let words = self.words.clone();
            let number = if self.minimum.is_some() {
                words.bitwise_right_shift_scalar(4 * lane).bitwise_and_scalar(15)
            } else {
                // Up to the sign bit and down again, which keeps the sign.
                words.bitwise_left_shift_scalar(24 - 8 * lane).bitwise_right_shift_scalar(24)
            };
            number.float().cast(DType::F32)
        };
        let numbers = Tensor::cat((0..32 / bits).map(lane).collect(), 1);
        let scaled = numbers.reshape([blocks, BLOCK, outputs]) * self.scale.clone();
        let values = match &self.minimum {
            None => scaled,
            Some(minimum) => scaled + minimum.clone(),
        };
        values.reshape([inputs, outputs])
    }

    fn bytes(&self) -> usize {
        let beside = self.scale.shape().num_elements() * 4;
        let both = if self.minimum.is_some() { 2 * beside } else { beside };
        4 * self.words.shape().num_elements() + both
    }
}

impl Base {
    /// Scale, minimum and whole numbers of a block; those with signs as their two's complement.
    fn round(self, block: &[f32]) -> (f32, f32, Vec<u8>) {
        match self {
            Self::F32 => unreachable!("only what is packed is rounded"),
            Self::Int8 => {
                let (scale, numbers) = eight_bits(block);
                (scale, 0.0, numbers)
            }
            Self::Int4 => four_bits(block),
        }
    }
}
