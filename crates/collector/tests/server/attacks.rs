//! Hostile input: it is refused or harmless, and the collector goes on.

use axum::body::Body;
use axum::http::{Method, Request};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::exports::plenty;
use crate::made::{rating, sample};
use crate::pages::{basic, moderation};
use crate::stand::{Answer, Stand, laws, statuses};

laws! {
    bodies_that_are_too_long_or_too_deep_are_refused;
    ten_thousand_mutations_of_a_rating_are_stored_whole_or_refused with plenty;
    what_a_fuzzer_kept_is_answered with plenty;
    sql_and_html_in_every_text_are_kept_as_texts;
    no_path_leads_out_of_the_page;
    guessed_tokens_open_nothing_and_a_good_one_still_does;
    other_pages_can_send_nothing with a_friend;
    who_sends_too_much_waits with few;
}

const HOSTILE: [&str; 8] = [
    "'; DROP TABLE ratings; --",
    "\" OR 1=1 --",
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "</pre></article><form action=https://evil.example>",
    "{{7*7}} ${7*7} %s %00",
    "\u{202e}txt.exe\u{0}",
    "javascript:alert(1)",
];

fn a_friend(settings: &mut collector::settings::Settings) {
    settings.origins.push("https://friend.example".to_owned());
}

fn few(settings: &mut collector::settings::Settings) {
    settings.address_rate = collector::limits::Rate { per_minute: 60.0, burst: 200.0 };
    settings.rater_rate = collector::limits::Rate { per_minute: 60.0, burst: 100.0 };
}

async fn bodies_that_are_too_long_or_too_deep_are_refused(stand: &Stand) {
    let check = async |text: &str, status: u16| {
        let answer = stand.post_text(text).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.json()["error"].is_string());
    };
    check(&format!("[\"{}\"]", "x".repeat(9 << 20)), 413).await;
    check(&"[".repeat(1 << 20), 400).await;
    check("", 400).await;
    check("{\"id\": 1}", 400).await;
    check("[1,", 400).await;
    check(&Value::from(vec![rating(&stand.policy); 101]).to_string(), 400).await;
    let deep = format!("[{}{}]", "{\"a\":".repeat(100_000) + "1", "}".repeat(100_000));
    let answer = stand.post_text(&deep).await;
    assert_eq!(answer.json()["results"][0]["status"], "refused");
    let nested = format!("[{{\"id\":{}1{}}}]", "[".repeat(50_000), "]".repeat(50_000));
    assert_eq!(stand.post_text(&nested).await.json()["results"][0]["status"], "refused");
    assert_eq!(statuses(&stand.post(&[rating(&stand.policy)]).await), ["accepted"]);
}

/// Replaces, removes or adds a value somewhere in a record.
fn mutate(value: &mut Value, path: &[u8], kind: u8, odd: &Value) {
    let Some((step, rest)) = path.split_first() else { return *value = odd.clone() };
    match value {
        Value::Object(map) if !map.is_empty() => {
            let key = map.keys().nth(*step as usize % map.len()).unwrap().clone();
            match (rest.is_empty(), kind % 4) {
                (true, 0) => drop(map.remove(&key)),
                (true, 1) => drop(map.insert(format!("{key}x"), odd.clone())),
                _ => mutate(&mut map[&key], rest, kind, odd),
            }
        }
        Value::Array(list) if !list.is_empty() => {
            let place = *step as usize % list.len();
            match (rest.is_empty(), kind % 4) {
                (true, 0) => drop(list.remove(place)),
                (true, 1) => list.insert(place, odd.clone()),
                _ => mutate(&mut list[place], rest, kind, odd),
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => *value = odd.clone(),
    }
}

fn odd_values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(true)),
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        Just(json!(-1)),
        Just(json!(0)),
        Just(json!(1e308)),
        any::<String>().prop_map(|text| json!(text)),
        (0..HOSTILE.len()).prop_map(|place| json!(HOSTILE[place])),
        Just(json!("x".repeat(300))),
        Just(json!([])),
        Just(json!({})),
        Just(json!({"pair": "left"})),
        Just(json!([[[[[[[1]]]]]]])),
        prop::collection::vec(any::<u32>(), 0..5).prop_map(|numbers| json!(numbers)),
    ]
}

async fn ten_thousand_mutations_of_a_rating_are_stored_whole_or_refused(stand: &Stand) {
    let mutation = (prop::collection::vec(any::<u8>(), 1..5), any::<u8>(), odd_values());
    let batches = prop::collection::vec(mutation, 100);
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let mut accepted = 0;
    for _ in 0..100 {
        let batch = batches.new_tree(&mut runner).unwrap().current();
        let ratings = batch.into_iter().map(|(path, kind, odd)| {
            let mut rating = rating(&stand.policy);
            mutate(&mut rating, &path, kind, &odd);
            rating
        });
        let receipt = stand.post(&ratings.collect::<Vec<_>>()).await;
        assert_eq!(receipt.len(), 100);
        accepted += statuses(&receipt).iter().filter(|status| **status == "accepted").count();
    }
    let exported = stand.export("?flagged=include").await.0;
    assert_eq!(exported.len(), accepted, "what was accepted is there");
    assert!(accepted > 100 && accepted < 9_900, "{accepted} of 10000 were accepted");
    for rating in exported {
        let rating: kudos_schema::Rating = serde_json::from_value(rating).unwrap();
        rating.validate().unwrap();
    }
}

/// fuzz/corpus/rating; tests/corpus.rs looks at the same files without a collector.
async fn what_a_fuzzer_kept_is_answered(stand: &Stand) {
    let files = std::fs::read_dir("../../fuzz/corpus/rating").unwrap();
    let (mut lists, mut others) = (0, 0);
    for file in files {
        let path = file.unwrap().path();
        let request = Request::post("/v1/ratings").header("content-type", "application/json");
        let body = Body::from(std::fs::read(&path).unwrap());
        let status = stand.send(request.body(body).unwrap()).await.status.as_u16();
        match status {
            200 => lists += 1,
            400 => others += 1,
            _ => panic!("{}: {status}", path.display()),
        }
    }
    assert!(lists > 0 && others > 0, "{lists} lists, {others} others");
}

async fn sql_and_html_in_every_text_are_kept_as_texts(stand: &Stand) {
    for text in HOSTILE {
        let mut hostile = rating(&stand.policy);
        for field in ["page_version", "backend", "task", "consent", "locale", "remark"] {
            hostile[field] = json!(text);
        }
        hostile["reasons"] = json!([text]);
        hostile["prompt"]["text"] = json!(text);
        hostile["prompt"]["messages"] = json!([{"role": text, "content": text}]);
        hostile["policy"]["adapter"] = json!(text);
        hostile["samples"] = json!([sample(text)]);
        hostile["reported"] = json!([0]);
        let receipt = stand.post(std::slice::from_ref(&hostile)).await;
        assert_eq!(statuses(&receipt), ["accepted"], "{text}: {receipt:?}");
    }
    let exported = stand.export("?flagged=include").await.0;
    let tasks: Vec<&str> = exported.iter().map(|it| it["task"].as_str().unwrap()).collect();
    assert_eq!(tasks, HOSTILE);
    for page in [moderation(stand).await, stand.get("/stats").await.text()] {
        let lower = page.to_lowercase();
        for markup in ["<script", "<img", "onerror=alert(1)>", "<form action", "</pre></article>"] {
            assert!(!lower.contains(markup), "{markup} in {page}");
        }
        assert!(page.contains("&lt;script&gt;"), "{page}");
        assert!(!page.contains(['\u{202e}', '\0']), "{page}");
    }
    let page = Request::get("/moderation").header("authorization", basic(stand));
    let page = stand.send(page.body(Body::empty()).unwrap()).await;
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
}

async fn no_path_leads_out_of_the_page(stand: &Stand) {
    for path in [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/policies/../../secret.txt",
        "/policies/..%2f..%2fsecret.txt",
        "/policies/..%2f..%2fsecret.kudos",
        "/policies/%2e%2e%2fsecret.kudos",
        "/policies/.kudos",
        "/policies/catalog.json.kudos",
        "//etc/passwd",
        "/etc/passwd",
        "/..\\secret.txt",
        "/index.html%00",
        "/data/kudos.db",
    ] {
        let answer = stand.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains("not served"), "{path}");
    }
}

async fn guessed_tokens_open_nothing_and_a_good_one_still_does(stand: &Stand) {
    let paths: [(Method, &str); 14] = [
        (Method::GET, "/v1/export"),
        (Method::GET, "/v1/erasures"),
        (Method::GET, "/v1/raters"),
        (Method::POST, "/v1/checks"),
        (Method::DELETE, "/v1/ratings/1"),
        (Method::DELETE, "/v1/raters/1"),
        (Method::PUT, "/v1/raters/1/quarantine"),
        (Method::DELETE, "/v1/raters/1/quarantine"),
        (Method::PUT, "/v1/policies/1"),
        (Method::DELETE, "/v1/policies/1"),
        (Method::PUT, "/v1/queries/pool"),
        (Method::PUT, "/v1/queries/uncertainty"),
        (Method::PUT, "/v1/queries/settings"),
        (Method::GET, "/moderation"),
    ];
    let ask = async |method: &Method, path: &str, token: Option<&str>| {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        stand.send(request.body(Body::empty()).unwrap()).await
    };
    assert_eq!(stand.admin(Method::GET, "/v1/raters", "").await.status, 200);
    let mut statuses = Vec::new();
    for (method, path) in &paths {
        let answer = ask(method, path, None).await;
        assert!(answer.headers.contains_key("www-authenticate") || answer.status == 429, "{path}");
        statuses.push(answer.status.as_u16());
    }
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    let mut other = stand.token.clone();
    let last = if other.pop() == Some('0') { '1' } else { '0' };
    other.push(last);
    stand.wait(3_600_000);
    let begin = std::time::Instant::now();
    let mut guesses = Vec::new();
    for _ in 0..30 {
        let answer = ask(&Method::GET, "/v1/export", Some(&format!("Bearer {other}"))).await;
        guesses.push(answer.status.as_u16());
    }
    assert_eq!(guesses[..10], [401; 10]);
    assert_eq!(guesses[10..], [429; 20], "guesses are few");
    assert!(begin.elapsed().as_secs() < 20, "and cost little");
    for token in ["Bearer ", "Bearer kudos_", "Basic Og==", "Bearer kudos_é", "bearer x y"] {
        let answer = ask(&Method::GET, "/v1/export", Some(token)).await;
        assert!([401, 429].contains(&answer.status.as_u16()), "{token}");
    }
    assert_eq!(stand.admin(Method::GET, "/v1/raters", "").await.status, 200, "it is known");
}

async fn other_pages_can_send_nothing(stand: &Stand) {
    let post = async |headers: &[(&str, &str)]| {
        let body = Value::from(vec![rating(&stand.policy)]).to_string();
        let mut request = Request::post("/v1/ratings").header("host", "kudos.example");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        stand.send(request.body(body.into()).unwrap()).await
    };
    let status = |answer: Answer| answer.status.as_u16();
    assert_eq!(status(post(&[("origin", "https://evil.example")]).await), 403);
    assert_eq!(status(post(&[("origin", "null")]).await), 403);
    assert_eq!(status(post(&[("origin", "https://kudos.example.evil.example")]).await), 403);
    assert_eq!(status(post(&[("sec-fetch-site", "cross-site")]).await), 403);
    assert_eq!(status(post(&[("origin", "https://kudos.example")]).await), 200, "our own");
    assert_eq!(status(post(&[]).await), 200, "no browser");
    let friend = ("origin", "https://friend.example");
    let answer = post(&[friend]).await;
    assert_eq!(answer.headers["access-control-allow-origin"], friend.1);
    assert_eq!(answer.status, 200);
    let asked = |origin: &'static str, path: &'static str| {
        let request = Request::builder().method(Method::OPTIONS).uri(path);
        let request = request.header("origin", origin).header("host", "kudos.example");
        let request = request.header("access-control-request-method", "POST");
        stand.send(request.body(Body::empty()).unwrap())
    };
    let answer = asked(friend.1, "/v1/ratings").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["access-control-allow-headers"]),
        (204, &"authorization, content-type".parse().unwrap())
    );
    assert_eq!(asked(friend.1, "/v1/checks").await.status, 403, "friends rate, no more");
    assert_eq!(asked("https://evil.example", "/v1/ratings").await.status, 403);
}

async fn who_sends_too_much_waits(stand: &Stand) {
    let batch = |number: u64| {
        let mut ratings: Vec<Value> = (0..60).map(|_| rating(&stand.policy)).collect();
        ratings.iter_mut().for_each(|it| it["rater"] = json!(crate::made::rater(number)));
        Value::from(ratings).to_string()
    };
    let status = async |number: u64| {
        let answer = stand.post_text(&batch(number)).await;
        if answer.status == 429 {
            assert!(answer.headers.contains_key("retry-after"));
        }
        answer.status.as_u16()
    };
    assert_eq!(status(1).await, 200);
    assert_eq!(status(1).await, 429, "a rater sends at most 100 at once");
    assert_eq!(status(2).await, 200);
    assert_eq!(status(3).await, 429, "an address sends at most 200 at once");
    stand.wait(120_000);
    assert_eq!(status(1).await, 200);
}
