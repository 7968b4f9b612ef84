//! The preallocated key-value cache: decoding writes in place and never copies the past.
//!
//! Each layer owns two tensors of the full capacity. Writing a step is a `slice_assign` on a tensor
//! that nobody else holds, which every burn device does in place; reading the past is a view. Only when
//! half of the sequences have ended is the other half copied to go on alone.

use burn::tensor::{Bool, Int, Tensor};

use super::attention::Visibility;
use super::row::Rows;
use super::transformer::Transformer;

/// Keys and values of all layers for the positions decoded so far.
#[derive(Debug, Clone)]
pub struct Cache {
    layers: Vec<LayerCache>,
    length: usize,
    capacity: usize,
    /// What a single new query may see of the whole capacity: all but padding. `[B, 1, 1, T]`
    seen: Option<Visibility>,
    /// The blocks on plain slices, which remember for themselves, in place of `layers`.
    rows: Option<Rows>,
}

/// Keys and values of one layer, at full capacity from the start.
#[derive(Debug, Clone)]
pub struct LayerCache {
    /// `[B, H, T, D]`, H key heads, T the capacity, D the width of a head
    key: Tensor<4>,
    /// `[B, H, T, D]`
    value: Tensor<4>,
}

impl Cache {
    /// Room for `capacity` positions of `batch` sequences of `model`. All memory is taken here.
    pub fn new(model: &Transformer, batch: usize, capacity: usize) -> Self {
        if let Some(rows) = model.rows(batch, capacity) {
            return Self { layers: Vec::new(), length: 0, capacity, seen: None, rows: Some(rows) };
        }
        let config = model.config();
        let options = (&model.device(), model.dtype());
        #[cfg(feature = "train")]
        let capacity = capacity + model.prompt_length();
        let shape = [batch, config.n_kv_heads, capacity, config.d_head];
        let layers = (0..config.n_layers)
            .map(|_| LayerCache {
                key: Tensor::zeros(shape, options),
                value: Tensor::zeros(shape, options),
            })
            .collect();
        Self { layers, length: 0, capacity, seen: None, rows: None }
    }

    /// Positions written so far.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Positions that fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The blocks on plain slices, where one sequence is decoded there.
    pub(super) fn rows(&mut self) -> Option<&mut Rows> {
        self.rows.as_mut()
    }

    pub(super) fn layers(&mut self) -> impl Iterator<Item = &mut LayerCache> {
        self.layers.iter_mut()
    }

    /// Keeps the padding of the first positions, which later queries must not see. `[B, T]`
    pub(super) fn remember_padding(&mut self, padding: Option<Tensor<2, Bool>>, like: &Tensor<3>) {
        self.seen = padding.map(|padding| {
            let [batch, time] = padding.dims();
            let whole = Tensor::<2>::zeros([batch, self.capacity], &like.device());
            let whole = whole.slice_assign([0..batch, 0..time], padding.float());
            let hidden = whole.lower_elem(0.5).bool_not().reshape([batch, 1, 1, self.capacity]);
            Visibility::new(hidden, like)
        });
    }

    /// What one new query sees of the first `length` positions; none when it sees all.
    pub(super) fn visibility(&self, length: usize) -> Option<Visibility> {
        self.seen.as_ref().map(|seen| seen.narrow(length))
    }

    /// Goes on with these sequences alone. `[B]`
    pub(crate) fn select(&mut self, rows: &Tensor<1, Int>) {
        for layer in &mut self.layers {
            layer.key.inplace(|key| key.select(0, rows.clone()));
            layer.value.inplace(|value| value.select(0, rows.clone()));
        }
        self.seen = self.seen.take().map(|seen| seen.select(rows));
    }

    pub(super) fn advance(&mut self, positions: usize) {
        self.length += positions;
    }
}

impl LayerCache {
    /// Writes the keys and values of new positions after the first `length` ones and returns views
    /// of all positions up to and with them. `[B, H, T, D] -> [B, H, length + T, D]` twice.
    ///
    /// # Panics
    /// If the capacity does not hold them.
    pub(super) fn append(
        &mut self,
        length: usize,
        key: Tensor<4>,
        value: Tensor<4>,
    ) -> (Tensor<4>, Tensor<4>) {
        let [batch, heads, time, width] = key.dims();
        let end = length + time;
        let place = [0..batch, 0..heads, length..end, 0..width];
        self.key.inplace(|all| all.slice_assign(place.clone(), key));
        self.value.inplace(|all| all.slice_assign(place, value));
        (self.key.clone().narrow(2, 0, end), self.value.clone().narrow(2, 0, end))
    }
}
