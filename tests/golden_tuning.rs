//! Small parameters against Python's PEFT (`tests/golden/tuning.py`): its adapters give us its logits,
//! and what we write of them is what it wrote.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use kudos_core::model::hugging_face::{config_from_json, read_weights};
use kudos_core::model::{PaddingSide, Tokens, Transformer, TransformerConfig};
use kudos_core::optim::Gradients;
use kudos_core::tuning::{
    AdaLora, AdapterFiles, Allocator, Budget, Ia3, Lora, Target, Tuning, VirtualTokens, detach,
    install, merge, read_adapter, small_from_bytes, small_to_bytes, write_adapter,
};
use pollster::block_on;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

pub(crate) const NAMES: [&str; 2] = ["gpt2", "llama"];
pub(crate) const KINDS: [&str; 7] =
    ["lora", "rslora", "dora", "adalora", "ia3", "prefix", "prompt"];

pub(crate) type ByName = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

pub(crate) fn tensors(bytes: &[u8]) -> ByName {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let numbers = |data: &[u8]| {
        data.chunks_exact(4).map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect()
    };
    let all = file.tensors().into_iter();
    all.map(|(name, view)| (name, (view.shape().to_vec(), numbers(view.data())))).collect()
}

pub(crate) fn folder(name: &str) -> PathBuf {
    // Tests start in the folder of their package.
    Path::new("golden/tuning").join(name)
}

pub(crate) fn read(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

fn base(name: &str) -> Transformer {
    let folder = Path::new("golden/transformer").join(name);
    let config = String::from_utf8(read(folder.join("config.json"))).unwrap();
    let weights = read(folder.join("model.safetensors"));
    read_weights(&config_from_json(&config).unwrap(), &weights, &Device::flex()).unwrap()
}

pub(crate) fn ids(name: &str) -> Vec<Vec<u32>> {
    let text = read(Path::new("golden/transformer").join(name).join("expected.json"));
    let json: Value = serde_json::from_slice(&text).unwrap();
    serde_json::from_value(json["token_ids"].clone()).unwrap()
}

pub(crate) fn logits(model: &Transformer, rows: &[Vec<u32>]) -> Vec<f32> {
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let tokens = Tokens::new(&rows, PaddingSide::Right, &model.device());
    model.forward(&tokens).into_data().try_to_vec().unwrap()
}

pub(crate) fn adapter(folder: &Path) -> AdapterFiles {
    let config = String::from_utf8(read(folder.join("adapter_config.json"))).unwrap();
    AdapterFiles { config, weights: read(folder.join("adapter_model.safetensors")) }
}

pub(crate) fn worst(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// What made the golden adapter of this kind.
fn tuning(name: &str, kind: &str) -> Tuning {
    let lora = Lora { rank: 3, alpha: 6.0, ..Lora::default() };
    match kind {
        "lora" => Tuning::Lora(lora),
        "rslora" => Tuning::Lora(Lora { rank: 4, use_rslora: true, ..lora }),
        "dora" => Tuning::Lora(Lora { use_dora: true, ..lora }),
        "adalora" => Tuning::Adalora(AdaLora {
            init_rank: 4,
            target_rank: 2,
            alpha: 6.0,
            ..AdaLora::default()
        }),
        "ia3" if name == "gpt2" => {
            let all = [Target::Query, Target::Key, Target::Value, Target::Down];
            Tuning::Ia3(Ia3 { target_modules: all.to_vec(), ..Default::default() })
        }
        "ia3" => Tuning::Ia3(Ia3::default()),
        "prefix" => Tuning::Prefix(VirtualTokens { num_virtual_tokens: 3, ..Default::default() }),
        "prompt" => Tuning::Prompt(VirtualTokens { num_virtual_tokens: 3, ..Default::default() }),
        _ => panic!("no kind {kind}"),
    }
}

#[test]
fn an_adapter_of_peft_gives_the_logits_that_it_gives_there() {
    for name in NAMES {
        let (base, rows) = (base(name), ids(name));
        let expected = tensors(&read(folder(name).join("expected.safetensors")));
        for kind in KINDS {
            let tuned = read_adapter(&base, &adapter(&folder(name).join(kind))).unwrap();
            let theirs = &expected[kind].1;
            let distance = worst(&logits(&tuned, &rows), theirs);
            assert!(distance <= 1e-4, "{name} {kind}: {distance}");
            let merged = worst(&logits(&merge(tuned), &rows), theirs);
            assert!(merged <= 1e-4, "{name} {kind}, merged: {merged}");
        }
    }
}

/// An adapter with other tensors.
fn changed(
    files: &AdapterFiles,
    change: impl Fn(&str, &mut Vec<usize>, &mut Vec<f32>),
) -> AdapterFiles {
    let mut all = tensors(&files.weights);
    all.iter_mut().for_each(|(name, (shape, values))| change(name, shape, values));
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let stored: Vec<(String, Vec<usize>, Vec<u8>)> =
        all.into_iter().map(|(name, (shape, values))| (name, shape, bytes(&values))).collect();
    let views = stored.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let weights = safetensors::serialize(views, None).unwrap();
    AdapterFiles { config: files.config.clone(), weights }
}

#[test]
fn where_a_budget_left_nothing_nothing_is_added() {
    let (base, rows) = (base("llama"), ids("llama"));
    let files = adapter(&folder("llama").join("adalora"));
    let is_first = |name: &str| name.contains("layers.0.mlp.down_proj.");
    let silent = changed(&files, |name, _, values| {
        if is_first(name) && name.ends_with("lora_E") {
            values.fill(0.0);
        }
    });
    let pruned = changed(&files, |name, shape, values| {
        if is_first(name) {
            shape[usize::from(name.ends_with("lora_B"))] = 0;
            values.clear();
        }
    });
    let of = |files: &AdapterFiles| logits(&read_adapter(&base, files).unwrap(), &rows);
    assert_eq!(of(&pruned), of(&silent));
    assert_ne!(of(&pruned), of(&files));
}

#[test]
fn several_adapters_take_turns_on_one_base_that_stays_as_it_is() {
    for name in NAMES {
        let (base, rows) = (base(name), ids(name));
        let plain = logits(&base, &rows);
        let expected = tensors(&read(folder(name).join("expected.safetensors")));
        for kind in ["lora", "ia3", "lora", "prefix", "prompt", "lora"] {
            let tuned = read_adapter(&base, &adapter(&folder(name).join(kind))).unwrap();
            assert!(worst(&logits(&tuned, &rows), &expected[kind].1) <= 1e-4, "{name} {kind}");
            assert_eq!(logits(&base, &rows), plain, "{name} after {kind}");
            assert_eq!(logits(&detach(tuned), &rows), plain, "{name} without {kind}");
        }
    }
}

#[test]
fn what_is_written_of_an_adapter_of_peft_is_what_peft_wrote() {
    for kind in KINDS {
        let files = adapter(&folder("llama").join(kind));
        let tuned = read_adapter(&base("llama"), &files).unwrap();
        let ours = block_on(write_adapter(&tuned, &tuning("llama", kind))).unwrap();
        assert_eq!(tensors(&ours.weights), tensors(&files.weights), "{kind}");
        let config = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let (ours, theirs) = (config(&ours.config), config(&files.config));
        for field in ["peft_type", "task_type", "lora_alpha", "use_dora", "use_rslora", "init_r"] {
            assert_eq!(ours[field].as_str(), theirs[field].as_str(), "{kind} {field}");
            assert_eq!(ours[field].as_f64(), theirs[field].as_f64(), "{kind} {field}");
        }
        for field in ["target_modules", "feedforward_modules", "num_virtual_tokens", "token_dim"] {
            assert_eq!(ours.get(field), theirs.get(field), "{kind} {field}");
        }
    }
}

/// A tuned model whose small parameters are far from their start.
fn moved(name: &str, kind: &str) -> (Transformer, Tuning) {
    let mut coins = ChaCha8Rng::seed_from_u64(kind.len() as u64);
    let mut tuning = tuning(name, kind);
    if let Tuning::Lora(lora) = &mut tuning {
        lora.target_modules.retain(|target| *target != Target::Key || lora.use_dora);
    }
    let model = install(base(name), &tuning, &mut coins);
    let start = block_on(small_to_bytes(&model)).unwrap();
    let mut all = tensors(&start);
    for (_, values) in all.values_mut() {
        let draw = |value: &mut f32| *value += (coins.next_u32() % 1000) as f32 / 2000.0 - 0.25;
        values.iter_mut().for_each(draw);
    }
    (small_from_bytes(model, &container(&all)).unwrap(), tuning)
}

fn container(all: &ByName) -> Vec<u8> {
    let stored = all.iter().map(|(name, (shape, values))| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        (name, Owned(shape.clone(), bytes))
    });
    safetensors::serialize(stored, None).unwrap()
}

struct Owned(Vec<usize>, Vec<u8>);

impl safetensors::View for Owned {
    fn dtype(&self) -> safetensors::Dtype {
        safetensors::Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.0
    }
    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.1.as_slice().into()
    }
    fn data_len(&self) -> usize {
        self.1.len()
    }
}

/// The files in `ours_*` were written by this test's program and read by PEFT, whose logits are kept.
#[test]
fn an_adapter_that_we_write_gives_the_same_logits_in_peft() {
    for name in NAMES {
        let theirs = tensors(&read(folder(name).join("ours.safetensors")));
        for kind in KINDS {
            let (model, tuning) = moved(name, kind);
            let files = block_on(write_adapter(&model, &tuning)).unwrap();
            let kept = adapter(&folder(name).join(format!("ours_{kind}")));
            assert_eq!(files.config, kept.config, "{name} {kind}");
            assert_eq!(tensors(&files.weights), tensors(&kept.weights), "{name} {kind}");
            let rows = ids(name);
            let distance = worst(&logits(&model, &rows), &theirs[kind].1);
            assert!(distance <= 1e-4, "{name} {kind}: {distance}");
            let again = logits(&read_adapter(&base(name), &files).unwrap(), &rows);
            let distance = worst(&again, &theirs[kind].1);
            assert!(distance <= 1e-4, "{name} {kind}, read again: {distance}");
        }
    }
}

/// Not a test of its own: writes what `tuning.py --ours` reads, where `KUDOS_WRITE_OURS` names a folder.
#[test]
fn our_adapters_are_written_where_they_are_asked_for() {
    let Some(out) = std::env::var_os("KUDOS_WRITE_OURS") else { return };
    for name in NAMES {
        for kind in KINDS {
            let (model, tuning) = moved(name, kind);
            let files = block_on(write_adapter(&model, &tuning)).unwrap();
            let folder = Path::new(&out).join(name).join(format!("ours_{kind}"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("adapter_config.json"), files.config).unwrap();
            std::fs::write(folder.join("adapter_model.safetensors"), files.weights).unwrap();
        }
    }
}

#[test]
fn the_budget_follows_its_schedule() {
    let budget = Budget { initial: 48, target: 32, t_init: 10, t_final: 20, total_steps: 100 };
    let found = [0, 10, 20, 30, 50, 80].map(|step| budget.at(step));
    assert_eq!(found, [48, 48, 42, 37, 33, 32]);
    let all: Vec<usize> = (0..=100).map(|step| budget.at(step)).collect();
    assert!(all.windows(2).all(|pair| pair[1] <= pair[0]));
}

/// The parameters of both targets or their gradients in our orientation, by our names.
fn ours(all: &Value, rank: usize) -> ByName {
    let mut by_name = ByName::new();
    for (layer, target) in ["first", "second"].into_iter().enumerate() {
        for (ours, theirs) in [("a", "lora_A"), ("b", "lora_B"), ("e", "lora_E")] {
            let values = &all[format!("{target}.{theirs}.default")];
            let values: Vec<f32> = serde_json::from_value(values.clone()).unwrap();
            let width = values.len() / rank;
            let transposed = |rows: usize, columns: usize| {
                let places = (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c));
                places.map(|place| values[place]).collect()
            };
            let (shape, values) = match ours {
                "a" => (vec![width, rank], transposed(rank, width)),
                "b" => (vec![rank, width], transposed(width, rank)),
                _ => (vec![rank], values),
            };
            let name = format!("blocks.{layer}.attention.query.weight.low_rank.{ours}");
            by_name.insert(name, (shape, values));
        }
    }
    by_name
}

#[test]
fn the_same_singular_values_go_as_in_peft() {
    let golden: Value = serde_json::from_slice(&read(folder("allocator.json"))).unwrap();
    let count = |key: &str| golden[key].as_u64().unwrap() as usize;
    let rank = count("rank");
    let options = AdaLora {
        init_rank: rank,
        target_rank: count("target_rank"),
        target_modules: vec![Target::Query],
        t_init: count("tinit"),
        t_final: count("tfinal"),
        delta_t: count("deltaT"),
        ..AdaLora::default()
    };
    let config = TransformerConfig::llama(3, 4, 2, 4);
    let config = TransformerConfig { n_heads: 2, n_kv_heads: 2, d_head: 2, ..config };
    let model = Transformer::zeroed(&config, &Device::flex().autodiff());
    let tuning = Tuning::Adalora(options.clone());
    let model = install(model, &tuning, &mut ChaCha8Rng::seed_from_u64(0));
    let start = ours(&golden["parameters"], rank);
    let model = small_from_bytes(model, &container(&start)).unwrap();
    let mut allocator = Allocator::new(options, count("total_step"));
    for (index, step) in golden["steps"].as_array().unwrap().iter().enumerate() {
        let gradients = ours(&step["gradients"], rank).into_iter().map(|(name, (_, values))| {
            let length = values.len();
            let values = TensorData::new(values, [length]);
            (name, Tensor::<1>::from_data(values, &Device::flex()))
        });
        let gradients = Gradients::named(gradients.collect());
        let pruned = allocator.after_step(model.clone(), &gradients, index + 1);
        let all = tensors(&block_on(small_to_bytes(&pruned)).unwrap());
        for (layer, target) in ["first", "second"].into_iter().enumerate() {
            let e = &all[&format!("blocks.{layer}.attention.query.weight.low_rank.e")].1;
            let kept: Vec<u8> = e.iter().map(|value| u8::from(*value != 0.0)).collect();
            let theirs: Vec<u8> = serde_json::from_value(step["kept"][target].clone()).unwrap();
            assert_eq!(kept, theirs, "{target} after step {}", index + 1);
        }
    }
}

/// Its slope along one number of `a`, from the norm in plain numbers.
#[test]
fn the_penalty_pulls_where_its_finite_difference_says() {
    let config = TransformerConfig::llama(3, 4, 1, 4);
    let config = TransformerConfig { n_heads: 2, n_kv_heads: 2, d_head: 2, ..config };
    let options = AdaLora {
        init_rank: 3,
        target_modules: vec![Target::Query],
        orthogonality: 0.7,
        ..AdaLora::default()
    };
    let model = Transformer::zeroed(&config, &Device::flex().autodiff());
    let tuning = Tuning::Adalora(options.clone());
    let model = install(model, &tuning, &mut ChaCha8Rng::seed_from_u64(0));
    let name = |part: &str| format!("blocks.0.attention.query.weight.low_rank.{part}");
    let values = |count: usize| (0..count).map(|i| (i as f32 * 1.7).sin()).collect::<Vec<f32>>();
    let (a, b) = (values(12), values(12));
    let all = [
        (name("a"), (vec![4, 3], a.clone())),
        (name("b"), (vec![3, 4], b.clone())),
        (name("e"), (vec![3], vec![0.0; 3])),
    ];
    let model = small_from_bytes(model, &container(&all.into())).unwrap();
    let mut gradients = Gradients::default();
    Allocator::new(options, 9).regularize(&model, &mut gradients);
    // |M - 1| where M holds the products of the vectors, which lie `stride` apart.
    let norm = |values: &[f32], at: &dyn Fn(usize, usize) -> usize| {
        let product = |i: usize, j: usize| -> f64 {
            (0..4).map(|k| f64::from(values[at(k, i)]) * f64::from(values[at(k, j)])).sum()
        };
        let excess = |i: usize, j: usize| product(i, j) - f64::from(u8::from(i == j));
        let all = (0..3).flat_map(|i| (0..3).map(move |j| (i, j)));
        all.map(|(i, j)| excess(i, j).powi(2)).sum::<f64>().sqrt()
    };
    let (of_a, of_b) = (|k, i| k * 3 + i, |k, i| i * 4 + k);
    let places: [&dyn Fn(usize, usize) -> usize; 2] = [&of_a, &of_b];
    for ((part, values), at) in [("a", a), ("b", b)].into_iter().zip(places) {
        let gradient = gradients.get(&name(part)).unwrap().into_data().try_to_vec::<f32>().unwrap();
        for place in 0..12 {
            let moved = |by: f32| {
                let mut values = values.clone();
                values[place] += by;
                norm(&values, at)
            };
            // Two matrices share the penalty.
            let slope = 0.7 / 2.0 * (moved(1e-2) - moved(-1e-2)) / 2e-2;
            let found = f64::from(gradient[place]);
            assert!((slope - found).abs() < 1e-3, "{part} {place}: {found}, not {slope}");
        }
    }
}
