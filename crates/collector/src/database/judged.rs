//! Ratings as evidence of how far to trust raters: what was said of what, without the texts.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Database, Result};

/// Rows of one query; they are short.
const PAGE: i64 = 2000;

/// What a rater said, on a scale; nothing of it is withheld.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Judged {
    /// Place in exports.
    pub(crate) place: i64,
    /// The rater's pseudonym.
    pub(crate) rater: String,
    /// Hash of prompt and samples.
    pub(crate) item: String,
    /// The kind of verdict, and its value.
    pub(crate) verdict: (String, String),
    /// The verdict, whatever side the samples were shown on; empty where it chooses between equal texts.
    pub(crate) said: String,
    /// Who wrote the first sample: policy and sampling.
    pub(crate) left: (String, String),
    /// Who wrote the second; empty without one.
    pub(crate) right: (String, String),
    /// Why it was asked; empty where nobody asked.
    pub(crate) asked: String,
    /// Of gold and repeated items: 1 as it should be, 0 not, -1 another item.
    pub(crate) agreed: i64,
}

impl Database {
    /// The next judgements after a place and up to another, in their order; none at the end.
    pub(crate) async fn judged(&self, after: i64, until: i64) -> Result<Vec<Judged>> {
        let sql = "SELECT seq, rater, item, verdict, choice, said, left_policy, left_sampling, \
                   right_policy, right_sampling, asked, agreed FROM ratings \
                   WHERE seq > $1 AND seq <= $2 AND withheld = 0 \
                   AND verdict IN ('pair', 'thumbs', 'stars') ORDER BY seq LIMIT $3";
        let query = sqlx::query(sql).bind(after).bind(until).bind(PAGE);
        let rows = query.fetch_all(self.pool()).await?;
        let judged = |row: &AnyRow| {
            Ok(Judged {
                place: row.try_get(0)?,
                rater: row.try_get(1)?,
                item: row.try_get(2)?,
                verdict: (row.try_get(3)?, row.try_get(4)?),
                said: row.try_get(5)?,
                left: (row.try_get(6)?, row.try_get(7)?),
                right: (row.try_get(8)?, row.try_get(9)?),
                asked: row.try_get(10)?,
                agreed: row.try_get(11)?,
            })
        };
        rows.iter().map(judged).collect()
    }
}
