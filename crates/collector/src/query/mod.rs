//! `GET /v1/queries`: what to show next; and the files that it is chosen from.

pub(crate) mod board;
mod choose;
pub(crate) mod pool;
pub(crate) mod ticket;

use axum::Json;
use axum::extract::State as FromState;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kudos_schema::{Query, Rating};
use serde::Deserialize;

use crate::problem::Problem;
use crate::state::State;
use crate::taken;
use choose::choose;
use ticket::Ticket;

/// A rater's last ratings that are looked at.
const EARLIER: i64 = 25;

/// Who asks, and for what.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// The rater's own id.
    rater: String,
    /// The task; none = any.
    #[serde(default)]
    task: Option<String>,
}

/// Answers with a query, or with 204 where there is nothing to ask about.
pub(crate) async fn get(
    FromState(state): FromState<State>,
    taken::Asked(asked): taken::Asked<Asked>,
) -> Result<Response, Problem> {
    let plain = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
    if asked.rater.len() != 36 || !asked.rater.bytes().all(plain) {
        return Err(Problem::bad_request("rater is not a UUID: send the id that the page made"));
    }
    let board = state.boards.current(&state).await?;
    let pseudonym = state.seal.pseudonym(&asked.rater);
    let earlier = state.database.earlier_of(&pseudonym, EARLIER).await?;
    let earlier: Vec<Rating> =
        earlier.iter().filter_map(|record| serde_json::from_str(record).ok()).collect();
    let Some(choice) = choose(&board, asked.task.as_deref(), &earlier, &state.coins) else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    if let Some(place) = choice.place {
        board.count(place);
    }
    let policies = choice.arms.iter().map(|arm| &*arm.policy.sha256).collect();
    let ticket = Ticket { rater: &asked.rater, reason: choice.reason, policies };
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
