//! Tests of [`Rating`]: what is accepted, and the name of what is not.

use super::*;
use crate::{AskedReason, EndReason, Sampling};

fn sample() -> Sample {
    Sample {
        text: "Hi".into(),
        token_ids: vec![5, 1],
        logprobs_drawn: vec![-0.5, 0.0],
        logprobs_full: vec![-0.7, -0.1],
        end_reason: EndReason::Stop,
        sampling: Sampling::default(),
        seed: 7,
    }
}

fn policy(name: &str, digit: &str) -> PolicyId {
    PolicyId { name: name.into(), sha256: digit.repeat(64), adapter: None }
}

fn rating() -> Rating {
    Rating {
        version: RATING_VERSION,
        id: "01900000-0000-7000-8000-000000000001".into(),
        created: "2026-11-24T10:00:00.123Z".into(),
        page_version: "0.1.0".into(),
        policy: policy("base", "0"),
        rival: None,
        backend: "cpu".into(),
        task: "dialogue".into(),
        prompt: RatedPrompt {
            messages: vec![Message::new("user", "Hello")],
            text: String::new(),
            picture: None,
            token_ids: vec![3, 9, 4],
        },
        samples: vec![sample(), sample()],
        verdict: Verdict::Pair(PairChoice::Left),
        reported: Vec::new(),
        reasons: vec!["clear".into()],
        remark: None,
        seconds: 3.5,
        rater: "01900000-0000-4000-8000-000000000001".into(),
        consent: "1".into(),
        locale: "en".into(),
        query: Some(AskedQuery {
            id: "01900000-0000-7000-8000-000000000002".into(),
            reason: AskedReason::Random,
        }),
    }
}

#[test]
fn a_rating_is_read_back_as_it_was_written() {
    for verdict in [
        Verdict::Pair(PairChoice::BothBad),
        Verdict::Stars(4),
        Verdict::Thumbs(Thumb::Down),
        Verdict::Edit("Hello!".into()),
        Verdict::Report,
    ] {
        let rating = Rating { verdict, rival: Some(policy("other", "1")), ..rating() };
        let text = serde_json::to_string(&rating).unwrap();
        assert_eq!(serde_json::from_str::<Rating>(&text).unwrap(), rating);
    }
}

#[test]
fn each_sample_is_of_its_own_policy() {
    let alone = rating();
    assert_eq!([alone.policy_of(0), alone.policy_of(1)], [&alone.policy; 2]);
    let met = Rating { rival: Some(policy("other", "1")), ..rating() };
    assert_eq!(met.validate(), Ok(()));
    assert_eq!([met.policy_of(0), met.policy_of(1)], [&policy("base", "0"), &policy("other", "1")]);
}

#[test]
fn an_unknown_field_is_refused_at_every_depth() {
    let text = serde_json::to_string(&rating()).unwrap();
    for inside in ["{\"version\"", "{\"pair\"", "{\"name\"", "{\"role\"", "{\"temperature\""] {
        assert!(text.contains(inside), "{inside}: {text}");
        let spoiled = text.replacen(inside, &inside.replace('{', "{\"extra\":1,"), 1);
        assert!(serde_json::from_str::<Rating>(&spoiled).is_err(), "{spoiled}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let check = |spoil: fn(&mut Rating), words: &str| {
        let mut rating = rating();
        spoil(&mut rating);
        let error = rating.validate().expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    };
    assert_eq!(rating().validate(), Ok(()));
    check(|rating| rating.version = 2, "version 2");
    check(|rating| rating.id = "01900000-0000-4000-8000-000000000001".into(), "id is not");
    check(|rating| rating.created = "24.11.2026".into(), "created");
    check(|rating| rating.policy.sha256 = "A".repeat(64), "sha256");
    check(|rating| rating.rival = Some(rating.policy.clone()), "rival is not another policy");
    check(|rating| rating.rival = Some(policy("other", "A")), "rival.sha256");
    check(
        |rating| {
            rating.rival = Some(policy("other", "1"));
            rating.samples.truncate(1);
            rating.verdict = Verdict::Stars(4);
        },
        "rival is not another policy with a sample of its own",
    );
    check(|rating| rating.rival = Some(policy(&"x".repeat(257), "1")), "policy.name has 257");
    check(|rating| rating.query.as_mut().unwrap().id = "7".into(), "query.id");
    check(|rating| rating.rater = "Ann".into(), "rater");
    check(|rating| rating.consent = String::new(), "consent");
    check(|rating| rating.seconds = f64::NAN, "seconds");
    check(|rating| rating.prompt.token_ids.clear(), "prompt.token_ids");
    check(|rating| rating.reported = vec![2], "reported");
    check(|rating| rating.remark = Some("x".repeat(MAX_TEXT_BYTES + 1)), "remark has 32769");
    check(|rating| rating.reasons = vec!["x".into(); 17], "reasons has 17");
    check(|rating| rating.prompt.token_ids = vec![1; MAX_TOKENS + 1], "prompt.token_ids has 4097");
    check(|rating| drop(rating.samples.pop()), "needs 2 samples and there are 1");
    check(|rating| rating.verdict = Verdict::Stars(3), "needs 1 samples");
    check(|rating| rating.verdict = Verdict::Report, "reported");
    check(|rating| rating.samples[1].logprobs_full = vec![-0.5], "sample 1: 2 tokens and 1");
    check(|rating| rating.samples[0].logprobs_drawn[1] = 0.5, "log-probability 0.5");
    check(|rating| rating.samples[0].logprobs_drawn[1] = f32::NAN, "log-probability NaN");
    check(|rating| rating.samples[0].sampling.top_p = 2.0, "top_p is 2");
    check(
        |rating| {
            rating.samples.truncate(1);
            rating.verdict = Verdict::Stars(6);
        },
        "from 1 to 5",
    );
}

#[test]
fn a_verdict_is_a_comparison_or_a_grade() {
    type Said = (Option<f64>, Option<f64>, Vec<(usize, bool)>, Vec<(usize, f64)>);
    let check = |verdict: Verdict, tokens: [u32; 2], expected: Said| {
        let samples = tokens.map(|token| Sample { token_ids: vec![token, 1], ..sample() });
        let one = !matches!(verdict, Verdict::Pair(_));
        let samples = samples[..if one { 1 } else { 2 }].to_vec();
        let rating = Rating { verdict, samples, ..rating() };
        let share = rating.comparison().map(|comparison| comparison.share);
        assert_eq!((share, rating.grade(), rating.labels(), rating.rewards()), expected);
    };
    let two = |first: bool| vec![(0, first), (1, !first)];
    let left = (Some(1.0), None, two(true), vec![(0, 1.0), (1, 0.0)]);
    check(Verdict::Pair(PairChoice::Left), [5, 6], left);
    let right = (Some(0.0), None, two(false), vec![(0, 0.0), (1, 1.0)]);
    check(Verdict::Pair(PairChoice::Right), [5, 6], right);
    let tie = (Some(0.5), None, vec![], vec![(0, 0.5), (1, 0.5)]);
    check(Verdict::Pair(PairChoice::Tie), [5, 6], tie);
    let bad = (Some(0.5), None, vec![(0, false), (1, false)], vec![(0, 0.0), (1, 0.0)]);
    check(Verdict::Pair(PairChoice::BothBad), [5, 6], bad);
    check(Verdict::Pair(PairChoice::Left), [5, 5], (None, None, vec![], vec![]));
    check(Verdict::Thumbs(Thumb::Up), [5, 6], (None, Some(1.0), vec![(0, true)], vec![(0, 1.0)]));
    check(Verdict::Stars(3), [5, 6], (None, Some(0.5), vec![], vec![(0, 0.5)]));
    check(Verdict::Stars(2), [5, 6], (None, Some(0.25), vec![(0, false)], vec![(0, 0.25)]));
    check(Verdict::Edit("x".into()), [5, 6], (None, None, vec![], vec![]));
}
