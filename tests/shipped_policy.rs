//! The policy that ships, a folder that Kudos wrote, means to Python's transformers what it means to us
//! (`tests/golden/shipped_policy.py`).

use burn::tensor::{Device, Tensor};
use kudos_core::learn::log_probs;
use kudos_core::model::{PaddingSide, Tokens};
use kudos_core::rollout::{Coins, Generation, StopTokens, generate};
use kudos_core::task::Prompt;
use kudos_core::text::chat::Message;
use kudos_schema::Sampling;
use pollster::block_on;
use serde_json::Value;
use trainer::policy::{self, Policy};

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn assert_close(what: &str, ours: &[f32], theirs: &Value) {
    let theirs: Vec<f32> = serde_json::from_value(theirs.clone()).unwrap();
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-4, "{what}: differ by {worst}");
}

fn check(policy: &Policy, case: &Value) {
    let text = |key: &str| case[key].as_str().unwrap();
    let messages =
        vec![Message::new("system", text("task")), Message::new("user", text("request"))];
    let prompt = policy.encode_prompt(&Prompt::Messages(messages)).unwrap();
    assert_eq!(prompt, ids(&case["prompt"]), "{}", text("text"));
    let completion = policy.encode_completion(text("answer"));
    assert_eq!(completion, ids(&case["completion"]));

    let tokens = Tokens::new(&[&prompt], PaddingSide::Left, &Device::flex());
    let logits: Tensor<3> = policy.model.forward(&tokens).narrow(1, prompt.len() - 1, 1);
    let logits: Vec<f32> = logits.into_data().try_to_vec().unwrap();
    assert_close("logits", &logits, &case["logits"]);
    let pair = (prompt.as_slice(), completion.as_slice());
    let scored = block_on(log_probs(&policy.model, &[pair], 1.0, 1)).unwrap();
    assert_close("log-probabilities", &scored[0], &case["log_probs"]);

    let sampling = Sampling { temperature: 0.0, max_completion_length: 24, ..Sampling::default() };
    let stop = policy.stop_tokens();
    let generation =
        Generation { sampling: &sampling, stop: &stop, coins: Coins::new(0, 0), first_index: 0 };
    let greedy = block_on(generate(&policy.model, &[prompt], &generation)).unwrap();
    assert_eq!(greedy.completions[0], ids(&case["greedy"]));
}

#[test]
fn transformers_reads_the_shipped_folder_with_equal_tokens_and_logits() {
    let policy = policy::embedded().load(&Device::flex()).unwrap();
    assert_eq!(policy.stop_tokens(), StopTokens(vec![policy.tokenizer.end_id()]));
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("golden/shipped_policy.json")).unwrap();
    cases.iter().for_each(|case| check(&policy, case));
    assert_eq!(cases.len(), 4);
}

#[test]
fn the_turns_of_every_bundle_are_those_of_its_chat_template() {
    for bundle in [policy::EMBEDDED, include_bytes!("browser/tiny.kudos")] {
        kudos_core::bundle::unpack(bundle).unwrap().check_template().unwrap();
    }
}
