//! Matrices in 8 and 4 bits: read as numpy packed them (`tests/golden/packed.py`), and packed again.

use burn::tensor::Device;
use kudos_core::bundle;
use kudos_core::compress::{
    Foretold, Moments, Packing, Storage, Without, divergence, importance, moments, pack,
    pack_sparse, prune, with_tokens,
};
use kudos_core::learn::{Activations, training_device};
use kudos_core::model::hugging_face::{
    StoredAs, config_from_json, read_weights, stored_numbers, write_weights,
};
use kudos_core::model::parameters::count;
use kudos_core::model::{PaddingSide, Tokens, Transformer, TransformerConfig, initialize};
use pollster::block_on;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;

fn golden(name: &str) -> Vec<u8> {
    // Tests start in the folder of their package.
    std::fs::read(format!("golden/{name}")).unwrap()
}

fn llama() -> TransformerConfig {
    let text = String::from_utf8(golden("transformer/llama/config.json")).unwrap();
    config_from_json(&text).unwrap()
}

fn bytes(model: &Transformer) -> Vec<u8> {
    block_on(write_weights(model, StoredAs::F32)).unwrap()
}

fn random(config: &TransformerConfig) -> Transformer {
    let mut coins = ChaCha8Rng::seed_from_u64(3);
    initialize(Transformer::zeroed(config, &Device::flex()), &mut coins)
}

/// Two files hold the same weights, to the last bit.
fn are_read_alike(packed: &str, plain: &str) {
    let model = |name: &str| read_weights(&llama(), &golden(name), &Device::flex()).unwrap();
    assert_eq!(bytes(&model(packed)), bytes(&model(plain)));
}

#[test]
fn what_numpy_packed_is_read_to_the_last_bit() {
    are_read_alike("packed/packed.safetensors", "packed/unpacked.safetensors");
}

#[test]
fn scales_that_are_missing_or_do_not_fit_are_refused_by_name() {
    let stored = golden("packed/packed.safetensors");
    let file = SafeTensors::deserialize(&stored).unwrap();
    let check = |change: &dyn Fn(&str) -> Option<Vec<usize>>, expected: &str| {
        let kept = file.iter().filter_map(|(name, view)| {
            let shape = change(name)?;
            let shape = if shape.is_empty() { view.shape().to_vec() } else { shape };
            let count: usize = shape.iter().product();
            let width = view.data().len() / view.shape().iter().product::<usize>();
            let data = &view.data()[..count * width];
            let view = safetensors::tensor::TensorView::new(view.dtype(), shape, data).unwrap();
            Some((name.to_owned(), view))
        });
        let bytes = safetensors::serialize(kept, None).unwrap();
        let error = read_weights(&llama(), &bytes, &Device::flex()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let name = "model.layers.0.mlp.up_proj.weight.scale";
    check(&|one| (one != name).then(Vec::new), name);
    check(&|one| Some(if one == name { vec![1, 1] } else { vec![] }), "does not fit");
    let name = "model.layers.0.mlp.gate_proj.weight.minimum";
    check(&|one| (one != name).then(Vec::new), name);
    check(&|one| (one != "model.norm.weight").then(Vec::new), "model.norm.weight");
}

#[test]
fn no_number_moves_by_more_than_half_a_step() {
    let config = TransformerConfig { d_ff: 64, ..TransformerConfig::llama(70, 16, 1, 32) };
    let weights = bytes(&random(&config));
    let before = SafeTensors::deserialize(&weights).unwrap();
    for (packing, steps) in [
        (Packing::Int8, 254.0),
        (Packing::Int8Affine, 255.0),
        (Packing::Int4, 15.0),
        (Packing::Int4Symmetric, 14.0),
    ] {
        let packed = pack((&config, &weights), packing, None).unwrap();
        let model = read_weights(&config, &packed, &Device::flex()).unwrap();
        let unpacked = bytes(&model);
        let after = SafeTensors::deserialize(&unpacked).unwrap();
        for (name, view) in before.iter() {
            let numbers = |data: &[u8]| -> Vec<f32> {
                data.chunks_exact(4)
                    .map(|word| f32::from_le_bytes(word.try_into().unwrap()))
                    .collect()
            };
            let (old, new) = (numbers(view.data()), numbers(after.tensor(name).unwrap().data()));
            if view.shape().len() < 2 {
                assert_eq!(old, new);
                continue;
            }
            for (old, new) in old.chunks(32).zip(new.chunks(32)) {
                let most = old.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                let step = 2.0 * most / steps;
                // In 4 bits a narrower range may cut the ends off, if that is better for the others.
                let error: f32 = old.iter().zip(new).map(|(a, b)| (a - b).powi(2)).sum();
                assert!(error.sqrt() <= 0.5 * step * 32_f32.sqrt() * 1.002, "{name}: {error}");
                let worst = old.iter().zip(new).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                let bound = if steps > 15.0 { 0.502 } else { 0.15 * steps + 0.502 };
                assert!(worst <= bound * step, "{name}: {worst} of {step}");
            }
        }
    }
}

#[test]
fn ten_million_parameters_are_at_most_eleven_and_seven_megabytes() {
    let config = TransformerConfig {
        n_heads: 8,
        n_kv_heads: 8,
        d_head: 40,
        d_ff: 864,
        ..TransformerConfig::llama(8192, 256, 6, 320)
    };
    let model = random(&config);
    let parameters = count(&model);
    assert!(parameters > 10_000_000);
    let weights = bytes(&model);
    for (packing, most, name) in [
        (Packing::Int8, 11_000_000, "int8"),
        (Packing::Int8Affine, 11_500_000, "int8"),
        (Packing::Int4, 7_000_000, "int4"),
        (Packing::Int4Symmetric, 6_000_000, "int4"),
    ] {
        let packed = pack((&config, &weights), packing, None).unwrap();
        assert!(packed.len() < most, "{name}: {} bytes", packed.len());
        let (stored, stored_as) = stored_numbers(&packed).unwrap();
        assert_eq!((stored as usize, stored_as.as_str()), (parameters, name));
    }
}

#[test]
fn the_shipped_policy_keeps_its_probabilities() {
    let unpacked = bundle::unpack(trainer::policy::EMBEDDED).unwrap();
    let policy = unpacked.load(&Device::flex()).unwrap();
    let config = policy.config().clone();
    let text =
        "A cat is a small animal that people keep at home, and it likes to sleep in the sun.";
    let ids = policy.tokenizer.encode(text);
    let text = [Foretold { tokens: ids.clone(), given: 1 }];
    let known = block_on(moments(&policy.model, &[&ids])).unwrap();
    let lost = |packing: Packing, known: Option<&Moments>| {
        let packed = pack((&config, &unpacked.files.weights), packing, known).unwrap();
        let smaller = read_weights(&config, &packed, &Device::flex()).unwrap();
        block_on(divergence(&policy.model, &smaller, &text)).unwrap()
    };
    for (packing, most) in [
        (Packing::F16, 1e-6),
        (Packing::Int8, 0.01),
        (Packing::Int8Affine, 0.01),
        (Packing::Int4, 0.05),
        (Packing::Int4Symmetric, 0.1),
    ] {
        let lost = lost(packing, Some(&known));
        assert!(lost.kl_nats < most && lost.kl_nats > -1e-6, "{packing:?}: {lost:?}");
        assert_eq!(lost.tokens, ids.len() - 1);
    }
    for packing in [Packing::Int8, Packing::Int4, Packing::Int4Symmetric] {
        let (with, without) = (lost(packing, Some(&known)).kl_nats, lost(packing, None).kl_nats);
        assert!(with < 0.7 * without, "{packing:?}: {with} {without}");
    }
}

#[test]
fn what_is_zero_is_left_out_first_and_nothing_changes() {
    let config = TransformerConfig {
        n_heads: 4,
        n_kv_heads: 2,
        d_head: 8,
        d_ff: 48,
        ..TransformerConfig::llama(60, 32, 3, 32)
    };
    let mut model = random(&config);
    // Channel 5, the second key head with its query heads, and what the last layer writes, are silent.
    let zero = |linear: &mut burn::nn::Linear, rows: std::ops::Range<usize>| {
        let width = linear.weight.dims()[1];
        linear.weight = linear.weight.clone().map(|weight| {
            let silent = weight.clone().slice([rows.clone(), 0..width]).mul_scalar(0.0);
            weight.slice_assign([rows, 0..width], silent)
        });
    };
    for block in &mut model.blocks {
        zero(&mut block.feed_forward.down, 5..6);
        zero(&mut block.attention.output, 16..32);
    }
    zero(&mut model.blocks[2].feed_forward.down, 0..48);
    zero(&mut model.blocks[2].attention.output, 0..32);
    let device = training_device(&Device::flex(), Activations::Keep);
    let learning = read_weights(&config, &bytes(&model), &device).unwrap();
    let text: Vec<u32> = (0..24).map(|place| place * 7 % 60).collect();
    let found = block_on(importance(&learning, &[&text])).unwrap();
    let without = Without { layers: 1, heads: 1, channels: 1 };
    let smaller = prune(&model, &found, without).unwrap();
    let sizes = smaller.config();
    assert_eq!((sizes.n_layers, sizes.n_heads, sizes.n_kv_heads, sizes.d_ff), (2, 2, 1, 47));
    let text = Foretold { tokens: text, given: 1 };
    let lost = block_on(divergence(&model, &smaller, &[text])).unwrap();
    assert!(lost.kl_nats.abs() < 1e-6, "{lost:?}");
    assert!(count(&smaller) < count(&model));
    let all = Without { layers: 3, ..Without::default() };
    assert!(prune(&model, &found, all).unwrap_err().contains("3 of 3 layers"));
}

#[test]
fn fewer_tokens_say_of_each_what_the_original_says_where_it_may_say_no_other() {
    for tied_head in [true, false] {
        let config = TransformerConfig { tied_head, ..TransformerConfig::llama(60, 32, 2, 32) };
        let model = random(&config);
        let kept = [3, 7, 21, 22, 40, 59];
        let smaller = with_tokens(&model, &kept);
        assert_eq!(smaller.config().vocab_size, kept.len());
        let text = [4, 0, 2, 2, 5, 1];
        let old = text.map(|id: u32| kept[id as usize]);
        let log_probs = |model: &Transformer, text: &[u32], among: &[usize]| {
            let tokens = Tokens::new(&[text], PaddingSide::Right, &Device::flex());
            let logits: Vec<f32> = model.forward(&tokens).into_data().try_to_vec().unwrap();
            let rows = logits.chunks(model.config().vocab_size);
            let rows = rows.map(|row| {
                let total: f32 = among.iter().map(|id| row[*id].exp()).sum();
                among.iter().map(|id| row[*id] - total.ln()).collect::<Vec<f32>>()
            });
            rows.collect::<Vec<_>>().concat()
        };
        let ours = log_probs(&smaller, &text, &[0, 1, 2, 3, 4, 5]);
        let expected = log_probs(&model, &old, &kept.map(|id| id as usize));
        for (ours, expected) in ours.iter().zip(&expected) {
            assert!((ours - expected).abs() < 1e-5, "tied {tied_head}: {ours} {expected}");
        }
    }
}

#[test]
fn a_sparse_file_of_numpy_is_read_to_the_last_bit() {
    are_read_alike("packed/sparse.safetensors", "packed/thinned.safetensors");
}

#[test]
fn numbers_that_a_mask_does_not_count_are_refused_by_name() {
    let stored = golden("packed/sparse.safetensors");
    let file = SafeTensors::deserialize(&stored).unwrap();
    let mut flipped = None;
    let tensors = file.iter().map(|(name, view)| {
        let mut data = view.data().to_vec();
        if name.ends_with(".mask") && flipped.is_none() {
            data[0] ^= 1;
            flipped = Some(name.to_owned());
        }
        (name.to_owned(), view.dtype(), view.shape().to_vec(), data)
    });
    let tensors: Vec<_> = tensors.collect();
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        let view = safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap();
        (name, view)
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    let error = read_weights(&llama(), &bytes, &Device::flex()).unwrap_err().to_string();
    assert!(error.contains(&flipped.unwrap()), "{error}");
}

/// The numbers of every projection's matrix, in the order of names.
fn projections(weights: &[u8]) -> Vec<Vec<f32>> {
    let model = read_weights(&llama(), weights, &Device::flex()).unwrap();
    let plain = bytes(&model);
    let file = SafeTensors::deserialize(&plain).unwrap();
    let mut names: Vec<&str> = file.names().into_iter().filter(|n| n.contains("proj")).collect();
    names.sort_unstable();
    let numbers = |name: &str| {
        let data = file.tensor(name).unwrap().data().to_vec();
        let words = data.chunks_exact(4).map(|word| f32::from_le_bytes(word.try_into().unwrap()));
        words.collect::<Vec<f32>>()
    };
    names.into_iter().map(numbers).collect()
}

#[test]
fn what_is_left_out_is_the_smallest_share_of_each_matrix_and_nothing_else_changes() {
    let whole = golden("transformer/llama/model.safetensors");
    for packing in [Packing::F16, Packing::Int8] {
        let with = |sparsity: f64| {
            let storage = Storage { packing, sparsity };
            pack_sparse((&llama(), whole.as_slice()), storage, None).unwrap()
        };
        let dense = with(0.0);
        assert_eq!(dense, pack((&llama(), whole.as_slice()), packing, None).unwrap());
        let mut last = dense.len();
        for sparsity in [0.25, 0.5, 0.9] {
            let sparse = with(sparsity);
            assert!(sparse.len() < last, "{packing:?}, {sparsity}");
            last = sparse.len();
            assert_eq!(stored_numbers(&sparse).unwrap(), stored_numbers(&dense).unwrap());
            let originals = projections(&whole);
            for ((original, dense), thin) in
                originals.iter().zip(projections(&dense)).zip(projections(&sparse))
            {
                let mut sizes: Vec<f32> = original.iter().map(|value| value.abs()).collect();
                sizes.sort_by(f32::total_cmp);
                let bound = sizes[(sparsity * original.len() as f64) as usize];
                for ((original, dense), thin) in original.iter().zip(dense).zip(thin) {
                    let expected = if original.abs() < bound { 0.0 } else { dense };
                    assert!(thin == expected || original.abs() == bound, "{thin}, {expected}");
                }
            }
        }
    }
}
