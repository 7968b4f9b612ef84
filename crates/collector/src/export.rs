//! `GET /v1/export` and `GET /v1/erasures`: JSON lines of any number, a page in memory at a time.
//!
//! The cursor is a place in the order in which ratings were stored. The header `kudos-cursor` names the place up to
//! which an answer goes, once all of it has come; whoever was cut off goes on from the id of the last rating that came.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State as FromState;
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use kudos_schema::{CURSOR_HEADER, Estimate, ExportShape, Rating, export_rows};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

use crate::admin::guard::Admin;
use crate::database::DatabaseError;
use crate::database::insert::{QUARANTINED, WAITING};
use crate::database::ratings::{Placed, Scope};
use crate::problem::Problem;
use crate::state::State;
use crate::taken;
use crate::trust::{self, Weights};

const JSON_LINES: &str = "application/jsonl; charset=utf-8";

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// The name of a shape.
    #[serde(default)]
    format: Option<String>,
    /// After this cursor, or this rating.
    #[serde(default)]
    since: String,
    /// Whether ratings of quarantined raters are wanted.
    #[serde(default)]
    quarantined: Withheld,
    /// Whether ratings with reported texts that wait are wanted.
    #[serde(default)]
    flagged: Withheld,
}

/// Whether withheld ratings are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Withheld {
    #[default]
    Exclude,
    Include,
}

/// An export on its way.
struct Export {
    state: State,
    scope: Scope,
    shape: ExportShape,
    /// What raters' rows count; none for ratings as they are.
    weights: Option<Arc<Weights>>,
    /// Its place among those that run at once.
    _permit: OwnedSemaphorePermit,
}

/// Streams ratings.
pub(crate) async fn ratings(
    _: Admin,
    FromState(state): FromState<State>,
    taken::Asked(asked): taken::Asked<Asked>,
) -> Result<Response, Problem> {
    let name = asked.format.as_deref().unwrap_or(ExportShape::Ratings.name());
    let shape =
        ExportShape::ALL.into_iter().find(|shape| shape.name() == name).ok_or_else(|| {
            let names = ExportShape::ALL.map(ExportShape::name).join(", ");
            Problem::bad_request(format!("there is no format {name:?}: choose one of {names}"))
        })?;
    let permit = state.exports.clone().try_acquire_owned().map_err(|_| {
        Problem::too_many("other exports are running: wait until one of them ends", 30)
    })?;
    let wanted = |asked, reason| if asked == Withheld::Include { reason } else { 0 };
    let withheld = wanted(asked.quarantined, QUARANTINED) | wanted(asked.flagged, WAITING);
    let until = state.database.last_place().await?;
    let after = state.database.place_of(&asked.since).await?;
    let scope = Scope { after, until, withheld };
    let weights = match shape {
        ExportShape::Ratings => None,
        ExportShape::Preference
        | ExportShape::Unpaired
        | ExportShape::Scalar
        | ExportShape::Sft => Some(trust::current(&state).await?),
    };
    let export = Export { state, scope, shape, weights, _permit: permit };
    let body = Body::from_stream(stream::try_unfold(export, next_page));
    let cursor = until.max(after).to_string();
    Ok(([(CONTENT_TYPE, JSON_LINES), (CURSOR, &cursor)], body).into_response())
}

const CURSOR: HeaderName = HeaderName::from_static(CURSOR_HEADER);

/// Streams the ids of ratings that were erased, so that copies can be erased too.
pub(crate) async fn erasures(
    _: Admin,
    FromState(state): FromState<State>,
    taken::Asked(asked): taken::Asked<Asked>,
) -> Result<Response, Problem> {
    let until = state.database.last_place().await?;
    let after = state.database.place_of(&asked.since).await?;
    let pages = stream::try_unfold((state, after), async |(state, after)| {
        let page = state.database.erasures(after).await?;
        let Some(last) = page.last() else { return Ok(None) };
        let last = i64::try_from(last.cursor).unwrap_or(i64::MAX);
        let mut lines = String::new();
        for erasure in &page {
            lines += &serde_json::to_string(erasure)?;
            lines.push('\n');
        }
        Ok::<_, DatabaseError>(Some((Bytes::from(lines), (state, last))))
    });
    let cursor = until.max(after).to_string();
    let headers = [(CONTENT_TYPE, JSON_LINES), (CURSOR, &cursor)];
    Ok((headers, Body::from_stream(pages)).into_response())
}

/// The lines of the next page that has any; none at the end.
async fn next_page(mut export: Export) -> Result<Option<(Bytes, Export)>, DatabaseError> {
    loop {
        let page = export.state.database.page(export.scope).await?;
        let Some(last) = page.last() else { return Ok(None) };
        export.scope.after = last.place;
        let mut lines = String::new();
        let mut number = 0;
        for placed in page {
            for row in rows(&placed, &export)? {
                lines += &row;
                lines.push('\n');
                number += 1;
            }
        }
        if number > 0 {
            export.state.metrics.exported(number);
            return Ok(Some((lines.into(), export)));
        }
    }
}

fn rows(placed: &Placed, export: &Export) -> Result<Vec<String>, serde_json::Error> {
    let Some(weights) = &export.weights else { return Ok(vec![placed.record.clone()]) };
    let rating: Rating = serde_json::from_str(&placed.record)?;
    let weight = match placed.withheld & QUARANTINED {
        0 => weights.of(&rating.rater),
        // Exported at the operator's wish, and trusted by nobody.
        _ => Estimate { mean: 0.0, low: 0.0, high: 1.0 },
    };
    Ok(export_rows(&rating, export.shape, Some(weight)))
}
