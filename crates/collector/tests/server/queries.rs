//! What is asked next, and what its answers tell of raters.

use axum::http::Method;
use serde_json::{Value, json};

use crate::made::{TOKENIZER, id, pair, policy, rater, rating, sample};
use crate::stand::{Answer, Kind, Stand, block_on, laws, statuses};

laws! {
    without_a_pool_the_prompts_of_policies_are_asked;
    a_pool_takes_their_place_and_uncertainty_is_told_later;
    gold_never_tells_its_answer_and_counts_who_was_right;
    a_rater_is_asked_again_what_they_were_shown_before;
    only_a_query_that_was_asked_counts_as_one_and_only_once;
    what_cannot_be_asked_is_answered_with_the_remedy;
}

async fn put(stand: &Stand, what: &str, lines: &[Value]) -> Answer {
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    stand.admin(Method::PUT, &format!("/v1/queries/{what}"), lines.join("\n")).await
}

/// Asks for one reason alone.
async fn only(stand: &Stand, reason: &str) {
    let mut settings =
        json!({"random": 0, "gold": 0, "repeat": 0, "uncertain": 0, "coverage": 0, "stale": 0});
    settings[reason] = json!(1);
    assert_eq!(put(stand, "settings", &[settings]).await.status, 204);
}

async fn ask(stand: &Stand, number: u64) -> Answer {
    stand.ask(&rater(number), "").await
}

async fn without_a_pool_the_prompts_of_policies_are_asked(stand: &Stand) {
    let check = async |task: &str| {
        let answer = stand.ask(&rater(1), &format!("?task={task}")).await;
        let query: kudos_schema::Query = serde_json::from_value(answer.json()).unwrap();
        assert_eq!((query.task.as_str(), query.arms.len()), (task, 2));
        assert_eq!(query.arms[0].policy.sha256, stand.policy.sha256);
        query.prompt
    };
    let prompt = check("dialogue").await;
    let roles: Vec<&str> = prompt.messages.iter().map(|turn| turn.role.as_str()).collect();
    assert_eq!(roles, ["system", "user"], "as the page asks");
    assert!(check("sentences").await.text.starts_with("sentences number"));
    let nothing = stand.ask(&rater(1), "?task=chess").await;
    assert_eq!(nothing.status, 204);
    let path = format!("/v1/policies/{}", stand.policy.sha256);
    stand.admin(Method::DELETE, &path, "").await;
    assert_eq!(ask(stand, 1).await.status, 204, "nobody is there to write");
}

async fn a_pool_takes_their_place_and_uncertainty_is_told_later(stand: &Stand) {
    let item = |text: &str| json!({"task": "sentences", "prompt": {"text": text}});
    let items: Vec<Value> = (0..8).map(|place| item(&format!("begin {place}"))).collect();
    let receipt = put(stand, "pool", &items).await.json();
    assert_eq!(receipt, json!({"prompts": 8, "gold": 0, "unknown": 0}));
    only(stand, "uncertain").await;
    assert_eq!(ask(stand, 1).await.json()["reason"], "random", "nobody said what is uncertain");
    let mut told = item("begin 3");
    told["uncertainty"] = json!(0.7);
    let mut unknown = item("never asked");
    unknown["uncertainty"] = json!(0.9);
    let receipt = put(stand, "uncertainty", &[told, unknown]).await.json();
    assert_eq!((&receipt["prompts"], &receipt["unknown"]), (&json!(1), &json!(1)));
    let query = ask(stand, 1).await.json();
    assert_eq!(
        (&query["reason"], &query["prompt"]["text"]),
        (&json!("uncertain"), &json!("begin 3"))
    );
}

async fn gold_never_tells_its_answer_and_counts_who_was_right(stand: &Stand) {
    let id_of = json!({"name": "base", "sha256": stand.policy.sha256});
    let question = "a nice question";
    let gold = json!({
        "task": "dialogue",
        "prompt": {
            "messages": [{"role": "user", "content": question}],
            "token_ids": TOKENIZER.encode(question),
        },
        "gold": {
            "policies": [id_of], "answer": {"pair": "left"},
            "samples": [sample("a nice reply"), sample("another reply")],
        },
    });
    assert_eq!(put(stand, "pool", &[gold]).await.json()["gold"], 1);
    only(stand, "gold").await;
    for (number, choice, swapped) in [(1, "left", false), (2, "right", true), (3, "right", false)] {
        let answer = ask(stand, number).await;
        let query = answer.json();
        assert_eq!(query["reason"], "gold");
        assert!(!answer.text().contains("answer") && !answer.text().contains("\"left\""));
        let mut rating = pair(&stand.policy, &stand.policy, choice);
        if swapped {
            rating["samples"].as_array_mut().unwrap().reverse();
        }
        rating["rater"] = json!(rater(number));
        rating["query"] = json!({"id": query["id"], "reason": "gold"});
        assert_eq!(statuses(&stand.post(&[rating]).await), ["accepted"]);
    }
    assert_ne!(ask(stand, 1).await.json()["reason"], "gold", "nobody gets it twice");
    let raters = stand.admin(Method::GET, "/v1/raters", "").await.json();
    let raters = raters["raters"].as_array().unwrap();
    assert!(raters.iter().all(|rater| rater["gold"] == 1), "{raters:?}");
    let right: u64 = raters.iter().map(|rater| rater["gold_right"].as_u64().unwrap()).sum();
    assert_eq!(right, 2, "whatever side the better text was shown on");
}

async fn a_rater_is_asked_again_what_they_were_shown_before(stand: &Stand) {
    only(stand, "repeat").await;
    assert_eq!(ask(stand, 1).await.json()["reason"], "random", "there is nothing to repeat");
    let first = pair(&stand.policy, &stand.policy, "left");
    stand.post(std::slice::from_ref(&first)).await;
    assert_eq!(ask(stand, 1).await.json()["reason"], "random", "they would remember it");
    let later: Vec<Value> = (0..5).map(|_| rating(&stand.policy)).collect();
    stand.post(&later).await;
    for (choice, same) in [("left", 1), ("right", 1)] {
        let query = ask(stand, 1).await.json();
        assert_eq!(query["reason"], "repeat");
        assert_eq!(query["samples"][0]["text"], "a nice reply");
        assert_eq!(query["prompt"]["token_ids"], first["prompt"]["token_ids"]);
        let mut rating = pair(&stand.policy, &stand.policy, choice);
        rating["query"] = json!({"id": query["id"], "reason": "repeat"});
        assert_eq!(statuses(&stand.post(&[rating]).await), ["accepted"]);
        let raters = stand.admin(Method::GET, "/v1/raters", "").await.json();
        assert_eq!(raters["raters"][0]["repeats_same"], same, "{choice}");
        // Otherwise the repeated item is among the last few.
        let more: Vec<Value> = (0..5).map(|_| rating_of_another_kind(stand)).collect();
        stand.post(&more).await;
    }
    let raters = stand.admin(Method::GET, "/v1/raters", "").await.json();
    assert_eq!(raters["raters"][0]["repeats"], 2);
}

fn rating_of_another_kind(stand: &Stand) -> Value {
    pair(&stand.policy, &stand.policy, "left")
}

async fn only_a_query_that_was_asked_counts_as_one_and_only_once(stand: &Stand) {
    let made = policy("other");
    let path = format!("/v1/policies/{}", made.sha256);
    stand.admin(Method::PUT, &path, made.bytes.clone()).await;
    only(stand, "random").await;
    let query = ask(stand, 1).await.json();
    let answer = |change: &dyn Fn(&mut Value)| {
        let mut rating = pair(&stand.policy, &made, "left");
        rating["query"] = json!({"id": query["id"], "reason": "random"});
        change(&mut rating);
        rating
    };
    let forged = [
        answer(&|it| it["query"]["id"] = json!(id())),
        answer(&|it| it["query"]["reason"] = json!("gold")),
        answer(&|it| it["rater"] = json!(rater(2))),
        answer(&|it| {
            it.as_object_mut().unwrap().remove("rival");
        }),
    ];
    assert_eq!(statuses(&stand.post(&forged).await), ["accepted"; 4], "nothing is lost");
    assert!(stand.export("").await.0.iter().all(|it| it.get("query").is_none()));
    let genuine = [answer(&|_| {}), answer(&|_| {})];
    let receipt = stand.post(&genuine).await;
    assert_eq!(statuses(&receipt), ["accepted", "refused"]);
    assert!(receipt[1]["reason"].as_str().unwrap().contains("answered"), "{receipt:?}");
    let asked = stand.get("/v1/stats").await.json()["asked"].clone();
    assert_eq!(asked, json!({"none": 4, "random": 1}));
}

async fn what_cannot_be_asked_is_answered_with_the_remedy(stand: &Stand) {
    let check = |answer: Answer, said: &str| {
        assert_eq!(answer.status, 400, "{said}");
        assert!(answer.text().contains(said), "{} has {said}", answer.text());
    };
    check(stand.get("/v1/queries").await, "authorization: Rater");
    check(stand.ask("me", "").await, "the id that the page made");
    check(stand.ask(&rater(1).replace('-', "\u{e9}"), "").await, "the id that the page made");
    // A proxy would log it.
    check(stand.ask(&rater(1), &format!("?rater={}", rater(1))).await, "unknown field `rater`");
    check(put(stand, "settings", &[json!({"random": 0.9, "gold": 0.3})]).await, "at most 1");
    check(put(stand, "pool", &[json!({"task": "a"})]).await, "line 1");
    let gold = |answer: Value| json!({"task": "a", "prompt": {}, "gold": {"policies": [], "samples": [], "answer": answer}});
    check(put(stand, "pool", &[gold(json!({"pair": "left"}))]).await, "needs 2 samples");
    check(put(stand, "pool", &[gold(json!({"edit": ""}))]).await, "pair, thumbs or stars");
    let entry = json!({"task": "a", "prompt": {}, "uncertainty": -1});
    check(put(stand, "uncertainty", &[entry]).await, "from 0 on");
}

#[test]
fn a_seed_decides_what_is_asked_whatever_else_takes_coins() {
    let prompts = |seed: u64, more_tokens: usize| {
        block_on(async {
            let stand = Stand::with(Kind::Sqlite, |it| it.query_seed = Some(seed)).await.unwrap();
            only(&stand, "random").await;
            (0..more_tokens).for_each(|_| _ = stand.state.coins.bytes::<8>());
            let mut asked = Vec::new();
            for _ in 0..20 {
                let query = ask(&stand, 1).await.json();
                asked.push(query["prompt"].clone());
            }
            asked
        })
    };
    let first = prompts(1, 0);
    assert_eq!(first, prompts(1, 3));
    assert_ne!(first, prompts(2, 0));
}
