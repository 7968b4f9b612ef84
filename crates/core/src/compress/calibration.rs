//! Which inputs of each layer are loud on real text: the mean square of every column.
//!
//! Known are the inputs of queries, keys, values and of the feed-forward layer; the input of attention's
//! output projection counts as equally loud everywhere.
//! Source: Lin et al. 2024 (AWQ); the importance matrix of llama.cpp.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, activation};

use crate::model::{Block, PaddingSide, Tokens, Transformer};

/// Mean square of every input of a matrix, by the parameter's name.
#[derive(Debug, Clone, Default)]
pub struct Loudness(BTreeMap<String, Vec<f32>>);

impl Loudness {
    /// Of a parameter's inputs. `[D]`
    pub fn of(&self, parameter: &str) -> Option<&[f32]> {
        self.0.get(parameter).map(Vec::as_slice)
    }
}

/// Reads texts of at most a context each and listens.
///
/// # Errors
/// What the device reports when it does not return the numbers.
pub async fn loudness(model: &Transformer, texts: &[&[u32]]) -> Result<Loudness, String> {
    let mut sums: BTreeMap<String, Tensor<1>> = BTreeMap::new();
    let mut count = 0;
    for text in texts.iter().filter(|text| !text.is_empty()) {
        count += text.len();
        let tokens = Tokens::new(&[text], PaddingSide::Right, &model.device());
        for (place, (block, stream)) in model.blocks.iter().zip(model.streams(&tokens)).enumerate()
        {
            for (name, input) in inputs(block, stream) {
                let [_, time, width] = input.dims();
                let squares = input.square().reshape([time, width]).sum_dim(0).reshape([width]);
                let name = format!("blocks.{place}.{name}.weight");
                let sum = sums.remove(&name);
                sums.insert(name, sum.map_or(squares.clone(), |sum| sum + squares));
            }
        }
    }
    let mut all = BTreeMap::new();
    for (name, sum) in sums {
        let data = sum.div_scalar(count.max(1) as f64).into_data_async().await;
        let data = data.map_err(|error| format!("{error:?}"))?;
        all.insert(name, data.convert::<f32>().try_to_vec().expect("converted to f32"));
    }
    Ok(Loudness(all))
}

/// What the matrices of a block are multiplied with, by name; `before` and `between` are the residual
/// streams before its two parts. `[1, T, D]` each
fn inputs(block: &Block, [before, between, _]: [Tensor<3>; 3]) -> Vec<(&'static str, Tensor<3>)> {
    let attended = block.attention_norm.forward(before);
    let read = block.feed_forward_norm.forward(between);
    let layer = &block.feed_forward;
    let mut all = vec![
        ("attention.query", attended.clone()),
        ("attention.key", attended.clone()),
        ("attention.value", attended),
        ("feed_forward.up", read.clone()),
    ];
    if let Some(gate) = &layer.gate {
        let inner = activation::silu(gate.forward(read.clone())) * layer.up.forward(read.clone());
        all.push(("feed_forward.gate", read));
        all.push(("feed_forward.down", inner));
    }
    all
}
