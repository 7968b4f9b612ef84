//! The decoder-only transformer: embedding, blocks, norm, head.

use std::sync::Arc;

use burn::module::Module;
#[cfg(feature = "train")]
use burn::module::Param;
use burn::nn::{Dropout, DropoutConfig, Embedding, Linear};
use burn::tensor::{Bool, DType, Device, Int, Tensor};

use super::attention::Visibility;
use super::block::Block;
#[cfg(feature = "train")]
use super::block::Stages;
#[cfg(feature = "train")]
use super::by_block::Passes;
use super::cache::Cache;
use super::config::{Positions, TransformerConfig};
use super::norm::Norm;
use super::parameters::filled;
use super::projection;
use super::rotary::{Rotary, Rotation};
use super::row::{HostView, OnHost, Rows};
use super::tokens::Tokens;
use super::vision::Eyes;
#[cfg(feature = "train")]
use crate::tuning::Prefix;

/// Whether the program promised to show the model its device's memory: what a device would do instead is
/// then left out of it.
pub(super) const HOST_ONLY: bool = cfg!(feature = "host-only");

/// A language model: token ids in, next-token logits out.
#[derive(Module, Debug)]
pub struct Transformer {
    /// `[V, D]`
    pub token_embedding: Embedding,
    /// For learned positions. `[T, D]`
    pub position_embedding: Option<Embedding>,
    /// For rotary positions.
    rotary: Option<Rotary>,
    /// The layers, from the input up.
    pub blocks: Vec<Block>,
    /// After the last block.
    pub norm: Norm,
    /// An output head of its own; none when tied to the token embedding. `[D, V]`
    pub head: Option<Linear>,
    dropout: Dropout,
    /// Learned embeddings before every sequence, where it is tuned by them. `[N, D]`
    #[cfg(feature = "train")]
    pub(crate) prompt: Option<Param<Tensor<2>>>,
    /// For pictures.
    pub(crate) eyes: Option<Eyes>,
    #[module(skip)]
    pub(super) config: TransformerConfig,
    #[module(skip)]
    pub(super) host: Option<Arc<OnHost>>,
    #[cfg(feature = "train")]
    #[module(skip)]
    pub(super) passes: Passes,
}

impl Transformer {
    /// The layers of `config` on `device`, gains one and everything else zero; see
    /// [`initialize`](super::initialize) for a random start and
    /// [`read_weights`](super::hugging_face::read_weights) for stored weights.
    ///
    /// # Panics
    /// If `config` does not [`validate`](TransformerConfig::validate).
    pub fn zeroed(config: &TransformerConfig, device: &Device) -> Self {
        config.validate().expect("the configuration was validated at the edge");
        let embedding = |rows| Embedding { weight: filled([rows, config.d_model], 0.0, device) };
        let (position_embedding, rotary) = match config.positions {
            Positions::Learned => (Some(embedding(config.context_length)), None),
            Positions::Rotary { theta, pairing } => {
                let (length, d_head) = (config.context_length, config.d_head);
                (None, Some(Rotary::init(length, d_head, theta, pairing, device)))
            }
        };
        let head = (!config.tied_head).then(|| Linear {
            weight: filled([config.d_model, config.vocab_size], 0.0, device),
            bias: None,
        });
        Self {
            token_embedding: embedding(config.vocab_size),
            position_embedding,
            rotary,
            blocks: (0..config.n_layers).map(|_| Block::init(config, device)).collect(),
            norm: Norm::init(config, device),
            head,
            dropout: DropoutConfig::new(config.dropout).init(),
            #[cfg(feature = "train")]
            prompt: None,
            eyes: config.vision.map(|vision| Eyes::zeroed(vision, config.d_model, device)),
            config: config.clone(),
            host: None,
            #[cfg(feature = "train")]
            passes: Passes::Whole,
        }
    }

    /// Decodes single sequences on plain slices from now on, where `view` shows the device's memory. The
    /// weights must stay as they are: what was looked at is kept.
    #[must_use]
    pub fn with_host_memory(self, view: HostView) -> Self {
        #[cfg(feature = "train")]
        if crate::tuning::is_packed(&self) {
            return self;
        }
        Self { host: OnHost::new(&self, view).map(Arc::new), ..self }
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// The device that holds the weights.
    pub fn device(&self) -> Device {
        self.token_embedding.weight.device()
    }

    /// The number type of the weights.
    pub fn dtype(&self) -> DType {
        self.token_embedding.weight.val().dtype()
    }

    /// Logits of the token after each position. `[B, T] -> [B, T, V]`
    ///
    /// # Panics
    /// If the sequence is longer than the context.
    pub fn forward(&self, tokens: &Tokens) -> Tensor<3> {
        self.logits(self.hidden(tokens, None))
    }

    /// Final hidden states, `prefix` embeddings first: the door for images and soft prompts.
    /// `[B, T], [B, N, D] -> [B, N + T, D]`
    ///
    /// # Panics
    /// If the sequence with its prefix is longer than the context.
    pub fn hidden(&self, tokens: &Tokens, prefix: Option<Tensor<3>>) -> Tensor<3> {
        let (stream, rotation, visibility) = self.enter(tokens, prefix);
        let stream = self
            .blocks
            .iter()
            .fold(stream, |stream, block| block.forward(stream, rotation.as_ref(), &visibility));
        self.leave(stream)
    }

    /// The residual stream before the first block, with what all blocks are told.
    /// `[B, T], [B, N, D] -> [B, N + T, D]`
    pub(super) fn enter(
        &self,
        tokens: &Tokens,
        prefix: Option<Tensor<3>>,
    ) -> (Tensor<3>, Option<Rotation>, Visibility) {
        #[cfg(feature = "train")]
        let prefix = self.tuned_prefix(tokens, prefix);
        #[cfg(feature = "train")]
        let tokens = &self.tuned_tokens(tokens, 0);
        let (stream, positions, padding) = self.embed(tokens, prefix);
        let visibility = Visibility::new(causal(positions.dims()[1], padding, &stream), &stream);
        #[cfg(feature = "train")]
        let visibility = visibility.after(self.prefix_length());
        let rotation = self.rotation(&positions, stream.dtype());
        (stream, rotation, visibility)
    }

    /// Final hidden states of the residual stream behind the last block. `[B, N + T, D] -> [B, N + T, D]`
    pub(super) fn leave(&self, stream: Tensor<3>) -> Tensor<3> {
        #[cfg(feature = "train")]
        let stream = self.behind_prompt(stream);
        self.norm.forward(stream)
    }

    /// The stages of each block, from the first on. `[B, T]`
    ///
    /// # Panics
    /// If the sequence is longer than the context.
    #[cfg(feature = "train")]
    pub fn stages(&self, tokens: &Tokens) -> Vec<Stages> {
        let (mut stream, positions, padding) = self.embed(tokens, None);
        let visibility = Visibility::new(causal(positions.dims()[1], padding, &stream), &stream);
        let rotation = self.rotation(&positions, stream.dtype());
        let stages = self.blocks.iter().map(|block| {
            let stages = block.stages(stream.clone(), rotation.as_ref(), &visibility);
            stream = stages.after.clone();
            stages
        });
        stages.collect()
    }

    /// As [`hidden`](Self::hidden), with the positions in `cache` before the tokens; adds the new
    /// ones to it. The first call may hold many tokens with padding on the left; later calls one
    /// token of each sequence. `[B, T] -> [B, T, D]`
    ///
    /// # Panics
    /// If the cache does not hold the new positions, or a later call brings several tokens.
    pub fn hidden_cached(&self, tokens: &Tokens, cache: &mut Cache) -> Tensor<3> {
        let (past, prefix) = (cache.len(), None);
        #[cfg(feature = "train")]
        let prefix = if past == 0 { self.tuned_prefix(tokens, prefix) } else { prefix };
        #[cfg(feature = "train")]
        let tokens = &self.tuned_tokens(tokens, past);
        let (stream, positions, padding) = self.embed(tokens, prefix);
        let time = positions.dims()[1];
        assert!(past + time <= cache.capacity(), "the cache holds {} positions", cache.capacity());
        assert!(past == 0 || time == 1, "after the first call tokens come one at a time");
        let rotation = self.rotation(&positions, stream.dtype());
        let hidden = match cache.rows() {
            Some(rows) => rows.step(stream, rotation.as_ref(), past),
            None if HOST_ONLY => unreachable!("the device's memory is shown"),
            None => self.step_on_device(stream, (rotation.as_ref(), padding), cache),
        };
        cache.advance(time);
        hidden
    }

    /// All blocks and the last norm on the device. `[B, T, D] -> [B, T, D]`
    fn step_on_device(
        &self,
        stream: Tensor<3>,
        (rotation, padding): (Option<&Rotation>, Option<Tensor<2, Bool>>),
        cache: &mut Cache,
    ) -> Tensor<3> {
        let (past, time) = (cache.len(), stream.dims()[1]);
        let visibility = if past == 0 {
            cache.remember_padding(padding.clone(), &stream);
            Some(Visibility::new(causal(time, padding, &stream), &stream))
        } else {
            cache.visibility(past + time)
        };
        #[cfg(feature = "train")]
        let visibility = visibility.map(|seen| seen.after(self.prefix_length()));
        let blocks = self.blocks.iter().zip(cache.layers());
        let stream = blocks.fold(stream, |stream, (block, layer)| {
            block.forward_cached(stream, rotation, visibility.as_ref(), (layer, past))
        });
        #[cfg(feature = "train")]
        let stream = if past == 0 { self.behind_prompt(stream) } else { stream };
        self.norm.forward(stream)
    }

    /// Whether single sequences are decoded on plain slices.
    pub(crate) fn decodes_on_host(&self) -> bool {
        self.host.is_some()
    }

    /// The blocks on plain slices, if a single sequence can be decoded there.
    pub(super) fn rows(&self, batch: usize, capacity: usize) -> Option<Rows> {
        let host = self.host.as_ref().filter(|_| batch == 1)?;
        Some(Rows::new(Arc::clone(host), &self.config, capacity))
    }

    /// Logits of hidden states. `[B, T, D] -> [B, T, V]`
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        match self.host.as_ref().and_then(|host| host.logits(&hidden)) {
            Some(logits) => logits,
            None if HOST_ONLY => unreachable!("the device's memory is shown"),
            None => self.logits_on_device(hidden),
        }
    }

    fn logits_on_device(&self, hidden: Tensor<3>) -> Tensor<3> {
        match &self.head {
            Some(head) => projection::forward(head, hidden),
            None => projection::onto(&self.token_embedding.weight.val(), hidden),
        }
    }

    /// The angles of rotary positions. `[B, T] -> [B, 1, T, d_head / 2]`
    pub(super) fn rotation(&self, positions: &Tensor<2, Int>, dtype: DType) -> Option<Rotation> {
        self.rotary.as_ref().map(|rotary| rotary.rotation(positions, dtype))
    }

    /// The residual stream before the first block, with positions and padding of all of it.
    /// `[B, N + T, D], [B, N + T], [B, N + T]`
    fn embed(
        &self,
        tokens: &Tokens,
        prefix: Option<Tensor<3>>,
    ) -> (Tensor<3>, Tensor<2, Int>, Option<Tensor<2, Bool>>) {
        let mut stream = self.look_up(tokens);
        let mut positions = tokens.positions.clone();
        let mut padding = tokens.padding.clone();
        if let Some(prefix) = prefix {
            let ([batch, length, _], device) = (prefix.dims(), prefix.device());
            let before = Tensor::arange(0..length as i64, &device.clone().without_autodiff());
            let before: Tensor<2, Int> = before.unsqueeze::<2>().repeat_dim(0, batch);
            let before = before.to_device(&positions.device());
            positions = Tensor::cat(vec![before, positions.add_scalar(length as i64)], 1);
            padding = padding.map(|padding| {
                let none = padding
                    .clone()
                    .slice([0..batch, 0..1])
                    .bool_and(padding.clone().slice([0..batch, 0..1]).bool_not());
                Tensor::cat(vec![none.repeat_dim(1, length), padding], 1)
            });
            stream = Tensor::cat(vec![prefix, stream], 1);
        }
        let time = positions.dims()[1];
        let context = self.config.context_length;
        #[cfg(feature = "train")]
        let context = context + self.prompt_length();
        assert!(time <= context, "{time} positions in a context of {context}");
        (self.place(stream, &positions), positions, padding)
    }

    /// The embeddings of tokens and of patches of pictures. `[B, T] -> [B, T, D]`
    pub(super) fn look_up(&self, tokens: &Tokens) -> Tensor<3> {
        let stream = self.token_embedding.forward(tokens.ids.clone());
        match &tokens.seen {
            None => stream,
            Some(seen) => self.with_patches(stream, seen),
        }
    }

    /// Embeddings at their positions, as they enter the first block. `[B, T, D], [B, T] -> [B, T, D]`
    pub(super) fn place(&self, stream: Tensor<3>, positions: &Tensor<2, Int>) -> Tensor<3> {
        let stream = match &self.position_embedding {
            None => stream,
            Some(embedding) => stream + embedding.forward(positions.clone()),
        };
        self.dropout.forward(stream)
    }
}

/// What tuning adds before a sequence.
#[cfg(feature = "train")]
impl Transformer {
    /// Learned embeddings before every sequence.
    pub(crate) fn prompt_length(&self) -> usize {
        self.prompt.as_ref().map_or(0, |prompt| prompt.dims()[0])
    }

    /// Learned keys and values before every sequence.
    pub(super) fn prefix_length(&self) -> usize {
        let first = self.blocks.first().and_then(|block| block.attention.prefix.as_ref());
        first.map_or(0, Prefix::length)
    }

    /// The same without an output head of its own, for what never asks for logits.
    pub(crate) fn without_head(mut self) -> Self {
        self.head = None;
        self.config.tied_head = true;
        self
    }

    /// Keeps `length` positions of the context for learned ones.
    pub(crate) fn reserve(&mut self, length: usize) {
        self.config.context_length -= length;
    }

    /// Gives the positions of learned ones back.
    pub(crate) fn release(&mut self) {
        self.config.context_length += self.prompt_length() + self.prefix_length();
    }

    /// Tokens at their places behind what is learned, as far as it is not embedded with them.
    fn tuned_tokens(&self, tokens: &Tokens, past: usize) -> Tokens {
        let before = self.prefix_length() + if past > 0 { self.prompt_length() } else { 0 };
        let positions = tokens.positions.clone();
        let positions = if before > 0 { positions.add_scalar(before as i64) } else { positions };
        Tokens { positions, ..tokens.clone() }
    }

    /// The learned embeddings before those that are given. `[B, N, D]`
    fn tuned_prefix(&self, tokens: &Tokens, given: Option<Tensor<3>>) -> Option<Tensor<3>> {
        let Some(prompt) = &self.prompt else { return given };
        let batch = tokens.ids.dims()[0] as i64;
        let prompt = prompt.val().unsqueeze::<3>().expand([batch, -1, -1]);
        Some(match given {
            None => prompt,
            Some(given) => Tensor::cat(vec![prompt, given], 1),
        })
    }

    /// What stands behind the learned embeddings. `[B, N + T, D] -> [B, T, D]`
    fn behind_prompt(&self, stream: Tensor<3>) -> Tensor<3> {
        let (before, time) = (self.prompt_length(), stream.dims()[1]);
        if before == 0 { stream } else { stream.narrow(1, before, time - before) }
    }
}

/// True where a query may not look: later positions and padding. Each position sees itself, so that
/// a padding row has something to attend to. `[B or 1, 1, T, T]`
pub(super) fn causal(
    time: usize,
    padding: Option<Tensor<2, Bool>>,
    like: &Tensor<3>,
) -> Tensor<4, Bool> {
    let device = like.device();
    let later = Tensor::<2, Bool>::tril_mask([time, time], 0, &device).unsqueeze::<4>();
    let Some(padding) = padding else { return later };
    let batch = padding.dims()[0];
    let others = Tensor::<2, Bool>::diag_mask([time, time], 0, &device).unsqueeze::<4>();
    let padding = padding.reshape([batch, 1, 1, time]).expand([batch, 1, time, time]);
    let padding = padding.bool_and(others.expand([batch, 1, time, time]));
    later.expand([batch, 1, time, time]).bool_or(padding)
}
