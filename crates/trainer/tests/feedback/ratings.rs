//! Ratings as an honest page makes them of the shipped policy.

use std::sync::LazyLock;

use burn::tensor::Device;
use kudos_core::bundle::{Unpacked, sha256};
use kudos_core::model::Transformer;
use kudos_core::rollout::{Coins, Generation, generate, next_token};
use kudos_core::task::Prompt;
use kudos_schema::{
    EndReason, Message, PairChoice, PolicyId, RATING_VERSION, RatedPrompt, Rating, Sample,
    Sampling, Thumb, Verdict,
};
use pollster::block_on;
use trainer::policy::{EMBEDDED, Policy, embedded_bundle};

/// The shipped policy.
pub(crate) struct Shipped {
    pub(crate) bundle: Unpacked,
    pub(crate) policy: Policy,
}

pub(crate) static SHIPPED: LazyLock<Shipped> = LazyLock::new(|| {
    let bundle = embedded_bundle();
    let policy = bundle.files.load(&Device::flex()).unwrap();
    Shipped { bundle, policy }
});

/// A completion of the shipped policy.
fn drawn(prompt: &[u32], sampling: &Sampling, seed: u64) -> Sample {
    let policy = &SHIPPED.policy;
    drawn_by((&policy.model, policy), prompt, sampling, seed)
}

/// A completion drawn as the page draws it, by a policy whose model may have a picture before its eyes.
pub(crate) fn drawn_by(
    (model, policy): (&Transformer, &Policy),
    prompt: &[u32],
    sampling: &Sampling,
    seed: u64,
) -> Sample {
    let stop = policy.stop_tokens();
    let coins = Coins::new(seed, 0);
    let generation = Generation { sampling, stop: &stop, coins, first_index: 0 };
    let mut rollout = block_on(generate(model, &[prompt.to_vec()], &generation)).unwrap();
    Sample {
        text: policy.tokenizer.decode(&rollout.completions[0]),
        token_ids: rollout.completions.remove(0),
        logprobs_drawn: rollout.logprobs_drawn.remove(0),
        logprobs_full: rollout.logprobs_full.remove(0),
        end_reason: rollout.end_reasons[0],
        sampling: sampling.clone(),
        seed,
    }
}

pub(crate) fn asked(content: &str) -> RatedPrompt {
    let messages = vec![Message::new("system", "triples"), Message::new("user", content)];
    let ids = SHIPPED.policy.encode_prompt(&Prompt::Messages(messages.clone())).unwrap();
    RatedPrompt { messages, text: String::new(), picture: None, token_ids: ids }
}

fn continued(text: &str) -> RatedPrompt {
    let token_ids = SHIPPED.policy.tokenizer.encode(text);
    RatedPrompt { messages: Vec::new(), text: text.to_owned(), picture: None, token_ids }
}

pub(crate) fn id(number: usize) -> String {
    format!("01900000-0000-7000-8000-{number:012}")
}

pub(crate) fn rating(
    number: usize,
    prompt: RatedPrompt,
    samples: Vec<Sample>,
    verdict: Verdict,
) -> Rating {
    Rating {
        version: RATING_VERSION,
        id: id(number),
        created: "2026-11-24T10:00:00.123Z".into(),
        page_version: "0.1.0".into(),
        policy: PolicyId { name: "base".into(), sha256: sha256(EMBEDDED), adapter: None },
        rival: None,
        backend: "flex, wasm with SIMD".into(),
        task: "triples".into(),
        prompt,
        samples,
        verdict,
        reported: Vec::new(),
        reasons: vec!["clear".into()],
        remark: None,
        seconds: 3.5,
        rater: "01900000-0000-4000-8000-000000000001".into(),
        consent: "1".into(),
        locale: "en".into(),
        query: None,
    }
}

const PROMPT: &str = "oboe: a slender double-reed instrument";

pub(crate) fn base() -> Sampling {
    Sampling { max_completion_length: 24, ..Sampling::default() }
}

/// Two completions as they are meant to be sampled, the left one better.
pub(crate) fn pair(number: usize) -> Rating {
    let sampling = Sampling { temperature: 0.8, top_p: 0.95, ..base() };
    let prompt = asked(PROMPT);
    let samples = [1, 2].map(|seed| drawn(&prompt.token_ids, &sampling, seed));
    rating(number, prompt, samples.to_vec(), Verdict::Pair(PairChoice::Left))
}

/// One completion of a prompt.
pub(crate) fn one(
    number: usize,
    prompt: RatedPrompt,
    sampling: &Sampling,
    verdict: Verdict,
) -> Rating {
    let sample = drawn(&prompt.token_ids, sampling, 7);
    rating(number, prompt, vec![sample], verdict)
}

/// Every way of sampling and of saying something, each true to the policy.
pub(crate) fn honest() -> Vec<Rating> {
    let up = Verdict::Thumbs(Thumb::Up);
    let greedy = Sampling { temperature: 0.0, ..base() };
    let cut = Sampling { top_k: 9, min_p: 0.02, repetition_penalty: 1.3, ..base() };
    let cold = Sampling { temperature: 0.2, max_completion_length: 80, ..base() };
    // A visitor went on from the second letter, which the tokenizer would not have cut there.
    let mut branched = asked(PROMPT);
    let tokenizer = &SHIPPED.policy.tokenizer;
    for text in ["o", "b"] {
        branched.token_ids.extend(tokenizer.encode(text));
        branched.text += text;
    }
    let edit = Verdict::Edit("oboe | is a | instrument".into());
    let on_gpu = Rating {
        backend: "flex, wasm with SIMD + WebGPU, some adapter".into(),
        ..one(5, continued("In the morning we"), &cold, Verdict::Report)
    };
    vec![
        pair(1),
        one(2, asked("ship"), &greedy, up),
        one(3, continued("The old man"), &cut, Verdict::Stars(4)),
        one(4, branched, &base(), edit),
        Rating { reported: vec![0], ..on_gpu },
    ]
}

pub(crate) fn lines(ratings: &[Rating]) -> String {
    let lines = ratings.iter().map(|rating| serde_json::to_string(rating).unwrap() + "\n");
    lines.collect()
}

/// A completion of one token with `top_p` so close to the mass of the `kept` most likely tokens, that the
/// rounding of a device decides whether it keeps another one.
pub(crate) fn at_the_edge(
    number: usize,
    (kept, chosen): (usize, usize),
    (keeps, moved): (usize, f64),
) -> Rating {
    let sampling = Sampling { max_completion_length: 1, ..Sampling::default() };
    let prompt = continued("She opened the letter and");
    let next = next_token(&SHIPPED.policy.model, &prompt.token_ids, &sampling).unwrap();
    let full: Vec<f32> = next.full.into_data().try_to_vec().unwrap();
    let mut order: Vec<usize> = (0..full.len()).collect();
    order.sort_by(|left, right| full[*right].total_cmp(&full[*left]));
    let mass = |count: usize| -> f64 {
        order[..count].iter().map(|token| f64::from(full[*token]).exp()).sum()
    };
    assert!(mass(kept + 1) - mass(kept) > 0.02, "the next token is worth a difference");
    let token = order[chosen];
    let sample = Sample {
        text: SHIPPED.policy.tokenizer.decode(&[token as u32]),
        token_ids: vec![token as u32],
        logprobs_drawn: vec![full[token] - mass(keeps).ln() as f32],
        logprobs_full: vec![full[token]],
        end_reason: EndReason::Length,
        sampling: Sampling { top_p: mass(kept) + moved, ..sampling },
        seed: 7,
    };
    rating(number, prompt, vec![sample], Verdict::Stars(3))
}
