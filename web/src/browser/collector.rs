//! The network beside bundles: the catalog, and the collector, which asks and takes ratings.

use kudos_page::event::{DownloadError, Event, PostError, QueryError};
use kudos_schema::{Catalog, Query, RATER_SCHEME, Rating, Receipt, ReceivedStatus};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{Headers, RequestCache, RequestCredentials, RequestInit, Response};

use super::page::Page;
use super::pieces::Pieces;
use super::screen::window;
use super::waiting::settled;

const CATALOG: &str = "policies/catalog.json";
/// Where a collector takes ratings, below its address.
const RATINGS: &str = "/v1/ratings";
/// Where it says what to show.
const QUERIES: &str = "/v1/queries";
/// The status of an answer without content.
const NO_CONTENT: u16 = 204;

/// Fetches the catalog: from the network, or without one as it was at the last visit.
pub(crate) fn fetch_catalog(page: &Page) {
    let page = page.clone();
    spawn_local(async move {
        let pieces = Pieces::open().await;
        let fresh = fetch_fresh(pieces.as_ref()).await;
        let catalog = match (fresh, &pieces) {
            (Err(error), Some(pieces)) => kept_catalog(pieces).await.ok_or(error),
            (fresh, _) => fresh,
        };
        if let (Ok(catalog), Some(pieces)) = (&catalog, &pieces) {
            let wanted: Vec<String> =
                catalog.policies.iter().map(|entry| entry.sha256.clone()).collect();
            pieces.forget_others(&wanted).await;
        }
        page.send(Event::CatalogCame(catalog));
    });
}

async fn fetch_fresh(pieces: Option<&Pieces>) -> Result<Catalog, DownloadError> {
    let options = RequestInit::new();
    options.set_cache(RequestCache::NoCache);
    let answer = fetch(CATALOG, &options).await.ok_or(DownloadError::Network)?;
    let status = DownloadError::Status(answer.status());
    if !answer.ok() {
        return Err(status);
    }
    let copy = answer.clone();
    let catalog = read(text(&answer).await).ok_or(status)?;
    if let (Some(pieces), Ok(copy)) = (pieces, copy) {
        pieces.keep_answer(CATALOG, &copy).await;
    }
    Ok(catalog)
}

async fn kept_catalog(pieces: &Pieces) -> Option<Catalog> {
    read(text(&pieces.answer(CATALOG).await?).await)
}

/// What an address answers; none without a network.
async fn fetch(url: &str, options: &RequestInit) -> Option<Response> {
    let answer = settled(window().fetch_with_str_and_init(url, options)).await;
    answer.ok().map(JsCast::unchecked_into)
}

async fn text(answer: &Response) -> Option<String> {
    settled(answer.text().ok()?).await.ok()?.as_string()
}

fn read<T: serde::de::DeserializeOwned>(json: Option<String>) -> Option<T> {
    serde_json::from_str(&json?).ok()
}

/// Asks the collector what this rater should be shown of a task; [`Event::QueryCame`] follows.
pub(crate) fn fetch_query(page: &Page, url: &str, (rater, task): (&str, &str)) {
    let page = page.clone();
    let task = String::from(js_sys::encode_uri_component(task));
    let url = format!("{}{QUERIES}?task={task}", url.trim_end_matches('/'));
    let rater = rater.to_owned();
    spawn_local(async move {
        let answer = query(&url, &rater).await;
        page.send(Event::QueryCame(answer));
    });
}

async fn query(url: &str, rater: &str) -> Result<Option<Box<Query>>, QueryError> {
    let headers = Headers::new().map_err(|_| QueryError::Unreachable)?;
    let named = format!("{RATER_SCHEME} {rater}");
    headers.set("authorization", &named).map_err(|_| QueryError::Unreachable)?;
    let options = RequestInit::new();
    options.set_headers(&headers);
    options.set_cache(RequestCache::NoStore);
    options.set_credentials(RequestCredentials::Omit);
    let answer = fetch(url, &options).await.ok_or(QueryError::Unreachable)?;
    match answer.status() {
        NO_CONTENT => Ok(None),
        200 => read(text(&answer).await).map(Some).ok_or(QueryError::Unreadable),
        _ => Err(QueryError::Unreachable),
    }
}

/// Posts ratings; [`Event::Posted`] follows, twice where some arrived and others were refused.
pub(crate) fn post(page: &Page, url: &str, ratings: Vec<Rating>) {
    let page = page.clone();
    let url = format!("{}{RATINGS}", url.trim_end_matches('/'));
    spawn_local(async move {
        let ids: Vec<String> = ratings.iter().map(|rating| rating.id.clone()).collect();
        let body = serde_json::to_string(&ratings).expect("ratings are JSON");
        let receipt = match try_post(&url, &body).await {
            Some(answer) => sorted(&answer, ids).await,
            None => None,
        };
        let (arrived, refused) = receipt.unwrap_or_default();
        if arrived.is_empty() && refused.is_empty() {
            page.send(Event::Posted(Err(PostError::Later)));
        }
        if !refused.is_empty() {
            page.send(Event::Posted(Err(PostError::Refused(refused))));
        }
        if !arrived.is_empty() {
            page.send(Event::Posted(Ok(arrived)));
        }
    });
}

async fn try_post(url: &str, body: &str) -> Option<Response> {
    let headers = Headers::new().ok()?;
    headers.set("content-type", "application/json").ok()?;
    let options = RequestInit::new();
    options.set_method("POST");
    options.set_headers(&headers);
    options.set_body(&JsValue::from_str(body));
    // Nothing but the ratings identifies a visitor: no cookies.
    options.set_credentials(RequestCredentials::Omit);
    fetch(url, &options).await
}

/// Ids that arrived, with those refused and why; none where the answer says to come again, or nothing.
async fn sorted(
    answer: &Response,
    ids: Vec<String>,
) -> Option<(Vec<String>, Vec<(String, String)>)> {
    match answer.status() {
        200..=299 => {}
        // The request itself is wrong, and would be again.
        status @ (400 | 413 | 422) => {
            let reason = format!("the collector answers with status {status}");
            return Some((Vec::new(), ids.into_iter().map(|id| (id, reason.clone())).collect()));
        }
        _ => return None,
    }
    let receipt: Receipt = read(text(answer).await)?;
    let known = receipt.results.into_iter().filter(|result| ids.contains(&result.id));
    let (refused, arrived): (Vec<_>, Vec<_>) =
        known.partition(|result| result.status == ReceivedStatus::Refused);
    let refused = refused.into_iter().map(|it| (it.id, it.reason.unwrap_or_default()));
    Some((arrived.into_iter().map(|it| it.id).collect(), refused.collect()))
}
