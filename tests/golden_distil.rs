//! Distillation against plain torch (`tests/golden/distil.py`): what is kept of a teacher, divergences and
//! gradients; the laws that they follow; and through a whole model against finite differences.

use burn::tensor::{Device, Tensor, TensorData};
use kudos_core::learn::learn_lessons;
use kudos_core::model::{Transformer, TransformerConfig, initialize};
use kudos_core::objective::{Distil, Lesson, Told, tell};
use pollster::block_on;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// Bounds from 0 to 1, both ends, which are formulas of their own.
const BETAS: [f64; 4] = [0.0, 0.3, 0.5, 1.0];

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/distil.json")).unwrap()
}

fn rows<T: serde::de::DeserializeOwned>(value: &Value) -> Vec<T> {
    let rows: Vec<Vec<T>> = serde_json::from_value(value.clone()).unwrap();
    rows.into_iter().flatten().collect()
}

fn row(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn matrix(values: Vec<f32>, width: usize, device: &Device) -> Tensor<2> {
    let height = values.len() / width;
    Tensor::from_data(TensorData::new(values, [height, width]), device)
}

fn near(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let bound = 2e-6 * expected.abs().max(1.0);
        assert!((found - expected).abs() <= bound, "{what}: {found}, not {expected}");
    }
}

/// Divergences of logits of a vocabulary from what was told, and the gradient of their weighted sum.
fn found(
    distil: &Distil,
    (logits, vocabulary): (Vec<f32>, usize),
    (told, weights): (&Told, &[f32]),
) -> (Vec<f32>, Vec<f32>) {
    let device = Device::flex().autodiff();
    let logits = matrix(logits, vocabulary, &device).require_grad();
    let value = distil.divergences(logits.clone(), told);
    let weights = Tensor::<1>::from_data(TensorData::from(weights), &device);
    let gradients = (value.clone() * weights).sum().backward();
    (values(value), values(logits.grad(&gradients).unwrap()))
}

fn check(case: &Value, golden: &Value) {
    let temperature = case["temperature"].as_f64().unwrap();
    let distil = Distil { beta: case["beta"].as_f64().unwrap(), temperature };
    let top_k = case["top_k"].as_u64().unwrap() as usize;
    let student: Vec<f32> = rows(&golden["student"]);
    let weights = row(&golden["weights"]);
    let vocabulary = student.len() / weights.len();
    let teacher = matrix(rows(&golden["teacher"]), vocabulary, &Device::flex());
    let log_probs = burn::tensor::activation::log_softmax(teacher.div_scalar(temperature), 1);
    let told = Told::of_rows(&values(log_probs), vocabulary, top_k);
    let what = format!("{distil:?}, k = {top_k}");
    assert_eq!(told.ids, rows::<u32>(&case["ids"]), "{what}");
    let mut expected: Vec<Vec<f32>> = serde_json::from_value(case["log_probs"].clone()).unwrap();
    if top_k == vocabulary {
        // Nothing is left for the others.
        let rest = told.log_probs[top_k];
        assert!(rest < -60.0, "{what}: {rest}");
        expected.iter_mut().for_each(|row| row.push(rest));
    }
    near(&told.log_probs, &expected.concat(), &format!("told, {what}"));
    let (value, gradient) = found(&distil, (student, vocabulary), (&told, &weights));
    near(&value, &row(&case["divergence"]), &format!("divergence, {what}"));
    near(&gradient, &rows::<f32>(&case["gradient"]), &format!("gradient, {what}"));
}

#[test]
fn divergences_and_gradients_are_torchs() {
    let golden = golden();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 24);
    cases.iter().for_each(|case| check(case, &golden));
}

#[test]
fn whoever_agrees_with_the_teacher_learns_nothing() {
    let logits = vec![0.3, -1.2, 4.0, 0.0, 2.5, -7.0, 9.0, 0.1, 0.1, 0.2];
    let log_probs =
        burn::tensor::activation::log_softmax(matrix(logits.clone(), 5, &Device::flex()), 1);
    let log_probs = values(log_probs);
    for (beta, top_k) in BETAS.into_iter().flat_map(|beta| [1, 3, 5].map(|top_k| (beta, top_k))) {
        let told = Told::of_rows(&log_probs, 5, top_k);
        let distil = Distil { beta, temperature: 1.0 };
        let (value, gradient) = found(&distil, (logits.clone(), 5), (&told, &[1.0, 1.0]));
        assert!(
            value.iter().chain(&gradient).all(|one| one.abs() < 1e-6),
            "{value:?} {gradient:?}"
        );
    }
}

#[test]
fn no_divergence_is_negative_and_fewer_classes_never_make_it_larger() {
    let golden = golden();
    let mut last: Option<(f64, f64, Vec<f32>)> = None;
    for case in golden["cases"].as_array().unwrap() {
        let key = (case["beta"].as_f64().unwrap(), case["temperature"].as_f64().unwrap());
        let student: Vec<f32> = rows(&golden["student"]);
        let teacher = matrix(rows(&golden["teacher"]), 9, &Device::flex()).div_scalar(key.1);
        let log_probs = values(burn::tensor::activation::log_softmax(teacher, 1));
        let told = Told::of_rows(&log_probs, 9, case["top_k"].as_u64().unwrap() as usize);
        let distil = Distil { beta: key.0, temperature: key.1 };
        let (value, _) = found(&distil, (student, 9), (&told, &[1.0; 4]));
        assert!(value.iter().all(|one| *one > -1e-6), "{value:?}");
        if let Some((beta, temperature, fewer)) = &last
            && (*beta, *temperature) == key
        {
            let grows = value.iter().zip(fewer).all(|(more, fewer)| *more > fewer - 1e-6);
            assert!(grows, "{distil:?}: {fewer:?}, then {value:?}");
        }
        last = Some((key.0, key.1, value));
    }
}

#[test]
fn a_student_sure_of_what_the_teacher_excludes_has_a_finite_gradient() {
    let told = Told::of_rows(&[0.0, -200.0, -300.0], 3, 1);
    for beta in BETAS {
        let distil = Distil { beta, temperature: 1.0 };
        let (value, gradient) = found(&distil, (vec![-200.0, 0.0, -90.0], 3), (&told, &[1.0]));
        assert!(value.iter().chain(&gradient).all(|one| one.is_finite()), "{value:?} {gradient:?}");
    }
}

fn model(seed: u64, device: &Device) -> Transformer {
    let config = TransformerConfig::llama(13, 16, 1, 32);
    initialize(Transformer::zeroed(&config, device), &mut ChaCha8Rng::seed_from_u64(seed))
}

fn lessons(top_k: usize) -> Vec<Lesson> {
    let texts: [(&[u32], &[u32]); 3] =
        [(&[1, 2], &[3, 4, 5, 6]), (&[7], &[8, 9]), (&[5, 5, 1], &[2])];
    let teacher = model(2, &Device::flex());
    let told = block_on(tell(&teacher, &texts, (top_k, 1.0))).unwrap();
    let rows = texts.into_iter().zip(told);
    rows.map(|((prompt, completion), told)| Lesson {
        prompt: prompt.to_vec(),
        completion: completion.to_vec(),
        weights: vec![1.0 / 7.0; completion.len()],
        told,
    })
    .collect()
}

#[test]
fn the_size_of_micro_batches_changes_nothing() {
    let student = model(1, &Device::flex().autodiff());
    let distil = Distil { beta: 0.5, temperature: 1.0 };
    let learn = |size| learn_lessons(&student, &lessons(4), &distil, size);
    let ((whole, loss), (parts, sum)) = (learn(8), learn(1));
    near(&values(sum), &values(loss), "loss");
    for name in whole.names() {
        near(&values(parts.get(name).unwrap()), &values(whole.get(name).unwrap()), name);
    }
}

#[test]
fn what_is_told_does_not_depend_on_who_is_read_beside_it() {
    let teacher = model(2, &Device::flex());
    let all = lessons(4);
    for lesson in &all {
        let alone = [(&lesson.prompt[..], &lesson.completion[..])];
        let told = block_on(tell(&teacher, &alone, (4, 1.0))).unwrap();
        assert_eq!(told[0].ids, lesson.told.ids);
        near(&told[0].log_probs, &lesson.told.log_probs, "log-probabilities");
    }
}
