//! DoRA's gradient takes the lengths of columns for constants (section 4.3 of its paper), so no finite difference of its own
//! loss shows it. Here a step away from the start learns magnitudes that undo the change of each length.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, TensorView};

use super::*;

/// A matrix or a row on the host, in f64.
struct Host {
    shape: Vec<usize>,
    values: Vec<f64>,
}

type ByName = BTreeMap<String, Host>;

/// The small parameters.
fn host(model: &Transformer) -> ByName {
    let bytes = block_on(small_to_bytes(model)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let read = |(name, view): (String, TensorView<'_>)| {
        let words = view.data().chunks_exact(4);
        let values = words.map(|word| f64::from(f32::from_le_bytes(word.try_into().unwrap())));
        (name, Host { shape: view.shape().to_vec(), values: values.collect() })
    };
    file.tensors().into_iter().map(read).collect()
}

/// The model with these small parameters.
fn with(model: &Transformer, small: &ByName) -> Transformer {
    let bytes = |host: &Host| -> Vec<u8> {
        host.values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect()
    };
    let stored: Vec<_> =
        small.iter().map(|(name, host)| (name, &host.shape, bytes(host))).collect();
    let views = stored.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap())
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    small_from_bytes(model.clone(), &bytes).unwrap()
}

/// The length of each column of `base + scale a b`. `[D, F], [D, R], [R, F] -> [F]`
fn lengths(base: &[f32], (a, b): (&Host, &Host), scale: f64) -> Vec<f64> {
    let (rank, outputs) = (b.shape[0], b.shape[1]);
    let column = |column: usize| -> f64 {
        let rows = a.values.chunks(rank).enumerate();
        let squares = rows.map(|(row, left)| {
            let right = (0..rank).map(|one| b.values[one * outputs + column]);
            let sum: f64 = left.iter().zip(right).map(|(left, right)| left * right).sum();
            (f64::from(base[row * outputs + column]) + scale * sum).powi(2)
        });
        squares.sum::<f64>().sqrt()
    };
    (0..outputs).map(column).collect()
}

/// Small parameters some way along the gradient, with magnitudes as if no column changed its length.
fn walked(
    small: &ByName,
    gradients: &Gradients,
    (base, scale, distance): (&BTreeMap<String, Vec<f32>>, f64, f64),
) -> ByName {
    let moved = small.iter().map(|(name, host)| {
        let by = gradients.get(name).unwrap().into_data().try_to_vec::<f32>().unwrap();
        let moved = host.values.iter().zip(by).map(|(value, by)| value + distance * f64::from(by));
        (name.clone(), Host { shape: host.shape.clone(), values: moved.collect() })
    });
    let mut moved: ByName = moved.collect();
    let names: Vec<String> = small.keys().cloned().collect();
    for (name, stem) in
        names.iter().filter_map(|name| Some((name, name.strip_suffix(".magnitude")?)))
    {
        let weight = &base[stem.strip_suffix(".low_rank").unwrap()];
        let of = |all: &ByName| {
            let part = |part: &str| &all[&format!("{stem}.{part}")];
            lengths(weight, (part("a"), part("b")), scale)
        };
        let (before, after) = (of(small), of(&moved));
        let values = &mut moved.get_mut(name).unwrap().values;
        let changes = after.iter().zip(before).map(|(after, before)| after / before);
        values.iter_mut().zip(changes).for_each(|(value, change)| *value *= change);
    }
    moved
}

#[test]
fn the_gradient_of_dora_is_the_finite_difference_at_constant_lengths() {
    let (objective, experiences) = imitation();
    let lora = Lora { rank: 3, alpha: 6.0, use_dora: true, ..Lora::default() };
    let scale = lora.scale();
    for config in configs() {
        let device = training_device(&Device::flex(), Activations::Keep);
        let model = shaken(tuned(&config, &device, &Tuning::Lora(lora.clone())));
        let (small, base) =
            (host(&model), parameters(&detach(model.clone())).into_iter().collect());
        let gradients = learn(&model, &experiences, &objective, 3).gradients;
        let number =
            |tensor: Tensor<1>| f64::from(tensor.into_data().try_to_vec::<f32>().unwrap()[0]);
        let size = number(gradients.norm());
        let step = 2e-3 / size;
        let loss = |distance: f64, kept: f64| {
            let walked = walked(&small, &gradients, (&base, kept, distance));
            number(learn(&with(&model, &walked), &experiences, &objective, 3).loss)
        };
        let slope = |kept: f64| (loss(step, kept) - loss(-step, kept)) / (2.0 * step * size * size);
        assert!((slope(scale) - 1.0).abs() < 1e-2, "{}, not 1", slope(scale));
        // Without undoing the change of lengths it is not: the check sees what it is about.
        assert!((slope(0.0) - 1.0).abs() > 2e-2, "{}", slope(0.0));
    }
}
