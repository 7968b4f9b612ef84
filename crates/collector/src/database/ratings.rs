//! Ratings out of the database: a page at a time, for exports, moderators and repeated items.

use kudos_schema::Erasure;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::insert::{ERASED, QUARANTINED, WAITING};
use super::{Database, DatabaseError, Result};

/// Rows of one query: a page of long texts is a few megabytes.
const PAGE: i64 = 200;

/// A rating and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Place in exports.
    pub(crate) place: i64,
    /// Why exports leave it out, unless asked.
    pub(crate) withheld: i64,
    /// The rating as JSON.
    pub(crate) record: String,
}

/// A rating with a reported text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// When it came, in milliseconds since 1970.
    pub(crate) received: i64,
    /// Whether its rater is quarantined.
    pub(crate) is_quarantined: bool,
    /// The rating as JSON.
    pub(crate) record: String,
}

/// What an export takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scope {
    /// After this place.
    pub(crate) after: i64,
    /// Up to this one.
    pub(crate) until: i64,
    /// Withheld ratings that it takes in: [`QUARANTINED`], [`WAITING`] or both.
    pub(crate) withheld: i64,
}

impl Database {
    /// The last place that was given. What is at it and before it can be read.
    pub(crate) async fn last_place(&self) -> Result<i64> {
        let sql = "SELECT value FROM sequence WHERE name = 'rating'";
        Ok(sqlx::query_scalar(sql).fetch_one(self.pool()).await?)
    }

    /// The place that `since` names: a number, or the id of the last rating that somebody has.
    ///
    /// # Errors
    /// There is no such rating.
    pub(crate) async fn place_of(&self, since: &str) -> Result<i64> {
        if since.is_empty() {
            return Ok(0);
        }
        if let Ok(place) = since.parse() {
            return Ok(place);
        }
        // The first place it had: what came between is sent again rather than never.
        let query = sqlx::query_scalar("SELECT born FROM ratings WHERE id = $1").bind(since);
        query.fetch_optional(self.pool()).await?.ok_or_else(|| {
            let problem = "since is neither a cursor nor the id of a rating here";
            DatabaseError::Misuse(format!("{problem}: leave it out to export everything"))
        })
    }

    /// The next ratings of a scope, in the order of their places; none at its end.
    pub(crate) async fn page(&self, scope: Scope) -> Result<Vec<Placed>> {
        let hidden = (QUARANTINED | WAITING | ERASED) & !scope.withheld;
        let sql = "SELECT seq, withheld, record FROM ratings WHERE seq > $1 AND seq <= $2 \
                   AND (withheld & $3) = 0 ORDER BY seq LIMIT $4";
        let query = sqlx::query(sql).bind(scope.after).bind(scope.until).bind(hidden).bind(PAGE);
        let rows = query.fetch_all(self.pool()).await?;
        let placed = |row: &AnyRow| {
            let [place, withheld] = [row.try_get(0)?, row.try_get(1)?];
            Ok(Placed { place, withheld, record: row.try_get(2)? })
        };
        rows.iter().map(placed).collect()
    }

    /// The next erasures after a place, in their order; none at the end.
    pub(crate) async fn erasures(&self, after: i64) -> Result<Vec<Erasure>> {
        let sql = "SELECT id, erased FROM ratings WHERE erased > 0 AND erased > $1 \
                   ORDER BY erased LIMIT $2";
        let rows = sqlx::query(sql).bind(after).bind(PAGE).fetch_all(self.pool()).await?;
        let erasure = |row: &AnyRow| {
            let cursor: i64 = row.try_get(1)?;
            Ok(Erasure { rating: row.try_get(0)?, cursor: cursor.unsigned_abs() })
        };
        rows.iter().map(erasure).collect()
    }

    /// The ratings with reported texts that wait, the oldest first.
    pub(crate) async fn waiting(&self, limit: i64) -> Result<Vec<Waiting>> {
        let sql = "SELECT received, withheld, record FROM ratings WHERE withheld > 1 AND withheld < 4 \
                   ORDER BY seq LIMIT $1";
        let rows = sqlx::query(sql).bind(limit).fetch_all(self.pool()).await?;
        let waiting = |row: &AnyRow| {
            let withheld: i64 = row.try_get(1)?;
            let is_quarantined = withheld & QUARANTINED > 0;
            Ok(Waiting { received: row.try_get(0)?, is_quarantined, record: row.try_get(2)? })
        };
        rows.iter().map(waiting).collect()
    }

    /// A rater's own last ratings, the latest first.
    pub(crate) async fn earlier_of(&self, rater: &str, limit: i64) -> Result<Vec<String>> {
        let sql = "SELECT record FROM ratings WHERE rater = $1 AND withheld < 2 \
                   ORDER BY born DESC LIMIT $2";
        let query = sqlx::query_scalar(sql).bind(rater).bind(limit);
        Ok(query.fetch_all(self.pool()).await?)
    }
}
