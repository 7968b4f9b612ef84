//! The memory of the CPU device as plain numbers, and weights laid out as products of one row read them.

use std::sync::Arc;

use burn::backend::Flex;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{BackendPrimitive, DType, Float, Tensor, TensorData};
use kudos_core::model::{HostMatrix, HostNumbers, HostView, Transformer};
use kudos_rows::times;

/// A tensor of the CPU device whose numbers lie row by row.
#[derive(Debug)]
struct Shown {
    tensor: <Float as BackendPrimitive<Flex>>::Primitive,
    begin: usize,
    end: usize,
}

impl HostNumbers for Shown {
    fn numbers(&self) -> &[f32] {
        &self.tensor.storage::<f32>()[self.begin..self.end]
    }
}

/// A matrix that lies column by column.
#[derive(Debug)]
struct Columns {
    shown: Shown,
    count: usize,
}

impl HostMatrix for Columns {
    fn times(&self, row: &[f32]) -> Vec<f32> {
        times(row, self.shown.numbers(), self.count)
    }
}

/// Decodes on plain slices, with weights that suit it.
pub(crate) fn prepare(model: Transformer) -> Transformer {
    let numbers = |tensor| shown(tensor).map(|shown| Arc::new(shown) as _);
    let matrix = |weight: Tensor<2>| {
        let count = weight.dims()[1];
        let shown = shown(weight.transpose())?;
        Some(Arc::new(Columns { shown, count }) as _)
    };
    columns_together(model).with_host_memory(HostView { numbers, matrix })
}

/// `[N, D]`
fn shown(tensor: Tensor<2>) -> Option<Shown> {
    let tensor = tensor.try_into_primitive::<Flex>().ok()?;
    let (begin, end) = tensor.layout().contiguous_offsets()?;
    (tensor.dtype() == DType::F32).then_some(Shown { tensor, begin, end })
}

/// Lays the weights of every linear layer out column by column: a product of one row then reads memory
/// from its beginning to its end, in two thirds of the time or less.
fn columns_together(model: Transformer) -> Transformer {
    model.map(&mut ColumnsTogether { is_weight: false })
}

struct ColumnsTogether {
    /// Whether the walk stands at the weight of a linear layer.
    is_weight: bool,
}

impl ModuleMapper for ColumnsTogether {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.is_weight = name == "weight" && container_type == "Struct:Linear";
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !self.is_weight {
            return param;
        }
        param.map(|weight| {
            let device = weight.device();
            let [n_rows, n_columns] = [weight.dims()[0], weight.dims()[1]];
            let numbers = weight.clone().try_into_primitive::<Flex>().ok();
            let Some(rows) = numbers.as_ref().and_then(|numbers| numbers.as_slice::<f32>()) else {
                return weight;
            };
            let column = |at: usize| rows[at..].iter().step_by(n_columns).copied();
            let columns: Vec<f32> = (0..n_columns).flat_map(column).collect();
            let columns = TensorData::new(columns, [n_columns, n_rows]);
            Tensor::from_data(columns, &device).swap_dims(0, 1)
        })
    }
}
