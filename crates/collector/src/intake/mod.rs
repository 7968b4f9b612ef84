//! `POST /v1/ratings`: what is taken, what is refused, and why.

pub(crate) mod check;
pub(crate) mod facts;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Extension, State as FromState};
use kudos_schema::{MAX_BATCH, Rating, Receipt, Received, ReceivedStatus};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::database::insert::{NewRating, Stored};
use crate::problem::Problem;
use crate::query::ticket;
use crate::sender::Peer;
use crate::state::State;
use crate::taken::Whole;
use check::Refused;

/// Longest body of a post, in bytes: a batch of ten of the largest ratings.
pub(crate) const MAX_BODY_BYTES: usize = 8 << 20;

/// What became of one rating of a post, before it is stored.
enum Judged {
    Fit(Box<NewRating>),
    Unfit { id: String, refused: Refused },
}

/// The only field that matters of a rating that cannot be read.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    id: String,
}

/// Takes a batch of ratings: each is stored, or is named with the reason why not.
pub(crate) async fn post(
    FromState(state): FromState<State>,
    Extension(peer): Extension<Peer>,
    Whole(body): Whole,
) -> Result<Json<Receipt>, Problem> {
    let now_ms = state.clock.now_ms();
    let take = |units| {
        let limit = state.address_limit.take(peer.0, units, now_ms);
        limit.map_err(slow_down)
    };
    // A post costs as much as a rating, also if there is none in it.
    take(1.0)?;
    let items: Vec<&RawValue> = serde_json::from_slice(&body).map_err(|error| {
        Problem::bad_request(format!("the body is not a JSON list of ratings: {error}"))
    })?;
    if items.len() > MAX_BATCH {
        let message = format!("{} ratings: send at most {MAX_BATCH} at once", items.len());
        return Err(Problem::bad_request(message));
    }
    take(items.len().saturating_sub(1) as f64)?;
    let mut judged = Vec::with_capacity(items.len());
    for item in items {
        judged.push(judge(&state, item.get(), now_ms).await?);
    }
    for (rater, number) in raters(&judged) {
        state.rater_limit.take(rater, number, now_ms).map_err(slow_down)?;
    }
    Ok(Json(store(&state, judged).await?))
}

fn slow_down(seconds: u64) -> Problem {
    Problem::too_many("too many ratings from here: they are taken again in a while", seconds)
}

/// How many ratings each rater sent.
fn raters(judged: &[Judged]) -> BTreeMap<&str, f64> {
    let mut raters = BTreeMap::new();
    for outcome in judged {
        if let Judged::Fit(rating) = outcome {
            *raters.entry(rating.rater.as_str()).or_insert(0.0) += 1.0;
        }
    }
    raters
}

/// Reads and checks one rating.
async fn judge(state: &State, text: &str, now_ms: i64) -> Result<Judged, Problem> {
    let rating: Rating = match serde_json::from_str(text) {
        Ok(rating) => rating,
        Err(error) => {
            let refused = Refused::new("record", format!("this is no rating: {error}"));
            return Ok(Judged::Unfit { id: id_of(text), refused });
        }
    };
    if let Err(error) = rating.validate() {
        let refused = Refused::new("value", error.to_string());
        return Ok(Judged::Unfit { id: short(rating.id), refused });
    }
    for place in 0..rating.samples.len() {
        let policy = rating.policy_of(place);
        let known = state.shelf.known(&policy.sha256).await?;
        if let Err(refused) = check::check(&rating, place, known.as_deref()) {
            return Ok(Judged::Unfit { id: rating.id, refused });
        }
    }
    let mut rating = rating.without_personal_data();
    if let Err(error) = rating.validate() {
        // What it grew to would be refused by whoever reads an export.
        let refused = Refused::new("value", format!("once personal data is masked, {error}"));
        return Ok(Judged::Unfit { id: rating.id, refused });
    }
    if rating.query.is_some() && !ticket::is_genuine(&state.seal, &rating) {
        // It counts as a rating that nobody asked for: estimates may rest on queries.
        rating.query = None;
        state.metrics.ratings("foreign_query", 1);
    }
    rating.rater = state.seal.pseudonym(&rating.rater);
    Ok(Judged::Fit(Box::new(facts::new_rating(&rating, now_ms))))
}

async fn store(state: &State, judged: Vec<Judged>) -> Result<Receipt, Problem> {
    let (mut ratings, mut causes) = (Vec::new(), Vec::new());
    let mut entries: Vec<Option<Received>> = Vec::with_capacity(judged.len());
    for outcome in judged {
        entries.push(match outcome {
            Judged::Fit(rating) => {
                ratings.push(*rating);
                None
            }
            Judged::Unfit { id, refused } => {
                causes.push(refused.cause);
                Some(received(id, Err(refused.reason)))
            }
        });
    }
    if ratings.is_empty() && causes.is_empty() {
        return Ok(Receipt { results: Vec::new() });
    }
    let ids: Vec<String> = ratings.iter().map(|rating| rating.id.clone()).collect();
    let stored = state.writer.store(ratings, causes).await?;
    let mut stored = ids.into_iter().zip(stored).map(|(id, outcome)| {
        received(
            id,
            match outcome {
                Stored::Accepted => Ok(ReceivedStatus::Accepted),
                Stored::Duplicate => Ok(ReceivedStatus::Duplicate),
                Stored::Erased => Err("this rating was erased and is not taken again".to_owned()),
                Stored::Answered => {
                    Err("query.id was answered by another rating before".to_owned())
                }
            },
        )
    });
    let results: Vec<Received> = entries
        .into_iter()
        .map(|entry| entry.or_else(|| stored.next()).expect("each fit rating has an outcome"))
        .collect();
    for entry in &results {
        state.metrics.ratings(name_of(entry.status), 1);
    }
    Ok(Receipt { results })
}

fn received(id: String, outcome: Result<ReceivedStatus, String>) -> Received {
    match outcome {
        Ok(status) => Received { id, status, reason: None },
        Err(reason) => {
            Received { id, status: ReceivedStatus::Refused, reason: Some(short(reason)) }
        }
    }
}

fn name_of(status: ReceivedStatus) -> &'static str {
    match status {
        ReceivedStatus::Accepted => "accepted",
        ReceivedStatus::Duplicate => "duplicate",
        ReceivedStatus::Refused => "refused",
    }
}

/// The id of a rating that cannot be read, so that its sender knows which one is meant.
fn id_of(text: &str) -> String {
    serde_json::from_str(text).map(|named: Named| short(named.id)).unwrap_or_default()
}

/// At most 300 bytes of a text that a stranger made.
fn short(mut text: String) -> String {
    let end = (0..=text.len().min(300)).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text
}
