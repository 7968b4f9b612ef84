//! What requests hold, read with our own words for what is wrong.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// The whole body.
#[derive(Debug)]
pub(crate) struct Whole(pub(crate) Bytes);

/// The body as a record in JSON.
#[derive(Debug)]
pub(crate) struct Taken<T>(pub(crate) T);

/// What stands after the `?`.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Bytes::from_request(request, state).await.map(Self).map_err(|rejection| {
            match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    let message = "the body is too long: send less at once";
                    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message)
                }
                _ => Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
            }
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Taken<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Whole(body) = Whole::from_request(request, state).await?;
        let record = serde_json::from_slice(&body);
        record.map(Self).map_err(|error| {
            Problem::bad_request(format!("the body is not as it should be: {error}"))
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let asked = Query::from_request_parts(parts, state).await;
        asked.map(|Query(asked)| Self(asked)).map_err(|rejection| {
            Problem::bad_request(format!(
                "what stands after the `?` is wrong: {}",
                rejection.body_text()
            ))
        })
    }
}
