//! Why a request is not answered as its sender hoped: a status, and one sentence with the remedy as JSON.

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::database::DatabaseError;
use crate::output;

/// How long to wait after the database failed, in seconds.
const DATABASE_PAUSE: u64 = 5;

/// An answer that says what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// The sentence.
    pub message: String,
    /// When to come again, in seconds.
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A problem that asking again does not solve.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None }
    }

    /// A request that is wrong in itself.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Something that is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// Too much at once.
    pub fn too_many(message: impl Into<String>, seconds: u64) -> Self {
        let retry_after = Some(seconds.max(1));
        Self { retry_after, ..Self::new(StatusCode::TOO_MANY_REQUESTS, message) }
    }

    /// Something of ours that does not work at the moment.
    pub fn unavailable(message: impl Into<String>) -> Self {
        let retry_after = Some(DATABASE_PAUSE);
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }
}

impl From<DatabaseError> for Problem {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Misuse(message) => Self::bad_request(message),
            DatabaseError::Stopping => Self::unavailable(error.to_string()),
            DatabaseError::Sql(_) | DatabaseError::Unwritten(_) => {
                output::log(&Trouble { trouble: &error.to_string() });
                // Without the database's own words, which may quote what was to be stored.
                Self::unavailable("the database does not work at the moment: send this again later")
            }
            DatabaseError::Migration(_) | DatabaseError::Record(_) | DatabaseError::Setting(_) => {
                output::log(&Trouble { trouble: &error.to_string() });
                let message = "a record of the collector is damaged: tell its operator";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
            }
        }
    }
}

/// An entry of the log about something that went wrong.
#[derive(Debug, Serialize)]
pub(crate) struct Trouble<'a> {
    /// What went wrong.
    pub(crate) trouble: &'a str,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Body { error: &self.message })).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
