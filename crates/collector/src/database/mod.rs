//! The database: an embedded SQLite, or a PostgreSQL that several collectors share. One SQL serves both.

pub(crate) mod bundles;
pub(crate) mod checks;
pub mod copy;
pub(crate) mod erase;
pub(crate) mod insert;
pub(crate) mod judged;
pub(crate) mod pool;
pub(crate) mod ratings;
pub(crate) mod settings;
pub(crate) mod tallies;
pub(crate) mod tokens;
pub(crate) mod writer;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Any, AnyConnection, AnyPool, Executor, Row, SqlSafeStr, Transaction};
use thiserror::Error;

/// The file of the embedded database, below the data folder.
const FILE: &str = "kudos.db";
/// How long a query waits for a connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections of one collector: each of SQLite is a thread with a cache of its own.
const CONNECTIONS: u32 = 6;
/// What each connection of SQLite is told. FULL: a commit is on the disk before it returns.
const SQLITE_SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
    PRAGMA busy_timeout = 5000; PRAGMA cache_size = -2000; PRAGMA journal_size_limit = 67108864";

/// The migrations in their order. Published ones do not change.
const MIGRATIONS: &[(i64, &str, &str)] =
    &[(1, "ratings", include_str!("migrations/1_ratings.sql"))];

/// Where the data lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// The file of an embedded database.
    Sqlite(PathBuf),
    /// A server: `postgres://user:password@host/database`.
    Postgres(String),
}

/// An open database.
#[derive(Clone)]
pub struct Database {
    pool: AnyPool,
    address: Address,
}

/// Why the database does not do what it was asked.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// It cannot be reached, is full, or is damaged.
    #[error("the database does not work ({0}): is its disk full, or its server down?")]
    Sql(#[from] sqlx::Error),
    /// Its tables are of another version.
    #[error("the database was not brought up to date ({0}): a newer collector may have used it")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A record in it cannot be read.
    #[error("the database holds a damaged record ({0}): restore a backup")]
    Record(#[from] serde_json::Error),
    /// A setting in it cannot be read.
    #[error("the database holds a damaged setting `{0}`: restore a backup")]
    Setting(&'static str),
    /// Ratings could not be stored.
    #[error("{0}")]
    Unwritten(String),
    /// The writer has stopped.
    #[error("the collector is stopping: send this again in a moment")]
    Stopping,
    /// Not all of it can be done.
    #[error("{0}")]
    Misuse(String),
}

/// What a query of the database gives.
pub type Result<T> = std::result::Result<T, DatabaseError>;

impl Address {
    /// The embedded database below `data`, or the server at `url`.
    ///
    /// # Errors
    /// The URL is of no database that is known.
    pub fn of(data: &Path, url: Option<&str>) -> std::result::Result<Self, String> {
        match url {
            None => Ok(Self::Sqlite(data.join(FILE))),
            Some(url) => Self::from_url(url),
        }
    }

    /// Reads `sqlite:PATH` or `postgres://...`.
    ///
    /// # Errors
    /// The URL is of no database that is known.
    pub fn from_url(url: &str) -> std::result::Result<Self, String> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url.to_owned()));
        }
        match url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")) {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            // Without the URL: it may hold a password.
            Some(_) | None => Err("the database's URL is of no known kind: give \
                                   postgres://USER:PASSWORD@HOST/NAME or sqlite:FILE"
                .to_owned()),
        }
    }

    fn url(&self) -> Result<String> {
        let Self::Sqlite(path) = self else {
            let Self::Postgres(url) = self else { unreachable!("there are two kinds") };
            return Ok(url.clone());
        };
        let path = std::path::absolute(path).map_err(sqlx::Error::Io)?;
        let path = path.to_str().ok_or_else(|| {
            DatabaseError::Misuse(format!("{} is no UTF-8: choose another folder", path.display()))
        })?;
        let mut url = "sqlite://".to_owned();
        for byte in path.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                    url.push(char::from(byte));
                }
                other => url += &format!("%{other:02X}"),
            }
        }
        Ok(url + "?mode=rwc")
    }
}

impl Database {
    /// Opens the database and brings its tables up to date.
    ///
    /// # Errors
    /// It cannot be reached, or a newer collector has used it.
    pub async fn open(address: &Address) -> Result<Self> {
        install_default_drivers();
        let embedded = matches!(address, Address::Sqlite(_));
        let options = AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if embedded {
                        connection.execute(SQLITE_SETTINGS).await?;
                    }
                    Ok(())
                })
            });
        let pool = options.connect(&address.url()?).await?;
        let migrations = MIGRATIONS.iter().map(|(version, name, sql)| {
            let name = Cow::Borrowed(*name);
            Migration::new(*version, name, MigrationType::Simple, (*sql).into_sql_str(), false)
        });
        let migrations = Cow::Owned(migrations.collect());
        Migrator { migrations, ..Migrator::DEFAULT }.run(&pool).await?;
        Ok(Self { pool, address: address.clone() })
    }

    /// Where it lies.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The connections.
    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT value FROM sequence").fetch_one(&self.pool).await?;
        Ok(())
    }

    /// Waits for what is running, and closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Begins to write, and takes `numbers` places in the order of exports; the first is returned.
    ///
    /// Until the transaction ends every other writer waits here, in this process and in others. So a
    /// place is visible before a later one is given, and nobody who read up to a place misses one.
    pub(crate) async fn begin(&self, numbers: usize) -> Result<(Transaction<'static, Any>, i64)> {
        let mut transaction = self.pool.begin().await?;
        let numbers = i64::try_from(numbers).expect("a batch is small");
        let sql = "UPDATE sequence SET value = value + $1 WHERE name = 'rating' RETURNING value";
        let row = sqlx::query(sql).bind(numbers).fetch_one(&mut *transaction).await?;
        let last: i64 = row.try_get(0)?;
        Ok((transaction, last - numbers + 1))
    }
}

/// The next place in the order of exports, within a transaction of [`Database::begin`].
pub(crate) async fn next_place(connection: &mut AnyConnection) -> Result<i64> {
    let sql = "UPDATE sequence SET value = value + 1 WHERE name = 'rating' RETURNING value";
    Ok(sqlx::query_scalar(sql).fetch_one(connection).await?)
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address of a server may hold a password.
        formatter.write_str("Database")
    }
}
