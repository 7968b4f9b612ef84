//! Everything from one database into another, and the embedded one into a file.

use std::path::Path;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::{Address, Database, DatabaseError, Result};

/// Rows that are read at once.
const PAGE: i64 = 200;

/// A table: its name, the columns by which it is ordered, and all its columns with their kinds: `t` text, `n` number,
/// `f` fraction, `b` bytes.
const TABLES: &[(&str, &str, &str)] = &[
    ("settings", "name", "name:t value:t"),
    (
        "ratings",
        "seq",
        "seq:n born:n id:t received:n rater:t task:t verdict:t choice:t left_policy:t left_sampling:t \
         right_policy:t right_sampling:t query:t asked:t prompt:t item:t said:t agreed:n withheld:n \
         erased:n record:t",
    ),
    ("raters", "rater", "rater:t quarantined:n"),
    ("checks", "rating", "rating:t outcome:t cause:t"),
    ("refusals", "cause", "cause:t number:n"),
    ("policies", "sha256", "sha256:t name:t bytes:n manifest:t tokenizer:t published:n retired:n"),
    ("pieces", "sha256, place", "sha256:t place:n content:b"),
    ("tokens", "id", "id:t name:t hash:t created:n revoked:n"),
    ("pool", "item", "item:t prompt:t task:t said:t uncertainty:f record:t"),
];

/// Copies everything; the number of ratings is returned. No collector may be running on `to`.
///
/// # Errors
/// `to` holds something already, or one of the two does not work.
pub async fn copy(from: &Database, to: &Database) -> Result<i64> {
    let (mut transaction, _) = to.begin(0).await?;
    for (table, _, _) in TABLES {
        let sql = AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        let number: i64 = sqlx::query_scalar(sql).fetch_one(&mut *transaction).await?;
        if number > 0 {
            return Err(DatabaseError::Misuse(format!(
                "the table {table} of the target is not empty: name a new database"
            )));
        }
    }
    // Held until the end: no rating is stored in the source meanwhile.
    let (source, _) = from.begin(0).await?;
    let mut source = source;
    let mut ratings = 0;
    for table in TABLES {
        let rows = copy_table(&mut source, &mut transaction, table).await?;
        ratings = if table.0 == "ratings" { rows } else { ratings };
    }
    let last: i64 =
        sqlx::query_scalar("SELECT value FROM sequence").fetch_one(&mut *source).await?;
    sqlx::query("UPDATE sequence SET value = $1").bind(last).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(ratings)
}

async fn copy_table(
    from: &mut AnyConnection,
    to: &mut AnyConnection,
    (table, order, columns): &(&str, &str, &str),
) -> Result<i64> {
    let columns: Vec<(&str, &str)> =
        columns.split_whitespace().filter_map(|column| column.split_once(':')).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let places: Vec<String> = (1..=columns.len()).map(|place| format!("${place}")).collect();
    let (names, places) = (names.join(", "), places.join(", "));
    let insert = format!("INSERT INTO {table} ({names}) VALUES ({places})");
    let mut done = 0;
    loop {
        let select = format!("SELECT {names} FROM {table} ORDER BY {order} LIMIT $1 OFFSET $2");
        let query = sqlx::query(AssertSqlSafe(select)).bind(PAGE).bind(done);
        let rows = query.fetch_all(&mut *from).await?;
        if rows.is_empty() {
            return Ok(done);
        }
        for row in &rows {
            insert_row(to, &insert, &columns, row).await?;
        }
        done += i64::try_from(rows.len()).expect("a page is small");
    }
}

async fn insert_row(
    to: &mut AnyConnection,
    insert: &str,
    columns: &[(&str, &str)],
    row: &AnyRow,
) -> Result<()> {
    let mut query = sqlx::query(AssertSqlSafe(insert.to_owned()));
    for (place, (_, kind)) in columns.iter().enumerate() {
        query = match *kind {
            "t" => query.bind(row.try_get::<String, _>(place)?),
            "n" => query.bind(row.try_get::<i64, _>(place)?),
            "f" => query.bind(row.try_get::<f64, _>(place)?),
            _ => query.bind(row.try_get::<Vec<u8>, _>(place)?),
        };
    }
    query.execute(to).await?;
    Ok(())
}

/// Copies an embedded database into a new file, while the collector goes on.
///
/// # Errors
/// It is a server's, the file exists, or the disk is full.
pub async fn backup(database: &Database, file: &Path) -> Result<()> {
    let Address::Sqlite(_) = database.address() else {
        return Err(DatabaseError::Misuse(
            "this database is a PostgreSQL: back it up with `pg_dump --format=custom`".to_owned(),
        ));
    };
    if file.exists() {
        let message = format!("{} exists: name a new file", file.display());
        return Err(DatabaseError::Misuse(message));
    }
    let Some(path) = file.to_str() else {
        let message = format!("{} is no UTF-8: choose another name", file.display());
        return Err(DatabaseError::Misuse(message));
    };
    sqlx::query("VACUUM INTO $1").bind(path).execute(database.pool()).await?;
    Ok(())
}
