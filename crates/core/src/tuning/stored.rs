//! Parameters on the host, by name: what a checkpoint keeps of a tuned model, and of modules without a file format.

use std::collections::BTreeMap;

use burn::module::Module;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::TuningError;
use crate::model::Transformer;
use crate::model::hugging_face::numbers;
use crate::model::parameters::{changed, each};

/// The parts of a name by which a small parameter is known.
const MARKS: [&str; 5] = ["low_rank", "rescale", "bottleneck", "prefix", "prompt"];

/// The numbers of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Host {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// Small parameters by name.
pub(crate) type ByName = BTreeMap<String, Host>;

impl Host {
    /// A matrix with rows and columns exchanged.
    pub(crate) fn transposed(&self) -> Self {
        let (rows, columns) = (self.shape[0], self.shape[1]);
        let places = (0..columns).flat_map(|column| (0..rows).map(move |row| (row, column)));
        let values = places.map(|(row, column)| self.values[row * columns + column]).collect();
        Self { shape: vec![columns, rows], values }
    }
}

/// Whether a parameter is one of the small ones.
pub(crate) fn is_small(name: &str) -> bool {
    name.split('.').any(|part| MARKS.contains(&part))
}

/// Number of values that are trained: the small ones, or all where there are none.
pub fn trained(model: &Transformer) -> usize {
    let (mut small, mut all) = (0, 0);
    each(model, |name, parameter| {
        let count: usize = parameter.shape().iter().product();
        all += count;
        small += if is_small(&name) { count } else { 0 };
    });
    if small == 0 { all } else { small }
}

/// The small parameters as safetensors bytes, under their own names.
///
/// # Errors
/// If the device does not return them.
pub async fn small_to_bytes(model: &Transformer) -> Result<Vec<u8>, TuningError> {
    let host = to_host(model).await?;
    container(host.into_iter().map(|(name, one)| (name, one.shape, one.values)).collect())
}

/// The model with the small parameters that [`small_to_bytes`] wrote.
///
/// # Errors
/// If the bytes are damaged or belong to another tuning.
pub fn small_from_bytes(model: Transformer, bytes: &[u8]) -> Result<Transformer, TuningError> {
    fill(model, read_container(bytes)?)
}

/// All parameters of a module as safetensors bytes, under their own names.
///
/// # Errors
/// If the device does not return them.
pub async fn module_to_bytes(module: &impl Module) -> Result<Vec<u8>, TuningError> {
    let host = chosen_to_host(module, |_| true).await?;
    container(host.into_iter().map(|(name, one)| (name, one.shape, one.values)).collect())
}

/// The module with the parameters that [`module_to_bytes`] wrote.
///
/// # Errors
/// If the bytes are damaged or belong to another module.
pub fn module_from_bytes<M: Module>(module: M, bytes: &[u8]) -> Result<M, TuningError> {
    fill_chosen(module, read_container(bytes)?, |_| true)
}

/// All small parameters.
pub(crate) async fn to_host(model: &Transformer) -> Result<ByName, TuningError> {
    chosen_to_host(model, is_small).await
}

async fn chosen_to_host(
    module: &impl Module,
    chosen: impl Fn(&str) -> bool,
) -> Result<ByName, TuningError> {
    let mut found = Vec::new();
    each(module, |name, parameter| {
        if chosen(&name) {
            found.push((name, parameter.flat(), parameter.shape()));
        }
    });
    let mut host = ByName::new();
    for (name, tensor, shape) in found {
        let data = tensor.into_data_async().await;
        let data = data.map_err(|error| TuningError::Device(format!("{error:?}")))?;
        let values = data.convert::<f32>().try_to_vec().expect("converted to f32");
        host.insert(name, Host { shape, values });
    }
    Ok(host)
}

/// Sets the small parameters of a model that has them.
pub(crate) fn fill(model: Transformer, values: ByName) -> Result<Transformer, TuningError> {
    fill_chosen(model, values, is_small)
}

fn fill_chosen<M: Module>(
    module: M,
    mut values: ByName,
    chosen: impl Fn(&str) -> bool,
) -> Result<M, TuningError> {
    let mut wrong = None;
    let module = changed(module, |name, parameter| {
        if !chosen(name) {
            return None;
        }
        let (name, expected) = (name.to_owned(), parameter.shape());
        match values.remove(&name) {
            Some(host) if host.shape == expected => {
                return Some(parameter.filled_with(host.values));
            }
            Some(host) => {
                wrong.get_or_insert(TuningError::Shape { name, found: host.shape, expected })
            }
            None => wrong.get_or_insert(TuningError::Missing(name)),
        };
        None
    });
    match (wrong, values.into_keys().next()) {
        (Some(wrong), _) => Err(wrong),
        (None, Some(name)) => Err(TuningError::Foreign(name)),
        (None, None) => Ok(module),
    }
}

/// Tensors by name, with shapes and values, as safetensors bytes.
pub(crate) fn container(
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
) -> Result<Vec<u8>, TuningError> {
    let stored: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, shape, values)| {
            (name, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
        })
        .collect();
    let views = stored.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        (name.as_str(), view.expect("bytes fit the shape"))
    });
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize(views, Some(metadata))
        .map_err(|error| TuningError::Container(error.to_string()))
}

/// The tensors of safetensors bytes.
pub(crate) fn read_container(bytes: &[u8]) -> Result<ByName, TuningError> {
    let file = SafeTensors::deserialize(bytes);
    let file = file.map_err(|error| TuningError::Container(error.to_string()))?;
    let read = |(name, view): (String, TensorView<'_>)| {
        if view.shape().is_empty() {
            return Err(TuningError::Container(format!("`{name}` is a single number")));
        }
        let values = numbers(&name, &view)?;
        Ok((name, Host { shape: view.shape().to_vec(), values }))
    };
    file.tensors().into_iter().map(read).collect()
}
