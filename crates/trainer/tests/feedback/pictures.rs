//! Ratings of what a policy with eyes said of pictures: checked with the picture, and learned from by looking at it.

use std::fs;

use burn::tensor::Device;
use kudos_core::bundle::{pack, sha256};
use kudos_core::model::hugging_face::StoredAs;
use kudos_core::model::{Transformer, TransformerConfig, VisionConfig, initialize};
use kudos_core::text::chat::ChatTemplate;
use kudos_core::text::tokenizer::Tokenizer;
use kudos_schema::{
    CHANNELS, PairChoice, Picture, PolicyId, PolicyManifest, RatedPrompt, Rating, RefusalCause,
    Sample, Sampling, Verdict, patch_ids,
};
use pollster::block_on;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use trainer::policy::{self, Policy};

use crate::Folder;
use crate::ratings::{drawn_by, id, lines, rating};

const SIZE: usize = 16;
const ASKED: &str = "what";
/// Said of dark pictures and of light ones.
const WORDS: [&str; 2] = [" night", " day"];

/// A small policy with eyes.
fn seeing() -> Policy {
    let tokenizer = Tokenizer::train(["what night day"], 262).unwrap();
    let config = TransformerConfig::llama(tokenizer.vocab_size(), 64, 1, 32);
    let mut coins = ChaCha8Rng::seed_from_u64(5);
    let model = initialize(Transformer::zeroed(&config, &Device::flex()), &mut coins);
    let model = model.with_eyes(VisionConfig { image_size: SIZE, width: 4 }, &mut coins);
    Policy { model, tokenizer, template: ChatTemplate::default() }
}

/// A picture whose numbers lie about `level`.
fn picture(level: u8, number: u8) -> Picture {
    let pixels = (0..CHANNELS * SIZE * SIZE).map(|place| level + (place as u8 ^ number) % 16);
    Picture { size: SIZE, pixels: pixels.collect() }
}

fn asked(policy: &Policy, picture: &Picture) -> RatedPrompt {
    let words = policy.tokenizer.encode(ASKED);
    RatedPrompt {
        messages: Vec::new(),
        text: ASKED.to_owned(),
        picture: Some(picture.clone()),
        token_ids: [patch_ids(0, SIZE), words].concat(),
    }
}

/// What the policy says of the picture of a prompt, as the page draws it.
fn said(policy: &Policy, prompt: &RatedPrompt, seed: u64) -> Sample {
    let model = policy.model.clone().looking_at(&prompt.picture.as_ref().unwrap().into()).unwrap();
    let sampling = Sampling { max_completion_length: 6, ..Sampling::default() };
    drawn_by((&model, policy), &prompt.token_ids, &sampling, seed)
}

fn of_policy(sha256: String, rating: Rating) -> Rating {
    Rating { policy: PolicyId { name: "seeing".into(), sha256, adapter: None }, ..rating }
}

#[test]
fn what_was_said_of_a_picture_is_checked_with_the_picture() {
    let (folder, policy) = (Folder::new(), seeing());
    let files = block_on(policy.files(StoredAs::F32)).unwrap();
    let bundle = pack(PolicyManifest::default(), &files).unwrap();
    fs::write(folder.path("seeing.kudos"), &bundle).unwrap();
    let prompt = asked(&policy, &picture(40, 1));
    let pair = [1, 2].map(|seed| said(&policy, &prompt, seed)).to_vec();
    let honest = rating(1, prompt, pair, Verdict::Pair(PairChoice::Left));
    let honest = of_policy(sha256(&bundle), honest);
    let altered = |number: usize, change: &dyn Fn(&mut RatedPrompt)| {
        let mut rating = Rating { id: id(number), ..honest.clone() };
        change(&mut rating.prompt);
        rating
    };
    let exchanged = altered(2, &|prompt| prompt.picture = Some(picture(200, 1)));
    let removed = altered(3, &|prompt| prompt.picture = None);
    let larger = altered(4, &|prompt| {
        prompt.token_ids = [patch_ids(0, 32), prompt.tokens().to_vec()].concat();
        prompt.picture = Some(Picture::blank(32));
    });
    folder.write("export.jsonl", &lines(&[honest.clone(), exchanged, removed, larger]));
    let report = folder.import(&["--bundle", "seeing.kudos"]);
    assert_eq!((report.accepted, report.verified), (1, 1), "{report:?}");
    let causes: Vec<RefusalCause> = report.refusals.iter().map(|refused| refused.cause).collect();
    assert_eq!(causes, [RefusalCause::Logprobs, RefusalCause::Value, RefusalCause::Prompt]);
    assert_eq!(folder.read("ratings.jsonl"), lines(&[honest]));
}

#[test]
fn a_preference_is_learned_for_what_was_looked_at() {
    let (folder, policy) = (Folder::new(), seeing());
    let files = block_on(policy.files(StoredAs::F32)).unwrap();
    fs::create_dir(folder.path("policy")).unwrap();
    policy::write(&files, &folder.path("policy")).unwrap();
    // The same words are preferred for dark pictures and refused for light ones.
    let rate = |number: usize| {
        let dark = number % 2;
        let prompt = asked(&policy, &picture([200, 20][dark], number as u8));
        let sample = |word: &&str| {
            let ids = policy.encode_completion(word);
            let (text, zeros) = (policy.tokenizer.decode(&ids), vec![-1.0; ids.len()]);
            let (logprobs_drawn, logprobs_full, token_ids) = (zeros.clone(), zeros, ids);
            Sample { text, token_ids, logprobs_drawn, logprobs_full, ..said(&policy, &prompt, 1) }
        };
        let choice = [PairChoice::Right, PairChoice::Left][dark];
        let samples = WORDS.iter().map(sample).collect();
        of_policy("0".repeat(64), rating(number, prompt.clone(), samples, Verdict::Pair(choice)))
    };
    let ratings: Vec<Rating> = (0..40).map(rate).collect();
    folder.write("ratings.jsonl", &lines(&ratings));
    folder.write(
        "dpo.toml",
        "stage = 'dpo'\nmodel = 'policy'\nsteps = 40\n[batch]\nprompts = 16\n[optimizer]\n\
         learning_rate = 0.01\n[feedback]\nratings = ['ratings.jsonl']\n",
    );
    let arguments = ["dpo", "--config", "dpo.toml", "--device", "flex", "--output-dir", "run"];
    let output = folder.trainer(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result: serde_json::Value = serde_json::from_str(&folder.read("run/result.json")).unwrap();
    // Blind, half of the pairs could be right.
    assert!(result["after"]["mean"].as_f64().unwrap() > 0.9, "{result}");
}
