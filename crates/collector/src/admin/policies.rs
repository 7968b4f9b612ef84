//! Policies: listed for everybody; published, retired and brought back by the operator.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State as FromState};
use axum::http::StatusCode;
use futures_util::StreamExt;
use kudos_schema::{PolicyList, PublishedPolicy, hexadecimal};
use tokio::fs;
use tokio::io::AsyncWriteExt;

use super::guard::Admin;
use crate::policy::publish::{Bundle, PublishError, publish, read_bundle};
use crate::problem::Problem;
use crate::state::State;

/// `GET /v1/policies`
pub(crate) async fn list(FromState(state): FromState<State>) -> Result<Json<PolicyList>, Problem> {
    let list = state.shelf.list(state.clock.now_ms()).await?;
    let policies = list.iter().map(|policy| PublishedPolicy {
        name: policy.manifest.name.clone(),
        sha256: policy.sha256.clone(),
        bytes: policy.bytes,
        summary: policy.manifest.summary.clone(),
        tasks: policy.manifest.tasks.clone(),
        retired: policy.retired,
    });
    Ok(Json(PolicyList { policies: policies.collect() }))
}

/// `PUT /v1/policies/{sha256}`: publishes the bundle in the body, or a retired one again.
pub(crate) async fn put(
    _: Admin,
    FromState(state): FromState<State>,
    Path(sha256): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<PublishedPolicy>), Problem> {
    let name = hexadecimal(&state.coins.bytes::<8>());
    let coming = state.shelf.folder().join(format!("{name}.coming"));
    let outcome = receive(&state, body, &coming).await;
    let outcome = match outcome {
        Ok(()) => keep(&state, &sha256, &coming).await,
        Err(problem) => Err(problem),
    };
    // Whatever happened, the copy is of no more use.
    drop(fs::remove_file(&coming).await);
    let (new, bundle) = outcome?;
    state.database.retire(&sha256, 0).await?;
    state.shelf.changed();
    state.boards.changed().await;
    let published = PublishedPolicy {
        name: bundle.manifest.name,
        sha256,
        bytes: fs::metadata(&bundle.file).await.map_or(0, |it| it.len()),
        summary: bundle.manifest.summary,
        tasks: bundle.manifest.tasks,
        retired: false,
    };
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(published)))
}

/// `DELETE /v1/policies/{sha256}`: retires a policy. Ratings of it are taken all the same.
pub(crate) async fn delete(
    _: Admin,
    FromState(state): FromState<State>,
    Path(sha256): Path<String>,
) -> Result<StatusCode, Problem> {
    if !state.database.retire(&sha256, state.clock.now_ms().max(1)).await? {
        return Err(Problem::not_found("there is no policy of this SHA-256: see /v1/policies"));
    }
    state.shelf.changed();
    state.boards.changed().await;
    Ok(StatusCode::NO_CONTENT)
}

async fn receive(state: &State, body: Body, coming: &std::path::Path) -> Result<(), Problem> {
    let failed = |error: std::io::Error| {
        Problem::unavailable(format!("the bundle cannot be kept ({error}): is the disk full?"))
    };
    let mut file = fs::File::create(coming).await.map_err(failed)?;
    let mut pieces = body.into_data_stream();
    let mut length = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece
            .map_err(|error| Problem::bad_request(format!("the bundle is cut off: {error}")))?;
        length += piece.len() as u64;
        if length > state.settings.max_bundle_bytes {
            let most = state.settings.max_bundle_bytes;
            let message = format!("the bundle is longer than {most} bytes: see --max-bundle-bytes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        file.write_all(&piece).await.map_err(failed)?;
    }
    file.sync_all().await.map_err(failed)
}

async fn keep(
    state: &State,
    sha256: &str,
    coming: &std::path::Path,
) -> Result<(bool, Bundle), Problem> {
    let path = coming.to_owned();
    let read = tokio::task::spawn_blocking(move || read_bundle(&path)).await;
    let mut bundle = read.expect("reading a bundle does not panic").map_err(problem)?;
    if bundle.sha256 != sha256 {
        return Err(problem(PublishError::OtherHash(bundle.sha256)));
    }
    let new = publish(&state.database, &bundle).await.map_err(problem)?;
    bundle.file = state.shelf.bundle(sha256).await?;
    Ok((new, bundle))
}

fn problem(error: PublishError) -> Problem {
    match error {
        PublishError::Database(error) => error.into(),
        PublishError::File(_) => Problem::unavailable(error.to_string()),
        PublishError::Adapter(_)
        | PublishError::Container(_)
        | PublishError::Part(_)
        | PublishError::Tokenizer(_)
        | PublishError::Nameless
        | PublishError::OtherHash(_) => Problem::bad_request(error.to_string()),
    }
}
