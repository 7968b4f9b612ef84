//! Learning from ratings, with the program as a user runs it: scripted raters prefer completions with
//! more vowels, and so does the next policy.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "rated/reward.rs"]
mod reward;
#[path = "command_line/toy.rs"]
#[expect(dead_code, reason = "the toy serves other tests too")]
mod toy;

use std::fs;

use burn::tensor::Device;
use kudos_core::rollout::{Coins, Generation, Rollout, generate};
use kudos_schema::{
    EndReason, PairChoice, PolicyId, RATING_VERSION, RatedPrompt, Rating, Sample, Sampling, Thumb,
    Verdict,
};
use pollster::block_on;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use trainer::policy::{self, Policy};

use toy::Toy;

const PROMPTS: [&str; 12] = [
    "red cat",
    "green dog",
    "blue house",
    "small cat",
    "large dog",
    "red house",
    "green cat",
    "blue dog",
    "small house",
    "large cat",
    "red dog runs",
    "green house sits",
];

fn sampling() -> Sampling {
    Sampling { max_completion_length: 8, ..Sampling::default() }
}

fn load(toy: &Toy, folder: &str) -> Policy {
    policy::read(&toy.path(folder)).unwrap().load(&Device::flex()).unwrap()
}

/// A completion for each of `count` prompts.
fn draw(policy: &Policy, count: usize, (sampling, seed): (&Sampling, u64)) -> Rollout {
    let prompts: Vec<Vec<u32>> =
        (0..count).map(|row| policy.tokenizer.encode(PROMPTS[row % PROMPTS.len()])).collect();
    let stop = policy.stop_tokens();
    let generation =
        Generation { sampling, stop: &stop, coins: Coins::new(seed, 0), first_index: 0 };
    block_on(generate(&policy.model, &prompts, &generation)).unwrap()
}

fn vowels(text: &str) -> usize {
    text.chars().filter(|letter| "aeiou".contains(*letter)).count()
}

fn sample(policy: &Policy, rollout: &Rollout, row: usize, sampling: &Sampling) -> Sample {
    Sample {
        text: policy.tokenizer.decode(&rollout.completions[row]),
        token_ids: rollout.completions[row].clone(),
        logprobs_drawn: rollout.logprobs_drawn[row].clone(),
        logprobs_full: rollout.logprobs_full[row].clone(),
        end_reason: rollout.end_reasons[row],
        sampling: sampling.clone(),
        seed: 1,
    }
}

fn rating(number: usize, prompt: &str, samples: Vec<Sample>, verdict: Verdict) -> Rating {
    Rating {
        version: RATING_VERSION,
        id: format!("01900000-0000-7000-8000-{number:012}"),
        created: "2026-11-24T10:00:00Z".into(),
        page_version: "0.1.0".into(),
        policy: PolicyId { name: "toy".into(), sha256: "0".repeat(64), adapter: None },
        rival: None,
        backend: "flex".into(),
        task: "sentences".into(),
        prompt: RatedPrompt {
            messages: Vec::new(),
            text: PROMPTS[number % PROMPTS.len()].into(),
            picture: None,
            token_ids: prompt.split(' ').map(|id| id.parse().unwrap()).collect(),
        },
        samples,
        verdict,
        reported: Vec::new(),
        reasons: Vec::new(),
        remark: None,
        seconds: 2.0,
        rater: format!("01900000-0000-4000-8000-{:012}", number % 7),
        consent: "1".into(),
        locale: "en".into(),
        query: None,
    }
}

/// Choices between two, of which one sampling cuts the distribution, and a thumb for every third.
fn ratings(policy: &Policy, count: usize) -> Vec<Rating> {
    let cut = Sampling { top_k: 120, ..sampling() };
    let whole = draw(policy, count, (&sampling(), 1));
    let narrow = draw(policy, count, (&cut, 2));
    let rate = |row: usize| {
        let pair = [sample(policy, &whole, row, &sampling()), sample(policy, &narrow, row, &cut)];
        let ids = whole.prompts[row].iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        let [left, right] = [vowels(&pair[0].text), vowels(&pair[1].text)];
        if row % 3 == 2 {
            let thumb = if left >= 4 { Thumb::Up } else { Thumb::Down };
            return rating(row, &ids, pair[..1].to_vec(), Verdict::Thumbs(thumb));
        }
        let choice = match left.cmp(&right) {
            std::cmp::Ordering::Greater => PairChoice::Left,
            std::cmp::Ordering::Less => PairChoice::Right,
            std::cmp::Ordering::Equal => PairChoice::Tie,
        };
        rating(row, &ids, pair.to_vec(), Verdict::Pair(choice))
    };
    (0..count).map(rate).collect()
}

fn write(toy: &Toy, name: &str, ratings: &[Rating]) {
    let lines: Vec<String> =
        ratings.iter().map(|rating| serde_json::to_string(rating).unwrap()).collect();
    fs::write(toy.path(name), lines.join("\n") + "\n").unwrap();
}

fn rated() -> Toy {
    let toy = Toy::new();
    write(&toy, "ratings.jsonl", &ratings(&load(&toy, "policy"), 2000));
    toy
}

fn recipe(verb: &str, learning_rate: &str) -> String {
    let stage = verb.replace('-', "_");
    format!(
        "stage = '{stage}'\nmodel = 'policy'\nsteps = 60\n[batch]\nprompts = 64\n\
         [optimizer]\nlearning_rate = {learning_rate}\nadamw = {{ weight_decay = 0.0 }}\n\
         [sampling]\nmax_completion_length = 8\n[objective]\nbaseline = 'none'\n\
         aggregation = {{ constant = 1 }}\nkl_placement = 'loss_k2'\n\
         kl_coefficient = {{ fixed = 0.05 }}\n[feedback]\nratings = ['ratings.jsonl']\n"
    )
}

fn run(toy: &Toy, verb: &str, recipe: &str) -> String {
    fs::write(toy.path("rated.toml"), recipe).unwrap();
    let base = [verb, "--config", "rated.toml", "--device", "flex", "--output-dir", verb];
    let output = toy.run(&base);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{verb}: {text}");
    text + &String::from_utf8_lossy(&output.stdout)
}

fn result(toy: &Toy, verb: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(toy.path(verb).join("result.json")).unwrap()).unwrap()
}

/// How often the new policy has more vowels than the old one, ties left out, and out of how many.
fn wins(old: &Policy, new: &Policy) -> (usize, usize) {
    let count = 480;
    let texts = |policy: &Policy, seed| -> Vec<String> {
        let rollout = draw(policy, count, (&sampling(), seed));
        rollout.completions.iter().map(|ids| policy.tokenizer.decode(ids)).collect()
    };
    let pairs = texts(old, 11).into_iter().zip(texts(new, 12));
    let counted = pairs.map(|(old, new)| (vowels(&old), vowels(&new)));
    let decided = counted.filter(|(old, new)| old != new).map(|(old, new)| new > old);
    let decided: Vec<bool> = decided.collect();
    (decided.iter().filter(|won| **won).count(), decided.len())
}

#[test]
fn each_way_of_learning_gives_a_policy_that_the_raters_prefer() {
    let toy = rated();
    let old = load(&toy, "policy");
    for (verb, learning_rate) in [("off-policy", "1e-2"), ("dpo", "3e-3"), ("kto", "3e-3")] {
        let text = run(&toy, verb, &recipe(verb, learning_rate));
        let new = load(&toy, &format!("{verb}/model"));
        let (won, decided) = wins(&old, &new);
        let share = won as f64 / decided as f64;
        let error = (share * (1.0 - share) / decided as f64).sqrt();
        assert!(share > 0.6 && share - 2.0 * error > 0.5, "{verb}: {won} of {decided}\n{text}");
        let result = result(&toy, verb);
        let mean = |key: &str| result[key]["mean"].as_f64().unwrap();
        assert!(mean("after") > mean("before"), "{verb}: {result}");
        assert!(mean("difference") > 0.0 && result["n"].as_u64().unwrap() > 0, "{result}");
    }
}

#[test]
fn each_way_of_learning_takes_small_parameters() {
    let toy = rated();
    let weights = |file: &str| fs::read(toy.path(file)).unwrap();
    for verb in ["off-policy", "dpo", "kto"] {
        let small = recipe(verb, "1e-2").replace("steps = 60", "steps = 5");
        run(&toy, verb, &(small + "[tuning]\nmethod = 'lora'\nrank = 2\n"));
        let model = format!("{verb}/model/model.safetensors");
        assert!(weights(&model) != weights("policy/model.safetensors"), "{verb}");
        let adapter = weights(&format!("{verb}/adapter/adapter_model.safetensors"));
        assert!(2 * adapter.len() < weights(&model).len(), "{verb}: {}", adapter.len());
    }
}

#[test]
fn chosen_completions_that_fall_are_told_of_with_the_remedy_that_keeps_them() {
    let toy = rated();
    let fallen = |more: &str| {
        let recipe = recipe("dpo", "3e-2").replace("steps = 60", "steps = 40");
        let text = run(&toy, "dpo", &format!("{recipe}preference = {{ beta = 1.0, {more} }}\n"));
        let metrics = fs::read_to_string(toy.path("dpo/metrics.jsonl")).unwrap();
        let rows: Vec<Value> =
            metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let chosen = |row: &Value| row["logps/chosen"].as_f64().unwrap();
        fs::remove_dir_all(toy.path("dpo")).unwrap();
        (chosen(&rows[rows.len() - 1]) - chosen(&rows[0]), text)
    };
    let (gain, text) = fallen("rpo_alpha = 0.0");
    assert!(gain < -1.0, "{gain}");
    assert_eq!(text.matches("preference.rpo_alpha").count(), 1, "said once: {text}");
    let (gain, text) = fallen("rpo_alpha = 100.0");
    assert!(gain > 0.0 && !text.contains("preference.rpo_alpha"), "{gain}: {text}");
}

#[test]
fn a_run_goes_on_with_what_it_began_with_or_not_at_all() {
    let toy = rated();
    for verb in ["dpo", "kto", "off-policy"] {
        write(&toy, "ratings.jsonl", &ratings(&load(&toy, "policy"), 60));
        let recipe = recipe(verb, "1e-3").replace("steps = 60", "steps = 2");
        run(&toy, verb, &recipe);
        let resume =
            [verb, "--config", "rated.toml", "--device", "flex", "--output-dir", verb, "--resume"];
        let same = toy.run(&resume);
        assert!(same.status.success(), "{verb}: {}", String::from_utf8_lossy(&same.stderr));
        write(&toy, "ratings.jsonl", &ratings(&load(&toy, "policy"), 90));
        let more = toy.run(&resume);
        let text = String::from_utf8_lossy(&more.stderr);
        assert_eq!(more.status.code(), Some(2), "{verb}: {text}");
        let remedy = format!("--model {verb}/checkpoints/step-000002/model");
        assert!(text.contains("the first 2 steps") && text.contains(&remedy), "{verb}: {text}");
    }
}

#[test]
fn where_no_completion_fits_behind_a_held_out_prompt_there_is_no_divergence() {
    let toy = rated();
    let recipe = recipe("kto", "1e-3").replace("steps = 60", "steps = 1");
    let text = run(&toy, "kto", &recipe);
    assert!(result(&toy, "kto")["kl_nats"].is_number(), "{text}");
    fs::remove_dir_all(toy.path("kto")).unwrap();
    let recipe = recipe.replace("max_completion_length = 8", "max_completion_length = 64");
    let text = run(&toy, "kto", &recipe);
    assert_eq!(result(&toy, "kto")["kl_nats"], Value::Null);
    assert!(text.contains("not measured") && text.contains("max_completion_length = 64"), "{text}");
}

/// A choice between texts of two of three policies that nobody else sees. Of ten raters seven prefer the later
/// policy as a rule, two choose at random, and one the opposite.
fn met(number: usize, policy: &Policy, coins: &mut ChaCha8Rng) -> Rating {
    let mut coin = || f64::from(coins.next_u32()) / 2.0_f64.powi(32);
    let rollout = Rollout {
        completions: vec![vec![number as u32 % 200, 9], vec![number as u32 % 200, 10]],
        logprobs_drawn: vec![vec![-1.0; 2]; 2],
        logprobs_full: vec![vec![-1.0; 2]; 2],
        end_reasons: vec![EndReason::Length; 2],
        ..Rollout::default()
    };
    let two = [0, 1].map(|row| sample(policy, &rollout, row, &sampling()));
    let (left, far) = ((3.0 * coin()) as usize, 1 + (2.0 * coin()) as usize);
    let right = (left + far) % 3;
    let follows = coin() < 1.0 / (1.0 + (1.5 * (right as f64 - left as f64)).exp());
    let rater = number % 20;
    let says_left = match rater {
        0..14 => follows,
        14..18 => coin() < 0.5,
        _ => !follows,
    };
    let choice = if says_left { PairChoice::Left } else { PairChoice::Right };
    let ids = format!("{} {}", number % 250, number / 250);
    let mut rating = rating(number, &ids, two.to_vec(), Verdict::Pair(choice));
    let id = |place: usize| {
        let sha256 = place.to_string().repeat(64);
        PolicyId { name: place.to_string(), sha256, adapter: None }
    };
    (rating.policy, rating.rival) = (id(left), Some(id(right)));
    rating.rater = format!("01900000-0000-4000-8000-{rater:012}");
    rating
}

#[test]
fn raters_who_never_saw_the_same_texts_weigh_by_the_policies_that_they_chose_between() {
    let toy = Toy::new();
    let policy = load(&toy, "policy");
    let mut coins = ChaCha8Rng::seed_from_u64(1);
    let all: Vec<Rating> = (0..1200).map(|number| met(number, &policy, &mut coins)).collect();
    write(&toy, "met.jsonl", &all);
    let output = toy.run(&["feedback", "raters", "met.jsonl", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let weights: Vec<f64> = found["raters"]
        .as_object()
        .unwrap()
        .values()
        .map(|weight| weight["mean"].as_f64().unwrap())
        .collect();
    let mean = |weights: &[f64]| weights.iter().sum::<f64>() / weights.len() as f64;
    let [honest, random, opposite] = [&weights[..14], &weights[14..18], &weights[18..]].map(mean);
    assert!(honest > 0.75 && random < 0.4 && opposite < 0.05, "{weights:?}");
}

#[test]
fn what_cannot_be_learned_from_is_refused_with_a_remedy() {
    let toy = Toy::new();
    let policy = load(&toy, "policy");
    let mut one = ratings(&policy, 1);
    one[0].verdict = Verdict::Pair(PairChoice::Tie);
    write(&toy, "tie.jsonl", &one);
    fs::write(toy.path("no.jsonl"), "{}\n").unwrap();
    fs::write(toy.path("raters.json"), "{\"version\": 1}\n").unwrap();
    let check = |arguments: &[&str], expected: &str| {
        let base = ["--model", "policy", "--device", "flex", "--output-dir", "out"];
        let output = toy.run(&[&arguments[..1], &base, &arguments[1..]].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
        assert!(!toy.path("out").exists(), "{arguments:?} left something");
    };
    check(&["dpo"], "give --ratings");
    check(&["off-policy", "--dataset", "rows.jsonl"], "give --ratings instead of --dataset");
    check(&["dpo", "--ratings", "tie.jsonl"], "1 without a preference");
    check(&["kto", "--ratings", "no.jsonl"], "no.jsonl, line 1");
    check(&["reward", "--ratings", "missing.jsonl"], "missing.jsonl");
    let spoiled = recipe("dpo", "1e-3").replace("ratings.jsonl", "tie.jsonl");
    let check_recipe = |more: &str, expected: &str| {
        fs::write(toy.path("spoiled.toml"), format!("{spoiled}{more}")).unwrap();
        check(&["dpo", "--config", "spoiled.toml"], expected);
    };
    check_recipe("preference = { beta = 0.0 }\n", "feedback.preference.beta must be above 0");
    check_recipe("preference = { rpo_alpha = -1.0 }\n", "feedback.preference.rpo_alpha must be 0");
    check_recipe("importance = { bound = { truncate = 0.5 } }\n", "feedback.importance.bound");
    check_recipe("raters = 'raters.json'\n", "raters.json: missing field");
}
