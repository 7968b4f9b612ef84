//! What is withheld, let go and erased.
//!
//! An erased rating leaves its id behind: so a page that sends it once more cannot bring it back, and
//! whoever exported it can be told.

use sqlx::AnyConnection;

use super::insert::{QUARANTINED, WAITING};
use super::{Database, Result, next_place};

const ERASE: &str = "UPDATE ratings SET received = 0, rater = '', task = '', verdict = '', choice = '', \
    left_policy = '', left_sampling = '', right_policy = '', right_sampling = '', query = '', \
    asked = '', prompt = '', item = '', said = '', agreed = -1, record = '', withheld = 4, \
    erased = $1 WHERE id = $2";
/// Old ratings that one transaction erases, so that posts do not wait long.
const CHUNK: i64 = 500;

impl Database {
    /// Erases everything of a rater; how many ratings.
    pub(crate) async fn erase_rater(&self, rater: &str) -> Result<u64> {
        if rater.is_empty() {
            return Ok(0);
        }
        let (mut transaction, _) = self.begin(0).await?;
        let query = sqlx::query_scalar("SELECT id FROM ratings WHERE rater = $1").bind(rater);
        let ids = query.fetch_all(&mut *transaction).await?;
        let erased = erase(&mut transaction, &ids).await?;
        transaction.commit().await?;
        Ok(erased)
    }

    /// Erases one rating; whether there was one.
    pub(crate) async fn erase_rating(&self, id: &str) -> Result<bool> {
        let (mut transaction, _) = self.begin(0).await?;
        let query = sqlx::query_scalar("SELECT id FROM ratings WHERE id = $1 AND erased = 0");
        let ids = query.bind(id).fetch_all(&mut *transaction).await?;
        let erased = erase(&mut transaction, &ids).await?;
        transaction.commit().await?;
        Ok(erased > 0)
    }

    /// Erases some ratings that came before a time, in milliseconds since 1970; none when all are gone.
    pub(crate) async fn erase_before(&self, time_ms: i64) -> Result<u64> {
        let (mut transaction, _) = self.begin(0).await?;
        let sql = "SELECT id FROM ratings WHERE received < $1 AND withheld < 4 LIMIT $2";
        let query = sqlx::query_scalar(sql).bind(time_ms).bind(CHUNK);
        let ids = query.fetch_all(&mut *transaction).await?;
        let erased = erase(&mut transaction, &ids).await?;
        transaction.commit().await?;
        Ok(erased)
    }

    /// Leaves a rater out of exports from now on.
    pub(crate) async fn quarantine(&self, rater: &str, now_ms: i64) -> Result<()> {
        let (mut transaction, _) = self.begin(0).await?;
        let sql = "INSERT INTO raters (rater, quarantined) VALUES ($1, $2) \
                   ON CONFLICT (rater) DO UPDATE SET quarantined = $2";
        let query = sqlx::query(sql).bind(rater).bind(now_ms.max(1));
        query.execute(&mut *transaction).await?;
        let sql = "UPDATE ratings SET withheld = withheld | $1 WHERE rater = $2";
        sqlx::query(sql).bind(QUARANTINED).bind(rater).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Takes that back; whether the rater was quarantined.
    pub(crate) async fn release(&self, rater: &str) -> Result<bool> {
        let (mut transaction, _) = self.begin(0).await?;
        let query = sqlx::query("DELETE FROM raters WHERE rater = $1").bind(rater);
        let known = query.execute(&mut *transaction).await?.rows_affected() > 0;
        let sql = "SELECT id FROM ratings WHERE rater = $1 AND (withheld & $2) > 0 ORDER BY born";
        let query = sqlx::query_scalar(sql).bind(rater).bind(QUARANTINED);
        let ids = query.fetch_all(&mut *transaction).await?;
        let_go(&mut transaction, &ids, QUARANTINED).await?;
        transaction.commit().await?;
        Ok(known)
    }

    /// A moderator finds nothing wrong with a reported text; whether it waited.
    pub(crate) async fn approve(&self, id: &str) -> Result<bool> {
        let (mut transaction, _) = self.begin(0).await?;
        let sql = "SELECT id FROM ratings WHERE id = $1 AND (withheld & $2) > 0";
        let query = sqlx::query_scalar(sql).bind(id).bind(WAITING);
        let ids = query.fetch_all(&mut *transaction).await?;
        let_go(&mut transaction, &ids, WAITING).await?;
        transaction.commit().await?;
        Ok(!ids.is_empty())
    }
}

async fn erase(connection: &mut AnyConnection, ids: &[String]) -> Result<u64> {
    for id in ids {
        let place = next_place(connection).await?;
        sqlx::query(ERASE).bind(place).bind(id).execute(&mut *connection).await?;
        let query = sqlx::query("DELETE FROM checks WHERE rating = $1").bind(id);
        query.execute(&mut *connection).await?;
    }
    Ok(ids.len() as u64)
}

/// Takes a reason for withholding away. The ratings get new places, so that those who export from a cursor
/// on get them now.
async fn let_go(connection: &mut AnyConnection, ids: &[String], reason: i64) -> Result<()> {
    for id in ids {
        let place = next_place(connection).await?;
        let sql = "UPDATE ratings SET seq = $1, withheld = withheld - $2 WHERE id = $3";
        let query = sqlx::query(sql).bind(place).bind(reason).bind(id);
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
