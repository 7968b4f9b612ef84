//! What the database itself remembers: its key, and the settings of queries.

use kudos_schema::QuerySettings;

use super::{Database, DatabaseError, Result};
use crate::seal::Seal;

const KEY: &str = "key";
const QUERIES: &str = "queries";

impl Database {
    /// The key of keyed hashes. The first collector on a database makes it from `fresh`.
    pub(crate) async fn seal(&self, fresh: [u8; 32]) -> Result<Seal> {
        let sql = "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        let text = Seal::new(fresh).to_text();
        sqlx::query(sql).bind(KEY).bind(text).execute(self.pool()).await?;
        let text = self.setting(KEY).await?.ok_or(DatabaseError::Setting(KEY))?;
        Seal::from_text(&text).ok_or(DatabaseError::Setting(KEY))
    }

    /// Which share of queries is asked for which reason.
    pub(crate) async fn query_settings(&self) -> Result<QuerySettings> {
        match self.setting(QUERIES).await? {
            None => Ok(QuerySettings::default()),
            Some(text) => Ok(serde_json::from_str(&text)?),
        }
    }

    /// Changes that.
    pub(crate) async fn set_query_settings(&self, settings: &QuerySettings) -> Result<()> {
        let sql = "INSERT INTO settings (name, value) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET value = $2";
        let text = serde_json::to_string(settings)?;
        sqlx::query(sql).bind(QUERIES).bind(text).execute(self.pool()).await?;
        Ok(())
    }

    async fn setting(&self, name: &str) -> Result<Option<String>> {
        let query = sqlx::query_scalar("SELECT value FROM settings WHERE name = $1").bind(name);
        Ok(query.fetch_optional(self.pool()).await?)
    }
}
