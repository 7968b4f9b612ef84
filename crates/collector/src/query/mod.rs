//! `GET /v1/queries`: what to show next; and the files that it is chosen from.

pub(crate) mod board;
mod choose;
pub(crate) mod pool;
pub(crate) mod ticket;

use axum::Json;
use axum::extract::State as FromState;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use kudos_schema::{Query, RATER_SCHEME, Rating};
use serde::Deserialize;

use crate::problem::Problem;
use crate::state::State;
use crate::taken;
use choose::choose;
use ticket::Ticket;

/// A rater's last ratings that are looked at.
const EARLIER: i64 = 25;

/// What is asked for. Who asks stands in a header: whatever stands here, a proxy may log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// The task; none = any.
    #[serde(default)]
    task: Option<String>,
}

/// Answers with a query, or with 204 where there is nothing to ask about.
pub(crate) async fn get(
    FromState(state): FromState<State>,
    taken::Asked(asked): taken::Asked<Asked>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let rater = rater(&headers)?;
    let board = state.boards.current(&state).await?;
    let pseudonym = state.seal.pseudonym(rater);
    let earlier = state.database.earlier_of(&pseudonym, EARLIER).await?;
    let earlier: Vec<Rating> =
        earlier.iter().filter_map(|record| serde_json::from_str(record).ok()).collect();
    let Some(choice) = choose(&board, asked.task.as_deref(), &earlier, &state.query_coins) else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    if let Some(place) = choice.place {
        board.count(place);
    }
    let policies = choice.arms.iter().map(|arm| &*arm.policy.sha256).collect();
    let ticket = Ticket { rater, reason: choice.reason, policies };
    let query = Query {
        id: ticket.id(&state.seal, state.clock.now_ms(), state.coins.bytes()),
        reason: choice.reason,
        task: choice.task,
        prompt: choice.prompt,
        arms: choice.arms,
        samples: choice.samples,
    };
    Ok(Json(query).into_response())
}

/// The rater's own id.
fn rater(headers: &HeaderMap) -> Result<&str, Problem> {
    let plain = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
    let named = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok()?.split_once(' '));
    let id = named.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(RATER_SCHEME)).map(|it| it.1);
    id.filter(|id| id.len() == 36 && id.bytes().all(plain)).ok_or_else(|| {
        let remedy = "send the id that the page made, in the header alone";
        let message = format!("no header `authorization: {RATER_SCHEME} UUID` came: {remedy}");
        Problem::bad_request(message)
    })
}
