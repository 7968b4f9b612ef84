//! Who may administer: the holder of a token, in `Authorization: Bearer` for programs, or as the password of a browser's
//! question on the moderation page.
//!
//! Argon2 is slow on purpose: a good token is remembered as a keyed hash, and guesses are few and wait for each other.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::token;
use crate::limits::{Limiter, Rate};
use crate::problem::Problem;
use crate::seal::Seal;
use crate::sender::Peer;
use crate::state::State;

/// Tokens that one address may try.
const GUESSES: Rate = Rate { per_minute: 10.0, burst: 10.0 };
const MISSING: &str =
    "this needs the token of an administrator: make one with `collector token add`";

/// What is remembered of tokens, in this process alone.
#[derive(Debug)]
pub(crate) struct Guard {
    key: Seal,
    /// Keyed hashes of tokens that were right, by id.
    good: Mutex<HashMap<String, [u8; 32]>>,
    guesses: Limiter,
    verifying: Semaphore,
}

/// An administrator's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Admin;

/// An administrator's browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moderator {
    /// The token's id.
    pub(crate) token: String,
}

impl Guard {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self {
            key: Seal::new(key),
            good: Mutex::default(),
            guesses: Limiter::new(GUESSES),
            verifying: Semaphore::new(1),
        }
    }

    fn is_remembered(&self, id: &str, digest: &[u8; 32]) -> bool {
        let good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        good.get(id).is_some_and(|known| known.ct_eq(digest).into())
    }
}

/// The id of a token, if it is right and was not revoked.
async fn admit(state: &State, peer: Peer, text: &str) -> Result<String, Problem> {
    let guard = &state.guard;
    let wrong = || Problem::new(StatusCode::UNAUTHORIZED, MISSING);
    let guess = || {
        let limit = guard.guesses.take(peer, 1.0, state.clock.now_ms());
        limit.map_err(|seconds| Problem::too_many("too many tokens were tried from here", seconds))
    };
    let known = match token::id_of(text) {
        Some(id) => state.database.token_hash(id).await?.map(|hash| (id, hash)),
        None => None,
    };
    let Some((id, hash)) = known else {
        guess()?;
        return Err(wrong());
    };
    let digest = guard.key.of("token", &[text.as_bytes(), hash.as_bytes()]);
    if guard.is_remembered(id, &digest) {
        return Ok(id.to_owned());
    }
    guess()?;
    let _turn = guard.verifying.acquire().await.expect("the semaphore is never closed");
    let token = text.to_owned();
    let right = tokio::task::spawn_blocking(move || token::verify(&token, &hash)).await;
    if !right.unwrap_or(false) {
        return Err(wrong());
    }
    let mut good = guard.good.lock().unwrap_or_else(PoisonError::into_inner);
    good.insert(id.to_owned(), digest);
    Ok(id.to_owned())
}

/// What stands in the `Authorization` header after the name of a scheme.
fn credentials<'a>(parts: &'a Parts, scheme: &str) -> Option<&'a str> {
    let text = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (name, rest) = text.split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then_some(rest.trim())
}

fn peer(parts: &Parts) -> Peer {
    parts.extensions.get::<Peer>().copied().unwrap_or(Peer(0))
}

impl FromRequestParts<State> for Admin {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Response> {
        let token = credentials(parts, "bearer").unwrap_or_default();
        let admitted = admit(state, peer(parts), token).await;
        admitted.map(|_| Self).map_err(|problem| ask(problem, "Bearer"))
    }
}

impl FromRequestParts<State> for Moderator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Response> {
        let encoded = credentials(parts, "basic").unwrap_or_default();
        let decoded =
            BASE64_STANDARD.decode(encoded).ok().and_then(|it| String::from_utf8(it).ok());
        let decoded = decoded.unwrap_or_default();
        let password = decoded.split_once(':').map_or("", |(_, password)| password);
        let scheme = "Basic realm=\"Kudos: a token as the password\", charset=\"UTF-8\"";
        // A browser comes without a password first: that is no guess.
        let admitted = match password {
            "" => Err(Problem::new(StatusCode::UNAUTHORIZED, MISSING)),
            password => admit(state, peer(parts), password).await,
        };
        admitted.map(|token| Self { token }).map_err(|problem| ask(problem, scheme))
    }
}

fn ask(problem: Problem, scheme: &'static str) -> Response {
    let unauthorized = problem.status == StatusCode::UNAUTHORIZED;
    let mut response = problem.into_response();
    if unauthorized {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    response
}
