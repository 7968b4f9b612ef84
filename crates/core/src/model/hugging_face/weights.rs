//! `model.safetensors` with a family's own tensor names, into a model.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::{Dtype, TensorInfo};

use super::adapter::Sums;
use super::source::{Container, HostTensor, Source};
use super::stored::Stored;
use super::tables::{Entry, entries};
use super::{CheckpointError, packed};
use crate::model::parameters::{Path, each};
use crate::model::{Transformer, TransformerConfig};

/// Reads a model from safetensors or a GGUF file.
///
/// # Errors
/// If the bytes are damaged, or tensors are missing, foreign, of another shape or number type.
pub fn read_weights<'a>(
    config: &TransformerConfig,
    stored: impl Into<Stored<'a>>,
    device: &Device,
) -> Result<Transformer, CheckpointError> {
    read_module(Transformer::zeroed(config, device), entries(config), (stored.into(), None))
}

/// [`read_weights`] into any module that a table describes. One stored tensor at a time is in memory
/// beside the model and what of the file is.
pub(super) fn read_module<M: Module>(
    model: M,
    entries: Vec<Entry>,
    (stored, adapter): (Stored<'_>, Option<&Sums<'_>>),
) -> Result<M, CheckpointError> {
    let source = Source::open(stored)?;
    let shapes = shapes(&model);
    source.only(&entries)?;
    let (path, cut, failed) = (Path::default(), BTreeMap::new(), None);
    let mut fill = Fill { path, source, adapter, entries, shapes, cut, failed };
    let model = model.map(&mut fill);
    fill.failed.map_or(Ok(model), Err)
}

/// A stored tensor of a policy in f32, in the file's orientation.
#[cfg(feature = "train")]
pub(crate) struct StoredTensor {
    /// Its name in the file.
    pub(crate) name: String,
    /// Our parameters side by side in it.
    pub(crate) parts: Vec<String>,
    /// Whether rows are outputs.
    pub(crate) transposed: bool,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// Shows the stored tensors of a policy (safetensors or GGUF) one after the other.
///
/// # Errors
/// If they are damaged, or do not belong to `config`.
#[cfg(feature = "train")]
pub(crate) fn each_stored(
    config: &TransformerConfig,
    stored: Stored<'_>,
    mut see: impl FnMut(StoredTensor),
) -> Result<(), CheckpointError> {
    let (source, entries) = (Source::open(stored)?, entries(config));
    source.only(&entries)?;
    for entry in entries {
        let HostTensor { shape, values } = source.tensor(&entry, &[config.d_model])?;
        let Entry { name, parts, transposed, .. } = entry;
        see(StoredTensor { name, parts, transposed, shape, values });
    }
    Ok(())
}

/// Number of stored values in safetensors, and their number type as safetensors names it.
///
/// # Errors
/// If they are damaged.
pub fn stored_numbers<'a>(stored: impl Into<Stored<'a>>) -> Result<(u64, String), CheckpointError> {
    let file = Container::open(stored.into())?;
    let tensors = file.head().tensors();
    let own = || tensors.iter().filter(|(name, _)| packed::beside(name).is_none());
    let beside = |name: &str, part: &str| {
        let info = file.head().info(&format!("{name}{part}"))?;
        Some(info.shape.iter().product::<usize>() as u64)
    };
    let held = |(name, info): (&String, &&TensorInfo)| {
        let stored = info.shape.iter().product::<usize>() as u64;
        let bits = beside(name, packed::MASK).map(|bytes| 8 * bytes);
        let packed = matches!(info.dtype, Dtype::I8 | Dtype::U8);
        let blocks = beside(name, packed::SCALE).filter(|_| packed);
        let blocks = blocks.map(|blocks| packed::BLOCK as u64 * blocks);
        let halved = bits.is_none() && blocks.is_some_and(|count| count > stored);
        (bits.or(blocks).unwrap_or(stored), halved)
    };
    let values = own().map(|one| held(one).0).sum();
    let whole = |(_, info): (&String, &&TensorInfo)| matches!(info.dtype, Dtype::I8 | Dtype::U8);
    let first = file.head().offset_keys().first().map(|name| format!("{:?}", tensors[name].dtype));
    let stored_as = match () {
        () if own().any(|one| held(one).1) => "int4".to_owned(),
        () if own().any(whole) => "int8".to_owned(),
        () => first.unwrap_or_default().to_ascii_lowercase(),
    };
    Ok((values, stored_as))
}

/// Reads one stored tensor as f32 in our orientation, after checking its shape.
fn load(
    (source, adapter): (&Source<'_>, Option<&Sums<'_>>),
    entry: &Entry,
    parts: &[&Vec<usize>],
) -> Result<HostTensor, CheckpointError> {
    let mut expected = parts[0].clone();
    *expected.last_mut().expect("parameters have a dimension") =
        parts.iter().map(|shape| shape[shape.len() - 1]).sum();
    let mut found = source.tensor(entry, &expected)?;
    let stored: Vec<usize> =
        if entry.transposed { expected.iter().rev().copied().collect() } else { expected };
    if found.shape != stored {
        return Err(CheckpointError::Shape {
            name: entry.name.clone(),
            found: found.shape,
            expected: stored,
        });
    }
    if let Some(adapter) = adapter {
        adapter.add_to(entry, &mut found)?;
    }
    Ok(if entry.transposed { transpose(&found) } else { found })
}

/// Cuts a stored tensor into the parameters it holds, along the last dimension.
fn split(entry: &Entry, parts: &[&Vec<usize>], tensor: HostTensor) -> Vec<(String, HostTensor)> {
    if let [name] = entry.parts.as_slice() {
        return vec![(name.clone(), tensor)];
    }
    let width = tensor.shape[tensor.shape.len() - 1];
    let mut start = 0;
    let mut cut = Vec::with_capacity(parts.len());
    for (name, shape) in entry.parts.iter().zip(parts) {
        let end = start + shape[shape.len() - 1];
        let rows = tensor.values.chunks_exact(width);
        let values = rows.flat_map(|row| row[start..end].iter().copied()).collect();
        cut.push((name.clone(), HostTensor { shape: (*shape).clone(), values }));
        start = end;
    }
    cut
}

pub(super) fn transpose(matrix: &HostTensor) -> HostTensor {
    let (rows, columns) = (matrix.shape[0], matrix.shape[1]);
    let mut values = Vec::with_capacity(rows * columns);
    for column in 0..columns {
        values.extend((0..rows).map(|row| matrix.values[row * columns + column]));
    }
    HostTensor { shape: vec![columns, rows], values }
}

/// Shapes of parameters by name; nothing leaves the device.
pub(super) fn shapes(model: &impl Module) -> BTreeMap<String, Vec<usize>> {
    let mut shapes = BTreeMap::new();
    each(model, |name, parameter| {
        shapes.insert(name, parameter.shape());
    });
    shapes
}

/// Puts stored tensors in the places of the model as the walk comes to them.
struct Fill<'a> {
    path: Path,
    source: Source<'a>,
    adapter: Option<&'a Sums<'a>>,
    entries: Vec<Entry>,
    shapes: BTreeMap<String, Vec<usize>>,
    /// Parts of a stored tensor whose turn has not come.
    cut: BTreeMap<String, HostTensor>,
    failed: Option<CheckpointError>,
}

impl Fill<'_> {
    /// The values of a parameter.
    fn take(&mut self, name: &str) -> Result<HostTensor, CheckpointError> {
        if let Some(part) = self.cut.remove(name) {
            return Ok(part);
        }
        let entry = self.entries.iter().find(|entry| entry.parts.iter().any(|part| part == name));
        let entry = entry.expect("the table names every parameter");
        let parts: Vec<&Vec<usize>> = entry.parts.iter().map(|part| &self.shapes[part]).collect();
        self.cut.extend(split(entry, &parts, load((&self.source, self.adapter), entry, &parts)?));
        Ok(self.cut.remove(name).expect("it is one of the parts"))
    }
}

impl ModuleMapper for Fill<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.failed.is_some() {
            return param;
        }
        let tensor = match self.take(&self.path.name()) {
            Ok(tensor) => tensor,
            Err(error) => {
                self.failed = Some(error);
                return param;
            }
        };
        // Not through `map`, which would make the zeros that are replaced.
        let data = TensorData::new(tensor.values, tensor.shape);
        let (id, loaded) = (param.id, Tensor::from_data(data, &param.lazy_device()));
        param.transform_for_load(loaded, id)
    }
}
