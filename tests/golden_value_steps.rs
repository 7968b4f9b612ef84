//! Ten updates of each method of value learning against plain torch, through whole models with heads
//! (`tests/golden/value_steps.py`).

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData, activation};
use kudos_core::learn::learn_values;
use kudos_core::model::{Head, Valued};
use kudos_core::objective::{Chosen, Experience, ValueLearning};
use kudos_core::optim::AdamW;
use kudos_core::rollout::Trajectory;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::torch_models::{adamw, close, model, read, values};

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/value_steps.json")).unwrap()
}

/// The script's weights of a head.
fn waves(head: Head, phase: f64) -> Head {
    let filled = |weight: Param<Tensor<2>>, (first, second, scale): (f64, f64, f64)| {
        weight.map(|old| {
            let [rows, columns] = old.dims();
            let wave = |place: usize| {
                let (i, j) = ((place / columns) as f64, (place % columns) as f64);
                ((phase + first * i + second * j).sin() / scale) as f32
            };
            let data = (0..rows * columns).map(wave).collect::<Vec<f32>>();
            let data = TensorData::new(data, [rows, columns]);
            Tensor::from_data(data, &old.device()).require_grad()
        })
    };
    let Head { mut inner, mut outer } = head;
    inner.weight = filled(inner.weight, (0.7, 1.3, 4.0));
    outer.weight = filled(outer.weight, (1.1, 2.4, 5.0));
    Head { inner, outer }
}

/// The policy of a folder with the script's heads.
fn valued(name: &str, level: f32) -> Valued {
    let policy = model(name);
    let Valued { policy, reader, q, v } =
        Valued::new(policy, level, &mut ChaCha8Rng::seed_from_u64(1));
    let q = q.into_iter().zip([1.0, 2.0]).map(|(head, phase)| waves(head, phase)).collect();
    Valued { policy, reader, q, v: waves(v, 3.0) }
}

fn trajectories(golden: &Value) -> Vec<Trajectory> {
    let rows: Vec<Value> = read(&golden["trajectories"]);
    let chosen: Vec<Vec<f32>> = rows.iter().map(|row| read(&row["chosen"])).collect();
    let count: f32 = chosen.iter().flatten().sum();
    let all = rows.iter().zip(chosen).map(|(row, chosen)| {
        let zeros = vec![0.0; chosen.len()];
        Trajectory {
            experience: Experience {
                prompt: read(&row["prompt"]),
                completion: read(&row["completion"]),
                weights: chosen.iter().map(|chosen| chosen / count).collect(),
                advantages: zeros.clone(),
                reference: zeros.clone(),
                old: zeros,
            },
            rewards: read(&row["rewards"]),
            returns: read(&row["returns"]),
            after: read(&row["after"]),
        }
    });
    all.collect()
}

/// What is thought of the chosen tokens in the end.
fn thoughts(what: &str, model: &Valued, trajectories: &[Trajectory], expected: &Value) {
    let chosen = Chosen::of(trajectories);
    let estimates = model.forward(&chosen.read);
    let width = estimates.logits.dims()[1];
    let of_chosen = |all: Tensor<2>| -> Vec<f32> {
        let all = values(all);
        let places = chosen.tokens.iter().enumerate();
        places.map(|(row, token)| all[row * width + *token as usize]).collect()
    };
    let log_probs = of_chosen(activation::log_softmax(estimates.logits, 1));
    close(what, &log_probs, &read::<Vec<f32>>(&expected["log_probs"]), 1e-3);
    for (q, expected) in estimates.q.into_iter().zip(expected["q"].as_array().unwrap()) {
        close(what, &of_chosen(q), &read::<Vec<f32>>(expected), 1e-3);
    }
    close(what, &values(estimates.v), &read::<Vec<f32>>(&expected["v"]), 1e-3);
}

#[test]
fn ten_updates_of_every_method_follow_those_of_torch() {
    let golden = golden();
    let number = |value: &Value| value.as_f64().unwrap() as f32;
    let trajectories = trajectories(&golden);
    for name in ["gpt2", "llama"] {
        let cases = golden[name].as_array().unwrap();
        assert_eq!(cases.len(), 7);
        for case in cases {
            let learning: ValueLearning = read(&case["learning"]);
            let mut model = valued(name, number(&golden["level"]));
            let (mut copy, mut optimizer) = (model.valid(), AdamW::new(adamw()));
            for (step, expected) in case["steps"].as_array().unwrap().iter().enumerate() {
                let what = format!("{name} {} {step}", learning.method.name());
                let (mut gradients, loss) =
                    learn_values((&model, &copy), &trajectories, &learning, 2);
                close(&what, &values(loss.total), &[number(&expected["loss"])], 1e-4);
                let norm = number(&expected["norm"]);
                close(&what, &values(gradients.clip(1.0)), &[norm], 1e-3 * norm);
                model = optimizer.step(model, gradients, golden["rate"].as_f64().unwrap());
                copy = copy.toward(&model.valid(), golden["follow"].as_f64().unwrap());
            }
            thoughts(name, &model.valid(), &trajectories, &case["after"]);
        }
    }
}
