//! Policies and their bundles.

use std::path::Path;

use sqlx::Row;
use sqlx::any::AnyRow;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Database, DatabaseError, Result};

/// Bytes of a piece.
const PIECE: usize = 1 << 20;

/// A policy as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptPolicy {
    /// SHA-256 of the bundle.
    pub(crate) sha256: String,
    /// Length of the bundle.
    pub(crate) bytes: i64,
    /// The manifest as JSON.
    pub(crate) manifest: String,
    /// Whether visitors no longer get it.
    pub(crate) retired: bool,
}

/// What is published.
#[derive(Debug)]
pub(crate) struct Publication<'a> {
    /// SHA-256 of the bundle.
    pub(crate) sha256: &'a str,
    /// The policy's name.
    pub(crate) name: &'a str,
    /// The manifest as JSON.
    pub(crate) manifest: &'a str,
    /// `tokenizer.json`
    pub(crate) tokenizer: &'a str,
    /// The bundle, on this machine.
    pub(crate) file: &'a Path,
}

impl Database {
    /// Every policy, in the order of publication.
    pub(crate) async fn policies(&self) -> Result<Vec<KeptPolicy>> {
        let sql =
            "SELECT sha256, bytes, manifest, retired FROM policies ORDER BY published, sha256";
        let rows = sqlx::query(sql).fetch_all(self.pool()).await?;
        let policy = |row: &AnyRow| {
            let retired: i64 = row.try_get(3)?;
            let (sha256, bytes) = (row.try_get(0)?, row.try_get(1)?);
            Ok(KeptPolicy { sha256, bytes, manifest: row.try_get(2)?, retired: retired > 0 })
        };
        rows.iter().map(policy).collect()
    }

    /// Manifest and `tokenizer.json` of a policy, retired or not.
    pub(crate) async fn tokenizer(&self, sha256: &str) -> Result<Option<(String, String)>> {
        let sql = "SELECT manifest, tokenizer FROM policies WHERE sha256 = $1";
        let row = sqlx::query(sql).bind(sha256).fetch_optional(self.pool()).await?;
        row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
    }

    /// Keeps a policy and its bundle, unless it is there; whether it is new. A retired one stays retired.
    pub(crate) async fn publish(&self, publication: &Publication<'_>) -> Result<bool> {
        let mut file = File::open(publication.file).await.map_err(sqlx::Error::Io)?;
        let bytes = file.metadata().await.map_err(sqlx::Error::Io)?.len();
        let (mut transaction, place) = self.begin(1).await?;
        let sql = "INSERT INTO policies (sha256, name, bytes, manifest, tokenizer, published, retired) \
                   VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT DO NOTHING";
        let query = sqlx::query(sql).bind(publication.sha256).bind(publication.name);
        let query = query.bind(i64::try_from(bytes).unwrap_or(i64::MAX)).bind(publication.manifest);
        let query = query.bind(publication.tokenizer).bind(place);
        if query.execute(&mut *transaction).await?.rows_affected() == 0 {
            return Ok(false);
        }
        for place in 0_i64.. {
            let mut piece = Vec::with_capacity(PIECE);
            let mut limited = (&mut file).take(PIECE as u64);
            limited.read_to_end(&mut piece).await.map_err(sqlx::Error::Io)?;
            if piece.is_empty() {
                break;
            }
            let sql = "INSERT INTO pieces (sha256, place, content) VALUES ($1, $2, $3)";
            let query = sqlx::query(sql).bind(publication.sha256).bind(place).bind(piece);
            query.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Writes the bundle of a policy into a file.
    pub(crate) async fn write_bundle(&self, sha256: &str, file: &mut File) -> Result<()> {
        for place in 0_i64.. {
            let sql = "SELECT content FROM pieces WHERE sha256 = $1 AND place = $2";
            let query = sqlx::query_scalar(sql).bind(sha256).bind(place);
            let piece: Option<Vec<u8>> = query.fetch_optional(self.pool()).await?;
            match piece {
                Some(piece) => file.write_all(&piece).await.map_err(sqlx::Error::Io)?,
                None if place == 0 => {
                    return Err(DatabaseError::Misuse(format!("there is no bundle {sha256}")));
                }
                None => break,
            }
        }
        file.flush().await.map_err(|error| sqlx::Error::Io(error).into())
    }

    /// Retires a policy at a time, or publishes it again at 0; whether it is known.
    pub(crate) async fn retire(&self, sha256: &str, time_ms: i64) -> Result<bool> {
        let sql = "UPDATE policies SET retired = $1 WHERE sha256 = $2";
        let done = sqlx::query(sql).bind(time_ms).bind(sha256).execute(self.pool()).await?;
        Ok(done.rows_affected() > 0)
    }
}
