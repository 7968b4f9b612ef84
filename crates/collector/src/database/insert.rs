//! Ratings into the database, within one transaction.

use std::collections::BTreeSet;

use sqlx::any::AnyArguments;
use sqlx::query::QueryScalar;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row};

use super::Result;

/// Withheld because the rater is quarantined.
pub(crate) const QUARANTINED: i64 = 1;
/// Withheld because a reported text waits for somebody to look at it.
pub(crate) const WAITING: i64 = 2;
/// Nothing of it is left but its id.
pub(crate) const ERASED: i64 = 4;

/// Columns of the table that [`bind`] fills, in its order.
const COLUMNS: &str = "seq, born, id, received, rater, task, verdict, choice, left_policy, \
    left_sampling, right_policy, right_sampling, query, asked, prompt, item, said, agreed, withheld, \
    erased, record";
/// How many these are.
const N_COLUMNS: usize = 21;
/// Rows of one statement: with more, statements grow and little is won.
const ROWS: usize = 25;

/// A rating that was checked, with what the database sorts it by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NewRating {
    /// Its id.
    pub(crate) id: String,
    /// When it came, in milliseconds since 1970.
    pub(crate) received: i64,
    /// The rater's pseudonym.
    pub(crate) rater: String,
    /// The task.
    pub(crate) task: String,
    /// The kind of verdict, and its value.
    pub(crate) verdict: (String, String),
    /// Who wrote the first sample: policy and sampling.
    pub(crate) left: (String, String),
    /// Who wrote the second; empty without one.
    pub(crate) right: (String, String),
    /// The query that it answers, and why that was asked; empty without one.
    pub(crate) query: (String, String),
    /// Hash of the prompt.
    pub(crate) prompt: String,
    /// Hash of prompt and samples, whatever side they were shown on.
    pub(crate) item: String,
    /// The verdict, whatever side the samples were shown on; empty where it chooses between equal texts.
    pub(crate) said: String,
    /// Why exports leave it out, for now.
    pub(crate) withheld: i64,
    /// The rating as JSON.
    pub(crate) record: String,
}

/// What became of a rating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It is there now.
    Accepted,
    /// It was there before.
    Duplicate,
    /// It was there, and was erased.
    Erased,
    /// Another rating has answered its query.
    Answered,
}

/// Stores ratings at the places from `first` on, which [`super::Database::begin`] gave.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    first: i64,
    ratings: &[&NewRating],
) -> Result<Vec<Stored>> {
    let sql = "SELECT rater FROM raters WHERE quarantined > 0";
    let quarantined: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut *connection).await?;
    let mut outcomes = Vec::with_capacity(ratings.len());
    for (chunk, first) in ratings.chunks(ROWS).zip((first..).step_by(ROWS)) {
        let mut query = sqlx::query_scalar::<_, String>(AssertSqlSafe(statement(chunk.len())));
        for (place, rating) in (first..).zip(chunk) {
            let held = if quarantined.contains(&rating.rater) { QUARANTINED } else { 0 };
            let agreed = agreement(connection, rating).await?;
            query = bind(query, rating, [place, agreed, rating.withheld | held]);
        }
        let stored = query.fetch_all(&mut *connection).await?;
        let mut stored: BTreeSet<String> = stored.into_iter().collect();
        for rating in chunk {
            // The second of two with the same id was there before.
            outcomes.push(match stored.remove(&rating.id) {
                true => Stored::Accepted,
                false => why_not(connection, &rating.id).await?,
            });
        }
    }
    Ok(outcomes)
}

/// Stores so many rows, and returns the ids of those that were not there.
fn statement(rows: usize) -> String {
    let row = |row: usize| {
        let first = row * N_COLUMNS + 1;
        let places: Vec<String> =
            (first..first + N_COLUMNS).map(|place| format!("${place}")).collect();
        format!("({})", places.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    let rows = rows.join(", ");
    format!("INSERT INTO ratings ({COLUMNS}) VALUES {rows} ON CONFLICT DO NOTHING RETURNING id")
}

type Statement<'q> = QueryScalar<'q, Any, String, AnyArguments>;

/// A row of a statement; the numbers are its place, whether it agrees, and why it is withheld.
fn bind<'q>(query: Statement<'q>, rating: &NewRating, numbers: [i64; 3]) -> Statement<'q> {
    let [place, agreed, withheld] = numbers;
    let text = |text: &String| text.clone();
    query
        .bind(place)
        .bind(place)
        .bind(text(&rating.id))
        .bind(rating.received)
        .bind(text(&rating.rater))
        .bind(text(&rating.task))
        .bind(text(&rating.verdict.0))
        .bind(text(&rating.verdict.1))
        .bind(text(&rating.left.0))
        .bind(text(&rating.left.1))
        .bind(text(&rating.right.0))
        .bind(text(&rating.right.1))
        .bind(text(&rating.query.0))
        .bind(text(&rating.query.1))
        .bind(text(&rating.prompt))
        .bind(text(&rating.item))
        .bind(text(&rating.said))
        .bind(agreed)
        .bind(withheld)
        .bind(0_i64)
        .bind(text(&rating.record))
}

/// Of a gold or repeated item: 1 if the verdict is as it should be, 0 if not; else -1.
async fn agreement(connection: &mut AnyConnection, rating: &NewRating) -> Result<i64> {
    if rating.said.is_empty() {
        return Ok(-1);
    }
    let sql = match rating.query.1.as_str() {
        "gold" => "SELECT said FROM pool WHERE item = $1 AND $2 <> ''",
        "repeat" => "SELECT said FROM ratings WHERE item = $1 AND rater = $2 ORDER BY born LIMIT 1",
        _ => return Ok(-1),
    };
    let query = sqlx::query_scalar(sql).bind(&rating.item).bind(&rating.rater);
    let expected: Option<String> = query.fetch_optional(connection).await?;
    Ok(expected.map_or(-1, |expected| i64::from(expected == rating.said)))
}

async fn why_not(connection: &mut AnyConnection, id: &str) -> Result<Stored> {
    let query = sqlx::query("SELECT erased FROM ratings WHERE id = $1").bind(id);
    let Some(row) = query.fetch_optional(connection).await? else { return Ok(Stored::Answered) };
    let erased: i64 = row.try_get(0)?;
    Ok(if erased > 0 { Stored::Erased } else { Stored::Duplicate })
}

/// Counts refusals by cause.
pub(crate) async fn count_refusals(
    connection: &mut AnyConnection,
    causes: &[(&'static str, i64)],
) -> Result<()> {
    for (cause, number) in causes {
        let sql = "INSERT INTO refusals (cause, number) VALUES ($1, $2) \
                   ON CONFLICT (cause) DO UPDATE SET number = refusals.number + $2";
        sqlx::query(sql).bind(*cause).bind(number).execute(&mut *connection).await?;
    }
    Ok(())
}
