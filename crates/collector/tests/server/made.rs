//! What tests send: a small policy with a real tokenizer, and ratings of it that are true.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use kudos_schema::{Between, Place, PolicyManifest, Turns, hexadecimal, pack_bundle};
use kudos_tokenizer::Tokenizer;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(crate) static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    Tokenizer::train(["a nice reply to a nice question, and another reply 🙂 東京"; 3], 300)
        .unwrap()
});

/// A policy's bundle and its hash.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) sha256: String,
}

/// A policy of this name; each name has other weights.
pub(crate) fn policy(name: &str) -> Made {
    let between = [(Place::Start, Place::User), (Place::User, Place::Reply)];
    let between = between.map(|(after, next)| Between { after, next, text: String::new() });
    let prompts = ["dialogue", "sentences"].map(|task| {
        let texts = (0..12).map(|place| format!("{task} number {place}")).collect();
        (task.to_owned(), texts)
    });
    let manifest = PolicyManifest {
        name: name.to_owned(),
        tasks: vec!["dialogue".into(), "sentences".into()],
        vocab_size: TOKENIZER.vocab_size(),
        context_length: 128,
        image_size: Some(8),
        turns: Turns { trim: false, between: between.into() },
        prompts: prompts.into(),
        ..PolicyManifest::default()
    };
    let (tokenizer, weights) = (TOKENIZER.to_json().into_bytes(), format!("weights of {name}"));
    let files = [
        ("tokenizer.json", hash(&tokenizer), tokenizer.as_slice()),
        ("model.safetensors", hash(weights.as_bytes()), weights.as_bytes()),
    ];
    let bytes = pack_bundle(manifest, &files);
    Made { name: name.to_owned(), sha256: hash(&bytes), bytes }
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn hash(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// A UUID of version 7 that no other call gives.
pub(crate) fn id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("019a0000-0000-7000-8000-{:012x}", number)
}

/// The own id of the rater with this number.
pub(crate) fn rater(number: u64) -> String {
    format!("5bb1d7a0-0000-4000-8000-{number:012x}")
}

/// A completion that reads `text`.
pub(crate) fn sample(text: &str) -> Value {
    let mut ids = TOKENIZER.encode(text);
    ids.push(TOKENIZER.end_id());
    let logprobs = vec![-0.5_f32; ids.len()];
    json!({
        "text": text, "token_ids": ids, "logprobs_drawn": logprobs, "logprobs_full": logprobs,
        "end_reason": "stop", "sampling": {}, "seed": 7,
    })
}

/// A thumb up by rater 1.
pub(crate) fn rating(policy: &Made) -> Value {
    let question = "a nice question";
    json!({
        "version": 1, "id": id(), "created": "2026-11-24T10:00:00Z", "page_version": "0.1.0",
        "policy": {"name": policy.name, "sha256": policy.sha256}, "backend": "flex", "task": "dialogue",
        "prompt": {
            "messages": [{"role": "user", "content": question}],
            "token_ids": TOKENIZER.encode(question),
        },
        "samples": [sample("a nice reply")], "verdict": {"thumbs": "up"}, "seconds": 3.5,
        "rater": rater(1), "consent": "1", "locale": "en",
    })
}

/// A choice between two policies, or between two texts of one.
pub(crate) fn pair(left: &Made, right: &Made, choice: &str) -> Value {
    let mut pair = rating(left);
    pair["samples"] = json!([sample("a nice reply"), sample("another reply")]);
    pair["verdict"] = json!({"pair": choice});
    if left.sha256 != right.sha256 {
        pair["rival"] = json!({"name": right.name, "sha256": right.sha256});
    }
    pair
}
