//! Value learning against plain torch (`tests/golden/value.py`), on a table against value iteration
//! (`tests/golden/games.py`), and through a whole model against finite differences.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use kudos_core::learn::learn_values;
use kudos_core::model::parameters::Path;
use kudos_core::model::{Estimates, Places, Transformer, TransformerConfig, Valued, initialize};
use kudos_core::objective::{Aims, Chosen, Experience, Method, ValueLearning};
use kudos_core::rollout::Trajectory;
use kudos_core::task::game::maze::{GOAL, Move, starts};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/value.json")).unwrap()
}

fn device() -> Device {
    Device::flex().autodiff()
}

fn rows(value: &Value) -> Vec<f32> {
    let rows: Vec<Vec<f32>> = serde_json::from_value(value.clone()).unwrap();
    rows.concat()
}

fn row<T: serde::de::DeserializeOwned>(value: &Value) -> Vec<T> {
    serde_json::from_value(value.clone()).unwrap()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn matrix(values: Vec<f32>, width: usize, device: &Device) -> Tensor<2> {
    let height = values.len() / width;
    Tensor::from_data(TensorData::new(values, [height, width]), device)
}

fn estimates(value: &Value, width: usize, device: &Device) -> Estimates {
    let v: Vec<f32> = row(&value["v"]);
    let count = v.len();
    Estimates {
        logits: matrix(rows(&value["logits"]), width, device),
        q: [0, 1].map(|index| matrix(rows(&value["q"][index]), width, device)),
        v: Tensor::from_data(TensorData::new(v, [count]), device),
    }
}

fn near(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let bound = 2e-6 * expected.abs().max(1.0);
        assert!((found - expected).abs() <= bound, "{what}: {found}, not {expected}");
    }
}

fn check(case: &Value, golden: &Value) {
    let (device, inner) = (device(), Device::flex());
    let width = golden["vocabulary"].as_u64().unwrap() as usize;
    let learning: ValueLearning = serde_json::from_value(case["learning"].clone()).unwrap();
    let chosen = Chosen {
        tokens: row(&golden["tokens"]),
        rewards: row(&golden["rewards"]),
        returns: row(&golden["returns"]),
        weights: row(&golden["weights"]),
        next: row(&golden["next"]),
        ends: row(&golden["ends"]),
        ..Chosen::default()
    };
    let count = chosen.tokens.len();
    let model = estimates(&golden["model"], width, &inner);
    let copy = estimates(&golden["copy"], width, &inner);
    let aims = learning.aims(&model, &copy, &chosen);
    near(&values(aims.q.clone()), &row::<f32>(&case["aims_q"]), "aims of q");
    if !case["aims_v"].is_null() {
        near(&values(aims.v.clone()), &row::<f32>(&case["aims_v"]), "aims of v");
    }
    let all = estimates(&golden["model"], width, &device);
    let own = Estimates {
        logits: all.logits.narrow(0, 0, count).require_grad(),
        q: all.q.map(|q| q.narrow(0, 0, count).require_grad()),
        v: all.v.narrow(0, 0, count).require_grad(),
    };
    let loss = learning.loss(&own, &aims, &chosen);
    near(&values(loss.total.clone()), &[case["loss"].as_f64().unwrap() as f32], "loss");
    let gradients = loss.total.backward();
    let expected = |name: &str| row::<f32>(&case["gradient"][name]);
    let flat = |tensor: &Tensor<2>| match tensor.grad(&gradients) {
        Some(gradient) => values(gradient),
        None => vec![0.0; count * width],
    };
    near(&flat(&own.q[0]), &expected("q0"), "gradient of q0");
    near(&flat(&own.q[1]), &expected("q1"), "gradient of q1");
    near(&flat(&own.logits), &expected("logits"), "gradient of logits");
    let v = own.v.grad(&gradients).map_or(vec![0.0; count], values);
    near(&v, &expected("v"), "gradient of v");
}

#[test]
fn losses_aims_and_gradients_are_torchs() {
    let golden = golden();
    for case in golden["cases"].as_array().unwrap() {
        check(case, &golden);
    }
}

/// The maze as a table: a place a row, a move a column, every pair once; the last row is the goal.
fn table() -> (Chosen, Vec<i32>) {
    let starts = starts();
    let places = starts.len();
    let mut chosen = Chosen::default();
    let mut states = Vec::new();
    for (state, start) in starts.iter().enumerate() {
        for (index, step) in Move::ALL.into_iter().enumerate() {
            let there = step.apply(*start);
            chosen.tokens.push(index as u32);
            chosen.rewards.push(if there == GOAL { 0.0 } else { -1.0 });
            chosen.weights.push(1.0);
            chosen.ends.push(true);
            // Places are those of the table's rows, four alike; after the goal comes nothing.
            let next = starts.iter().position(|place| *place == there);
            chosen.next.push(next.map_or(4 * places, |next| 4 * next));
            states.push(state as i32);
        }
    }
    chosen.returns = vec![0.0; states.len()];
    (chosen, states)
}

#[test]
fn on_a_table_q_learning_finds_what_value_iteration_finds() {
    let games: Value = serde_json::from_str(include_str!("golden/games.json")).unwrap();
    let expected: Vec<f32> = row(&games["maze"]["optimum_from"]);
    let (chosen, states) = table();
    let (count, inner) = (states.len(), Device::flex());
    let states = TensorData::new(states, [count]);
    for method in [Method::Dqn, Method::DoubleDqn] {
        let learning = ValueLearning {
            method,
            gamma: 1.0,
            conservatism: 0.0,
            imitation: 0.0,
            ..ValueLearning::default()
        };
        let mut table = vec![0.0f32; expected.len() * 4];
        for _ in 0..20 {
            let of = |device: &Device, q: Tensor<2>| {
                let states = Tensor::<1, Int>::from_data(states.clone(), device);
                let q = q.select(0, states);
                Estimates {
                    logits: q.zeros_like(),
                    v: q.clone().sum_dim(1).reshape([count]),
                    q: [q.clone(), q],
                }
            };
            let fixed = of(&inner, matrix(table.clone(), 4, &inner));
            let aims = learning.aims(&fixed, &fixed, &chosen);
            let tracked = matrix(table.clone(), 4, &device()).require_grad();
            let loss = learning.loss(&of(&device(), tracked.clone()), &aims, &chosen);
            let gradient = values(tracked.grad(&loss.total.backward()).unwrap());
            // Every pair weighs 1, so that a whole step of the gradient puts each at its aim.
            table.iter_mut().zip(gradient).for_each(|(value, slope)| *value -= slope);
        }
        let best = table.chunks(4).map(|row| row.iter().copied().fold(f32::MIN, f32::max));
        near(&best.collect::<Vec<f32>>(), &expected, method.name());
    }
}

fn trajectory(tokens: (&[u32], &[u32]), chosen: &[bool], after: &[u32]) -> Trajectory {
    let (prompt, completion) = tokens;
    let weights = chosen.iter().map(|chosen| if *chosen { 0.2 } else { 0.0 }).collect();
    let zeros = vec![0.0; completion.len()];
    let rewards: Vec<f32> = (0..completion.len()).map(|place| -0.3 * place as f32).collect();
    Trajectory {
        experience: Experience {
            prompt: prompt.to_vec(),
            completion: completion.to_vec(),
            weights,
            advantages: zeros.clone(),
            reference: zeros.clone(),
            old: zeros,
        },
        returns: rewards.iter().map(|reward| reward - 1.0).collect(),
        rewards,
        after: after.to_vec(),
    }
}

fn batch() -> Vec<Trajectory> {
    vec![
        trajectory((&[1, 2], &[3, 4, 5, 6]), &[true, false, true, true], &[]),
        trajectory((&[7], &[8, 9]), &[true, true], &[2, 4, 6]),
        trajectory((&[5, 5, 1], &[2]), &[true], &[3]),
    ]
}

fn model(seed: u64, device: &Device) -> Valued {
    let config = TransformerConfig::llama(11, 16, 1, 32);
    let mut coins = ChaCha8Rng::seed_from_u64(seed);
    let policy = initialize(Transformer::zeroed(&config, device), &mut coins);
    Valued::new(policy, -0.7, &mut coins)
}

/// Parameters by name, flat.
#[derive(Default)]
struct Flat {
    path: Path,
    by_name: BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Flat {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.by_name.insert(self.path.name(), values(param.val()));
    }
}

fn flat(model: &Valued) -> BTreeMap<String, Vec<f32>> {
    let mut flat = Flat::default();
    model.visit(&mut flat);
    flat.by_name
}

/// On the device with autodiff, every parameter tracked.
struct Track;

impl ModuleMapper for Track {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| Tensor::from_data(tensor.into_data(), &device()).require_grad())
    }
}

fn tracked(model: Valued) -> Valued {
    model.map(&mut Track)
}

/// A model whose heads differ from token to token. Half of their hidden units are far above the kink and half far
/// below, so that the loss is smooth along the way to another one.
fn uneven(seed: u64) -> Valued {
    let first = model(seed, &Device::flex());
    let mut shaken = first.clone();
    for head in shaken.q.iter_mut().chain([&mut shaken.v]) {
        head.outer.weight = head.outer.weight.clone().map(|old| {
            let of = |index: usize| ((index * 37 + 11) % 23) as f32 / 400.0 - 0.028;
            let [rows, columns] = old.dims();
            let numbers: Vec<f32> = (0..rows * columns).map(of).collect();
            Tensor::from_data(TensorData::new(numbers, [rows, columns]), &old.device())
        });
        head.inner.bias = head.inner.bias.clone().map(|bias| {
            bias.map(|old| {
                let sides = (0..old.dims()[0]).map(|index| if index % 2 == 0 { 8.0 } else { -8.0 });
                let sides: Vec<f32> = sides.collect();
                Tensor::from_data(TensorData::new(sides, old.dims()), &old.device())
            })
        });
    }
    // All the way, which leaves the bias of the outer layer and the policy as they are.
    first.toward(&shaken, 1.0)
}

#[test]
fn gradients_of_a_whole_model_are_finite_differences() {
    for method in Method::ALL {
        slopes_are_differences(method, [uneven(1), uneven(2), uneven(3)], |model| model);
    }
    // A policy beside which heads read stays as it is, so that nothing of it moves.
    let other = Valued { policy: uneven(1).policy, ..uneven(2).apart() };
    for method in Method::ALL.into_iter().filter(|method| *method != Method::Bc) {
        let models = [uneven(1).apart(), other.clone(), uneven(3).apart()];
        slopes_are_differences(method, models, Valued::frozen);
    }
}

/// Along the way from the first model to the second, by the aims of the third.
fn slopes_are_differences(
    method: Method,
    [start, other, copy]: [Valued; 3],
    learns: fn(Valued) -> Valued,
) {
    let learning = ValueLearning { method, conservatism: 0.3, ..ValueLearning::default() };
    let chosen = Chosen::of(&batch());
    let all =
        |model: &Valued| model.forward(&chosen.read).followed_by(model.forward(&chosen.after));
    let aims: Aims = learning.aims(&all(&start), &all(&copy), &chosen);
    let at = |share: f64| {
        let moved = start.clone().toward(&other, share);
        f64::from(values(learning.loss(&moved.forward(&chosen.read), &aims, &chosen).total)[0])
    };
    // Of fourth order, so that the step may be large for the rounding of f32.
    let step = 5e-3;
    let differences = 8.0 * (at(step) - at(-step)) - (at(2.0 * step) - at(-2.0 * step));
    let slope = differences / (12.0 * step);
    let tracked = learns(tracked(start.clone()));
    let (gradients, loss) = learn_values((&tracked, &copy), &batch(), &learning, 8);
    assert!((f64::from(values(loss.total)[0]) - at(0.0)).abs() < 1e-5, "{method:?}");
    let (here, there) = (flat(&start), flat(&other));
    let along: f64 = gradients
        .names()
        .map(|name| {
            let gradient = values(gradients.get(name).unwrap());
            let ways = here[name].iter().zip(&there[name]).map(|(here, there)| there - here);
            gradient.iter().zip(ways).map(|(slope, way)| f64::from(slope * way)).sum::<f64>()
        })
        .sum();
    assert!((along - slope).abs() < 2e-3 * slope.abs().max(0.05), "{method:?}: {along}, {slope}");
}

#[test]
fn choices_of_too_low_a_return_are_judged_and_not_imitated() {
    let (model, chosen) = (uneven(1), Chosen::of(&batch()));
    let estimates = model.forward(&chosen.read);
    let mut returns = chosen.returns.clone();
    returns.sort_by(f32::total_cmp);
    let least = returns[3];
    let loss = |imitated_from, chosen: &Chosen| {
        let learning =
            ValueLearning { method: Method::Mc, imitated_from, ..ValueLearning::default() };
        let aims = learning.aims(&estimates, &estimates, chosen);
        learning.loss(&estimates, &aims, chosen)
    };
    let filtered = loss(Some(f64::from(least)), &chosen);
    let mut heeded = chosen.clone();
    for (weight, value) in heeded.weights.iter_mut().zip(&chosen.returns) {
        *weight *= f32::from(u8::from(*value >= least));
    }
    assert!(heeded.weights.iter().filter(|weight| **weight > 0.0).count() < chosen.weights.len());
    near(&values(filtered.imitation), &values(loss(None, &heeded).imitation), "imitation");
    near(&values(filtered.q), &values(loss(None, &chosen).q), "worth");
}

#[test]
fn the_size_of_micro_batches_changes_nothing() {
    let (tracked, copy) = (tracked(uneven(1)), uneven(3));
    let learning = ValueLearning { conservatism: 0.3, ..ValueLearning::default() };
    let learn = |size| learn_values((&tracked, &copy), &batch(), &learning, size);
    let ((whole, loss), (parts, sum)) = (learn(8), learn(1));
    near(&values(sum.total), &values(loss.total), "loss");
    for name in whole.names() {
        near(&values(parts.get(name).unwrap()), &values(whole.get(name).unwrap()), name);
    }
}

#[test]
fn what_comes_next_is_the_next_choice_or_what_is_read_after_or_nothing() {
    let chosen = Chosen::of(&batch());
    assert_eq!(chosen.tokens, [3, 5, 6, 8, 9, 2]);
    assert_eq!(chosen.next, [1, 2, 8, 4, 6, 7]);
    assert_eq!(chosen.ends, [true, false, true, false, true, true]);
    assert_eq!(chosen.read.places, [(0, 1), (0, 3), (0, 4), (1, 0), (1, 1), (2, 2)]);
    assert_eq!(chosen.after, Places::ends(vec![vec![2, 4, 6], vec![3]]));
}

#[test]
fn what_several_read_alike_is_read_once() {
    let (once, mut twice) = (batch(), batch());
    twice.extend(batch());
    let (once, twice) = (Chosen::of(&once), Chosen::of(&twice));
    assert_eq!(twice.read.sequences, once.read.sequences);
    assert_eq!(twice.after, once.after);
    assert_eq!(twice.read.places, [once.read.places.clone(), once.read.places].concat());
    assert_eq!(twice.next, [1, 2, 14, 4, 12, 13, 7, 8, 14, 10, 12, 13]);
}
