//! Second moments of the inputs of each matrix on real text: the mean of `x x^T`.
//!
//! Source: Frantar et al. 2022 (GPTQ), which calls it the Hessian.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use super::feedback::Feedback;
use crate::model::{Block, PaddingSide, Stages, Tokens, Transformer};

/// Share of a tied embedding's second moments that stands for its rows being read as they are, not by what meets them in
/// the output head.
const READ: f32 = 0.1;

/// Mean of `x x^T` over the inputs x of each matrix, by the parameter's name; matrices that read the same share one.
#[derive(Debug, Clone, Default)]
pub struct Moments(BTreeMap<String, (usize, Vec<f32>)>);

/// How rounding is made up for among the inputs of each parameter. The last is kept, since neighbors read the same.
pub(super) struct Feedbacks<'a> {
    moments: Option<&'a Moments>,
    last: Option<(&'a str, Feedback)>,
}

impl<'a> Feedbacks<'a> {
    pub(super) fn of_moments(moments: Option<&'a Moments>) -> Self {
        Self { moments, last: None }
    }

    /// None where the inputs are not known, or some were not finite.
    pub(super) fn of(&mut self, parameter: &str) -> Option<&Feedback> {
        let all = &self.moments?.0;
        let (name, (width, moments)) = all.get_key_value(source(parameter).as_str())?;
        if !moments.iter().all(|moment| moment.is_finite()) {
            return None;
        }
        if self.last.as_ref().is_none_or(|(last, _)| last != name) {
            self.last = Some((name, Feedback::of(moments, *width)));
        }
        self.last.as_ref().map(|(_, feedback)| feedback)
    }
}

/// Reads texts of at most a context each. The moments of all matrices are on the device at once, a square of its inputs each.
///
/// # Errors
/// What the device reports when it does not return the numbers.
pub async fn moments(model: &Transformer, texts: &[&[u32]]) -> Result<Moments, String> {
    let mut sums: BTreeMap<String, Tensor<2>> = BTreeMap::new();
    let mut count = 0;
    for text in texts.iter().filter(|text| !text.is_empty()) {
        count += text.len();
        let tokens = Tokens::new(&[text], PaddingSide::Right, &model.device());
        let mut collect = |name: String, input: Tensor<3>| {
            let [_, time, width] = input.dims();
            let input = input.reshape([time, width]);
            let squares = input.clone().transpose().matmul(input);
            let sum = sums.remove(&name);
            sums.insert(name, sum.map_or(squares.clone(), |sum| sum + squares));
        };
        let stages = model.stages(&tokens);
        let last = stages.last().map(|stage| stage.after.clone());
        for (place, (block, stage)) in model.blocks.iter().zip(stages).enumerate() {
            for (name, input) in inputs(block, stage) {
                collect(format!("blocks.{place}.{name}.weight"), input);
            }
        }
        let name = if model.head.is_some() { "head.weight" } else { EMBEDDING };
        last.into_iter().for_each(|last| collect(name.to_owned(), model.norm.forward(last)));
    }
    let mut all = BTreeMap::new();
    for (name, sum) in sums {
        let width = sum.dims()[0];
        let data = sum.div_scalar(count.max(1) as f64).into_data_async().await;
        let data = data.map_err(|error| format!("{error:?}"))?;
        let mut moments = data.convert::<f32>().try_to_vec().expect("converted to f32");
        if name == EMBEDDING {
            also_read(&mut moments, width);
        }
        all.insert(name, (width, moments));
    }
    Ok(Moments(all))
}

/// The matrix that is read, and where it is tied met in the output head too.
pub(super) const EMBEDDING: &str = "token_embedding.weight";

/// Adds that the rows are read too, where all their numbers count alike.
fn also_read(moments: &mut [f32], width: usize) {
    let mean = (0..width).map(|place| moments[place * width + place]).sum::<f32>() / width as f32;
    moments.iter_mut().for_each(|moment| *moment *= 1.0 - READ);
    (0..width).for_each(|place| moments[place * width + place] += READ * mean);
}

/// Under which name the inputs of a parameter are kept.
fn source(parameter: &str) -> String {
    let query = parameter.replace(".attention.key.", ".attention.query.");
    let query = query.replace(".attention.value.", ".attention.query.");
    query.replace(".feed_forward.gate.", ".feed_forward.up.")
}

/// What the matrices of a block are multiplied with. `[1, T, D]` each
fn inputs(block: &Block, stages: Stages) -> [(&'static str, Tensor<3>); 4] {
    let read = block.feed_forward_norm.forward(stages.between);
    [
        ("attention.query", block.attention_norm.forward(stages.before)),
        ("attention.output", stages.attended),
        ("feed_forward.down", block.feed_forward.inner(read.clone())),
        ("feed_forward.up", read),
    ]
}
