//! What leaves the collector, and that whoever follows it misses nothing.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};

use crate::made::{pair, policy, rater, rating, sample};
use crate::stand::{Stand, ids, laws, statuses};

laws! {
    each_format_has_its_rows;
    rows_of_who_contradicts_the_others_weigh_less with plenty;
    rows_of_the_quarantined_weigh_nothing with plenty;
    an_export_goes_on_from_its_cursor_and_from_any_rating;
    who_follows_two_collectors_that_write_at_once_misses_nothing with plenty;
    quarantined_raters_are_left_out_and_come_once_they_are_released;
    reported_texts_are_left_out_until_they_are_approved;
    erased_ratings_are_named_and_do_not_come_back;
    what_is_asked_wrongly_is_answered_with_the_remedy;
    a_line_stays_a_line_and_a_formula_a_text;
    a_clock_that_jumps_back_breaks_nothing;
    old_ratings_are_erased with only_a_day;
}

/// Limits that no test reaches.
pub(crate) fn plenty(settings: &mut collector::settings::Settings) {
    let rate = collector::limits::Rate { per_minute: 1e9, burst: 1e9 };
    (settings.address_rate, settings.rater_rate) = (rate, rate);
    settings.request_rate = rate;
}

fn only_a_day(settings: &mut collector::settings::Settings) {
    settings.retention = Some(std::time::Duration::from_secs(86_400));
}

async fn each_format_has_its_rows(stand: &Stand) {
    let mut edit = rating(&stand.policy);
    edit["verdict"] = json!({"edit": "a better reply"});
    let other = policy("other");
    let path = format!("/v1/policies/{}", other.sha256);
    assert_eq!(stand.admin(Method::PUT, &path, other.bytes.clone()).await.status, 201);
    let ratings = [rating(&stand.policy), pair(&stand.policy, &other, "right"), edit];
    assert_eq!(statuses(&stand.post(&ratings).await), ["accepted"; 3]);
    let check = async |format: &str, places: &[usize]| {
        let (rows, _) = stand.export(&format!("?format={format}")).await;
        let found: Vec<&str> = rows.iter().map(|row| row["rating"].as_str().unwrap()).collect();
        let all = ids(&ratings);
        let expected: Vec<&str> = places.iter().map(|place| all[*place].as_str()).collect();
        assert_eq!(found, expected, "{format}");
    };
    check("preference", &[1, 2]).await;
    check("unpaired", &[0]).await;
    check("scalar", &[0]).await;
    check("sft", &[2]).await;
    let (exported, _) = stand.export("?format=ratings").await;
    for (exported, sent) in exported.iter().zip(&ratings) {
        let mut sent: kudos_schema::Rating = serde_json::from_value(sent.clone()).unwrap();
        sent.rater = exported["rater"].as_str().unwrap().to_owned();
        let exported: kudos_schema::Rating = serde_json::from_value(exported.clone()).unwrap();
        assert_eq!(exported, sent, "nothing but the rater is changed");
    }
}

/// Stars of six raters for twelve texts, every other of which is good: the last rater says what comes to mind.
async fn stars(stand: &Stand) -> Vec<Value> {
    let mut ratings = Vec::new();
    for place in 0..12 {
        for number in 1..=6 {
            let good = if number == 6 { place % 3 == 0 } else { place % 2 == 0 };
            let mut rating = rating(&stand.policy);
            rating["samples"] = json!([sample(&format!("reply number {place}"))]);
            rating["verdict"] = json!({"stars": if good { 5 } else { 1 }});
            rating["rater"] = json!(rater(number));
            ratings.push(rating);
        }
    }
    assert_eq!(statuses(&stand.post(&ratings).await), ["accepted"; 72]);
    ratings
}

async fn rows_of_who_contradicts_the_others_weigh_less(stand: &Stand) {
    let sent = stars(stand).await;
    let (rows, end) = stand.export("?format=scalar").await;
    let number = |row: &Value, name: &str| row[name].as_f64().unwrap();
    let weights = |spammer: bool| {
        let rows = rows.iter().zip(&sent);
        let rows = rows.filter(move |(_, sent)| (sent["rater"] == rater(6)) == spammer);
        rows.map(|(row, _)| row)
    };
    let most = weights(true).map(|row| number(row, "weight")).fold(0.0, f64::max);
    let least = weights(false).map(|row| number(row, "weight")).fold(1.0, f64::min);
    assert!(most < 0.5 && least > 0.7, "{most} and {least}");
    for row in &rows {
        let [low, mean, high] = ["weight_low", "weight", "weight_high"].map(|it| number(row, it));
        assert!(0.0 <= low && low <= mean && mean <= high && high <= 1.0, "{row}");
    }
    // Whoever goes on from a cursor gets the same rows, and newer ratings weigh as their raters do by now.
    let half = format!("?format=unpaired&since={}", sent[35]["id"].as_str().unwrap());
    let (rest, _) = stand.export(&half).await;
    assert_eq!((rest.len(), &rest[0]["weight"]), (36, &rows[36]["weight"]));
    let mut wrong = Vec::new();
    for place in 0..24 {
        let mut rating = sent[place * 3].clone();
        rating["id"] = json!(crate::made::id());
        rating["rater"] = json!(rater(7));
        let good = rating["verdict"]["stars"] == 5;
        rating["verdict"] = json!({"stars": if good { 1 } else { 5 }});
        wrong.push(rating);
    }
    stand.post(&wrong).await;
    stand.wait(61_000);
    let (newer, _) = stand.export(&format!("?format=scalar&since={end}")).await;
    assert_eq!(newer.len(), 24);
    assert!(number(&newer[0], "weight") < 0.3, "{}", newer[0]);
    assert!(stand.export("").await.0.iter().all(|row| row.get("weight").is_none()));
}

async fn rows_of_the_quarantined_weigh_nothing(stand: &Stand) {
    stars(stand).await;
    let pseudonym = stand.export("").await.0[0]["rater"].as_str().unwrap().to_owned();
    let path = format!("/v1/raters/{pseudonym}/quarantine");
    assert_eq!(stand.admin(Method::PUT, &path, "").await.status, 204);
    let (rows, _) = stand.export("?format=scalar&quarantined=include").await;
    let nothing = |row: &&Value| row["weight"] == 0.0 && row["weight_high"] == 1.0;
    assert_eq!((rows.len(), rows.iter().filter(nothing).count()), (72, 12));
}

async fn an_export_goes_on_from_its_cursor_and_from_any_rating(stand: &Stand) {
    let first: Vec<Value> = (0..90).map(|_| rating(&stand.policy)).collect();
    stand.post(&first).await;
    let (exported, cursor) = stand.export("").await;
    assert_eq!(ids(&exported), ids(&first));
    for place in [0, 41, 89] {
        let rest = stand.export(&format!("?since={}", ids(&first)[place])).await.0;
        assert_eq!(ids(&rest), ids(&first[place + 1..]));
    }
    // More than a page of the database.
    let mut more = Vec::new();
    for number in 2..5 {
        let mut batch: Vec<Value> = (0..90).map(|_| rating(&stand.policy)).collect();
        batch.iter_mut().for_each(|it| it["rater"] = json!(rater(number)));
        assert_eq!(stand.post(&batch).await.len(), 90);
        more.extend(batch);
    }
    let (rest, end) = stand.export(&format!("?since={cursor}")).await;
    assert_eq!(ids(&rest), ids(&more));
    assert_eq!(stand.export(&format!("?since={end}")).await, (Vec::new(), end.clone()));
}

async fn who_follows_two_collectors_that_write_at_once_misses_nothing(stand: &Stand) {
    const WRITERS: usize = 8;
    const POSTS: usize = 25;
    let twin = stand.twin().await;
    let write = async |stand: &Stand| {
        let mut sent = Vec::new();
        for _ in 0..POSTS {
            let batch = [rating(&stand.policy), rating(&stand.policy)];
            assert_eq!(statuses(&stand.post(&batch).await), ["accepted"; 2]);
            sent.extend(ids(&batch));
        }
        sent
    };
    let writers = (0..WRITERS).map(|place| write(if place % 2 == 0 { stand } else { &twin }));
    let follow = async {
        let (mut seen, mut cursor) = (Vec::new(), "0".to_owned());
        while seen.len() < WRITERS * POSTS * 2 {
            let (page, end) = stand.export(&format!("?since={cursor}")).await;
            seen.extend(ids(&page));
            assert!(end.parse::<u64>().unwrap() >= cursor.parse().unwrap());
            let written = !page.is_empty() || end != cursor;
            cursor = end;
            if !written {
                tokio::task::yield_now().await;
            }
        }
        seen
    };
    let all = futures_util::future::join(futures_util::future::join_all(writers), follow);
    let (sent, seen) = tokio::time::timeout(std::time::Duration::from_secs(60), all)
        .await
        .expect("a rating was never seen");
    let sent: BTreeSet<String> = sent.into_iter().flatten().collect();
    assert_eq!(seen.iter().cloned().collect::<BTreeSet<_>>(), sent);
    assert_eq!(seen.len(), sent.len(), "and none was seen twice");
    twin.state.close().await;
}

async fn quarantined_raters_are_left_out_and_come_once_they_are_released(stand: &Stand) {
    let (mut bad, good) = (rating(&stand.policy), rating(&stand.policy));
    bad["rater"] = json!(rater(2));
    stand.post(&[bad.clone(), good.clone()]).await;
    let (exported, cursor) = stand.export("").await;
    let path = format!("/v1/raters/{}/quarantine", exported[0]["rater"].as_str().unwrap());
    assert_eq!(stand.admin(Method::PUT, &path, "").await.status, 204);
    let mut later = rating(&stand.policy);
    later["rater"] = json!(rater(2));
    assert_eq!(
        statuses(&stand.post(std::slice::from_ref(&later)).await),
        ["accepted"],
        "they are kept"
    );
    assert_eq!(ids(&stand.export("").await.0), ids(&[good]));
    assert_eq!(stand.export("?quarantined=include").await.0.len(), 3);
    assert_eq!(stand.get("/v1/stats").await.json()["quarantined"], 2);
    assert_eq!(stand.admin(Method::DELETE, &path, "").await.status, 204);
    assert_eq!(stand.admin(Method::DELETE, &path, "").await.status, 404);
    let (after, _) = stand.export(&format!("?since={cursor}")).await;
    assert_eq!(ids(&after), ids(&[bad, later]), "whoever follows gets them now");
}

async fn reported_texts_are_left_out_until_they_are_approved(stand: &Stand) {
    let mut reported = rating(&stand.policy);
    reported["reported"] = json!([0]);
    stand.post(std::slice::from_ref(&reported)).await;
    assert_eq!(stand.export("").await.0.len(), 0);
    assert_eq!(stand.export("?flagged=include").await.0.len(), 1);
    let path = format!("/v1/ratings/{}", reported["id"].as_str().unwrap());
    assert_eq!(stand.admin(Method::DELETE, &path, "").await.json()["erased"], 1);
    assert_eq!(stand.export("?flagged=include").await.0.len(), 0);
}

async fn erased_ratings_are_named_and_do_not_come_back(stand: &Stand) {
    let mine = [rating(&stand.policy), rating(&stand.policy)];
    let mut other = rating(&stand.policy);
    other["rater"] = json!(rater(2));
    stand.post(&mine).await;
    stand.post(std::slice::from_ref(&other)).await;
    let (_, cursor) = stand.export("").await;
    let erase = async |code: &str| {
        let request = axum::http::Request::post("/v1/erase");
        let body = json!({"code": code}).to_string();
        stand.send(request.body(body.into()).unwrap()).await.json()
    };
    let exported = stand.export("").await.0;
    let pseudonym = exported[0]["rater"].as_str().unwrap();
    assert_eq!(erase(pseudonym).await["erased"], 0, "what exports show erases nothing");
    assert_eq!(erase("").await["erased"], 0);
    assert_eq!(erase(&rater(1)).await["erased"], 2);
    assert_eq!(erase(&rater(1)).await["erased"], 0);
    assert_eq!(ids(&stand.export("").await.0), ids(&[other]));
    let path = format!("/v1/erasures?since={cursor}");
    let named = stand.admin(Method::GET, &path, "").await.text();
    let named: Vec<Value> = named.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let named: Vec<&str> = named.iter().map(|it| it["rating"].as_str().unwrap()).collect();
    assert_eq!(named, ids(&mine));
    assert_eq!(statuses(&stand.post(&mine).await), ["refused"; 2], "a page sends them again");
    // Who was cut off at an erased rating can go on all the same.
    assert_eq!(stand.export(&format!("?since={}", ids(&mine)[0])).await.0.len(), 1);
    assert_eq!(stand.get("/v1/stats").await.json()["erased"], 2);
}

async fn what_is_asked_wrongly_is_answered_with_the_remedy(stand: &Stand) {
    for (asked, said) in [
        ("?format=csv", "choose one of ratings, preference"),
        ("?since=yesterday", "leave it out"),
        ("?quarantined=maybe", "quarantined"),
        ("?limit=3", "limit"),
    ] {
        let answer = stand.admin(Method::GET, &format!("/v1/export{asked}"), "").await;
        assert_eq!(answer.status, 400, "{asked}");
        assert!(answer.json()["error"].as_str().unwrap().contains(said), "{}", answer.text());
    }
}

async fn a_line_stays_a_line_and_a_formula_a_text(stand: &Stand) {
    let texts = ["=cmd()", "a\n{\"id\":1}", "\",\"x\":\"", "\u{2028}", "\r\n", "\\u0000\u{0}"];
    let mut ratings = Vec::new();
    for text in texts {
        let mut rating = rating(&stand.policy);
        rating["remark"] = json!(text);
        rating["samples"] = json!([sample(text)]);
        rating["verdict"] = json!({"edit": format!("{text}!")});
        ratings.push(rating);
    }
    assert_eq!(statuses(&stand.post(&ratings).await), ["accepted"; 6]);
    let (exported, _) = stand.export("").await;
    let remarks: Vec<&str> = exported.iter().map(|it| it["remark"].as_str().unwrap()).collect();
    assert_eq!(remarks, texts);
    let (rows, _) = stand.export("?format=sft").await;
    for (row, text) in rows.iter().zip(texts) {
        assert_eq!(row["completion"][0]["content"], format!("{text}!"));
    }
}

async fn a_clock_that_jumps_back_breaks_nothing(stand: &Stand) {
    let first = rating(&stand.policy);
    stand.post(std::slice::from_ref(&first)).await;
    let stats = stand.get("/v1/stats").await.json();
    assert_eq!(stats["ratings"], 1);
    stand.wait(-3_600_000);
    let second = rating(&stand.policy);
    assert_eq!(statuses(&stand.post(std::slice::from_ref(&second)).await), ["accepted"]);
    assert_eq!(ids(&stand.export("").await.0), ids(&[first.clone(), second.clone()]));
    let rest = stand.export(&format!("?since={}", first["id"].as_str().unwrap())).await.0;
    assert_eq!(ids(&rest), ids(&[second]));
    assert_eq!(stand.get("/v1/stats").await.json()["ratings"], 2, "counted again");
    let asked = async || stand.ask(&rater(1), "").await.json()["id"].as_str().unwrap().to_owned();
    assert_ne!(asked().await, asked().await);
}

async fn old_ratings_are_erased(stand: &Stand) {
    let (old, new) = (rating(&stand.policy), rating(&stand.policy));
    stand.post(&[old]).await;
    stand.wait(80_000_000);
    stand.post(std::slice::from_ref(&new)).await;
    assert_eq!(collector::retention::erase_old(&stand.state).await.unwrap(), 0);
    stand.wait(80_000_000);
    assert_eq!(collector::retention::erase_old(&stand.state).await.unwrap(), 1);
    assert_eq!(ids(&stand.export("").await.0), ids(&[new]));
}
