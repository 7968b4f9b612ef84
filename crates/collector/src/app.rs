//! The routes, as a value that tests call.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State as FromState};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use serde::Serialize;
use tower_http::compression::CompressionLayer;
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};

use crate::admin::{policies, ratings};
use crate::clock::rfc3339;
use crate::pages::{html, moderation, statistics};
use crate::problem::Problem;
use crate::settings::Log;
use crate::state::State;
use crate::{export, files, headers, intake, origin, output, query, sender, stats};

/// How long an answer may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a bundle may take to come and to be checked.
const UPLOAD: Duration = Duration::from_secs(1800);
/// Longest body of an administrator's record, in bytes.
const MAX_RECORD_BYTES: usize = 2 << 20;

/// A collector's answers to requests.
pub fn app(state: State) -> Router {
    let brief = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, PATIENCE);
    let upload = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, UPLOAD);
    let slow = Router::new()
        .route("/v1/policies/{sha256}", put(policies::put).delete(policies::delete))
        .layer(DefaultBodyLimit::disable())
        .layer(upload);
    let quick = interface().merge(pages()).layer(brief);
    Router::new()
        .merge(quick)
        .merge(slow)
        .fallback(files::page)
        .layer(RequestBodyTimeoutLayer::new(state.settings.body_pause))
        .layer(from_fn_with_state(state.clone(), sender::identify))
        .layer(from_fn_with_state(state.clone(), origin::check))
        .layer(from_fn(headers::add))
        .layer(from_fn_with_state(state.clone(), observe))
        .with_state(state)
}

/// What programs use.
fn interface() -> Router<State> {
    let pool = Router::new()
        .route("/v1/queries/pool", put(query::pool::put_pool))
        .route("/v1/queries/uncertainty", put(query::pool::put_uncertainty))
        .layer(DefaultBodyLimit::max(query::pool::MAX_POOL_BYTES));
    let post_ratings = Router::new()
        .route("/v1/ratings", post(intake::post))
        .layer(DefaultBodyLimit::max(intake::MAX_BODY_BYTES));
    Router::new()
        .route("/v1/ratings/{id}", delete(ratings::erase_rating))
        .route("/v1/queries", get(query::get))
        .route("/v1/queries/settings", put(query::pool::put_settings))
        .route("/v1/policies", get(policies::list))
        .route("/v1/stats", get(stats::get))
        .route("/v1/export", get(export::ratings))
        .route("/v1/erasures", get(export::erasures))
        .route("/v1/erase", post(ratings::erase_own))
        .route("/v1/checks", post(ratings::checks))
        .route("/v1/raters", get(ratings::raters))
        .route("/v1/raters/{rater}", delete(ratings::erase_rater))
        .route("/v1/raters/{rater}/quarantine", put(ratings::quarantine).delete(ratings::release))
        .layer(DefaultBodyLimit::max(MAX_RECORD_BYTES))
        .merge(pool)
        .merge(post_ratings)
        .layer(CompressionLayer::new())
}

/// What people look at, and what watches over the collector.
fn pages() -> Router<State> {
    Router::new()
        .route("/policies/catalog.json", get(files::catalog))
        .route("/policies/{name}", get(files::bundle))
        .route("/stats", get(statistics::get))
        .route("/moderation", get(moderation::get).post(moderation::post))
        .route("/plain.css", get(html::style))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .layer(DefaultBodyLimit::max(1 << 16))
}

async fn ready(FromState(state): FromState<State>) -> Result<&'static str, Problem> {
    if state.is_stopping() {
        return Err(Problem::unavailable("the collector is stopping"));
    }
    state.database.ping().await?;
    Ok("ready\n")
}

async fn metrics(FromState(state): FromState<State>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], state.metrics.text()).into_response()
}

/// An answer, in the log: the route and not the address, since addresses may name raters.
#[derive(Serialize)]
struct Answered<'a> {
    time: String,
    method: &'a str,
    route: &'a str,
    status: u16,
    milliseconds: u64,
}

/// Counts and logs an answer.
async fn observe(FromState(state): FromState<State>, request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|it| it.as_str().to_owned());
    let response = next.run(request).await;
    // Files of the page are one route: their names are the asker's.
    let route = route.as_deref().unwrap_or("/");
    let status = response.status().as_u16();
    state.metrics.answered(route, status, begin.elapsed());
    if state.settings.log == Log::Silent {
        return response;
    }
    output::log(&Answered {
        time: rfc3339(state.clock.now_ms()),
        method: if is_known(&method) { method.as_str() } else { "other" },
        route,
        status,
        milliseconds: begin.elapsed().as_millis() as u64,
    });
    response
}

fn is_known(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS]
        .contains(method)
}
