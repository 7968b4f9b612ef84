//! Raters and checks in the operator's hands.

use axum::http::Method;
use serde_json::json;

use crate::made::{id, pair, policy, rater, rating};
use crate::stand::{Stand, laws};

laws! {
    checks_are_counted_by_cause_and_a_later_one_counts;
    a_rater_is_erased_by_their_pseudonym;
    the_statistics_count_who_won;
}

async fn checks_are_counted_by_cause_and_a_later_one_counts(stand: &Stand) {
    let ratings = [rating(&stand.policy), rating(&stand.policy), rating(&stand.policy)];
    stand.post(&ratings).await;
    let post = async |checks: serde_json::Value| {
        let body = json!({"checks": checks}).to_string();
        stand.admin(Method::POST, "/v1/checks", body).await
    };
    let [first, second, third] = [0, 1, 2].map(|place| ratings[place]["id"].clone());
    let receipt = post(json!([
        {"rating": first, "outcome": "fail", "cause": "logprobs"},
        {"rating": second, "outcome": "fail", "cause": "text"},
        {"rating": third, "outcome": "unchecked", "cause": "prompt"},
        {"rating": id(), "outcome": "pass"},
    ]))
    .await;
    assert_eq!(receipt.json(), json!({"stored": 3, "unknown": 1}));
    post(json!([{"rating": second, "outcome": "pass"}])).await;
    stand.wait(20_000);
    let checks = stand.get("/v1/stats").await.json()["checks"].clone();
    let expected = json!({"passed": 1, "failed": {"logprobs": 1}, "unchecked": {"prompt": 1}});
    assert_eq!(checks, expected);
    let page = stand.get("/stats").await.text();
    assert!(page.contains("<td>Failed the check</td><td>logprobs</td>"), "{page}");
    let wrong = post(json!([{"rating": first, "outcome": "fail", "cause": "<b>"}])).await;
    assert_eq!(wrong.status, 400);
    let raters = stand.admin(Method::GET, "/v1/raters", "").await.json();
    assert_eq!(raters["raters"][0]["failed"], 1);
}

async fn a_rater_is_erased_by_their_pseudonym(stand: &Stand) {
    let mut other = rating(&stand.policy);
    other["rater"] = json!(rater(2));
    stand.post(&[rating(&stand.policy), rating(&stand.policy), other]).await;
    let raters = stand.admin(Method::GET, "/v1/raters", "").await.json();
    assert_eq!(raters["raters"][0]["ratings"], 2);
    let path = format!("/v1/raters/{}", raters["raters"][0]["rater"].as_str().unwrap());
    assert_eq!(stand.admin(Method::DELETE, &path, "").await.json()["erased"], 2);
    assert_eq!(stand.export("").await.0.len(), 1);
}

async fn the_statistics_count_who_won(stand: &Stand) {
    let made = policy("other");
    let path = format!("/v1/policies/{}", made.sha256);
    stand.admin(Method::PUT, &path, made.bytes.clone()).await;
    let ratings = [
        pair(&stand.policy, &made, "left"),
        pair(&made, &stand.policy, "right"),
        pair(&made, &stand.policy, "tie"),
        rating(&made),
    ];
    stand.post(&ratings).await;
    let stats = stand.get("/v1/stats").await.json();
    assert_eq!((&stats["ratings"], &stats["raters"]), (&json!(4), &json!(1)));
    let policies = stats["policies"].as_array().unwrap();
    assert_eq!(policies[0]["name"], "other", "the newest first");
    assert_eq!((&policies[0]["losses"], &policies[0]["thumbs_up"]), (&json!(2), &json!(1)));
    assert_eq!((&policies[1]["wins"], &policies[1]["ties"]), (&json!(2), &json!(1)));
    assert_eq!(stats["meetings"].as_array().unwrap().len(), 1);
    let page = stand.get("/stats").await;
    let strength = |place: usize| policies[place]["strength"]["mean"].as_f64().unwrap();
    assert!(strength(1) > 0.5 && (strength(0) + strength(1)).abs() < 1e-9, "{policies:?}");
    let shown = format!("<td>{:+.2} [", strength(1));
    assert!(page.text().contains(&shown), "{shown}: {}", page.text());
    assert!(!page.text().contains("<script"));
}
