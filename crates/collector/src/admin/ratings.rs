//! Ratings and raters in the operator's hands: checks of the trainer, quarantine, erasure.

use axum::Json;
use axum::extract::{Path, State as FromState};
use axum::http::StatusCode;
use kudos_schema::{CheckReceipt, CheckReport, EraseRequest, Erased, RaterList};

use super::guard::Admin;
use crate::problem::Problem;
use crate::state::State;
use crate::taken::Taken;

/// Raters of one list.
const MOST_RATERS: i64 = 1000;
/// The longest name of a cause, in bytes.
const MAX_CAUSE: usize = 64;
/// Checks of one report.
const MOST_CHECKS: usize = 10_000;

/// `POST /v1/checks`
pub(crate) async fn checks(
    _: Admin,
    FromState(state): FromState<State>,
    Taken(report): Taken<CheckReport>,
) -> Result<Json<CheckReceipt>, Problem> {
    if report.checks.len() > MOST_CHECKS {
        return Err(Problem::bad_request(format!("send at most {MOST_CHECKS} checks at once")));
    }
    let plain = |cause: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        cause.len() <= MAX_CAUSE && cause.bytes().all(fits)
    };
    if let Some(check) = report.checks.iter().find(|it| !it.cause.as_deref().is_none_or(plain)) {
        let message = format!("the cause of {:?} is no name such as `logprobs`", check.rating);
        return Err(Problem::bad_request(message));
    }
    Ok(Json(state.database.keep_checks(&report.checks).await?))
}

/// `GET /v1/raters`
pub(crate) async fn raters(
    _: Admin,
    FromState(state): FromState<State>,
) -> Result<Json<RaterList>, Problem> {
    Ok(Json(RaterList { raters: state.database.raters(MOST_RATERS).await? }))
}

/// `PUT /v1/raters/{rater}/quarantine`: exports leave the rater out.
pub(crate) async fn quarantine(
    _: Admin,
    FromState(state): FromState<State>,
    Path(rater): Path<String>,
) -> Result<StatusCode, Problem> {
    state.database.quarantine(&rater, state.clock.now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /v1/raters/{rater}/quarantine`: exports have the rater again.
pub(crate) async fn release(
    _: Admin,
    FromState(state): FromState<State>,
    Path(rater): Path<String>,
) -> Result<StatusCode, Problem> {
    if !state.database.release(&rater).await? {
        return Err(Problem::not_found("this rater is not quarantined: see /v1/raters"));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /v1/raters/{rater}`: erases everything of a rater, by their pseudonym.
pub(crate) async fn erase_rater(
    _: Admin,
    FromState(state): FromState<State>,
    Path(rater): Path<String>,
) -> Result<Json<Erased>, Problem> {
    Ok(Json(Erased { erased: state.database.erase_rater(&rater).await? }))
}

/// `DELETE /v1/ratings/{id}`: erases one rating.
pub(crate) async fn erase_rating(
    _: Admin,
    FromState(state): FromState<State>,
    Path(id): Path<String>,
) -> Result<Json<Erased>, Problem> {
    let erased = u64::from(state.database.erase_rating(&id).await?);
    Ok(Json(Erased { erased }))
}

/// `POST /v1/erase`: a rater takes back everything that is theirs, whom the deletion code proves to be it.
pub(crate) async fn erase_own(
    FromState(state): FromState<State>,
    Taken(request): Taken<EraseRequest>,
) -> Result<Json<Erased>, Problem> {
    let pseudonym = state.seal.pseudonym(&request.code);
    Ok(Json(Erased { erased: state.database.erase_rater(&pseudonym).await? }))
}
