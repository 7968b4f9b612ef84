//! One row times a matrix on the CPU device, which decoding does most: in the layout and with the
//! kernel that is fast in wasm.

use burn::backend::Flex;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor, TensorData};
use kudos_core::model::Transformer;

/// The product where both lie in memory as the kernel wants them: f32, and the matrix column by column,
/// as [`columns_together`] lays weights out and a tied head is by itself. `[1, D], [D, F] -> [1, F]`
pub(crate) fn product(row: &Tensor<2>, matrix: &Tensor<2>) -> Option<Tensor<2>> {
    let device = row.device();
    let [d_input, d_output] = matrix.dims();
    let row = row.clone().try_into_primitive::<Flex>().ok()?;
    let matrix = matrix.clone().try_into_primitive::<Flex>().ok()?;
    if row.dtype() != DType::F32 || matrix.dtype() != DType::F32 {
        return None;
    }
    let (begin, end) = row.layout().contiguous_offsets()?;
    let factors = &row.storage::<f32>()[begin..end];
    let begin = matrix.layout().start_offset();
    let values = matrix.storage::<f32>().get(begin..begin + d_input * d_output)?;
    if *matrix.layout().strides() != [1, d_input as isize] {
        return None;
    }
    let product = engine_rows::times(factors, values, d_output);
    Some(Tensor::from_data(TensorData::new(product, [1, d_output]), &device))
}

/// Lays the weights of every linear layer out column by column: a product of one row then reads memory
/// from its beginning to its end, in two thirds of the time or less.
pub(crate) fn columns_together(model: Transformer) -> Transformer {
    model.map(&mut Columns { is_weight: false })
}

struct Columns {
    /// Whether the walk stands at the weight of a linear layer.
    is_weight: bool,
}

impl ModuleMapper for Columns {
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
