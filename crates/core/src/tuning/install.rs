//! Puts small parameters at a model, takes them off, and makes them part of its weights.

use burn::module::{Module, Param, Reparameterization, Reparameterizer};
use burn::nn::Linear;
use burn::tensor::{Tensor, TensorData};
use rand::Rng;

use super::low_rank::{LowRank, beside, column_lengths};
use super::options::{AdaLora, Lora, Tuning};
use super::packed_base::{unpack_base, with_plain_base};
use super::rescale::{Rescale, Side};
use super::target::{Place, Target, places};
use crate::model::Transformer;
use crate::model::parameters::normal;

/// Standard deviation of random starts that are not scaled by a width, as in PEFT.
const DEVIATION: f64 = 0.02;

/// The model with fresh small parameters, which change nothing yet, and everything else frozen: no
/// gradient, and so no state of an optimizer. `full` leaves it as it is.
pub fn install(model: Transformer, tuning: &Tuning, coins: &mut impl Rng) -> Transformer {
    if tuning.is_full() {
        return model;
    }
    with_plain_base(model.no_grad(), |model| at_plain_base(model, tuning, coins))
}

fn at_plain_base(mut model: Transformer, tuning: &Tuning, coins: &mut impl Rng) -> Transformer {
    match tuning {
        Tuning::Full {} => {}
        Tuning::Lora(lora) => {
            at(&mut model, &lora.target_modules, |linear, _| {
                let small = lora_start(linear, lora, coins);
                attach(linear, small);
            });
        }
        Tuning::Adalora(ada) => {
            at(&mut model, &ada.target_modules, |linear, _| {
                let small = adalora_start(linear, ada, coins);
                attach(linear, small);
            });
        }
        Tuning::Ia3(ia3) => at(&mut model, &ia3.target_modules, |linear, target| {
            let [inputs, outputs] = linear.weight.dims();
            let side = Side::of(target);
            let width = if side == Side::Input { inputs } else { outputs };
            let factor = from_host(&linear.weight, vec![1.0; width], [width]);
            attach(linear, Rescale::new(factor, side));
        }),
        Tuning::Bottleneck(_) | Tuning::Prefix(_) | Tuning::Prompt(_) => {
            super::extra::install(&mut model, tuning, coins);
        }
    }
    model
}

/// The model with its small parameters in its weights, which are unpacked, for reading. What cannot be merged stays.
///
/// `model` must live on a device without autodiff.
pub fn merge(model: Transformer) -> Transformer {
    let mut model = unpack_base(model);
    for Place { linear, .. } in places(&mut model) {
        if let Some(rescale) = linear.weight.reparameterization::<Rescale>().cloned() {
            let bias = linear.bias.take();
            linear.bias = bias.map(|bias| bias.map(|bias| rescale.bias(bias)));
        }
    }
    model.materialize()
}

/// The model without its small parameters: the base as it was or was rounded, still frozen.
pub fn detach(model: Transformer) -> Transformer {
    let mut model = unpack_base(model);
    for Place { linear, .. } in places(&mut model) {
        linear.weight = Param::initialized(linear.weight.id, linear.weight.base());
    }
    super::extra::detach(&mut model);
    model
}

/// Whether a forward pass for training draws random numbers of the device.
pub fn has_dropout(model: &Transformer) -> bool {
    let mut model = model.clone();
    let config = model.config().dropout;
    let dropped = |place: &Place<'_>| {
        let small = place.linear.weight.reparameterization::<LowRank>();
        small.is_some_and(|small| small.dropout() > 0.0)
    };
    config > 0.0 || places(&mut model).iter().any(dropped)
}

/// What a projection with small parameters gives; none where it has none. `[B, T, D] -> [B, T, F]`
pub(crate) fn forward(layer: &Linear, input: &Tensor<3>) -> Option<Tensor<3>> {
    if let Some(small) = layer.weight.reparameterization::<LowRank>() {
        return Some(small.forward(layer, input.clone()));
    }
    let small = layer.weight.reparameterization::<Rescale>()?;
    Some(small.forward(layer, input.clone()))
}

/// Hangs small parameters on the weight of a projection.
pub(crate) fn attach<R: Reparameterization>(linear: &mut Linear, small: R) {
    *linear = linear.clone().apply_reparameterization(Attach(Some(small)));
}

/// Numbers as a tensor beside a parameter.
pub(crate) fn from_host<const D: usize, const E: usize>(
    beside: &Param<Tensor<D>>,
    values: Vec<f32>,
    shape: [usize; E],
) -> Tensor<E> {
    let like = beside.base();
    Tensor::from_data(TensorData::new(values, shape), (&like.device(), like.dtype()))
}

/// Draws from the normal distribution.
pub(crate) fn normals(count: usize, deviation: f64, coins: &mut impl Rng) -> Vec<f32> {
    (0..count).map(|_| (normal(coins) * deviation) as f32).collect()
}

/// Does something at every target of every block.
fn at(model: &mut Transformer, targets: &[Target], mut work: impl FnMut(&mut Linear, Target)) {
    let all = places(model).into_iter().filter(|place| targets.contains(&place.target));
    all.for_each(|place| work(place.linear, place.target));
}

/// `a` uniform within one over the root of the inputs, as PEFT's; `b` zero.
fn lora_start(linear: &Linear, lora: &Lora, coins: &mut impl Rng) -> LowRank {
    let [inputs, outputs] = linear.weight.dims();
    let bound = (inputs as f64).powf(-0.5);
    let uniform = |bits: u64| (bits >> 11) as f64 / (1u64 << 53) as f64;
    let mut draw = || ((2.0 * uniform(coins.next_u64()) - 1.0) * bound) as f32;
    let a = (0..inputs * lora.rank).map(|_| draw()).collect();
    let a = from_host(&linear.weight, a, [inputs, lora.rank]);
    let b = from_host(&linear.weight, vec![0.0; lora.rank * outputs], [lora.rank, outputs]);
    let small = LowRank::new(a, b, lora.scale()).with_dropout(lora.dropout);
    if lora.use_dora {
        let base = linear.weight.base();
        let length = column_lengths(base.clone().without_autodiff());
        small.with_magnitude(beside(length, &base))
    } else {
        small
    }
}

/// Singular vectors random, singular values zero, as PEFT's.
fn adalora_start(linear: &Linear, ada: &AdaLora, coins: &mut impl Rng) -> LowRank {
    let ([inputs, outputs], rank) = (linear.weight.dims(), ada.init_rank);
    let a = normals(inputs * rank, DEVIATION, coins);
    let b = normals(rank * outputs, DEVIATION, coins);
    let a = from_host(&linear.weight, a, [inputs, rank]);
    let b = from_host(&linear.weight, b, [rank, outputs]);
    LowRank::new(a, b, ada.scale()).with_dropout(ada.dropout).with_singular_values(from_host(
        &linear.weight,
        vec![0.0; rank],
        [rank],
    ))
}

struct Attach<R>(Option<R>);

impl<R: Reparameterization> Reparameterizer for Attach<R> {
    type Reparam = R;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<R>) {
        let small = if path == "weight" { self.0.take() } else { None };
        (param, small)
    }
}
