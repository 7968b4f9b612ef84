//! The moderation page: what waits there, and what its forms do.

use axum::body::Body;
use axum::http::Request;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::made::rating;
use crate::stand::{Stand, laws};

laws! {
    a_form_that_is_not_of_the_moderation_page_does_nothing;
    quarantine_is_of_the_rater_and_lets_no_text_go;
}

/// How a browser sends the token.
pub(crate) fn basic(stand: &Stand) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("me:{}", stand.token)))
}

/// The page as it is.
pub(crate) async fn moderation(stand: &Stand) -> String {
    let request = Request::get("/moderation").header("authorization", basic(stand));
    stand.send(request.body(Body::empty()).unwrap()).await.text()
}

/// What the first field of this name on the page holds.
fn field<'a>(page: &'a str, name: &str) -> &'a str {
    let begin = format!("name=\"{name}\" value=\"");
    page.split_once(&begin).unwrap().1.split('"').next().unwrap()
}

/// Rating and rater of the first form of the page.
fn names(page: &str) -> String {
    format!("rating={}&rater={}", field(page, "rating"), field(page, "rater"))
}

/// Sends a form, from a page of this origin; the status of the answer.
async fn send(stand: &Stand, form: String, origin: Option<&str>) -> u16 {
    let mut request = Request::post("/moderation").header("authorization", basic(stand));
    request = request.header("content-type", "application/x-www-form-urlencoded");
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    stand.send(request.body(form.into()).unwrap()).await.status.as_u16()
}

/// Presses a button of the page.
async fn decide(stand: &Stand, page: &str, action: &str) -> u16 {
    let form = format!("mark={}&{}&action={action}", field(page, "mark"), names(page));
    send(stand, form, None).await
}

async fn a_form_that_is_not_of_the_moderation_page_does_nothing(stand: &Stand) {
    let mut reported = rating(&stand.policy);
    reported["reported"] = json!([0]);
    stand.post(std::slice::from_ref(&reported)).await;
    let page = moderation(stand).await;
    let post = async |mark: &str, action: &str, origin: Option<&str>| {
        send(stand, format!("mark={mark}&{}&action={action}", names(&page)), origin).await
    };
    let mark = field(&page, "mark");
    assert_eq!(post("0", "erase", None).await, 403);
    assert_eq!(post(mark, "erase", Some("https://evil.example")).await, 403);
    assert_eq!(post(mark, "explode", None).await, 400);
    assert!(moderation(stand).await.contains("Erase the text"), "it waits still");
    assert_eq!(post(mark, "approve", None).await, 303);
    assert!(moderation(stand).await.contains("Nothing waits"));
    assert_eq!(stand.export("").await.0.len(), 1);
}

async fn quarantine_is_of_the_rater_and_lets_no_text_go(stand: &Stand) {
    let mut reported = rating(&stand.policy);
    reported["reported"] = json!([0]);
    stand.post(&[reported, rating(&stand.policy)]).await;
    let page = moderation(stand).await;
    assert_eq!(decide(stand, &page, "quarantine").await, 303);
    assert_eq!(stand.export("").await.0.len(), 0);
    assert_eq!(stand.export("?flagged=include").await.0.len(), 0);
    assert_eq!(stand.export("?quarantined=include").await.0.len(), 1, "the text was not approved");
    let page = moderation(stand).await;
    assert!(page.contains("Reported</p>") && page.contains("The rater is quarantined"), "{page}");
    assert!(!page.contains("Quarantine the rater"), "{page}");
    assert_eq!(decide(stand, &page, "approve").await, 303);
    assert_eq!(stand.export("?quarantined=include").await.0.len(), 2);
    assert!(moderation(stand).await.contains("Nothing waits"));
}
