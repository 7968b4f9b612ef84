//! Token ids laid out as one rectangle: the only place where padding is made.

use std::collections::BTreeMap;

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use super::vision::{Seen, token_id};

/// Where the padding of shorter sequences stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaddingSide {
    /// Before the sequence: all end together, which decoding wants.
    Left,
    /// After the sequence: all start together.
    Right,
}

/// A batch of sequences, padded to one length.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Token ids, zero at padding. `[B, T]`
    pub ids: Tensor<2, Int>,
    /// Place of each token in its own sequence, zero at padding. `[B, T]`
    pub positions: Tensor<2, Int>,
    /// True at padding; none when all sequences are equally long. `[B, T]`
    pub padding: Option<Tensor<2, Bool>>,
    /// Where patches of pictures stand, if there are any.
    pub(super) seen: Option<Seen>,
}

impl Tokens {
    /// Lays out `sequences` on `device`.
    pub fn new(sequences: &[&[u32]], side: PaddingSide, device: &Device) -> Self {
        let time = sequences.iter().map(|sequence| sequence.len()).max().unwrap_or(0);
        let shape = [sequences.len(), time];
        let mut ids = Vec::with_capacity(shape[0] * time);
        let mut positions = Vec::with_capacity(shape[0] * time);
        let mut padding = Vec::with_capacity(shape[0] * time);
        for sequence in sequences {
            let pads = time - sequence.len();
            let before = if side == PaddingSide::Left { pads } else { 0 };
            for place in 0..time {
                let inside = place.checked_sub(before).filter(|index| *index < sequence.len());
                ids.push(inside.map_or(0, |index| sequence[index]));
                positions.push(inside.unwrap_or(0) as i32);
                padding.push(inside.is_none());
            }
        }
        let padded = padding.contains(&true);
        let seen = Seen::among(ids.iter().copied());
        let ids = ids.into_iter().map(token_id);
        let ids: Vec<i32> = ids.into_iter().map(|id| id as i32).collect();
        Self {
            ids: Tensor::from_data(TensorData::new(ids, shape), device),
            positions: Tensor::from_data(TensorData::new(positions, shape), device),
            padding: padded.then(|| Tensor::from_data(TensorData::new(padding, shape), device)),
            seen,
        }
    }

    /// One further token for each sequence, none of them padding. `[B, 1]` twice
    pub fn next(ids: Tensor<2, Int>, positions: Tensor<2, Int>) -> Self {
        Self { ids, positions, padding: None, seen: None }
    }
}

/// The different ones of some sequences in the order of their first occurrence, and which of them each is.
pub(crate) fn distinct<'a>(
    sequences: impl Iterator<Item = &'a [u32]>,
) -> (Vec<&'a [u32]>, Vec<usize>) {
    let (mut known, mut all) = (BTreeMap::new(), Vec::new());
    let of = sequences.map(|one| {
        *known.entry(one).or_insert_with(|| {
            all.push(one);
            all.len() - 1
        })
    });
    let of = of.collect();
    (all, of)
}

/// Places in a dimension, on the device. `-> [N]`
pub(crate) fn indices(all: impl IntoIterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let all: Vec<i32> = all.into_iter().map(|one| one as i32).collect();
    let count = all.len();
    Tensor::from_data(TensorData::new(all, [count]), device)
}
