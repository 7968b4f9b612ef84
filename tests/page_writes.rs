//! The engine of the page writes what PyTorch says it must (`tests/golden/page_writes.py`), and answers
//! every message. The tests in a browser read the same golden file (I6).

use std::cell::RefCell;
use std::rc::Rc;

use burn::tensor::Device;
use engine::{Host, Reads, Session, failure_of_panic, probe_tokens};
use kudos_core::bundle::sha256;
use kudos_core::learn::log_probs;
use kudos_schema::{
    AlternativesRequest, Container, EndReason, FailureKind, Reply, Request, Sampling, WriteRequest,
    Written, pack_bundle,
};
use pollster::block_on;
use serde_json::{Value, from_value};

pub(crate) const TINY: &[u8] = include_bytes!("browser/tiny.kudos");
/// Of log-probabilities in nats, between two libraries on one CPU.
const TOLERANCE: f32 = 1e-4;

/// Keeps the replies; its clock goes on by a millisecond a look, and it stops writing after some tokens.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    pub(crate) replies: Rc<RefCell<Vec<Reply>>>,
    clock: Rc<RefCell<f64>>,
    stop_after: Option<usize>,
}

impl Host for Recorder {
    fn post(&self, reply: Reply) {
        self.replies.borrow_mut().push(reply);
    }

    fn now_ms(&self) -> f64 {
        *self.clock.borrow_mut() += 1.0;
        *self.clock.borrow()
    }

    async fn breathe(&self) {}

    fn is_stopped(&self, _: u64) -> bool {
        self.stop_after.is_some_and(|most| self.tokens().len() >= most)
    }
}

impl Recorder {
    pub(crate) fn tokens(&self) -> Vec<Written> {
        let replies = self.replies.borrow();
        let written = replies.iter().filter_map(|reply| {
            let Reply::Wrote { tokens, .. } = reply else { return None };
            Some(tokens.clone())
        });
        written.flatten().collect()
    }

    pub(crate) fn last(&self) -> Reply {
        self.replies.borrow().last().unwrap().clone()
    }
}

fn session(recorder: &Recorder) -> Session<Recorder> {
    let mut session = Session::new(Device::flex(), Reads::Cheap, recorder.clone());
    block_on(session.handle(load(None, &[]), &[TINY]));
    assert!(matches!(recorder.last(), Reply::Loaded(_)), "{:?}", recorder.last());
    session
}

fn load(sha256: Option<&str>, keep: &[String]) -> Request {
    Request::Load { sha256: sha256.map(str::to_owned), keep: keep.to_vec(), base: None }
}

pub(crate) fn request(text: &str, sampling: Sampling) -> WriteRequest {
    let (policy, text) = (sha256(TINY), text.to_owned());
    WriteRequest {
        id: 1,
        policy,
        messages: Vec::new(),
        text,
        picture: None,
        begin: Vec::new(),
        sampling,
        seed: 5,
    }
}

fn check(case: &Value) {
    let recorder = Recorder::default();
    let request = WriteRequest {
        id: 1,
        policy: sha256(TINY),
        messages: from_value(case.get("messages").cloned().unwrap_or(Value::Array(vec![])))
            .unwrap(),
        text: case.get("text").map_or("", |text| text.as_str().unwrap()).to_owned(),
        picture: None,
        begin: Vec::new(),
        sampling: from_value(case["sampling"].clone()).unwrap(),
        seed: case["seed"].as_u64().unwrap(),
    };
    block_on(session(&recorder).handle(Request::Write(request), &[]));
    let prompt_ids: Vec<u32> = from_value(case["prompt_ids"].clone()).unwrap();
    assert!(recorder.replies.borrow().contains(&Reply::Began { id: 1, prompt_ids }));
    let tokens = recorder.tokens();
    let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
    assert_eq!(ids, from_value::<Vec<u32>>(case["token_ids"].clone()).unwrap(), "{case}");
    let close = |ours: Vec<f32>, name: &str| {
        let theirs: Vec<f32> = from_value(case[name].clone()).unwrap();
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!((ours - theirs).abs() <= TOLERANCE, "{name}: {ours} and {theirs}");
        }
    };
    close(tokens.iter().map(|token| token.logprob_drawn).collect(), "logprobs_drawn");
    close(tokens.iter().map(|token| token.logprob_full).collect(), "logprobs_full");
}

#[test]
fn the_engine_writes_what_pytorch_writes_from_the_same_coins() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("golden/page_writes.json")).unwrap();
    assert!(cases.len() >= 5);
    cases.iter().for_each(check);
}

#[test]
fn going_on_from_fixed_tokens_gives_the_same_probabilities() {
    let recorder = Recorder::default();
    let sampling = Sampling { max_completion_length: 8, temperature: 0.0, ..Sampling::default() };
    let whole = request("hell", sampling);
    block_on(session(&recorder).handle(Request::Write(whole.clone()), &[]));
    let tokens = recorder.tokens();
    let begin: Vec<u32> = tokens[..3].iter().map(|token| token.id).collect();
    let rest = Recorder::default();
    block_on(session(&rest).handle(Request::Write(WriteRequest { begin, ..whole }), &[]));
    for (ours, theirs) in rest.tokens().iter().zip(&tokens[3..]) {
        assert_eq!(ours.id, theirs.id);
        assert!((ours.logprob_full - theirs.logprob_full).abs() < 1e-5);
    }
}

#[test]
fn a_stop_ends_the_completion_where_it_is() {
    let recorder = Recorder { stop_after: Some(3), ..Recorder::default() };
    let sampling = Sampling { max_completion_length: 50, ..Sampling::default() };
    block_on(session(&recorder).handle(Request::Write(request("hell", sampling)), &[]));
    assert_eq!(recorder.tokens().len(), 3);
    let Reply::Ended { reason, reads, .. } = recorder.last() else { panic!("it ended") };
    assert_eq!((reason, reads), (EndReason::Interrupted, 3));
}

#[test]
fn alternatives_are_the_distribution_that_is_drawn_from() {
    let recorder = Recorder::default();
    let sampling = Sampling { top_k: 4, ..Sampling::default() };
    let token_ids = vec![261, 310, 83];
    let policy = sha256(TINY);
    let question =
        AlternativesRequest { id: 9, policy, picture: None, token_ids, sampling, count: 6 };
    block_on(session(&recorder).handle(Request::Alternatives(question), &[]));
    let Reply::Alternatives { id: 9, list } = recorder.last() else { panic!("no alternatives") };
    assert!(list.windows(2).all(|pair| pair[0].logprob_full >= pair[1].logprob_full));
    let drawn: Vec<f32> = list.iter().filter_map(|one| one.logprob_drawn).collect();
    assert_eq!((list.len(), drawn.len()), (6, 4), "two of six are cut off");
    let sum: f32 = drawn.iter().map(|logprob| logprob.exp()).sum();
    assert!((sum - 1.0).abs() < 1e-5, "{sum}");
}

#[test]
fn the_self_test_equals_a_whole_forward_pass() {
    let recorder = Recorder::default();
    let mut session = session(&recorder);
    block_on(session.handle(Request::Probe, &[]));
    let Reply::Probed { logprobs, tokens_per_second } = recorder.last() else { panic!("no probe") };
    assert!(tokens_per_second > 0.0);
    let policy = kudos_core::bundle::unpack(TINY).unwrap().files.load(&Device::flex()).unwrap();
    let tokens = probe_tokens(policy.config().vocab_size);
    let scored = block_on(log_probs(&policy.model, &[(&tokens[..1], &tokens[1..])], 1.0, 1));
    let scored = scored.unwrap().concat();
    assert_eq!(logprobs.len(), scored.len());
    for (ours, theirs) in logprobs.iter().zip(scored) {
        assert!((ours - theirs).abs() < TOLERANCE, "{ours} and {theirs}");
    }
}

/// The policy of TINY with every weight halved, under a hash of its own.
fn rival() -> Vec<u8> {
    let container = Container::read(TINY).unwrap();
    let names = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];
    let mut files: Vec<_> =
        names.map(|name| (name, container.part(name).unwrap().1.to_vec())).into();
    let weights = &mut files[3].1;
    let header = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    for number in weights[8 + header..].chunks_exact_mut(4) {
        let half = f32::from_le_bytes((&*number).try_into().unwrap()) / 2.0;
        number.copy_from_slice(&half.to_le_bytes());
    }
    let files: Vec<_> =
        files.iter().map(|(name, bytes)| (*name, sha256(bytes), bytes.as_slice())).collect();
    pack_bundle(container.manifest.clone(), &files)
}

#[test]
fn policies_that_meet_write_what_each_writes_alone() {
    let rival = rival();
    let names = [sha256(TINY), sha256(&rival)];
    let sampling = Sampling { max_completion_length: 8, ..Sampling::default() };
    let write = |session: &mut Session<Recorder>, recorder: &Recorder, policy: &str| {
        let request =
            WriteRequest { policy: policy.to_owned(), ..request("hell", sampling.clone()) };
        recorder.replies.borrow_mut().clear();
        block_on(session.handle(Request::Write(request), &[]));
        recorder.tokens()
    };
    let alone = [TINY, &rival[..]].map(|bytes| {
        let recorder = Recorder::default();
        let mut session = Session::new(Device::flex(), Reads::Cheap, recorder.clone());
        block_on(session.handle(load(None, &[]), &[bytes]));
        write(&mut session, &recorder, &sha256(bytes))
    });
    assert_ne!(alone[0], alone[1]);
    let recorder = Recorder::default();
    let mut session = session(&recorder);
    block_on(session.handle(load(Some(&names[1]), &names), &[&rival]));
    for place in [0, 1, 0] {
        assert_eq!(write(&mut session, &recorder, &names[place]), alone[place]);
    }
    block_on(session.handle(load(Some(&names[1]), &names[1..]), &[&rival]));
    assert!(write(&mut session, &recorder, &names[0]).is_empty(), "what is not kept is gone");
    assert_eq!(write(&mut session, &recorder, &names[1]), alone[1]);
}

#[test]
fn what_is_wrong_is_a_failure_of_its_kind() {
    let recorder = Recorder::default();
    let mut session = session(&recorder);
    let mut check = |request: Request, bytes: &[u8], kind: FailureKind| {
        block_on(session.handle(request, &[bytes]));
        let Reply::Failed(failure) = recorder.last() else { panic!("{:?}", recorder.last()) };
        assert_eq!(failure.cause, kind, "{}", failure.detail);
        assert!(!failure.detail.is_empty());
    };
    let long = Request::Write(request(&"hello ".repeat(200), Sampling::default()));
    check(long, &[], FailureKind::PromptTooLong);
    check(load(Some("0"), &[]), TINY, FailureKind::WrongHash);
    check(load(None, &[]), b"GGUF", FailureKind::WrongBundle);
    check(load(None, &[]), &TINY[..TINY.len() - 1], FailureKind::WrongBundle);
    let mut damaged = TINY.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    check(load(None, &[]), &damaged, FailureKind::WrongBundle);
    let container = Container::read(TINY).unwrap();
    let (part, config) = container.part("config.json").unwrap();
    let alone = [("config.json", part.sha256.clone(), config)];
    let alone = pack_bundle(container.manifest.clone(), &alone);
    check(load(None, &[]), &alone, FailureKind::WrongBundle);
    check(Request::Probe, &[], FailureKind::Defect);
    check(Request::Write(request("hell", Sampling::default())), &[], FailureKind::Defect);
}

#[test]
fn the_words_of_a_panic_name_its_kind() {
    let check = |words: &str, kind| assert_eq!(failure_of_panic(words), kind, "{words}");
    check("memory allocation of 64 bytes failed", FailureKind::OutOfMemory);
    check("wgpu error: Out of Memory", FailureKind::OutOfMemory);
    check("Parent device is lost", FailureKind::DeviceLost);
    check("index out of bounds", FailureKind::Defect);
}
