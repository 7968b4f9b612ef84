//! Counts over all ratings, which statistics and queries are made of.

use kudos_schema::RaterTally;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::insert::QUARANTINED;
use super::{Database, Result};

/// A number of ratings that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Who wrote the first sample: policy and sampling.
    pub(crate) left: (String, String),
    /// Who wrote the second; empty without one.
    pub(crate) right: (String, String),
    /// The kind of verdict, and its value.
    pub(crate) verdict: (String, String),
    /// Why it was asked; empty where nobody asked.
    pub(crate) asked: String,
    /// The task.
    pub(crate) task: String,
    /// Why exports leave it out.
    pub(crate) withheld: i64,
    /// How many there are.
    pub(crate) number: u64,
}

impl Database {
    /// All ratings, those that are alike counted.
    pub(crate) async fn tallies(&self) -> Result<Vec<Tally>> {
        let sql = "SELECT left_policy, left_sampling, right_policy, right_sampling, verdict, choice, \
                   asked, task, withheld, COUNT(*) FROM ratings \
                   GROUP BY left_policy, left_sampling, right_policy, right_sampling, verdict, \
                   choice, asked, task, withheld";
        let rows = sqlx::query(sql).fetch_all(self.pool()).await?;
        let tally = |row: &AnyRow| {
            Ok(Tally {
                left: (row.try_get(0)?, row.try_get(1)?),
                right: (row.try_get(2)?, row.try_get(3)?),
                verdict: (row.try_get(4)?, row.try_get(5)?),
                asked: row.try_get(6)?,
                task: row.try_get(7)?,
                withheld: row.try_get(8)?,
                number: count(row, 9)?,
            })
        };
        rows.iter().map(tally).collect()
    }

    /// Number of different raters.
    pub(crate) async fn n_raters(&self) -> Result<u64> {
        let sql = "SELECT COUNT(*) FROM (SELECT DISTINCT rater FROM ratings) AS known \
                   WHERE rater <> ''";
        count(&sqlx::query(sql).fetch_one(self.pool()).await?, 0)
    }

    /// Ratings refused when they came, by cause.
    pub(crate) async fn refusals(&self) -> Result<Vec<(String, u64)>> {
        let sql = "SELECT cause, number FROM refusals ORDER BY cause";
        let rows = sqlx::query(sql).fetch_all(self.pool()).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, count(row, 1)?))).collect()
    }

    /// The trainer's checks: outcome, cause and number.
    pub(crate) async fn check_counts(&self) -> Result<Vec<(String, String, u64)>> {
        let sql = "SELECT outcome, cause, COUNT(*) FROM checks GROUP BY outcome, cause";
        let rows = sqlx::query(sql).fetch_all(self.pool()).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, count(row, 2)?))).collect()
    }

    /// What raters did, at most `limit` of them, those with the most ratings first.
    pub(crate) async fn raters(&self, limit: i64) -> Result<Vec<RaterTally>> {
        let sql = "SELECT rater, COUNT(*), MAX(withheld & $1), \
            SUM(CASE WHEN asked = 'gold' AND agreed >= 0 THEN 1 ELSE 0 END), \
            SUM(CASE WHEN asked = 'gold' AND agreed = 1 THEN 1 ELSE 0 END), \
            SUM(CASE WHEN asked = 'repeat' AND agreed >= 0 THEN 1 ELSE 0 END), \
            SUM(CASE WHEN asked = 'repeat' AND agreed = 1 THEN 1 ELSE 0 END), \
            SUM(CASE WHEN checks.outcome = 'fail' THEN 1 ELSE 0 END) \
            FROM ratings LEFT JOIN checks ON checks.rating = ratings.id WHERE rater <> '' \
            GROUP BY rater ORDER BY 2 DESC, rater LIMIT $2";
        let query = sqlx::query(sql).bind(QUARANTINED).bind(limit);
        let rows = query.fetch_all(self.pool()).await?;
        let tally = |row: &AnyRow| {
            Ok(RaterTally {
                rater: row.try_get(0)?,
                ratings: count(row, 1)?,
                quarantined: count(row, 2)? > 0,
                gold: count(row, 3)?,
                gold_right: count(row, 4)?,
                repeats: count(row, 5)?,
                repeats_same: count(row, 6)?,
                failed: count(row, 7)?,
            })
        };
        rows.iter().map(tally).collect()
    }
}

fn count(row: &AnyRow, place: usize) -> Result<u64> {
    let number: i64 = row.try_get(place)?;
    Ok(number.unsigned_abs())
}
