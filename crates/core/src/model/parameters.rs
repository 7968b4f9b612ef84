//! Walks over a model's parameters: names, a deterministic random start, counts.
//!
//! A parameter's name is its path in the module tree, joined by dots:
//! `blocks.0.attention.query.weight`.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::Rng;

use super::transformer::Transformer;
use crate::first_order::constant;

/// Follows the path of a walk through a module.
#[derive(Debug, Default)]
pub struct Path {
    parts: Vec<String>,
}

impl Path {
    /// Steps into a part.
    pub fn enter(&mut self, name: &str) {
        self.parts.push(name.to_owned());
    }

    /// Steps out again.
    pub fn exit(&mut self) {
        self.parts.pop();
    }

    /// The dotted name of where the walk stands.
    pub fn name(&self) -> String {
        self.parts.join(".")
    }
}

/// One parameter as a walk comes to it: nothing is laid out or leaves the device before it is asked for.
pub(crate) trait Parameter {
    /// Its sizes.
    fn shape(&self) -> Vec<usize>;

    /// Its numbers without gradients; laid out anew, they are a copy. `[n]`
    fn flat(&self) -> Tensor<1>;

    /// Other numbers on its device and of its number type. `[n]`
    fn filled_with(&self, values: Vec<f32>) -> Tensor<1>;

    /// What the loss says of it, taken from `gradients`. `[n]`
    #[cfg(feature = "train")]
    fn gradient(&self, gradients: &mut burn::tensor::Gradients) -> Option<Tensor<1>>;
}

impl<const D: usize> Parameter for Param<Tensor<D>> {
    fn shape(&self) -> Vec<usize> {
        self.lazy_shape().to_vec()
    }

    fn flat(&self) -> Tensor<1> {
        self.val().without_autodiff().flatten(0, D - 1)
    }

    fn filled_with(&self, values: Vec<f32>) -> Tensor<1> {
        let (count, like) = (values.len(), self.val().without_autodiff());
        Tensor::from_data(TensorData::new(values, [count]), (&like.device(), like.dtype()))
    }

    #[cfg(feature = "train")]
    fn gradient(&self, gradients: &mut burn::tensor::Gradients) -> Option<Tensor<1>> {
        Some(self.val().grad_remove(gradients)?.flatten(0, D - 1))
    }
}

/// Shows every parameter with its name.
pub(crate) fn each(model: &impl Module, mut look: impl FnMut(String, &dyn Parameter)) {
    model.visit(&mut Walk { path: Path::default(), look: &mut look });
}

/// The module with other numbers where `change` has some, tracked as the old ones were. `-> [n]`
pub(crate) fn changed<M: Module>(
    module: M,
    mut change: impl FnMut(&str, &dyn Parameter) -> Option<Tensor<1>>,
) -> M {
    module.map(&mut Change { path: Path::default(), change: &mut change })
}

struct Walk<'a> {
    path: Path,
    look: &'a mut dyn FnMut(String, &dyn Parameter),
}

impl ModuleVisitor for Walk<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        (self.look)(self.path.name(), param);
    }
}

struct Change<'a> {
    path: Path,
    change: &'a mut dyn FnMut(&str, &dyn Parameter) -> Option<Tensor<1>>,
}

impl ModuleMapper for Change<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(numbers) = (self.change)(&self.path.name(), &param) else { return param };
        param.map(|tensor| {
            let numbers = numbers.reshape(tensor.shape());
            match tensor.is_autodiff() {
                true => constant(numbers, &tensor).set_require_grad(tensor.is_require_grad()),
                false => numbers,
            }
        })
    }
}

/// A random start: matrices from a normal distribution of standard deviation 0.02, those that end in
/// the residual stream divided by `sqrt(2 n_layers)`, gains one, biases zero.
///
/// Drawn on the host, so that every device starts from the same bytes.
/// Source: Radford et al. 2019, section 2.3.
pub fn initialize(model: Transformer, coins: &mut impl Rng) -> Transformer {
    start(model, 0.02, coins)
}

/// The same with a standard deviation of `1 / sqrt(D)`, for models so narrow that 0.02 lets them attend to
/// everything alike for hundreds of steps.
///
/// Source: LeCun et al. 1998 (Efficient BackProp), section 4.6.
pub fn initialize_by_width(model: Transformer, coins: &mut impl Rng) -> Transformer {
    let deviation = (model.config().d_model as f64).powf(-0.5);
    start(model, deviation, coins)
}

fn start(model: Transformer, deviation: f64, coins: &mut impl Rng) -> Transformer {
    let residual_scale = (2.0 * model.config().n_layers as f64).powf(-0.5);
    changed(model, |name, parameter| {
        let shape = parameter.shape();
        if shape.len() < 2 {
            return None;
        }
        let residual = name.ends_with("output.weight") || name.ends_with("down.weight");
        let deviation = deviation * if residual { residual_scale } else { 1.0 };
        let draw = |_| (normal(coins) * deviation) as f32;
        Some(parameter.filled_with((0..shape.iter().product::<usize>()).map(draw).collect()))
    })
}

/// A parameter with the same number everywhere, made only if nothing takes its place before it is used.
///
/// Not by burn's initializers: they bring every random start into the page.
pub(super) fn filled<const D: usize>(
    shape: [usize; D],
    value: f32,
    device: &Device,
) -> Param<Tensor<D>> {
    let init = move |device: &Device, tracked| {
        Tensor::full(shape, value, device).set_require_grad(tracked)
    };
    Param::uninitialized(ParamId::new(), init, device.clone(), true, shape.into())
}

/// Number of trained values.
pub fn count(model: &Transformer) -> usize {
    let mut count = 0;
    each(model, |_, parameter| count += parameter.shape().iter().product::<usize>());
    count
}

/// The same model with every parameter in `dtype`: the working copy of mixed precision.
pub fn cast(model: Transformer, dtype: DType) -> Transformer {
    model.map(&mut Cast(dtype))
}

struct Cast(DType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| {
            let tracked = tensor.is_require_grad();
            tensor.detach().cast(self.0).detach().set_require_grad(tracked)
        })
    }
}

/// New values for a parameter, tracked as the old ones were. `[..] -> [..]`
pub(crate) fn replace<const D: usize>(tensor: Tensor<D>, data: TensorData) -> Tensor<D> {
    let tracked = tensor.is_require_grad();
    Tensor::from_data(data, (&tensor.device(), tensor.dtype())).set_require_grad(tracked)
}

/// One draw from the standard normal distribution (Box and Muller 1958).
pub(crate) fn normal(coins: &mut impl Rng) -> f64 {
    // In (0, 1], so that the logarithm is finite.
    let uniform = |bits: u64| ((bits >> 11) + 1) as f64 / (1u64 << 53) as f64;
    let (radius, angle) = (uniform(coins.next_u64()), uniform(coins.next_u64()));
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}
