//! The projections that small parameters can sit at.

use burn::nn::Linear;
use serde::{Deserialize, Serialize};

use crate::model::{Block, Transformer};

/// One of the projections of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Of attention.
    Query,
    /// Of attention.
    Key,
    /// Of attention.
    Value,
    /// Of attention, behind the heads.
    Output,
    /// Of the feed-forward layer, where it has one.
    Gate,
    /// Of the feed-forward layer.
    Up,
    /// Of the feed-forward layer, back into the residual stream.
    Down,
}

/// A projection in its place.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) target: Target,
    pub(crate) linear: &'a mut Linear,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    /// The name of its weight in block `layer`.
    pub(crate) fn weight(self, layer: usize) -> String {
        let part = match self {
            Self::Query => "attention.query",
            Self::Key => "attention.key",
            Self::Value => "attention.value",
            Self::Output => "attention.output",
            Self::Gate => "feed_forward.gate",
            Self::Up => "feed_forward.up",
            Self::Down => "feed_forward.down",
        };
        format!("blocks.{layer}.{part}.weight")
    }
}

/// Every projection of every block, from the input up.
pub(crate) fn places(model: &mut Transformer) -> Vec<Place<'_>> {
    model.blocks.iter_mut().flat_map(of_block).collect()
}

/// Every projection of a block.
pub(crate) fn of_block(block: &mut Block) -> Vec<Place<'_>> {
    let (attention, feed_forward) = (&mut block.attention, &mut block.feed_forward);
    let all = [
        (Target::Query, Some(&mut attention.query)),
        (Target::Key, Some(&mut attention.key)),
        (Target::Value, Some(&mut attention.value)),
        (Target::Output, Some(&mut attention.output)),
        (Target::Gate, feed_forward.gate.as_mut()),
        (Target::Up, Some(&mut feed_forward.up)),
        (Target::Down, Some(&mut feed_forward.down)),
    ];
    let there = all.into_iter();
    there.filter_map(|(target, linear)| Some(Place { target, linear: linear? })).collect()
}
