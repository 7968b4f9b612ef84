//! Laws of learning in less memory: recomputed activations, half precision.

use super::*;

#[test]
fn activations_computed_again_give_the_same_steps() {
    let (objective, experiences) = imitation();
    for config in configs() {
        let gradient = |activations| {
            let device = training_device(&Device::flex(), activations);
            let mut model = model(&config, &device);
            let mut optimizer = AdamW::new(AdamWConfig::default());
            let first = learn(&model, &experiences, &objective, 8).gradients;
            model = optimizer.step(model, first, 1e-3);
            flat(&learn(&model, &experiences, &objective, 8).gradients)
        };
        let (kept, again) = (gradient(Activations::Keep), gradient(Activations::Recompute));
        assert!(worst(&again, &kept) < 1e-6 * norm(&kept) as f32);
    }
}

#[test]
fn gradients_in_half_precision_point_where_those_in_full_precision_do() {
    let choices = PolicyGradient { kl_placement: KlPlacement::LossK3, ..PolicyGradient::rloo() };
    let objective = choices.at(Coefficients { beta: 0.1, entropy_bonus: 0.0 });
    let experiences = experiences(&choices);
    for config in configs() {
        let model = model(&config, &Device::flex().autodiff());
        let gradient = |dtype| {
            let learned = learn(&cast(model.clone(), dtype), &experiences, &objective, 8);
            flat(&learned.gradients)
        };
        let full = gradient(DType::F32);
        // Eleven bits of mantissa, then eight.
        for (dtype, tolerance) in [(DType::F16, 1e-2), (DType::BF16, 8e-2)] {
            let half = gradient(dtype);
            let difference: Vec<f32> = half.iter().zip(&full).map(|(a, b)| a - b).collect();
            let off = norm(&difference) / norm(&full);
            assert!(off < tolerance, "{dtype:?}: off by {off} of the norm");
            assert!(off > 0.0, "{dtype:?} computes in another precision");
        }
    }
}
