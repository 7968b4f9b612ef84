//! A policy that also says what its choices are worth: two Q heads and a V head on its hidden states.
//!
//! A head has one hidden layer. Heads may read by a transformer of their own, as Snell et al. have it. It begins at one number for everything, which the caller knows best.
//! Source: Snell et al. 2023 (ILQL), of whose heads these are a smaller form.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{DType, Device, Tensor, TensorData, activation};
use rand::Rng;

use super::parameters::{changed, each, filled, normal, replace};
use super::{PaddingSide, Tokens, Transformer, indices};

/// One hidden layer of `2 D` between hidden states and what is said of them.
#[derive(Module, Debug)]
pub struct Head {
    /// `[D, 2 D]`
    pub inner: Linear,
    /// `[2 D, F]`
    pub outer: Linear,
}

/// A policy with what it thinks of its choices.
#[derive(Module, Debug)]
pub struct Valued {
    /// What reads, and what writes as the data does.
    pub policy: Transformer,
    /// What the heads read by where it is not the policy, so that it learns while the policy stays as it is.
    pub reader: Option<Transformer>,
    /// Worth of every next token, estimated twice.
    pub q: Vec<Head>,
    /// Worth of what was read.
    pub v: Head,
}

/// Where tokens are chosen in a batch of sequences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// The sequences, none empty.
    pub sequences: Vec<Vec<u32>>,
    /// For each place its sequence and the index of the last token read before the choice.
    pub places: Vec<(usize, usize)>,
}

/// What is thought of N places.
#[derive(Debug, Clone)]
pub struct Estimates {
    /// The policy's logits. `[N, V]`
    pub logits: Tensor<2>,
    /// Worth of every next token, twice. Each `[N, V]`
    pub q: [Tensor<2>; 2],
    /// Worth of the place. `[N]`
    pub v: Tensor<1>,
}

impl Head {
    fn new((width, output): (usize, usize), level: f32, device: &Device) -> Self {
        let linear = |rows, columns, level| Linear {
            weight: filled([rows, columns], 0.0, device),
            bias: Some(filled([columns], level, device)),
        };
        Self { inner: linear(width, 2 * width, 0.0), outer: linear(2 * width, output, level) }
    }

    /// With random inner weights, of variance `2 / D` (He et al. 2015); the outer ones stay 0.
    fn started(mut self, coins: &mut impl Rng) -> Self {
        self.inner.weight = self.inner.weight.map(|tensor| {
            let [width, inner] = tensor.dims();
            let deviation = (2.0 / width as f64).sqrt();
            let values: Vec<f32> =
                (0..width * inner).map(|_| (normal(coins) * deviation) as f32).collect();
            replace(tensor, TensorData::new(values, [width, inner]))
        });
        self
    }

    /// `[N, D] -> [N, F]`
    pub fn forward(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.outer.forward(activation::relu(self.inner.forward(hidden)))
    }
}

impl Valued {
    /// Heads on `policy` that think `level` of everything.
    pub fn new(policy: Transformer, level: f32, coins: &mut impl Rng) -> Self {
        let (width, vocabulary) = (policy.config().d_model, policy.config().vocab_size);
        let device = policy.device();
        let mut head = |output| Head::new((width, output), level, &device).started(coins);
        Self { q: vec![head(vocabulary), head(vocabulary)], v: head(1), reader: None, policy }
    }

    /// The policy learns nothing more.
    #[must_use]
    pub fn frozen(self) -> Self {
        Self { policy: self.policy.no_grad(), ..self }
    }

    /// The policy learns nothing more, and the heads read by a copy of it that does.
    #[must_use]
    pub fn apart(self) -> Self {
        Self { reader: Some(self.policy.clone()), ..self.frozen() }
    }

    /// What is thought of places, in f32.
    ///
    /// # Panics
    /// If there is no place, or a sequence is longer than the context.
    pub fn forward(&self, read: &Places) -> Estimates {
        let own = states(&self.policy, read);
        let read_by = self.reader.as_ref().map(|reader| states(reader, read));
        self.estimates(own.clone(), read_by.unwrap_or(own))
    }

    /// What is thought of hidden states, the policy's and those that the heads read. `[N, D]` twice
    pub(crate) fn estimates(&self, own: Tensor<2>, read_by: Tensor<2>) -> Estimates {
        let count = own.dims()[0];
        let logits = self.policy.logits(own.unsqueeze::<3>()).squeeze_dim::<2>(0);
        let q = |index: usize| self.q[index].forward(read_by.clone()).cast(DType::F32);
        Estimates {
            logits: logits.cast(DType::F32),
            q: [q(0), q(1)],
            v: self.v.forward(read_by.clone()).reshape([count]).cast(DType::F32),
        }
    }
}

/// The final hidden states of places. `-> [N, D]`
pub(super) fn states(model: &Transformer, read: &Places) -> Tensor<2> {
    let device = model.device();
    let rows: Vec<&[u32]> = read.sequences.iter().map(Vec::as_slice).collect();
    let tokens = Tokens::new(&rows, PaddingSide::Right, &device);
    let hidden = model.hidden(&tokens, None);
    let [batch, time, width] = hidden.dims();
    let places = indices(read.places.iter().map(|(row, place)| row * time + place), &device);
    hidden.reshape([batch * time, width]).select(0, places)
}

impl Places {
    /// The place before each token of completions behind their prompts.
    pub fn before(pairs: &[(&[u32], &[u32])]) -> Self {
        let mut all = Self::default();
        for (row, (prompt, completion)) in pairs.iter().enumerate() {
            // The last token is only ever chosen, never conditioned on.
            let conditions = &completion[..completion.len().saturating_sub(1)];
            all.sequences.push([*prompt, conditions].concat());
            let first = prompt.len() - 1;
            all.places.extend((first..first + completion.len()).map(|place| (row, place)));
        }
        all
    }

    /// The last place of each sequence.
    pub fn ends(sequences: Vec<Vec<u32>>) -> Self {
        let places = sequences.iter().map(|one| one.len() - 1).enumerate().collect();
        Self { sequences, places }
    }

    /// The row of a sequence, which is added where `rows`, those that are there, has none.
    pub(crate) fn row(
        &mut self,
        sequence: Vec<u32>,
        rows: &mut BTreeMap<Vec<u32>, usize>,
    ) -> usize {
        *rows.entry(sequence).or_insert_with_key(|sequence| {
            self.sequences.push(sequence.clone());
            self.sequences.len() - 1
        })
    }
}

impl Estimates {
    /// The same numbers without gradients. `[N, V], [N]`
    #[must_use]
    pub fn fixed(&self) -> Self {
        let q = self.q.clone().map(Tensor::without_autodiff);
        Self {
            logits: self.logits.clone().without_autodiff(),
            q,
            v: self.v.clone().without_autodiff(),
        }
    }

    /// These places and then those of another.
    #[must_use]
    pub fn followed_by(self, other: Self) -> Self {
        let [first, second] = self.q;
        let [other_first, other_second] = other.q;
        Self {
            logits: Tensor::cat(vec![self.logits, other.logits], 0),
            q: [
                Tensor::cat(vec![first, other_first], 0),
                Tensor::cat(vec![second, other_second], 0),
            ],
            v: Tensor::cat(vec![self.v, other.v], 0),
        }
    }
}

impl Valued {
    /// This model some way nearer to `other`, both without gradients: `self + share (other - self)`.
    #[must_use]
    pub fn toward(self, other: &Self, share: f64) -> Self {
        let mut to = BTreeMap::new();
        each(other, |name, parameter| {
            to.insert(name, parameter.flat());
        });
        changed(self, |name, parameter| {
            let from = parameter.flat();
            Some(from.clone() + (to.remove(name)? - from).mul_scalar(share))
        })
    }
}
