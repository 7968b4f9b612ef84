//! What the operator, or the trainer in their name, says about what should be asked.

use axum::Json;
use axum::extract::State as FromState;
use axum::http::StatusCode;
use kudos_schema::{
    Gold, PairChoice, PoolItem, PoolReceipt, PromptUncertainty, QuerySettings, Verdict,
};
use serde::de::DeserializeOwned;

use crate::admin::guard::Admin;
use crate::database::pool::KeptItem;
use crate::intake::facts::{item_of, prompt_hash, said};
use crate::problem::Problem;
use crate::state::State;
use crate::taken::{Taken, Whole};

/// Longest pool, in bytes; it is held in memory.
pub(crate) const MAX_POOL_BYTES: usize = 16 << 20;

/// `PUT /v1/queries/pool`: JSON lines that take the place of the whole pool.
pub(crate) async fn put_pool(
    _: Admin,
    FromState(state): FromState<State>,
    Whole(body): Whole,
) -> Result<Json<PoolReceipt>, Problem> {
    let items: Vec<PoolItem> = lines(&body)?;
    let kept = items.iter().enumerate().map(|(index, item)| {
        kept(item).map_err(|what| Problem::bad_request(format!("line {}: {what}", index + 1)))
    });
    let kept: Vec<KeptItem> = kept.collect::<Result<_, _>>()?;
    for (index, item) in items.iter().enumerate() {
        for policy in item.gold.iter().flat_map(|gold| &gold.policies) {
            if state.shelf.known(&policy.sha256).await?.is_none() {
                let message = format!(
                    "line {}: policy {} was never published here",
                    index + 1,
                    policy.sha256
                );
                return Err(Problem::bad_request(message));
            }
        }
    }
    state.database.set_pool(&kept).await?;
    state.boards.changed().await;
    let gold = items.iter().filter(|item| item.gold.is_some()).count() as u64;
    Ok(Json(PoolReceipt { prompts: items.len() as u64 - gold, gold, unknown: 0 }))
}

/// `PUT /v1/queries/uncertainty`: JSON lines about prompts of the pool.
pub(crate) async fn put_uncertainty(
    _: Admin,
    FromState(state): FromState<State>,
    Whole(body): Whole,
) -> Result<Json<PoolReceipt>, Problem> {
    let entries: Vec<PromptUncertainty> = lines(&body)?;
    let wrong = |value: f64| !value.is_finite() || value < 0.0;
    if let Some(index) = entries.iter().position(|entry| wrong(entry.uncertainty)) {
        let message = format!("line {}: uncertainty is not a number from 0 on", index + 1);
        return Err(Problem::bad_request(message));
    }
    let prompts: Vec<_> = entries
        .iter()
        .map(|entry| {
            let prompt = &entry.prompt;
            (prompt_hash(&entry.task, &prompt.messages, &prompt.text), entry.uncertainty)
        })
        .collect();
    let known = state.database.set_uncertainty(&prompts).await?;
    state.boards.changed().await;
    let unknown = prompts.len() as u64 - known;
    Ok(Json(PoolReceipt { prompts: known, gold: 0, unknown }))
}

/// `PUT /v1/queries/settings`
pub(crate) async fn put_settings(
    _: Admin,
    FromState(state): FromState<State>,
    Taken(settings): Taken<QuerySettings>,
) -> Result<StatusCode, Problem> {
    let QuerySettings { random, gold, repeat, uncertain, coverage, stale } = settings;
    let shares = [random, gold, repeat, uncertain, coverage, stale];
    let fits = shares.iter().all(|share| share.is_finite() && *share >= 0.0);
    if !fits || random + gold + repeat > 1.0 {
        let message =
            "shares are numbers from 0 on, and random, gold and repeat are at most 1 together";
        return Err(Problem::bad_request(message));
    }
    state.database.set_query_settings(&settings).await?;
    state.boards.changed().await;
    Ok(StatusCode::NO_CONTENT)
}

fn lines<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, Problem> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Problem::bad_request("the body is no UTF-8 text: send JSON lines"))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let records = lines.map(|(index, line)| {
        serde_json::from_str(line)
            .map_err(|error| Problem::bad_request(format!("line {}: {error}", index + 1)))
    });
    records.collect()
}

/// An item as the database takes it.
fn kept(item: &PoolItem) -> Result<KeptItem, String> {
    let uncertainty = item.uncertainty.unwrap_or(0.0);
    if !uncertainty.is_finite() || uncertainty < 0.0 {
        return Err("uncertainty is not a number from 0 on".to_owned());
    }
    let prompt = prompt_hash(&item.task, &item.prompt.messages, &item.prompt.text);
    let (key, said) = match &item.gold {
        None => (prompt.clone(), String::new()),
        Some(gold) => {
            check_gold(gold, &item.prompt.token_ids)?;
            (item_of(&prompt, &gold.samples), said(&gold.answer, &gold.samples))
        }
    };
    Ok(KeptItem {
        item: key,
        prompt,
        task: item.task.clone(),
        said,
        uncertainty,
        record: serde_json::to_string(item).map_err(|error| error.to_string())?,
    })
}

fn check_gold(gold: &Gold, token_ids: &[u32]) -> Result<(), String> {
    let samples = match &gold.answer {
        Verdict::Pair(
            PairChoice::Left | PairChoice::Right | PairChoice::Tie | PairChoice::BothBad,
        ) => 2,
        Verdict::Thumbs(_) | Verdict::Stars(_) => 1,
        Verdict::Edit(_) | Verdict::Report => {
            return Err("the answer of a gold item is a pair, thumbs or stars".to_owned());
        }
    };
    if gold.samples.len() != samples || !(1..=samples).contains(&gold.policies.len()) {
        return Err(format!("the answer needs {samples} samples and the policies that wrote them"));
    }
    if token_ids.is_empty() {
        return Err("a gold item needs prompt.token_ids, since its samples are shown as they are"
            .to_owned());
    }
    Ok(())
}
