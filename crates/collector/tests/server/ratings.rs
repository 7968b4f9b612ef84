//! What is taken, what is refused, and that nothing comes twice.

use kudos_schema::{Picture, patch_ids};
use serde_json::{Value, json};

use crate::made::{TOKENIZER, pair, policy, rater, rating, sample};
use crate::stand::{Stand, ids, laws, statuses};

laws! {
    each_rating_of_a_batch_has_its_own_answer;
    a_rating_sent_twice_is_stored_once;
    what_cannot_be_of_the_policy_is_refused_with_a_reason;
    what_was_looked_at_is_kept_where_the_policy_can_have_looked;
    a_retired_policy_is_still_rated_and_an_unknown_one_is_not;
    personal_data_is_masked_before_it_is_stored;
    what_masks_make_too_long_is_refused;
    the_rater_is_stored_under_a_pseudonym;
    the_time_of_receipt_is_not_the_senders;
    two_collectors_share_a_database;
}

async fn each_rating_of_a_batch_has_its_own_answer(stand: &Stand) {
    let good = rating(&stand.policy);
    let mut bad = rating(&stand.policy);
    bad["unknown"] = json!(1);
    let receipt = stand.post(&[good.clone(), bad.clone(), good.clone(), json!(7)]).await;
    assert_eq!(statuses(&receipt), ["accepted", "refused", "duplicate", "refused"]);
    assert_eq!((&receipt[0]["id"], &receipt[1]["id"]), (&good["id"], &bad["id"]));
    assert!(receipt[1]["reason"].as_str().unwrap().contains("unknown field"), "{receipt:?}");
    assert!(receipt[0].get("reason").is_none());
    assert!(stand.post(&[]).await.is_empty());
}

async fn a_rating_sent_twice_is_stored_once(stand: &Stand) {
    let rating = rating(&stand.policy);
    assert_eq!(statuses(&stand.post(std::slice::from_ref(&rating)).await), ["accepted"]);
    let mut changed = rating.clone();
    changed["verdict"] = json!({"thumbs": "down"});
    assert_eq!(statuses(&stand.post(&[rating.clone(), changed]).await), ["duplicate"; 2]);
    let (exported, _) = stand.export("").await;
    assert_eq!(exported.len(), 1);
    assert_eq!(exported[0]["verdict"], rating["verdict"], "the first stays");
}

async fn what_cannot_be_of_the_policy_is_refused_with_a_reason(stand: &Stand) {
    let end = TOKENIZER.end_id();
    let check = async |part: &str, change: &dyn Fn(&mut Value)| {
        let mut rating = rating(&stand.policy);
        change(&mut rating);
        let receipt = stand.post(&[rating]).await;
        assert_eq!(statuses(&receipt), ["refused"], "{part}");
        let reason = receipt[0]["reason"].as_str().unwrap();
        assert!(reason.contains(part), "{reason} has {part}");
    };
    check("version 2", &|it| it["version"] = json!(2)).await;
    check("not that of its tokens", &|it| it["samples"][0]["text"] = json!("other")).await;
    check("is none of the", &|it| it["prompt"]["token_ids"] = json!([99_999])).await;
    check("the context holds 128", &|it| it["prompt"]["token_ids"] = json!(vec![5; 200])).await;
    check("end reason is another", &|it| it["samples"][0]["end_reason"] = json!("length")).await;
    check("has no stop token", &|it| {
        it["samples"][0] = sample("a");
        it["samples"][0]["token_ids"] = json!(TOKENIZER.encode("a"));
        let logprobs = vec![-1.0; TOKENIZER.encode("a").len()];
        it["samples"][0]["logprobs_drawn"] = json!(logprobs);
        it["samples"][0]["logprobs_full"] = json!(logprobs);
    })
    .await;
    check("tokens follow the stop token", &|it| {
        let ids = it["samples"][0]["token_ids"].as_array_mut().unwrap();
        ids[0] = json!(end);
    })
    .await;
    check("not finite and at most 0", &|it| it["samples"][0]["logprobs_full"][0] = json!(0.5))
        .await;
    check("log-probabilities", &|it| it["samples"][0]["logprobs_full"] = json!([])).await;
    check("is called \"base\" here", &|it| it["policy"]["name"] = json!("other")).await;
    check("a UUID of version 7", &|it| it["id"] = json!(rater(1))).await;
    check("at most 32768", &|it| it["remark"] = json!("x".repeat(40_000))).await;
    assert_eq!(stand.export("").await.0.len(), 0);
    let stats = stand.get("/v1/stats").await.json();
    assert_eq!(stats["refused"]["value"], 5, "{stats}");
    assert_eq!(stats["refused"]["end"], 3, "{stats}");
}

async fn what_was_looked_at_is_kept_where_the_policy_can_have_looked(stand: &Stand) {
    let looked_at = |size: usize| {
        let mut rating = rating(&stand.policy);
        let ids = TOKENIZER.encode("a nice question");
        rating["prompt"]["picture"] = json!(Picture::blank(size));
        rating["prompt"]["token_ids"] = json!([patch_ids(0, size), ids].concat());
        rating
    };
    let mut unseen = looked_at(8);
    unseen["prompt"]["token_ids"] = json!(TOKENIZER.encode("a nice question"));
    let receipt = stand.post(&[looked_at(8), looked_at(16), unseen]).await;
    assert_eq!(statuses(&receipt), ["accepted", "refused", "refused"]);
    let reason = |place: usize| receipt[place]["reason"].as_str().unwrap();
    assert!(reason(1).contains("another size"), "{}", reason(1));
    assert!(reason(2).contains("behind the patches"), "{}", reason(2));
    let (exported, _) = stand.export("").await;
    assert_eq!(exported[0]["prompt"]["picture"], json!(Picture::blank(8)));
}

async fn a_retired_policy_is_still_rated_and_an_unknown_one_is_not(stand: &Stand) {
    let path = format!("/v1/policies/{}", stand.policy.sha256);
    assert_eq!(stand.admin("DELETE".parse().unwrap(), &path, "").await.status, 204);
    assert_eq!(statuses(&stand.post(&[rating(&stand.policy)]).await), ["accepted"]);
    let stranger = policy("stranger");
    let receipt = stand.post(&[rating(&stranger), pair(&stand.policy, &stranger, "left")]).await;
    assert_eq!(statuses(&receipt), ["refused"; 2]);
    assert!(receipt[0]["reason"].as_str().unwrap().contains("never published"), "{receipt:?}");
}

async fn what_masks_make_too_long_is_refused(stand: &Stand) {
    let mut long = rating(&stand.policy);
    long["remark"] = json!("a@b.c ".repeat(5000));
    let receipt = stand.post(&[long]).await;
    assert_eq!(statuses(&receipt), ["refused"]);
    assert!(receipt[0]["reason"].as_str().unwrap().contains("masked, remark has 45000"));
}

async fn personal_data_is_masked_before_it_is_stored(stand: &Stand) {
    let text = "ann@example.org https://example.org/a 4111 1111 1111 1111";
    let masked = "[e-mail] [link] [number]";
    let mut rating = rating(&stand.policy);
    rating["remark"] = json!(text);
    rating["reasons"] = json!([text]);
    rating["prompt"]["messages"][0]["content"] = json!(text);
    rating["prompt"]["text"] = json!(text);
    rating["verdict"] = json!({"edit": text});
    assert_eq!(statuses(&stand.post(&[rating]).await), ["accepted"]);
    let stored = &stand.export("").await.0[0];
    for found in [
        &stored["remark"],
        &stored["reasons"][0],
        &stored["prompt"]["messages"][0]["content"],
        &stored["prompt"]["text"],
        &stored["verdict"]["edit"],
    ] {
        assert_eq!(found, masked);
    }
}

async fn the_rater_is_stored_under_a_pseudonym(stand: &Stand) {
    let mut other = rating(&stand.policy);
    other["rater"] = json!(rater(2));
    stand.post(&[rating(&stand.policy), rating(&stand.policy), other]).await;
    let exported = stand.export("").await.0;
    let raters: Vec<&str> = exported.iter().map(|it| it["rater"].as_str().unwrap()).collect();
    assert_eq!(raters[0], raters[1]);
    assert_ne!(raters[0], raters[2]);
    assert_ne!(raters[0], rater(1));
    for rating in &exported {
        let rating: kudos_schema::Rating = serde_json::from_value(rating.clone()).unwrap();
        rating.validate().unwrap();
    }
}

async fn the_time_of_receipt_is_not_the_senders(stand: &Stand) {
    let mut early = rating(&stand.policy);
    early["created"] = json!("1999-01-01T00:00:00Z");
    early["reported"] = json!([0]);
    stand.post(&[early]).await;
    let exported = stand.export("?flagged=include").await.0;
    assert_eq!(exported[0]["created"], "1999-01-01T00:00:00Z");
    let request = axum::http::Request::get("/moderation");
    let basic =
        base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!(":{}", stand.token));
    let request = request.header("authorization", format!("Basic {basic}"));
    let page = stand.send(request.body(axum::body::Body::empty()).unwrap()).await.text();
    assert!(page.contains("2026-11-24T10:00:00Z") && !page.contains("1999"), "{page}");
}

async fn two_collectors_share_a_database(stand: &Stand) {
    let twin = stand.twin().await;
    let (one, other) = (rating(&stand.policy), rating(&stand.policy));
    assert_eq!(statuses(&stand.post(std::slice::from_ref(&one)).await), ["accepted"]);
    assert_eq!(
        statuses(&twin.post(&[one.clone(), other.clone()]).await),
        ["duplicate", "accepted"]
    );
    let exported = stand.export("").await.0;
    assert_eq!(ids(&exported), ids(&[one, other]));
    assert_eq!(exported[0]["rater"], exported[1]["rater"], "pseudonyms are the same on both");
    twin.state.close().await;
}
