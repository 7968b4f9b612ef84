//! The pool of prompts and gold items that queries are made of.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Database, Result};

/// An item of the pool as the database has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeptItem {
    /// Hash of the prompt; of a gold item, of its samples too.
    pub(crate) item: String,
    /// Hash of the prompt.
    pub(crate) prompt: String,
    /// The task.
    pub(crate) task: String,
    /// Of a gold item the right verdict, whatever side the samples are shown on; else empty.
    pub(crate) said: String,
    /// How far the reward models disagree; 0 if nobody said.
    pub(crate) uncertainty: f64,
    /// The item as JSON.
    pub(crate) record: String,
}

/// How often, and when last, a prompt was rated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Coverage {
    /// Hash of the prompt.
    pub(crate) prompt: String,
    /// Ratings of it.
    pub(crate) ratings: i64,
    /// When the last came, in milliseconds since 1970.
    pub(crate) last: i64,
}

impl Database {
    /// Takes the place of the whole pool.
    pub(crate) async fn set_pool(&self, items: &[KeptItem]) -> Result<()> {
        let (mut transaction, _) = self.begin(0).await?;
        sqlx::query("DELETE FROM pool").execute(&mut *transaction).await?;
        for item in items {
            let sql = "INSERT INTO pool (item, prompt, task, said, uncertainty, record) \
                       VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
            let query = sqlx::query(sql).bind(&item.item).bind(&item.prompt).bind(&item.task);
            let query = query.bind(&item.said).bind(item.uncertainty).bind(&item.record);
            query.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Says how uncertain prompts are; how many lines were about prompts of the pool.
    pub(crate) async fn set_uncertainty(&self, prompts: &[(String, f64)]) -> Result<u64> {
        let (mut transaction, _) = self.begin(0).await?;
        let mut known = 0;
        for (prompt, uncertainty) in prompts {
            let sql = "UPDATE pool SET uncertainty = $1 WHERE prompt = $2 AND said = ''";
            let query = sqlx::query(sql).bind(uncertainty).bind(prompt);
            known += query.execute(&mut *transaction).await?.rows_affected().min(1);
        }
        transaction.commit().await?;
        Ok(known)
    }

    /// The whole pool.
    pub(crate) async fn pool_items(&self) -> Result<Vec<KeptItem>> {
        let sql = "SELECT item, prompt, task, said, uncertainty, record FROM pool ORDER BY item";
        let rows = sqlx::query(sql).fetch_all(self.pool()).await?;
        let item = |row: &AnyRow| {
            let (item, prompt, task) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let (said, uncertainty) = (row.try_get(3)?, row.try_get(4)?);
            Ok(KeptItem { item, prompt, task, said, uncertainty, record: row.try_get(5)? })
        };
        rows.iter().map(item).collect()
    }

    /// How often each prompt was rated, at most `limit` of them, those rated last first.
    pub(crate) async fn coverage(&self, limit: i64) -> Result<Vec<Coverage>> {
        let sql = "SELECT prompt, COUNT(*), MAX(received) FROM ratings WHERE prompt <> '' \
                   GROUP BY prompt ORDER BY 3 DESC LIMIT $1";
        let rows = sqlx::query(sql).bind(limit).fetch_all(self.pool()).await?;
        let coverage = |row: &AnyRow| {
            let (prompt, ratings) = (row.try_get(0)?, row.try_get(1)?);
            Ok(Coverage { prompt, ratings, last: row.try_get(2)? })
        };
        rows.iter().map(coverage).collect()
    }
}
