//! Which pages may send something here: our own, and those that the operator named.
//!
//! Programs that are no browsers send no origin; they hold no visitor's cookies or passwords that could be misused.

use axum::extract::{Request, State as FromState};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, HOST, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;
use crate::settings::Settings;
use crate::state::State;

/// What pages elsewhere may use.
const SHARED: [&str; 3] = ["/v1/ratings", "/v1/queries", "/v1/erase"];

/// Headers that they may send: the kind of content, and who asks.
const FRIENDS_HEADERS: &str = "authorization, content-type";

/// Where a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum From {
    /// No page of a browser, or our own.
    Us,
    /// A page that the operator named.
    Friend(HeaderValue),
    /// Another page.
    Stranger,
}

/// Refuses what other pages send, and answers their browsers' questions whether they may.
pub(crate) async fn check(
    FromState(state): FromState<State>,
    request: Request,
    next: Next,
) -> Response {
    let from = from(request.headers(), &state.settings);
    let shared = SHARED.contains(&request.uri().path());
    match from {
        From::Friend(origin) if shared => {
            let mut response = match *request.method() {
                Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
                _ => next.run(request).await,
            };
            allow(response.headers_mut(), origin);
            response
        }
        From::Us => next.run(request).await,
        From::Friend(_) | From::Stranger if is_harmless(request.method()) => {
            next.run(request).await
        }
        From::Friend(_) | From::Stranger => {
            let message =
                "another page may not send this here: its operator can be allowed with --origin";
            Problem::new(StatusCode::FORBIDDEN, message).into_response()
        }
    }
}

/// Scheme and host by which the sender knows us, and a path below which we lie.
pub(crate) fn own_address(headers: &HeaderMap, settings: &Settings) -> Option<String> {
    if let Some(url) = &settings.public_url {
        return Some(url.clone());
    }
    let host = headers.get(HOST)?.to_str().ok()?;
    let plain = host.chars().all(|it| it.is_ascii_alphanumeric() || ".-:[]_".contains(it));
    let forwarded = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let scheme = if forwarded { "https" } else { "http" };
    plain.then(|| format!("{scheme}://{host}"))
}

fn is_harmless(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn from(headers: &HeaderMap, settings: &Settings) -> From {
    let Some(origin) = headers.get(ORIGIN) else {
        // A browser that hides the origin still says that it is another one.
        let elsewhere = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
        return if elsewhere { From::Stranger } else { From::Us };
    };
    let text = origin.to_str().unwrap_or_default();
    if settings.origins.iter().any(|friend| friend == text) {
        return From::Friend(origin.clone());
    }
    let own = match &settings.public_url {
        Some(url) => *text == *origin_of(url),
        // Behind a proxy the scheme may be another; the host is what the browser asked for.
        None => {
            let host = text.split_once("://").map(|(_, host)| host);
            host.is_some() && host == headers.get(HOST).and_then(|host| host.to_str().ok())
        }
    };
    if own { From::Us } else { From::Stranger }
}

/// An address without its path.
fn origin_of(url: &str) -> &str {
    let begin = url.find("://").map_or(0, |place| place + 3);
    let end = url[begin..].find('/').map_or(url.len(), |place| begin + place);
    &url[..end]
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(FRIENDS_HEADERS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    headers.append(VARY, HeaderValue::from_static("origin"));
}
