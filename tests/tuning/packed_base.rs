//! Laws of a packed base and of going back block by block.

use kudos_core::compress::{Packing, pack};
use kudos_core::learn::learn_lessons;
use kudos_core::model::Passes;
use kudos_core::model::hugging_face::read_weights;
use kudos_core::objective::{Distil, Lesson, Told};
use kudos_core::tuning::{Base, base_bytes, is_packed, pack_base, unpack_base};

use super::*;

/// Whole blocks of inputs and whole words of outputs; keys and values of the first are no whole words in 4 bits.
fn wide() -> [TransformerConfig; 2] {
    let llama = TransformerConfig::llama(VOCABULARY, 32, 2, 64);
    let llama = TransformerConfig { n_heads: 4, n_kv_heads: 1, d_head: 12, d_ff: 96, ..llama };
    let gpt2 = TransformerConfig::gpt2(VOCABULARY, 32, 2, 64);
    [llama, TransformerConfig { n_heads: 2, n_kv_heads: 2, d_head: 32, ..gpt2 }]
}

fn learner() -> Device {
    training_device(&Device::flex(), Activations::Keep)
}

fn packed(config: &TransformerConfig, base_of: Base, tuning: &Tuning) -> Transformer {
    let model = block_on(pack_base(base(config, &learner()), base_of)).unwrap();
    shaken(install(model, tuning, &mut coins()))
}

fn numbers(gradients: &Gradients) -> Vec<(String, Vec<f32>)> {
    let get = |name: &str| gradients.get(name).unwrap().into_data().try_to_vec::<f32>().unwrap();
    gradients.names().map(|name| (name.to_owned(), get(name))).collect()
}

/// Equal names, and numbers as far apart as rounding puts them.
fn alike(label: &str, one: &Gradients, other: &Gradients) {
    let (one, other) = (numbers(one), numbers(other));
    assert_eq!(one.len(), other.len(), "{label}");
    let largest = one.iter().flat_map(|(_, all)| all).fold(0.0f32, |most, x| most.max(x.abs()));
    assert!(largest > 1e-3, "{label}: a gradient of {largest} shows nothing");
    for ((name, ours), (theirs_name, theirs)) in one.iter().zip(&other) {
        assert_eq!(name, theirs_name, "{label}");
        let off = worst(ours, theirs);
        assert!(off < 1e-5 * largest.max(1.0), "{label}, {name}: {off} of {largest}");
    }
}

fn loss(learned: &kudos_core::learn::Learned) -> f32 {
    learned.loss.clone().into_data().try_to_vec::<f32>().unwrap()[0]
}

#[test]
fn going_back_block_by_block_is_the_same_gradient_for_every_tuning() {
    let (objective, experiences) = imitation();
    for config in configs() {
        for (name, tuning) in tunings().into_iter().chain([("full", Tuning::Full {})]) {
            for activations in [Activations::Keep, Activations::Recompute] {
                let device = training_device(&Device::flex(), activations);
                let model = shaken(tuned(&config, &device, &tuning));
                let whole = learn(&model, &experiences, &objective, 2);
                let model = model.passing(Passes::ByBlock);
                let by_block = learn(&model, &experiences, &objective, 2);
                alike(name, &whole.gradients, &by_block.gradients);
                assert!((loss(&whole) - loss(&by_block)).abs() < 1e-5, "{name}");
            }
        }
    }
}

#[test]
fn a_packed_base_gives_the_gradient_of_the_same_weights_unpacked() {
    let (objective, experiences) = imitation();
    for config in wide() {
        for base in [Base::Int8, Base::Int4] {
            for (name, tuning) in tunings() {
                let model = packed(&config, base, &tuning);
                assert!(is_packed(&model) && model.passes() == Passes::ByBlock);
                let ours = learn(&model, &experiences, &objective, 2);
                let plain = unpack_base(model).passing(Passes::Whole);
                assert!(!is_packed(&plain));
                let theirs = learn(&plain, &experiences, &objective, 2);
                alike(name, &ours.gradients, &theirs.gradients);
                assert!((loss(&ours) - loss(&theirs)).abs() < 1e-5, "{name}");
            }
        }
    }
}

#[test]
fn a_student_with_a_packed_base_learns_as_the_same_student_unpacked() {
    let config = &wide()[0];
    let tuning = Tuning::Lora(Lora { rank: 3, ..Lora::default() });
    let told = |count: usize| Told {
        top_k: 1,
        ids: (0..count as u32).map(|id| id % VOCABULARY as u32).collect(),
        log_probs: [0.6f32.ln(), 0.4f32.ln()].repeat(count),
    };
    let lesson = |row: Vec<u32>| Lesson {
        prompt: row[..2].to_vec(),
        completion: row[2..].to_vec(),
        weights: vec![0.1; row.len() - 2],
        told: told(row.len() - 2),
    };
    let lessons: Vec<Lesson> = rows().into_iter().map(lesson).collect();
    let distil = Distil { temperature: 1.0, beta: 0.5 };
    let model = packed(config, Base::Int8, &tuning);
    let (ours, _) = learn_lessons(&model, &lessons, &distil, 2);
    let plain = unpack_base(model).passing(Passes::Whole);
    alike("distil", &ours, &learn_lessons(&plain, &lessons, &distil, 2).0);
}

#[test]
fn a_base_is_rounded_as_a_packed_file_is() {
    // Rows of a Llama's file are the inputs of an output, as blocks are here; all of them whole blocks and words.
    let config = TransformerConfig { n_kv_heads: 1, d_head: 16, ..wide()[0].clone() };
    let model = base(&config, &Device::flex());
    let bytes = block_on(write_weights(&model, StoredAs::F32)).unwrap();
    for (base_of, packing) in [(Base::Int8, Packing::Int8), (Base::Int4, Packing::Int4)] {
        let file = pack((&config, bytes.as_slice()), packing, None).unwrap();
        let read = read_weights(&config, file.as_slice(), &Device::flex()).unwrap();
        let held = unpack_base(block_on(pack_base(model.clone(), base_of)).unwrap());
        let blocks = |model: &Transformer| {
            let own = parameters(model).into_iter().filter(|(name, _)| name.starts_with("blocks"));
            own.collect::<Vec<(String, Vec<f32>)>>()
        };
        for ((name, held), (_, read)) in blocks(&held).into_iter().zip(blocks(&read)) {
            assert!(held == read, "{base_of:?}, {name}: {}", worst(&held, &read));
        }
        assert!(blocks(&held) != blocks(&model), "{base_of:?} rounds nothing");
    }
}

#[test]
fn a_packed_base_writes_what_it_writes_unpacked() {
    let config = &wide()[0];
    let model = packed(config, Base::Int4, &Tuning::Lora(Lora::default()));
    let plain = unpack_base(model.clone());
    assert!(worst(&logits(&model), &logits(&plain)) < 1e-6);
    let merged = merge(model.valid());
    assert!(!is_packed(&merged) && worst(&logits(&merged), &logits(&plain)) < 1e-4);
}

#[test]
fn packing_divides_the_bytes_of_a_base() {
    let config = &wide()[1];
    let model = base(config, &learner());
    let bytes = |base| base_bytes(&block_on(pack_base(model.clone(), base)).unwrap());
    let full = bytes(Base::F32);
    assert_eq!(bytes(Base::Int8) * 32, full * 9);
    assert_eq!(bytes(Base::Int4) * 16, full * 3);
}

#[test]
fn a_checkpoint_of_small_parameters_resumes_on_a_packed_base() {
    let config = &wide()[0];
    let tuning = Tuning::Lora(Lora { use_dora: true, ..Lora::default() });
    let model = packed(config, Base::Int8, &tuning);
    let bytes = block_on(small_to_bytes(&model)).unwrap();
    let fresh = block_on(pack_base(base(config, &learner()), Base::Int8)).unwrap();
    let fresh = install(fresh, &tuning, &mut ChaCha8Rng::seed_from_u64(99));
    let resumed = small_from_bytes(fresh, &bytes).unwrap();
    assert!(is_packed(&resumed));
    assert_eq!(logits(&resumed), logits(&model));
}
