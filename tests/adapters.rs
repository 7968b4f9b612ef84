//! Adapters that become part of a policy while it is read, as the page does it: the numbers are PEFT's
//! (`tests/golden/tuning.py`), and the page's engine writes what the trainer's adapters write.

use std::path::Path;

use burn::tensor::Device;
use engine::{Reads, Session};
use kudos_core::bundle::{BundleError, load, pack_adapter, sha256, unpack, unpack_adapter};
use kudos_core::model::hugging_face::{Adapter, Weights, config_from_json, read_adapted};
use kudos_core::rollout::{Coins, Generation, generate};
use kudos_core::tuning::{
    AdapterFiles, Lora, Target, Tuning, install, merge, read_adapter, small_from_bytes,
    small_to_bytes, write_adapter,
};
use kudos_schema::{FailureKind, PolicyManifest, Reply, Request, Sampling, WriteRequest};
use pollster::block_on;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::golden_tuning::{NAMES, adapter, folder, ids, logits, read, tensors, worst};
use crate::page_writes::{Recorder, TINY, request};

#[test]
fn a_lora_read_with_the_weights_gives_the_logits_that_it_gives_in_peft() {
    for name in NAMES {
        let base = Path::new("golden/transformer").join(name);
        let config = String::from_utf8(read(base.join("config.json"))).unwrap();
        let config = config_from_json(&config).unwrap();
        let weights = Weights::from(read(base.join("model.safetensors")));
        let expected = tensors(&read(folder(name).join("expected.safetensors")));
        for kind in ["lora", "rslora"] {
            let files = adapter(&folder(name).join(kind));
            let adapter = Adapter { scale: files.scale().unwrap(), weights: files.weights };
            let model = read_adapted(&config, (&weights, &adapter), &Device::flex()).unwrap();
            let distance = worst(&logits(&model, &ids(name)), &expected[kind].1);
            assert!(distance <= 1e-4, "{name} {kind}: {distance}");
        }
    }
}

#[test]
fn what_is_no_plain_lora_is_refused_by_name() {
    let refused = [
        ("dora", "lora_magnitude_vector"),
        ("adalora", "ADALORA"),
        ("ia3", "IA3"),
        ("prefix", "PREFIX_TUNING"),
        ("prompt", "PROMPT_TUNING"),
    ];
    for (kind, said) in refused {
        let files = adapter(&folder("llama").join(kind));
        let error = pack_adapter(PolicyManifest::default(), TINY, &files).unwrap_err();
        assert!(error.to_string().contains(said), "{kind}: {error}");
    }
}

/// An adapter of the tiny policy whose sums are far from nothing.
fn of_tiny(seed: u64) -> AdapterFiles {
    let policy = unpack(TINY).unwrap().load(&Device::flex()).unwrap();
    let lora =
        Lora { rank: 2, alpha: 6.0, target_modules: Target::ALL.to_vec(), ..Lora::default() };
    let tuning = Tuning::Lora(lora);
    let model = install(policy.model, &tuning, &mut ChaCha8Rng::seed_from_u64(seed));
    let small = block_on(small_to_bytes(&model)).unwrap();
    let model = small_from_bytes(model, &shaken(&small, seed)).unwrap();
    block_on(write_adapter(&model, &tuning)).unwrap()
}

/// Numbers in place of those stored: the second matrices of a fresh adapter are all zero.
fn shaken(small: &[u8], seed: u64) -> Vec<u8> {
    let file = SafeTensors::deserialize(small).unwrap();
    let shake = |(name, view): (String, TensorView<'_>)| {
        let numbers = view.data().len() / 4;
        let value = |place: usize| ((place as f32 + 1.0) * (seed as f32 + 0.7)).sin() * 0.3;
        let bytes: Vec<u8> = (0..numbers).flat_map(|place| value(place).to_le_bytes()).collect();
        (name, view.dtype(), view.shape().to_vec(), bytes)
    };
    let all: Vec<_> = file.tensors().into_iter().map(shake).collect();
    let views = all.iter().map(|(name, dtype, shape, bytes)| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

fn packed(name: &str, files: &AdapterFiles) -> Vec<u8> {
    let manifest = PolicyManifest { name: name.to_owned(), ..PolicyManifest::default() };
    pack_adapter(manifest, TINY, files).unwrap()
}

#[test]
fn the_page_writes_what_the_trainer_writes_with_an_adapter_and_its_base_stays_as_it_is() {
    let files = [of_tiny(1), of_tiny(2)];
    let bundles = [packed("first", &files[0]), packed("second", &files[1])];
    let recorder = Recorder::default();
    let mut session = Session::new(Device::flex(), Reads::Cheap, recorder.clone());
    let sampling = Sampling { max_completion_length: 12, ..Sampling::default() };
    let policy = unpack(TINY).unwrap().load(&Device::flex()).unwrap();
    let base = Some(sha256(TINY));
    let mut texts = Vec::new();
    for place in [None, Some(0), Some(1), None, Some(0)] {
        let (parcels, model) = match place {
            None => (vec![TINY], policy.model.clone()),
            Some(place) => {
                let tuned = read_adapter(&policy.model, &files[place]).unwrap();
                (vec![&bundles[place][..], TINY], merge(tuned))
            }
        };
        let hash = sha256(parcels[0]);
        let base = base.clone().filter(|_| place.is_some());
        let load = Request::Load { sha256: Some(hash.clone()), keep: Vec::new(), base };
        block_on(session.handle(load, &parcels));
        let Reply::Loaded(loaded) = recorder.last() else { panic!("{:?}", recorder.last()) };
        assert_eq!(
            (loaded.manifest.context_length, &loaded.sha256),
            (policy.config().context_length, &hash)
        );
        recorder.replies.borrow_mut().clear();
        let asked = WriteRequest { policy: hash, ..request("hell", sampling.clone()) };
        block_on(session.handle(Request::Write(asked), &[]));
        let written = recorder.tokens();
        let (stop, coins) = (policy.stop_tokens(), Coins::new(5, 0));
        let generation = Generation { sampling: &sampling, stop: &stop, coins, first_index: 0 };
        let prompt = policy.tokenizer.encode("hell");
        let expected = block_on(generate(&model, &[prompt], &generation)).unwrap();
        let ids: Vec<u32> = written.iter().map(|token| token.id).collect();
        assert_eq!(ids, expected.completions[0], "{place:?}");
        for (token, logprob) in written.iter().zip(&expected.logprobs_full[0]) {
            assert!((token.logprob_full - logprob).abs() < 1e-4, "{place:?}");
        }
        texts.push(ids);
    }
    assert_eq!((&texts[0], &texts[1]), (&texts[3], &texts[4]));
    assert_ne!(texts[0], texts[1]);
    assert_ne!(texts[1], texts[2]);
}

#[test]
fn an_adapter_without_its_base_or_on_another_is_refused() {
    let bundle = packed("first", &of_tiny(1));
    let device = Device::flex();
    let mut other = TINY.to_vec();
    other.push(0);
    for bundles in [vec![&bundle[..]], vec![&bundle, &other], vec![&bundle, &bundle]] {
        let error = load(&bundles, &device).unwrap_err();
        assert!(matches!(&error, BundleError::Base(base) if *base == sha256(TINY)), "{error}");
    }
    assert!(matches!(unpack(&bundle), Err(BundleError::Base(_))));
    assert_eq!(unpack_adapter(&bundle).unwrap().unwrap().base, sha256(TINY));
    assert!(unpack_adapter(TINY).unwrap().is_none());
    let mut damaged = bundle.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(load(&[&damaged, TINY], &device).is_err());
    let recorder = Recorder::default();
    let mut session = Session::new(device, Reads::Cheap, recorder.clone());
    let request = Request::Load { sha256: None, keep: Vec::new(), base: None };
    block_on(session.handle(request, &[&bundle]));
    let Reply::Failed(failure) = recorder.last() else { panic!("{:?}", recorder.last()) };
    assert_eq!(failure.cause, FailureKind::WrongBundle);
}
