//! The engine of the page looks at pictures as the core does, which looks as PyTorch says (`golden_vision.rs`).

use burn::tensor::Device;
use engine::{Reads, Session};
use kudos_core::bundle::{pack, sha256, unpack};
use kudos_core::model::hugging_face::StoredAs;
use kudos_core::model::{Transformer, VisionConfig};
use kudos_core::policy::Policy;
use kudos_core::rollout::{Coins, Generation, generate};
use kudos_schema::{
    AlternativesRequest, CHANNELS, FailureKind, Picture, Reply, Request, Sampling, WriteRequest,
    patch_ids,
};
use pollster::block_on;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::page_writes::{Recorder, TINY, request};

const SIZE: usize = 16;

/// The policy of TINY with eyes, as a bundle.
fn seeing() -> (Policy, Vec<u8>) {
    let unpacked = unpack(TINY).unwrap();
    let policy = unpacked.load(&Device::flex()).unwrap();
    let mut coins = ChaCha8Rng::seed_from_u64(3);
    let eyes = VisionConfig { image_size: SIZE, width: 4 };
    let policy = Policy { model: policy.model.with_eyes(eyes, &mut coins), ..policy };
    let files = block_on(policy.files(StoredAs::F32)).unwrap();
    let bundle = pack(unpacked.manifest, &files).unwrap();
    (policy, bundle)
}

fn picture(number: u8) -> Picture {
    let pixels = (0..CHANNELS * SIZE * SIZE).map(|place| (place as u8).wrapping_mul(number));
    Picture { size: SIZE, pixels: pixels.collect() }
}

fn looking(policy: &Policy, picture: &Picture) -> Transformer {
    policy.model.clone().looking_at(&picture.into()).unwrap()
}

#[test]
fn the_engine_writes_of_a_picture_what_the_core_writes_of_it() {
    let (policy, bundle) = seeing();
    let recorder = Recorder::default();
    let mut session = Session::new(Device::flex(), Reads::Cheap, recorder.clone());
    let load = Request::Load { sha256: None, keep: Vec::new(), base: None };
    block_on(session.handle(load, &[&bundle]));
    let Reply::Loaded(loaded) = recorder.last() else { panic!("{:?}", recorder.last()) };
    assert_eq!(loaded.manifest.image_size, Some(SIZE));
    let sampling = Sampling { max_completion_length: 8, ..Sampling::default() };
    let asked = |picture: Option<Picture>| WriteRequest {
        policy: sha256(&bundle),
        picture,
        ..request("hell", sampling.clone())
    };
    let mut seen = Vec::new();
    for picture in [picture(1), picture(7)] {
        recorder.replies.borrow_mut().clear();
        block_on(session.handle(Request::Write(asked(Some(picture.clone()))), &[]));
        let prompt = [patch_ids(0, SIZE), policy.tokenizer.encode("hell")].concat();
        let (stop, coins) = (policy.stop_tokens(), Coins::new(5, 0));
        let generation = Generation { sampling: &sampling, stop: &stop, coins, first_index: 0 };
        let prompts = [prompt.clone()];
        let model = looking(&policy, &picture);
        let expected = block_on(generate(&model, &prompts, &generation)).unwrap();
        let written = recorder.tokens();
        let ids: Vec<u32> = written.iter().map(|token| token.id).collect();
        assert_eq!(ids, expected.completions[0]);
        for (ours, theirs) in written.iter().zip(&expected.logprobs_full[0]) {
            assert!((ours.logprob_full - theirs).abs() < 1e-5);
        }
        assert_eq!(
            recorder.replies.borrow()[0],
            Reply::Began { id: 1, prompt_ids: prompt.clone() }
        );
        let question = AlternativesRequest {
            id: 9,
            policy: sha256(&bundle),
            picture: Some(picture),
            token_ids: prompt,
            sampling: sampling.clone(),
            count: 300,
        };
        block_on(session.handle(Request::Alternatives(question), &[]));
        let Reply::Alternatives { list, .. } = recorder.last() else { panic!("no alternatives") };
        let first = list.iter().find(|one| one.id == ids[0]).unwrap();
        assert!((first.logprob_full - written[0].logprob_full).abs() < 1e-5);
        seen.push(written[0].logprob_full);
    }
    assert!((seen[0] - seen[1]).abs() > 1e-3, "the two pictures look alike: {seen:?}");
    for wrong in [Picture::blank(32), Picture { size: SIZE, pixels: vec![0; 3] }] {
        block_on(session.handle(Request::Write(asked(Some(wrong))), &[]));
        let Reply::Failed(failure) = recorder.last() else { panic!("it was taken") };
        assert_eq!((failure.cause, failure.id), (FailureKind::Defect, Some(1)));
    }
}
