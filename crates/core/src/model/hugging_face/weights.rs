//! `model.safetensors` with a family's own tensor names, to and from a model.

use std::collections::BTreeMap;
use std::io::{self, Write};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::Dtype;
#[cfg(feature = "train")]
use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};

use super::adapter::Sums;
use super::announced::announced;
use super::source::{Container, HostTensor, Source};
use super::stored::Stored;
use super::tables::{Entry, entries};
use super::{CheckpointError, packed};
use crate::model::parameters::Path;
use crate::model::{Transformer, TransformerConfig};

/// The number type of stored weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredAs {
    /// 4 bytes a weight, exact.
    F32,
    /// 2 bytes a weight, rounded to 11 bits.
    F16,
}

/// Writes a model as safetensors bytes.
///
/// # Errors
/// If the device does not return the weights.
pub async fn write_weights(
    model: &Transformer,
    stored_as: StoredAs,
) -> Result<Vec<u8>, CheckpointError> {
    write_module(model, entries(model.config()), stored_as).await
}

/// [`write_weights`] to where it is to be kept, a tensor at a time: at no time are all bytes in memory.
///
/// # Errors
/// If the device does not return the weights, or the bytes are not taken.
#[cfg(feature = "train")]
pub async fn write_weights_to(
    model: &Transformer,
    stored_as: StoredAs,
    sink: &mut impl Write,
) -> Result<(), CheckpointError> {
    let begin = |head: Vec<u8>| sink.write_all(&head).map(|()| sink);
    write_tensors(model, (entries(model.config()), stored_as), begin).await.map(drop)
}

/// [`write_weights`] of any module that a table describes.
pub(super) async fn write_module(
    model: &impl Module,
    entries: Vec<Entry>,
    stored_as: StoredAs,
) -> Result<Vec<u8>, CheckpointError> {
    write_tensors(model, (entries, stored_as), Ok).await
}

/// Writes tensors to what `begin` makes of the bytes before the first, which have room for all.
async fn write_tensors<S: Write>(
    model: &impl Module,
    (mut entries, stored_as): (Vec<Entry>, StoredAs),
    begin: impl FnOnce(Vec<u8>) -> io::Result<S>,
) -> Result<S, CheckpointError> {
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    let mut collect = Collect { path: Path::default(), tensors: Vec::new() };
    model.visit(&mut collect);
    let mut tensors: BTreeMap<_, _> =
        collect.tensors.into_iter().map(|(name, tensor, shape)| (name, (tensor, shape))).collect();
    let shape = |part: &String| tensors[part].1.as_slice();
    let mut sink = begin(announced(entries.iter().map(|entry| {
        let shape = entry.shape(entry.parts.iter().map(shape));
        (entry.name.as_str(), (stored_as.dtype(), shape))
    }))?)?;
    // One stored tensor at a time leaves the device, in the order of the file.
    for entry in entries {
        let mut parts = Vec::with_capacity(entry.parts.len());
        for part in &entry.parts {
            let (tensor, shape) =
                tensors.remove(part).expect("the table names each parameter once");
            let data = tensor.into_data_async().await;
            let data = data.map_err(|error| CheckpointError::Device(format!("{error:?}")))?;
            let values = data.convert::<f32>().try_to_vec().expect("converted to f32");
            parts.push(HostTensor { shape, values });
        }
        let joined = join(parts.iter().collect());
        let tensor = if entry.transposed { transpose(&joined) } else { joined };
        sink.write_all(&stored_as.bytes(&tensor.values))?;
    }
    Ok(sink)
}

/// Tensors by name, with shapes and bytes, as safetensors bytes.
#[cfg(feature = "train")]
fn container(
    stored: Vec<(String, Vec<usize>, Vec<u8>)>,
    stored_as: StoredAs,
) -> Result<Vec<u8>, CheckpointError> {
    let views = stored.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(stored_as.dtype(), shape.clone(), bytes);
        let view = view.expect("bytes fit the shape");
        (name.as_str(), view)
    });
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize(views, Some(metadata))
        .map_err(|error| CheckpointError::Container(error.to_string()))
}

impl StoredAs {
    /// What PyTorch and `config.json` call it.
    pub fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
        }
    }

    fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
        }
    }

    fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16 => values
                .iter()
                .flat_map(|value| burn::tensor::f16::from_f32(*value).to_le_bytes())
                .collect(),
        }
    }
}

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
    let mut shapes = Shapes { path: Path::default(), shapes: BTreeMap::new() };
    model.visit(&mut shapes);
    source.only(&entries)?;
    let (path, cut, failed) = (Path::default(), BTreeMap::new(), None);
    let shapes = shapes.shapes;
    let mut fill = Fill { path, source, adapter, entries, shapes, cut, failed };
    let model = model.map(&mut fill);
    fill.failed.map_or(Ok(model), Err)
}

/// The weights of a GGUF file as safetensors bytes.
///
/// # Errors
/// If the file is damaged, or tensors are missing or of a kind that is not known.
#[cfg(feature = "train")]
pub fn as_safetensors(
    config: &TransformerConfig,
    stored: Stored<'_>,
    stored_as: StoredAs,
) -> Result<Vec<u8>, CheckpointError> {
    let mut converted = Vec::new();
    each_stored(config, stored, |tensor| {
        converted.push((tensor.name, tensor.shape, stored_as.bytes(&tensor.values)));
    })?;
    container(converted, stored_as)
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
    let own = tensors.iter().filter(|(name, _)| packed::beside(name).is_none());
    let values = own.map(|(name, info)| {
        if let Some(mask) = file.head().info(&format!("{name}{}", packed::MASK)) {
            return 8 * mask.shape.iter().product::<usize>() as u64;
        }
        let stored = info.shape.iter().product::<usize>() as u64;
        if info.dtype == Dtype::U8 { 2 * stored } else { stored }
    });
    let own = |name: &String| packed::beside(name).is_none();
    let has = |dtype| tensors.iter().any(|(name, info)| own(name) && info.dtype == dtype);
    let first = file.head().offset_keys().first().map(|name| format!("{:?}", tensors[name].dtype));
    let stored_as = match () {
        () if has(Dtype::U8) => "int4".to_owned(),
        () if has(Dtype::I8) => "int8".to_owned(),
        () => first.unwrap_or_default().to_ascii_lowercase(),
    };
    Ok((values.sum(), stored_as))
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

/// Sets parameters side by side along the last dimension.
fn join(parts: Vec<&HostTensor>) -> HostTensor {
    let widths: Vec<usize> = parts.iter().map(|part| part.shape[part.shape.len() - 1]).collect();
    let rows = parts[0].values.len() / widths[0];
    let mut values = Vec::with_capacity(rows * widths.iter().sum::<usize>());
    for row in 0..rows {
        for (part, width) in parts.iter().zip(&widths) {
            values.extend_from_slice(&part.values[row * width..(row + 1) * width]);
        }
    }
    let mut shape = parts[0].shape.clone();
    *shape.last_mut().expect("parameters have a dimension") = widths.iter().sum();
    HostTensor { shape, values }
}

fn transpose(matrix: &HostTensor) -> HostTensor {
    let (rows, columns) = (matrix.shape[0], matrix.shape[1]);
    let mut values = Vec::with_capacity(rows * columns);
    for column in 0..columns {
        values.extend((0..rows).map(|row| matrix.values[row * columns + column]));
    }
    HostTensor { shape: vec![columns, rows], values }
}

struct Collect {
    path: Path,
    tensors: Vec<(String, Tensor<1>, Vec<usize>)>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val().without_autodiff();
        let shape = tensor.shape().to_vec();
        self.tensors.push((self.path.name(), tensor.flatten(0, D - 1), shape));
    }
}

struct Shapes {
    path: Path,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl ModuleVisitor for Shapes {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.shapes.insert(self.path.name(), param.lazy_shape().to_vec());
    }
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
