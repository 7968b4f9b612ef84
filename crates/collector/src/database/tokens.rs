//! Tokens of administrators: their hashes at rest.

use sqlx::Row;

use super::{Database, Result};

/// A token as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptToken {
    /// Its public part.
    pub(crate) id: String,
    /// What it is for.
    pub(crate) name: String,
    /// Argon2 hash of the whole token.
    pub(crate) hash: String,
    /// When it was made, in milliseconds since 1970.
    pub(crate) created: i64,
}

impl Database {
    /// Keeps a token.
    pub(crate) async fn add_token(&self, token: &KeptToken) -> Result<()> {
        let sql =
            "INSERT INTO tokens (id, name, hash, created, revoked) VALUES ($1, $2, $3, $4, 0)";
        let query = sqlx::query(sql).bind(&token.id).bind(&token.name).bind(&token.hash);
        query.bind(token.created).execute(self.pool()).await?;
        Ok(())
    }

    /// The hash of a token that was not revoked.
    pub(crate) async fn token_hash(&self, id: &str) -> Result<Option<String>> {
        let sql = "SELECT hash FROM tokens WHERE id = $1 AND revoked = 0";
        Ok(sqlx::query_scalar(sql).bind(id).fetch_optional(self.pool()).await?)
    }

    /// Every token that was not revoked.
    pub(crate) async fn tokens(&self) -> Result<Vec<KeptToken>> {
        let sql =
            "SELECT id, name, hash, created FROM tokens WHERE revoked = 0 ORDER BY created, id";
        let rows = sqlx::query(sql).fetch_all(self.pool()).await?;
        let tokens = rows.iter().map(|row| {
            let (id, name) = (row.try_get(0)?, row.try_get(1)?);
            Ok(KeptToken { id, name, hash: row.try_get(2)?, created: row.try_get(3)? })
        });
        tokens.collect()
    }

    /// Makes a token worthless; whether there was one.
    pub(crate) async fn revoke_token(&self, id: &str, now_ms: i64) -> Result<bool> {
        let sql = "UPDATE tokens SET revoked = $1 WHERE id = $2 AND revoked = 0";
        let done = sqlx::query(sql).bind(now_ms).bind(id).execute(self.pool()).await?;
        Ok(done.rows_affected() > 0)
    }
}
