//! AdaLoRA's budget: the ranks of all targets together shrink along a schedule, the least important
//! first.
//!
//! The importance of a singular value with its two vectors is the mean over their entries of smoothed
//! sensitivity `|w g|` times smoothed uncertainty of that sensitivity. All of it stays on the device:
//! a value is pruned if fewer values are smaller than it than have to go, which needs no sorted list.
//!
//! Source: Zhang et al. 2023, "Adaptive budget allocation for parameter-efficient fine-tuning",
//! equations 8 to 13; details as in PEFT's `RankAllocator`.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use safetensors::SafeTensors;

use super::options::AdaLora;
use crate::model::hugging_face::numbers;
use crate::model::parameters::{changed, each};
use crate::optim::{Gradients, OptimizerError};

/// How many singular values may remain at each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Of all targets together, at first.
    pub initial: usize,
    /// At last.
    pub target: usize,
    /// Steps before pruning starts.
    pub t_init: usize,
    /// Steps at the end with the final budget.
    pub t_final: usize,
    /// Steps of the run.
    pub total_steps: usize,
}

/// What decides which singular values go.
#[derive(Debug, Clone)]
pub struct Allocator {
    options: AdaLora,
    total_steps: usize,
    /// By the parameter's name.
    seen: BTreeMap<String, Seen>,
}

/// What was seen of one parameter, flat.
#[derive(Debug, Clone)]
struct Seen {
    /// Mean of `|w g|`. `[n]`
    sensitivity: Tensor<1>,
    /// Mean distance of it from that mean. `[n]`
    uncertainty: Tensor<1>,
}

impl Budget {
    /// Singular values that may remain after `step` steps: a cubic curve from first to last.
    pub fn at(&self, step: usize) -> usize {
        let end = self.total_steps.saturating_sub(self.t_final);
        if step <= self.t_init {
            return self.initial;
        }
        if step >= end {
            return self.target;
        }
        let left = 1.0 - (step - self.t_init) as f64 / (end - self.t_init) as f64;
        ((self.initial - self.target) as f64 * left.powi(3)) as usize + self.target
    }
}

impl Allocator {
    /// One that has seen nothing, for a run of so many steps.
    pub fn new(options: AdaLora, total_steps: usize) -> Self {
        Self { options, total_steps, seen: BTreeMap::new() }
    }

    /// With what an optimizer's state says was seen before.
    ///
    /// # Errors
    /// If the bytes are damaged or incomplete.
    pub fn remembering(
        mut self,
        bytes: &[u8],
        device: &burn::tensor::Device,
    ) -> Result<Self, OptimizerError> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|error| OptimizerError::Container(error.to_string()))?;
        let read = |key: String| {
            let values = file.tensor(&key).ok().and_then(|view| numbers(&key, &view).ok());
            let values = values.ok_or(OptimizerError::Missing(key))?;
            let length = values.len();
            Ok::<_, OptimizerError>(Tensor::from_data(TensorData::new(values, [length]), device))
        };
        for name in file.names() {
            let Some(name) = name.strip_prefix("sensitivity.") else { continue };
            let sensitivity = read(format!("sensitivity.{name}"))?;
            let uncertainty = read(format!("uncertainty.{name}"))?;
            self.seen.insert(name.to_owned(), Seen { sensitivity, uncertainty });
        }
        Ok(self)
    }

    /// What was seen, as tensors of an optimizer's state. Each `[n]`
    pub(crate) fn memory(&self) -> impl Iterator<Item = (String, Tensor<1>)> {
        self.seen.iter().flat_map(|(name, seen)| {
            [
                (format!("sensitivity.{name}"), seen.sensitivity.clone()),
                (format!("uncertainty.{name}"), seen.uncertainty.clone()),
            ]
        })
    }

    /// Adds the gradient of the penalty that keeps singular vectors orthogonal: the mean over all `a`
    /// and `b` of the Frobenius norm of `aT a - 1` and `b bT - 1`.
    pub fn regularize<M: Module>(&self, model: &M, gradients: &mut Gradients) {
        let vectors = singular_vectors(model);
        let share = self.options.orthogonality / vectors.len().max(1) as f64;
        let penalty = vectors.into_iter().map(|(name, vectors)| {
            let own = match vectors {
                Sided::Columns(a) => orthogonality_gradient(a),
                Sided::Rows(b) => orthogonality_gradient(b.transpose()).transpose(),
            };
            (name, own.mul_scalar(share).flatten(0, 1))
        });
        gradients.add(Gradients::named(penalty.collect()));
    }

    /// Looks at a finished step and prunes where it is time.
    pub fn after_step<M: Module>(&mut self, model: M, gradients: &Gradients, step: usize) -> M {
        let end = self.total_steps.saturating_sub(self.options.t_final);
        let values = low_rank_values(&model);
        if step < end {
            self.observe(&values, gradients);
        }
        let (names, widths) = singular_values(&values);
        let initial: usize = widths.iter().sum();
        let target = (self.options.target_rank * names.len()).min(initial);
        let AdaLora { t_init, t_final, .. } = self.options;
        let budget = Budget { initial, target, t_init, t_final, total_steps: self.total_steps };
        // PEFT leaves the last step out where `t_final` is 0: then the budget may never be reached.
        let last = step > end || step >= self.total_steps;
        let due = last || (step > t_init && step.is_multiple_of(self.options.delta_t));
        let surplus = initial - budget.at(step);
        if !due || surplus == 0 {
            return model;
        }
        let scores: Option<Vec<Tensor<1>>> =
            names.iter().zip(&widths).map(|(name, rank)| self.scores(name, *rank)).collect();
        // Nothing was observed where a run begins with its final phase.
        let Some(scores) = scores else { return model };
        let kept = keep(Tensor::cat(scores, 0), surplus);
        let mut start = 0;
        let kept = names.into_iter().zip(widths).map(|(name, width)| {
            start += width;
            (name, kept.clone().narrow(0, start - width, width))
        });
        let mut kept: BTreeMap<String, Tensor<1>> = kept.collect();
        changed(model, |name, parameter| Some(parameter.flat() * kept.remove(name)?))
    }

    fn observe(&mut self, values: &BTreeMap<String, Tensor<1>>, gradients: &Gradients) {
        let AdaLora { beta_1, beta_2, .. } = self.options;
        for (name, value) in values {
            let Some(gradient) = gradients.get(name) else { continue };
            let now = (value.clone() * gradient).abs();
            let before = self.seen.remove(name);
            let before = before.unwrap_or_else(|| Seen {
                sensitivity: now.zeros_like(),
                uncertainty: now.zeros_like(),
            });
            let sensitivity =
                before.sensitivity.mul_scalar(beta_1) + now.clone().mul_scalar(1.0 - beta_1);
            let distance = (now - sensitivity.clone()).abs().mul_scalar(1.0 - beta_2);
            let uncertainty = before.uncertainty.mul_scalar(beta_2) + distance;
            self.seen.insert(name.clone(), Seen { sensitivity, uncertainty });
        }
    }

    /// The importance of each singular value of one target. `-> [R]`
    fn scores(&self, name: &str, rank: usize) -> Option<Tensor<1>> {
        let target = name.strip_suffix(".e").expect("it names singular values");
        let importance = |name: &str| {
            let seen = self.seen.get(name)?;
            Some(seen.sensitivity.clone() * seen.uncertainty.clone())
        };
        let a = importance(&format!("{target}.a"))?;
        let b = importance(&format!("{target}.b"))?;
        let a: Tensor<1> = a.reshape([-1, rank as i64]).mean_dim(0).squeeze_dim(0);
        let b: Tensor<1> = b.reshape([rank as i64, -1]).mean_dim(1).squeeze_dim(1);
        Some(importance(name)? + a + b)
    }
}

/// One where at least `surplus` scores are smaller, zero for the others: those that go. `[N] -> [N]`
fn keep(scores: Tensor<1>, surplus: usize) -> Tensor<1> {
    let [count] = scores.dims();
    let own: Tensor<2> = scores.clone().unsqueeze_dim(1);
    let others: Tensor<2> = scores.unsqueeze_dim(0);
    let smaller = own.expand([count, count]).greater(others.expand([count, count]));
    let smaller: Tensor<1> = smaller.float().sum_dim(1).squeeze_dim(1);
    smaller.greater_equal_elem(surplus as f32).float()
}

/// The gradient of `|aT a - 1|` by `a`. `[D, R] -> [D, R]`
fn orthogonality_gradient(a: Tensor<2>) -> Tensor<2> {
    let rank = a.dims()[1];
    let excess = a.clone().transpose().matmul(a.clone()) - Tensor::eye(rank, &a.device());
    let norm = excess.clone().square().sum().sqrt().clamp_min(1e-12);
    a.matmul(excess).mul_scalar(2.0) / norm.unsqueeze()
}

/// The names and the numbers of all singular values.
fn singular_values(values: &BTreeMap<String, Tensor<1>>) -> (Vec<String>, Vec<usize>) {
    let own = values.iter().filter(|(name, _)| name.ends_with(".low_rank.e"));
    own.map(|(name, value)| (name.clone(), value.dims()[0])).unzip()
}

/// Singular vectors, untracked.
enum Sided {
    /// `[D, R]`
    Columns(Tensor<2>),
    /// `[R, F]`
    Rows(Tensor<2>),
}

/// All singular vectors by name.
fn singular_vectors(model: &impl Module) -> Vec<(String, Sided)> {
    let mut found = Vec::new();
    each(model, |name, parameter| {
        let matrix = || parameter.flat().reshape([parameter.shape()[0], parameter.shape()[1]]);
        if name.ends_with(".low_rank.a") {
            found.push((name, Sided::Columns(matrix())));
        } else if name.ends_with(".low_rank.b") {
            found.push((name, Sided::Rows(matrix())));
        }
    });
    found
}

/// All parameters of the low-rank sums by name.
fn low_rank_values(model: &impl Module) -> BTreeMap<String, Tensor<1>> {
    let mut found = BTreeMap::new();
    each(model, |name, parameter| {
        if name.contains(".low_rank.") {
            found.insert(name, parameter.flat());
        }
    });
    found
}
