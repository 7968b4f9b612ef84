//! The gradient of distillation through whole models.

use burn::tensor::{Device, Tensor, TensorData};
use kudos_core::learn::learn_lessons;
use kudos_core::objective::{Distil, Lesson, Told};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{VOCABULARY, check_slopes, configs, model, number, rollout};

#[test]
fn the_gradient_of_distillation_is_its_finite_difference_in_any_micro_batches() {
    let (rollout, _) = rollout();
    let mut coins = ChaCha8Rng::seed_from_u64(3);
    let mut told = |places: usize| {
        let logits: Vec<f32> =
            (0..places * VOCABULARY).map(|_| (coins.next_u32() % 64) as f32 / 10.0).collect();
        let logits = TensorData::new(logits, [places, VOCABULARY]);
        let logits = Tensor::<2>::from_data(logits, &Device::flex());
        let log_probs = burn::tensor::activation::log_softmax(logits, 1).into_data();
        Told::of_rows(&log_probs.try_to_vec::<f32>().unwrap(), VOCABULARY, 7)
    };
    let lesson = |(prompt, completion): (&Vec<u32>, &Vec<u32>)| Lesson {
        prompt: prompt.clone(),
        completion: completion.clone(),
        weights: vec![0.05; completion.len()],
        told: told(completion.len()),
    };
    let lessons: Vec<Lesson> =
        rollout.prompts.iter().zip(&rollout.completions).map(lesson).collect();
    for (beta, temperature) in [(0.0, 1.0), (0.4, 2.0), (1.0, 1.0)] {
        let distil = Distil { beta, temperature };
        for config in configs() {
            let model = model(&config, &Device::flex().autodiff());
            for size in [64, 3] {
                check_slopes(&format!("{distil:?}"), &model, &|model| {
                    let (gradients, loss) = learn_lessons(model, &lessons, &distil, size);
                    (number(loss), gradients)
                });
            }
        }
    }
}
