//! Whether a device computes what flex computes, on two tiny models.
//!
//! Logits, logits decoded token by token over the cache, every gradient of a supervised loss: each
//! may differ by a thousandth of its largest value. Drivers were seen that pass the first and fail
//! the others. Leaves out: which device to test, where the outcome is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::{Mutex, PoisonError};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use kudos_core::learn::{Activations, learn, training_device};
use kudos_core::model::hugging_face::{StoredAs, read_weights, write_weights};
use kudos_core::model::{Cache, PaddingSide, Tokens, Transformer, TransformerConfig, initialize};
use kudos_core::objective::{Aggregation, Supervised};
use pollster::block_on;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Largest difference from flex, relative to the largest value of the same tensor.
pub const TOLERANCE: f32 = 1e-3;

/// A gradient that is zero in exact arithmetic (the bias of keys) holds rounding noise alone: below
/// this share of the largest gradient, it is compared with that share.
const NOISE: f32 = 1e-3;

/// Weights times this give logits that are far from uniform.
const SCALE: f64 = 12.0;

const ROWS: [&[u32]; 2] = [&[5, 9, 3, 30, 31, 7, 12, 2, 36, 1, 1, 20], &[8, 2, 3, 19, 5, 6, 7]];

/// Tokens of each row that are decoded one by one; the others go in together.
const DECODED: usize = 5;

/// How a self-test ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All agree. The largest differences, relative to the largest value of the same tensor.
    Passed {
        /// Of logits from one forward pass.
        logits: f32,
        /// Of logits decoded token by token.
        cached_logits: f32,
        /// Of the gradient of any parameter.
        gradients: f32,
    },
    /// Something does not.
    Failed {
        /// What differed and by how much, or how the device stopped.
        reason: String,
    },
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// Logits from one forward pass.
    Logits,
    /// Logits decoded token by token.
    CachedLogits,
    /// The gradient of a parameter, by name.
    Gradient(String),
}

/// The numbers of a device on one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The model's family.
    pub family: &'static str,
    /// Each quantity, flat.
    pub values: BTreeMap<Quantity, Vec<f32>>,
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Logits => f.write_str("logits"),
            Self::CachedLogits => f.write_str("cached logits"),
            Self::Gradient(parameter) => write!(f, "gradient of {parameter}"),
        }
    }
}

/// Tests the device that `open` brings up. A panic on the way is a failure.
pub fn run(open: impl FnOnce() -> Result<Device, String>) -> Outcome {
    let found = quietly(|| open().map(|device| measure(&device)));
    match found.and_then(|opened| opened) {
        Ok(found) => compare(&measure(&Device::flex()), &found),
        Err(reason) => Outcome::Failed { reason },
    }
}

/// The value of `work`, or the first line of its panic, which is not printed.
///
/// # Errors
/// If `work` panics.
pub fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // The hook belongs to the process: two of these at once would restore each other's.
    static HOOK: Mutex<()> = Mutex::new(());
    let alone = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let value = catch_unwind(AssertUnwindSafe(work));
    set_hook(hook);
    drop(alone);
    value.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        format!("it panicked: {}", text.lines().next().unwrap_or("without a message"))
    })
}

/// Holds `found` against what flex measured.
pub fn compare(flex: &[Measured], found: &[Measured]) -> Outcome {
    let mut worst = [0.0f32; 3];
    let mut failures = Vec::new();
    for (flex, found) in flex.iter().zip(found) {
        let largest_gradient = gradients(flex).map(|values| largest(values)).fold(0.0, f32::max);
        for (quantity, expected) in &flex.values {
            let (column, floor) = match quantity {
                Quantity::Logits => (0, 0.0),
                Quantity::CachedLogits => (1, 0.0),
                Quantity::Gradient(_) => (2, NOISE * largest_gradient),
            };
            let values = found.values.get(quantity).map_or(&[][..], Vec::as_slice);
            let difference = relative_difference(expected, values, floor);
            worst[column] = worst[column].max(difference);
            if difference > TOLERANCE {
                failures.push((difference, format!("{quantity} of the {} model", flex.family)));
            }
        }
    }
    let [logits, cached_logits, gradients] = worst;
    failures.sort_by(|one, other| other.0.total_cmp(&one.0));
    match failures.first() {
        None => Outcome::Passed { logits, cached_logits, gradients },
        Some((difference, what)) => {
            let others = match failures.len() - 1 {
                0 => String::new(),
                more => format!(", and {more} more differ"),
            };
            Outcome::Failed {
                reason: format!(
                    "{what} differs from flex by {difference:.1e} of the largest value, \
                     {TOLERANCE:.0e} is allowed{others}"
                ),
            }
        }
    }
}

fn gradients(measured: &Measured) -> impl Iterator<Item = &Vec<f32>> {
    let is_gradient = |quantity: &Quantity| matches!(quantity, Quantity::Gradient(_));
    measured.values.iter().filter(move |(quantity, _)| is_gradient(quantity)).map(|(_, it)| it)
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// The largest difference over the largest expected value, or over `floor` if that is larger;
/// infinite where a value is missing or not a number.
fn relative_difference(expected: &[f32], found: &[f32], floor: f32) -> f32 {
    if expected.len() != found.len() {
        return f32::INFINITY;
    }
    let scale = largest(expected).max(floor).max(f32::MIN_POSITIVE);
    let relative = expected.iter().zip(found).map(|(one, other)| (one - other).abs() / scale);
    relative.fold(0.0, |largest, it| if it.is_nan() { f32::INFINITY } else { largest.max(it) })
}

/// What `device` computes on one model of each family.
///
/// # Panics
/// If the device does not return what it computed.
pub fn measure(device: &Device) -> Vec<Measured> {
    configs().map(|(family, config)| measure_model(family, &config, device)).to_vec()
}

/// The models of the test, by family: heads in groups, sizes that fill no power of two.
pub fn configs() -> [(&'static str, TransformerConfig); 2] {
    let heads = |config| TransformerConfig { n_heads: 4, n_kv_heads: 2, d_head: 8, ..config };
    let llama = TransformerConfig::llama(37, 32, 2, 32);
    let gpt2 = TransformerConfig::gpt2(37, 32, 2, 32);
    [("llama", heads(llama)), ("gpt2", heads(gpt2))]
}

/// A model of `config` with the same bytes on every device: random, and far from uniform.
pub fn model(config: &TransformerConfig, device: &Device) -> Transformer {
    struct Scale;
    impl ModuleMapper for Scale {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if D < 2 { param } else { param.map(|tensor| tensor.mul_scalar(SCALE)) }
        }
    }
    let mut coins = ChaCha8Rng::seed_from_u64(11);
    let random = initialize(Transformer::zeroed(config, &Device::flex()), &mut coins);
    let weights = block_on(write_weights(&random.map(&mut Scale), StoredAs::F32))
        .expect("flex returns weights");
    read_weights(config, &weights, device).expect("the weights were written for this model")
}

fn measure_model(family: &'static str, config: &TransformerConfig, device: &Device) -> Measured {
    let plain = model(config, device);
    let mut values = gradients_of(config, device);
    values.insert(Quantity::Logits, logits(&plain));
    values.insert(Quantity::CachedLogits, cached_logits(&plain));
    Measured { family, values }
}

fn logits(model: &Transformer) -> Vec<f32> {
    host(model.forward(&Tokens::new(&ROWS, PaddingSide::Left, &model.device())))
}

/// Logits of the last prompt position, then of each decoded token.
fn cached_logits(model: &Transformer) -> Vec<f32> {
    let device = model.device();
    let cut = ROWS.map(|row| row.len() - DECODED);
    let prompts = [&ROWS[0][..cut[0]], &ROWS[1][..cut[1]]];
    let prompts = Tokens::new(&prompts, PaddingSide::Left, &device);
    let longest = prompts.ids.dims()[1];
    let mut cache = Cache::new(model, ROWS.len(), longest + DECODED);
    let hidden = model.hidden_cached(&prompts, &mut cache).narrow(1, longest - 1, 1);
    let mut steps = vec![model.logits(hidden)];
    for step in 0..DECODED {
        let column = |values: [usize; 2]| {
            let values = values.map(|value| value as i32).to_vec();
            Tensor::from_data(TensorData::new(values, [ROWS.len(), 1]), &device)
        };
        let ids = column([0, 1].map(|row| ROWS[row][cut[row] + step] as usize));
        let positions = column(cut.map(|cut| cut + step));
        let hidden = model.hidden_cached(&Tokens::next(ids, positions), &mut cache);
        steps.push(model.logits(hidden));
    }
    host(Tensor::cat(steps, 1))
}

fn gradients_of(config: &TransformerConfig, device: &Device) -> BTreeMap<Quantity, Vec<f32>> {
    let model = model(config, &training_device(device, Activations::Keep));
    let objective = Supervised { aggregation: Aggregation::TokenMean };
    let pairs = ROWS.map(|row| (row[..3].to_vec(), row[3..].to_vec()));
    let learned = learn(&model, &objective.experiences(&pairs), &objective, ROWS.len());
    let names = learned.gradients.names();
    names
        .filter_map(|name| {
            let gradient = learned.gradients.get(name)?;
            Some((Quantity::Gradient(name.to_owned()), host(gradient)))
        })
        .collect()
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = block_on(tensor.cast(DType::F32).into_data_async());
    let data = data.expect("the device returns what it computed");
    data.try_to_vec().expect("cast to f32")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kudos_core::model::parameters;

    fn failure(outcome: Outcome) -> String {
        match outcome {
            Outcome::Failed { reason } => reason,
            Outcome::Passed { .. } => panic!("passed"),
        }
    }

    #[test]
    fn every_parameter_has_its_gradient_in_the_test_and_none_is_zero_throughout() {
        for (measured, (family, config)) in measure(&Device::flex()).iter().zip(configs()) {
            let count: usize = gradients(measured).map(Vec::len).sum();
            assert_eq!(count, parameters::count(&model(&config, &Device::flex())), "{family}");
            for (quantity, values) in &measured.values {
                assert!(largest(values) > 0.0, "{family}: {quantity}");
            }
            assert!(largest(&measured.values[&Quantity::Logits]) > 1.0, "{family}");
        }
    }

    #[test]
    fn the_device_that_is_compared_with_itself_passes() {
        let outcome = run(|| Ok(Device::flex()));
        assert_eq!(outcome, Outcome::Passed { logits: 0.0, cached_logits: 0.0, gradients: 0.0 });
    }

    #[test]
    fn one_wrong_number_anywhere_fails_by_name() {
        let flex = measure(&Device::flex());
        let quantities: Vec<Quantity> = flex[1].values.keys().cloned().collect();
        let largest_gradient = gradients(&flex[1]).map(|it| largest(it)).fold(0.0, f32::max);
        for quantity in quantities {
            let broken = |change: &dyn Fn(f32) -> f32| {
                let mut found = flex.clone();
                let values = found[1].values.get_mut(&quantity).unwrap();
                let last = values.last_mut().unwrap();
                *last = change(*last);
                failure(compare(&flex, &found))
            };
            let scale = largest(&flex[1].values[&quantity]).max(NOISE * largest_gradient);
            let reason = broken(&|value| value + 1.1 * TOLERANCE * scale);
            let begin = format!("{quantity} of the gpt2 model differs from flex by 1.1e-3");
            assert!(reason.starts_with(&begin), "{reason}");
            assert!(broken(&|_| f32::NAN).contains("by inf"));
        }
    }

    #[test]
    fn a_quantity_that_is_missing_or_short_fails() {
        let flex = measure(&Device::flex());
        let mut found = flex.clone();
        found[0].values.remove(&Quantity::CachedLogits);
        assert!(failure(compare(&flex, &found)).starts_with("cached logits of the llama model"));
        found[0].values.insert(Quantity::CachedLogits, vec![0.0]);
        found[1].values.remove(&Quantity::Logits);
        assert!(failure(compare(&flex, &found)).ends_with("and 1 more differ"));
    }

    #[test]
    fn a_panic_and_a_wrong_device_are_failures() {
        let reason = failure(run(|| panic!("no such kernel\nat line 3")));
        assert_eq!(reason, "it panicked: no such kernel");
        let reason = failure(run(|| Err("another was opened".to_owned())));
        assert_eq!(reason, "another was opened");
    }
}
