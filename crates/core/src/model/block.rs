//! One pre-norm block: attention, then feed-forward, each added to the residual stream.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Device, Tensor};

use super::attention::{Attention, Sight, Visibility};
use super::cache::LayerCache;
use super::config::TransformerConfig;
use super::feed_forward::FeedForward;
use super::norm::Norm;
use super::rotary::Rotation;
#[cfg(feature = "train")]
use crate::tuning::{Bottlenecks, PackedBlock, SubLayer, unpacked};

/// One layer of the transformer.
#[derive(Module, Debug)]
pub struct Block {
    /// Before attention.
    pub attention_norm: Norm,
    /// Mixes positions.
    pub attention: Attention,
    /// Before the feed-forward layer.
    pub feed_forward_norm: Norm,
    /// Transforms each position.
    pub feed_forward: FeedForward,
    dropout: Dropout,
    /// What follows the two parts, where they are tuned by it.
    #[cfg(feature = "train")]
    pub(crate) bottleneck: Option<Bottlenecks>,
    /// The weights of projections, where a frozen base is held in fewer bits.
    #[cfg(feature = "train")]
    #[module(skip)]
    pub(crate) packed: Option<PackedBlock>,
}

/// What stands at each stage of the way through a block.
#[cfg(feature = "train")]
#[derive(Debug)]
pub struct Stages {
    /// The residual stream that enters. `[B, T, D]`
    pub before: Tensor<3>,
    /// What attention read of it, before its output projection. `[B, T, heads * d_head]`
    pub attended: Tensor<3>,
    /// The stream between the two parts. `[B, T, D]`
    pub between: Tensor<3>,
    /// The stream that leaves. `[B, T, D]`
    pub after: Tensor<3>,
}

impl Block {
    pub(super) fn init(config: &TransformerConfig, device: &Device) -> Self {
        Self {
            attention_norm: Norm::init(config, device),
            attention: Attention::init(config, device),
            feed_forward_norm: Norm::init(config, device),
            feed_forward: FeedForward::init(config, device),
            dropout: DropoutConfig::new(config.dropout).init(),
            #[cfg(feature = "train")]
            bottleneck: None,
            #[cfg(feature = "train")]
            packed: None,
        }
    }

    /// `[B, T, D] -> [B, T, D]`
    pub fn forward<'s>(
        &self,
        input: Tensor<3>,
        rotation: Option<&Rotation>,
        sight: impl Into<Sight<'s>>,
    ) -> Tensor<3> {
        let sight = sight.into();
        #[cfg(feature = "train")]
        if let Some(plain) = unpacked(self) {
            return plain.transform(plain.mix(input, rotation, sight));
        }
        self.transform(self.mix(input, rotation, sight))
    }

    /// The first part alone. `[B, T, D] -> [B, T, D]`
    pub(super) fn mix(
        &self,
        input: Tensor<3>,
        rotation: Option<&Rotation>,
        sight: Sight<'_>,
    ) -> Tensor<3> {
        let normed = self.attention_norm.forward(input.clone());
        self.mixed(input, self.attention.attend_within(normed, rotation, sight))
    }

    /// The stream with what was read of it. `[B, T, D], [B, T, heads * d_head] -> [B, T, D]`
    fn mixed(&self, input: Tensor<3>, attended: Tensor<3>) -> Tensor<3> {
        let mixed = self.attention.project_back(attended);
        #[cfg(feature = "train")]
        let mixed = self.tuned(SubLayer::Attention, mixed);
        input + self.dropout.forward(mixed)
    }

    /// The stages of the way through. `[B, T, D]`
    #[cfg(feature = "train")]
    pub(super) fn stages(
        &self,
        before: Tensor<3>,
        rotation: Option<&Rotation>,
        visibility: &Visibility,
    ) -> Stages {
        let normed = self.attention_norm.forward(before.clone());
        let attended = self.attention.attend_within(normed, rotation, visibility.into());
        let between = self.mixed(before.clone(), attended.clone());
        let after = self.transform(between.clone());
        Stages { before, attended, between, after }
    }

    /// `[B, T, D] -> [B, T, D]`, with the past of `cache`
    pub(super) fn forward_cached(
        &self,
        input: Tensor<3>,
        rotation: Option<&Rotation>,
        visibility: Option<&Visibility>,
        cache: (&mut LayerCache, usize),
    ) -> Tensor<3> {
        #[cfg(feature = "train")]
        if let Some(plain) = unpacked(self) {
            return plain.forward_cached(input, rotation, visibility, cache);
        }
        let normed = self.attention_norm.forward(input.clone());
        let mixed = self.attention.forward_cached(normed, rotation, visibility, cache);
        #[cfg(feature = "train")]
        let mixed = self.tuned(SubLayer::Attention, mixed);
        self.transform(input + mixed)
    }

    /// The second part alone. `[B, T, D] -> [B, T, D]`
    pub(super) fn transform(&self, stream: Tensor<3>) -> Tensor<3> {
        let normed = self.feed_forward_norm.forward(stream.clone());
        let transformed = self.feed_forward.forward(normed);
        #[cfg(feature = "train")]
        let transformed = self.tuned(SubLayer::FeedForward, transformed);
        stream + self.dropout.forward(transformed)
    }

    /// The output of a part with what follows it. `[B, T, D] -> [B, T, D]`
    #[cfg(feature = "train")]
    fn tuned(&self, part: SubLayer, output: Tensor<3>) -> Tensor<3> {
        match &self.bottleneck {
            None => output,
            Some(bottleneck) => bottleneck.after(part, output),
        }
    }
}
