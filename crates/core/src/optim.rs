//! One optimizer step: gradients by name, global-norm clipping, AdamW, learning-rate schedules.
//!
//! Own code rather than burn's `ModuleOptimizer` for three reasons: clipping there is per tensor
//! while the field means the global norm; weight decay must spare gains and biases; and the state
//! is saved under the parameters' names, so that a resumed run continues to the same bytes.
//!
//! Source: Loshchilov and Hutter 2019 (AdamW), Pascanu et al. 2013 (clipping).

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::hugging_face::numbers;
use crate::model::parameters::{changed, each};
use crate::tuning::Allocator;

/// The gradient of every trained parameter in f32, flat, by name. Each `[n]`, n its number of values
#[derive(Debug, Clone, Default)]
pub struct Gradients {
    by_name: BTreeMap<String, Tensor<1>>,
}

/// The constants of AdamW.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay of the mean of gradients.
    pub beta_1: f64,
    /// Decay of the mean of squared gradients.
    pub beta_2: f64,
    /// Added to the root of the second.
    pub epsilon: f64,
    /// Share of a matrix that one unit of learning rate removes; gains and biases are spared.
    pub weight_decay: f64,
}

/// AdamW with its state.
#[derive(Debug, Clone)]
pub struct AdamW {
    config: AdamWConfig,
    steps: u64,
    state: BTreeMap<String, Moments>,
    /// Prunes ranks, where the tuning asks for it.
    allocator: Option<Allocator>,
}

/// The state of one parameter, flat.
#[derive(Debug, Clone)]
struct Moments {
    /// Mean of gradients. `[n]`
    first: Tensor<1>,
    /// Mean of squared gradients. `[n]`
    second: Tensor<1>,
}

/// How the learning rate moves from its peak after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// It stays.
    Constant,
    /// A straight line to zero.
    Linear,
    /// Half a cosine wave to zero.
    Cosine,
}

/// The learning rate of every step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The learning rate after the warm-up.
    pub peak: f64,
    /// Steps of a straight line from zero up.
    pub warmup_steps: usize,
    /// Steps of the whole run.
    pub total_steps: usize,
    /// What follows the warm-up.
    pub decay: Decay,
}

/// Why a stored optimizer state cannot be used.
#[derive(Debug, Error)]
pub enum OptimizerError {
    /// The container is damaged.
    #[error("the optimizer state is damaged ({0}): resume from an earlier checkpoint")]
    Container(String),
    /// A tensor is missing or unreadable.
    #[error("the optimizer state lacks `{0}`: resume from an earlier checkpoint")]
    Missing(String),
    /// The device did not return the state.
    #[error("the device did not return the optimizer state: {0}")]
    Device(String),
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta_1: 0.9, beta_2: 0.95, epsilon: 1e-8, weight_decay: 0.1 }
    }
}

impl Schedule {
    /// The learning rate of step `step`, counted from zero.
    pub fn learning_rate(&self, step: usize) -> f64 {
        if step < self.warmup_steps {
            return self.peak * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let left = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        let progress = ((step - self.warmup_steps) as f64 / left as f64).min(1.0);
        match self.decay {
            Decay::Constant => self.peak,
            Decay::Linear => self.peak * (1.0 - progress),
            Decay::Cosine => self.peak * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        }
    }
}

impl Gradients {
    /// Takes the gradients of `model`'s parameters out of a backward pass.
    pub fn of(model: &impl Module, mut gradients: burn::tensor::Gradients) -> Self {
        let mut by_name = BTreeMap::new();
        each(model, |name, parameter| {
            if let Some(gradient) = parameter.gradient(&mut gradients) {
                by_name.insert(name, gradient.cast(DType::F32));
            }
        });
        Self { by_name }
    }

    /// Gradients by the parameters' names. Each `[n]`
    pub fn named(by_name: BTreeMap<String, Tensor<1>>) -> Self {
        Self { by_name }
    }

    /// Adds the gradients of another micro-batch.
    pub fn add(&mut self, other: Self) {
        for (name, gradient) in other.by_name {
            match self.by_name.get_mut(&name) {
                Some(sum) => sum.inplace(|sum| sum + gradient),
                None => {
                    self.by_name.insert(name, gradient);
                }
            }
        }
    }

    /// With the gradients of another micro-batch.
    #[must_use]
    pub fn plus(mut self, other: Self) -> Self {
        self.add(other);
        self
    }

    /// The Euclidean norm over all parameters together. `[1]`
    ///
    /// # Panics
    /// If there is no gradient at all.
    pub fn norm(&self) -> Tensor<1> {
        let squares = self.by_name.values().map(|gradient| gradient.clone().square().sum());
        squares.reduce(|sum, square| sum + square).expect("a model has parameters").sqrt()
    }

    /// Scales all gradients so that their norm is at most `max_norm`; returns the norm before. `[1]`
    pub fn clip(&mut self, max_norm: f64) -> Tensor<1> {
        let norm = self.norm();
        // As torch.nn.utils.clip_grad_norm_: epsilon 1e-6 under the ratio.
        let scale = norm.clone().add_scalar(1e-6).recip().mul_scalar(max_norm).clamp_max(1.0);
        for gradient in self.by_name.values_mut() {
            gradient.inplace(|gradient| gradient * scale.clone());
        }
        norm
    }

    /// Multiplies all gradients.
    pub(crate) fn scale(&mut self, factor: f64) {
        for gradient in self.by_name.values_mut() {
            gradient.inplace(|gradient| gradient.mul_scalar(factor));
        }
    }

    /// The gradient of one parameter, flat. `[n]`
    pub fn get(&self, name: &str) -> Option<Tensor<1>> {
        self.by_name.get(name).cloned()
    }

    /// The parameters' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}

impl AdamW {
    /// An optimizer without history.
    pub fn new(config: AdamWConfig) -> Self {
        Self { config, steps: 0, state: BTreeMap::new(), allocator: None }
    }

    /// The same, which prunes ranks after its steps.
    #[must_use]
    pub fn allocating(self, allocator: Allocator) -> Self {
        Self { allocator: Some(allocator), ..self }
    }

    /// Adds the gradient of what the tuning adds to every loss: before clipping.
    pub fn regularize<M: Module>(&self, model: &M, gradients: &mut Gradients) {
        if let Some(allocator) = &self.allocator {
            allocator.regularize(model, gradients);
        }
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The model, in f32, after one step against `gradients`.
    pub fn step<M: Module>(&mut self, model: M, mut gradients: Gradients, learning_rate: f64) -> M {
        self.steps += 1;
        let allocator = self.allocator.take();
        let seen = allocator.as_ref().map(|_| gradients.clone());
        let model = changed(model, |name, parameter| {
            let gradient = gradients.by_name.remove(name)?;
            let matrix = parameter.shape().len() >= 2;
            let weight_decay = if matrix { self.config.weight_decay } else { 0.0 };
            let rates = (learning_rate, weight_decay);
            Some(self.update(name.to_owned(), parameter.flat(), gradient, rates))
        });
        let (Some(mut allocator), Some(seen)) = (allocator, seen) else { return model };
        let model = allocator.after_step(model, &seen, self.steps as usize);
        self.allocator = Some(allocator);
        model
    }

    /// One parameter after the step. `[n], [n] -> [n]`
    fn update(
        &mut self,
        name: String,
        parameter: Tensor<1>,
        gradient: Tensor<1>,
        rates: (f64, f64),
    ) -> Tensor<1> {
        let AdamWConfig { beta_1, beta_2, epsilon, .. } = self.config;
        let (learning_rate, weight_decay) = rates;
        let moments = self.state.remove(&name).unwrap_or_else(|| Moments {
            first: gradient.zeros_like(),
            second: gradient.zeros_like(),
        });
        let mean = gradient.clone().mul_scalar(1.0 - beta_1);
        let first = moments.first.mul_scalar(beta_1) + mean;
        let second = moments.second.mul_scalar(beta_2)
            + gradient.clone().mul(gradient).mul_scalar(1.0 - beta_2);
        let correction_1 = 1.0 - beta_1.powi(self.steps as i32);
        let correction_2 = (1.0 - beta_2.powi(self.steps as i32)).sqrt();
        let scale = second.clone().sqrt().mul_scalar(1.0 / correction_2).add_scalar(epsilon);
        let move_by = (first.clone() / scale).mul_scalar(learning_rate / correction_1);
        let value = if weight_decay == 0.0 {
            parameter
        } else {
            parameter.mul_scalar(1.0 - learning_rate * weight_decay)
        };
        self.state.insert(name, Moments { first, second });
        value - move_by
    }

    /// The state as safetensors bytes.
    ///
    /// # Errors
    /// If the device does not return it.
    pub async fn to_bytes(&self) -> Result<Vec<u8>, OptimizerError> {
        let mut stored = Vec::new();
        let moments = self.state.iter().flat_map(|(name, moments)| {
            let parts = [("first", &moments.first), ("second", &moments.second)];
            parts.map(|(part, tensor)| (format!("{part}.{name}"), tensor.clone()))
        });
        for (name, tensor) in moments.chain(self.allocator.iter().flat_map(Allocator::memory)) {
            let data = tensor.into_data_async().await;
            let data = data.map_err(|error| OptimizerError::Device(format!("{error:?}")))?;
            let values = data.try_to_vec::<f32>().expect("the state is f32");
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            stored.push((name, vec![values.len()], bytes));
        }
        let views = stored.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            (name.as_str(), view.expect("bytes fit the shape"))
        });
        let metadata = [("steps".to_owned(), self.steps.to_string())].into();
        safetensors::serialize(views, Some(metadata))
            .map_err(|error| OptimizerError::Container(error.to_string()))
    }

    /// Reads a state that [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// If the bytes are damaged or incomplete.
    pub fn from_bytes(
        config: AdamWConfig,
        bytes: &[u8],
        device: &Device,
    ) -> Result<Self, OptimizerError> {
        let damaged =
            |error: safetensors::SafeTensorError| OptimizerError::Container(error.to_string());
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let steps = metadata.metadata().as_ref().and_then(|table| table.get("steps"));
        let steps = steps.and_then(|steps| steps.parse().ok());
        let steps = steps.ok_or_else(|| OptimizerError::Missing("steps".to_owned()))?;
        let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let read = |name: &str| {
            let values = numbers(name, &file.tensor(name).ok()?).ok()?;
            let length = values.len();
            Some(Tensor::<1>::from_data(TensorData::new(values, [length]), device))
        };
        let mut state = BTreeMap::new();
        for name in file.names() {
            let Some(name) = name.strip_prefix("first.") else { continue };
            let need = |part: &str| {
                let key = format!("{part}.{name}");
                read(&key).ok_or(OptimizerError::Missing(key))
            };
            let (first, second) = (need("first")?, need("second")?);
            state.insert(name.to_owned(), Moments { first, second });
        }
        Ok(Self { config, steps, state, allocator: None })
    }
}
