//! Laws of tuning, on small random models: fresh, learning, merged, resumed and pruned.

mod dora;
mod packed_base;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use kudos_core::learn::{Activations, learn, log_probs, training_device};
use kudos_core::model::hugging_face::{StoredAs, write_weights};
use kudos_core::model::parameters::{Path, count};
use kudos_core::model::{PaddingSide, Tokens, Transformer, TransformerConfig, cast, initialize};
use kudos_core::objective::{Aggregation, Experience, Supervised};
use kudos_core::optim::{AdamW, AdamWConfig, Gradients};
use kudos_core::rollout::{Coins, Generation, StopTokens, generate};
use kudos_core::tuning::{
    AdaLora, Allocator, BottleneckOptions, Ia3, Lora, Target, Tuning, VirtualTokens, detach,
    has_dropout, install, merge, small_from_bytes, small_to_bytes, trained,
};
use kudos_schema::Sampling;
use pollster::block_on;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;

const VOCABULARY: usize = 40;

fn configs() -> [TransformerConfig; 2] {
    let llama = TransformerConfig::llama(VOCABULARY, 32, 2, 24);
    let llama = TransformerConfig { n_heads: 4, n_kv_heads: 2, d_head: 6, ..llama };
    let gpt2 = TransformerConfig::gpt2(VOCABULARY, 32, 2, 24);
    [llama, TransformerConfig { n_heads: 2, n_kv_heads: 2, d_head: 12, ..gpt2 }]
}

fn base(config: &TransformerConfig, device: &Device) -> Transformer {
    struct Sharpen;
    impl ModuleMapper for Sharpen {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if D < 2 { param } else { param.map(|tensor| moved(tensor, |t| t.mul_scalar(6.0))) }
        }
    }
    let mut coins = ChaCha8Rng::seed_from_u64(11);
    initialize(Transformer::zeroed(config, device), &mut coins).map(&mut Sharpen)
}

/// A leaf with other values, tracked as before.
fn moved<const D: usize>(leaf: Tensor<D>, to: impl FnOnce(Tensor<D>) -> Tensor<D>) -> Tensor<D> {
    let tracked = leaf.is_require_grad();
    let Some(strategy) = leaf.gradient_checkpointing_strategy() else { return to(leaf) };
    let values = Tensor::from_inner(to(leaf.without_autodiff()));
    values.with_gradient_checkpointing_strategy(strategy).set_require_grad(tracked)
}

fn tunings() -> Vec<(&'static str, Tuning)> {
    let lora = Lora { rank: 3, alpha: 6.0, ..Lora::default() };
    let some = vec![Target::Query, Target::Value];
    let two = VirtualTokens { num_virtual_tokens: 2, ..Default::default() };
    let ada = AdaLora { init_rank: 4, target_rank: 2, alpha: 6.0, ..AdaLora::default() };
    vec![
        ("lora", Tuning::Lora(lora.clone())),
        ("rslora", Tuning::Lora(Lora { target_modules: some, use_rslora: true, ..lora.clone() })),
        ("dora", Tuning::Lora(Lora { use_dora: true, ..lora })),
        ("adalora", Tuning::Adalora(ada)),
        ("ia3", Tuning::Ia3(Ia3::default())),
        ("bottleneck", Tuning::Bottleneck(BottleneckOptions { width: 4, ..Default::default() })),
        ("prefix", Tuning::Prefix(two.clone())),
        ("prompt", Tuning::Prompt(two)),
    ]
}

fn coins() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(3)
}

fn tuned(config: &TransformerConfig, device: &Device, tuning: &Tuning) -> Transformer {
    install(base(config, device), tuning, &mut coins())
}

fn rows() -> Vec<Vec<u32>> {
    let mut coins = ChaCha8Rng::seed_from_u64(5);
    let row = |length: usize| (0..length).map(|_| coins.next_u32() % VOCABULARY as u32).collect();
    [9, 4, 12].map(row).to_vec()
}

/// Logits of every token, row after row.
fn logits(model: &Transformer) -> Vec<f32> {
    let of_row = |row: Vec<u32>| {
        let tokens = Tokens::new(&[row.as_slice()], PaddingSide::Right, &model.device());
        model.forward(&tokens).without_autodiff().into_data().try_to_vec::<f32>().unwrap()
    };
    rows().into_iter().flat_map(of_row).collect()
}

fn worst(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn imitation() -> (Supervised, Vec<Experience>) {
    let objective = Supervised { aggregation: Aggregation::SequenceMean };
    let pairs: Vec<_> =
        rows().into_iter().map(|row| (row[..2].to_vec(), row[2..].to_vec())).collect();
    let experiences = objective.experiences(&pairs);
    (objective, experiences)
}

/// Names with numbers of all parameters.
fn parameters(model: &Transformer) -> Vec<(String, Vec<f32>)> {
    struct Collect(Path, Vec<(String, Vec<f32>)>);
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.enter(name);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let data = param.val().without_autodiff().into_data();
            self.1.push((self.0.name(), data.try_to_vec::<f32>().unwrap()));
        }
    }
    let mut collect = Collect(Path::default(), Vec::new());
    model.visit(&mut collect);
    collect.1
}

/// The names of the small parameters.
fn small(model: &Transformer) -> Vec<String> {
    let bytes = block_on(small_to_bytes(model)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut names: Vec<String> = file.names().into_iter().map(str::to_owned).collect();
    names.sort();
    names
}

/// Moves every tracked parameter by a random step, so that nothing is at its start.
fn shaken(model: Transformer) -> Transformer {
    struct Shake(ChaCha8Rng);
    impl ModuleMapper for Shake {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if !param.is_require_grad() {
                return param;
            }
            param.map(|tensor| {
                let shape = tensor.shape();
                let draw = |_| (self.0.next_u32() % 1000) as f32 / 2500.0 - 0.2;
                let by: Vec<f32> = (0..shape.num_elements()).map(draw).collect();
                moved(tensor, |tensor| {
                    let by = Tensor::<D>::from_data(TensorData::new(by, shape), &tensor.device());
                    tensor + by
                })
            })
        }
    }
    model.map(&mut Shake(ChaCha8Rng::seed_from_u64(8)))
}

fn steps(model: Transformer, optimizer: &mut AdamW, number: usize) -> Transformer {
    let (objective, experiences) = imitation();
    (0..number).fold(model, |model, _| {
        let mut learned = learn(&model, &experiences, &objective, 2);
        optimizer.regularize(&model, &mut learned.gradients);
        learned.gradients.clip(1.0);
        optimizer.step(model, learned.gradients, 1e-2)
    })
}

#[test]
fn fresh_small_parameters_change_nothing() {
    for config in configs() {
        let plain = logits(&base(&config, &Device::flex()));
        for (name, tuning) in tunings() {
            if matches!(tuning, Tuning::Prefix(_) | Tuning::Prompt(_)) {
                continue;
            }
            let fresh = tuned(&config, &Device::flex(), &tuning);
            assert!(worst(&logits(&fresh), &plain) < 1e-5, "{name}");
        }
    }
}

#[test]
fn only_small_parameters_have_gradients_move_and_are_optimized() {
    for config in configs() {
        for (name, tuning) in tunings() {
            let device = training_device(&Device::flex(), Activations::Keep);
            let start = shaken(tuned(&config, &device, &tuning));
            let (objective, experiences) = imitation();
            let learned = learn(&start, &experiences, &objective, 2);
            let mut names: Vec<&str> = learned.gradients.names().collect();
            names.sort_unstable();
            assert_eq!(names, small(&start), "{name}");
            let mut optimizer = AdamW::new(AdamWConfig::default());
            let end = steps(start.clone(), &mut optimizer, 2);
            let small = small(&start);
            for (before, after) in parameters(&start).into_iter().zip(parameters(&end)) {
                let moves = small.contains(&before.0);
                assert_eq!(before.1 != after.1, moves, "{name}: {}", before.0);
            }
            let state = block_on(optimizer.to_bytes()).unwrap();
            let state = SafeTensors::deserialize(&state).unwrap();
            assert_eq!(state.names().len(), 2 * small.len(), "{name}");
            assert!(trained(&start) < count(&base(&config, &device)) / 2, "{name}");
        }
    }
}

#[test]
fn the_gradient_of_small_parameters_is_the_finite_difference() {
    struct Walk<'a>(Path, &'a Gradients, f64);
    impl ModuleMapper for Walk<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.enter(name);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.exit();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(gradient) = self.1.get(&self.0.name()) else { return param };
            let distance = self.2;
            param.map(|tensor| {
                let by = gradient.reshape(tensor.shape()).mul_scalar(distance);
                moved(tensor, |tensor| tensor + by)
            })
        }
    }
    let (objective, experiences) = imitation();
    for config in configs() {
        // DoRA's has a test of its own.
        for (name, tuning) in tunings().into_iter().filter(|(name, _)| *name != "dora") {
            let device = training_device(&Device::flex(), Activations::Keep);
            let model = shaken(tuned(&config, &device, &tuning));
            let gradients = learn(&model, &experiences, &objective, 3).gradients;
            let number =
                |tensor: Tensor<1>| f64::from(tensor.into_data().try_to_vec::<f32>().unwrap()[0]);
            let size = number(gradients.norm());
            let step = 2e-3 / size;
            let loss = |distance: f64| {
                let model = model.clone().map(&mut Walk(Path::default(), &gradients, distance));
                number(learn(&model, &experiences, &objective, 3).loss)
            };
            let slope = (loss(step) - loss(-step)) / (2.0 * step);
            let expected = size * size;
            assert!((slope / expected - 1.0).abs() < 1e-2, "{name}: {slope}, not {expected}");
        }
    }
}

#[test]
fn the_merged_model_writes_as_the_tuned_one() {
    for config in configs() {
        for (name, tuning) in tunings() {
            let device = training_device(&Device::flex(), Activations::Keep);
            let model = shaken(tuned(&config, &device, &tuning));
            let read = model.valid();
            let merged = merge(read.clone());
            let distance = worst(&logits(&merged), &logits(&read));
            assert!(distance < 1e-4, "{name}: {distance}");
            assert!(worst(&logits(&model), &logits(&read)) < 1e-4, "{name}, tracked");
            let whole = trained(&merged) == count(&base(&config, &Device::flex()));
            assert_eq!(whole, tuning.merges(), "{name}");
            let bytes =
                |model: &Transformer| block_on(write_weights(model, StoredAs::F32)).unwrap();
            let untouched = base(&config, &Device::flex());
            assert!(worst(&logits(&merged), &logits(&untouched)) > 1e-2, "{name} changes nothing");
            assert_eq!(bytes(&detach(read)), bytes(&untouched), "{name}");
        }
    }
}

#[test]
fn what_is_drawn_has_the_probability_that_training_sees() {
    for config in configs() {
        for (name, tuning) in tunings() {
            let device = training_device(&Device::flex(), Activations::Keep);
            let model = shaken(tuned(&config, &device, &tuning)).valid();
            let sampling =
                Sampling { temperature: 1.0, max_completion_length: 12, ..Sampling::default() };
            let stop = StopTokens((0..6).collect());
            let (coins, prompts) = (Coins::new(1, 1), [(); 7].map(|()| rows()).concat());
            let generation = Generation { sampling: &sampling, stop: &stop, coins, first_index: 0 };
            let rollout = block_on(generate(&model, &prompts, &generation)).unwrap();
            let ended = |ids: &&Vec<u32>| ids.len() < 12;
            let ended = rollout.completions.iter().filter(ended).count();
            assert!(ended > 10 && ended < 21, "{name}: the batch is halved on the way, {ended}");
            let pairs = rollout.prompts.iter().zip(&rollout.completions);
            let pairs: Vec<(&[u32], &[u32])> = pairs.map(|(a, b)| (&a[..], &b[..])).collect();
            let scored = block_on(log_probs(&model, &pairs, 1.0, 8)).unwrap();
            let distance = worst(&rollout.logprobs_full.concat(), &scored.concat());
            assert!(distance < 1e-4, "{name}: {distance}");
        }
    }
}

#[test]
fn a_resumed_tuning_goes_on_to_the_same_bytes() {
    for config in configs() {
        for (name, tuning) in tunings() {
            let device = training_device(&Device::flex(), Activations::Keep);
            let new = || {
                let optimizer = AdamW::new(AdamWConfig::default());
                if let Tuning::Adalora(ada) = &tuning {
                    optimizer.allocating(Allocator::new(ada.clone(), 6))
                } else {
                    optimizer
                }
            };
            let start = tuned(&config, &device, &tuning);
            let mut optimizer = new();
            let half = steps(start.clone(), &mut optimizer, 3);
            let (small, state) =
                (block_on(small_to_bytes(&half)).unwrap(), block_on(optimizer.to_bytes()).unwrap());
            let whole = steps(half, &mut optimizer, 3);
            let mut again =
                AdamW::from_bytes(AdamWConfig::default(), &state, &Device::flex()).unwrap();
            if let Tuning::Adalora(ada) = &tuning {
                let allocator = Allocator::new(ada.clone(), 6);
                again = again.allocating(allocator.remembering(&state, &Device::flex()).unwrap());
            }
            let resumed = small_from_bytes(start, &small).unwrap();
            let resumed = steps(resumed, &mut again, 3);
            assert_eq!(parameters(&resumed), parameters(&whole), "{name}");
        }
    }
}

#[test]
fn adalora_really_prunes_down_to_its_target() {
    let ada = AdaLora {
        init_rank: 4,
        target_rank: 1,
        t_init: 2,
        t_final: 2,
        delta_t: 1,
        ..AdaLora::default()
    };
    for config in configs() {
        let device = training_device(&Device::flex(), Activations::Keep);
        let tuning = Tuning::Adalora(ada.clone());
        let mut model = tuned(&config, &device, &tuning);
        let mut optimizer =
            AdamW::new(AdamWConfig::default()).allocating(Allocator::new(ada.clone(), 12));
        let ranks = |model: &Transformer| {
            let own = parameters(model);
            let own = own.iter().filter(|(name, _)| name.ends_with("low_rank.e"));
            let ranks = own.map(|(_, e)| e.iter().filter(|value| **value != 0.0).count());
            ranks.collect::<Vec<usize>>()
        };
        let targets = ranks(&model).len();
        let mut seen = Vec::new();
        for _ in 0..12 {
            model = steps(model, &mut optimizer, 1);
            seen.push(ranks(&model).iter().sum::<usize>());
        }
        assert_eq!(seen[..2], [4 * targets; 2], "nothing goes before t_init");
        assert!(seen.windows(2).all(|pair| pair[1] <= pair[0]), "{seen:?}");
        assert_eq!(seen[11], targets, "{seen:?}");
        let last = ranks(&model);
        assert!(last.iter().any(|rank| *rank != 1), "the budget moves between targets: {last:?}");
    }
}

#[test]
fn dropout_of_the_sum_is_drawn_while_training_alone() {
    let lora = Lora { dropout: 0.5, rank: 3, ..Lora::default() };
    for use_dora in [false, true] {
        let tuning = Tuning::Lora(Lora { use_dora, ..lora.clone() });
        let config = &configs()[0];
        let device = training_device(&Device::flex(), Activations::Keep);
        let model = shaken(tuned(config, &device, &tuning));
        assert!(has_dropout(&model) && !has_dropout(&base(config, &device)));
        assert!(worst(&logits(&model), &logits(&model)) > 1e-3, "two draws are alike");
        let read = model.valid();
        assert_eq!(logits(&read), logits(&read));
    }
}

#[test]
fn a_tuned_model_learns_in_half_precision_and_with_activations_computed_again() {
    let (objective, experiences) = imitation();
    for (name, tuning) in tunings() {
        let config = &configs()[0];
        let flat = |device: &Device, half: bool| {
            let model = shaken(tuned(config, device, &tuning));
            let model = if half { cast(model, burn::tensor::DType::BF16) } else { model };
            let gradients = learn(&model, &experiences, &objective, 3).gradients;
            let names: Vec<String> = gradients.names().map(str::to_owned).collect();
            let own = names.iter().map(|name| gradients.get(name).unwrap().into_data());
            own.flat_map(|data| data.try_to_vec::<f32>().unwrap()).collect::<Vec<f32>>()
        };
        let keep = training_device(&Device::flex(), Activations::Keep);
        let again = training_device(&Device::flex(), Activations::Recompute);
        let exact = flat(&keep, false);
        assert!(worst(&flat(&again, false), &exact) < 1e-5, "{name}");
        let half = flat(&keep, true);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let cosine = dot(&exact, &half) / (dot(&exact, &exact) * dot(&half, &half)).sqrt();
        assert!(cosine > 0.99, "{name}: {cosine}");
    }
}
