//! Tokens of administrators: `kudos_ID_SECRET`. The id finds the hash; only the hash of the whole is kept.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use kudos_schema::hexadecimal;

use crate::coins::Coins;
use crate::database::tokens::KeptToken;
use crate::database::{Database, Result};

const BEGIN: &str = "kudos_";
const ID_DIGITS: usize = 16;
const SECRET_DIGITS: usize = 64;
/// The longest name, in bytes.
const MAX_NAME: usize = 100;

/// A token that was not revoked, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenEntry {
    /// Its public part.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
}

/// Makes a token and keeps its hash. Nothing can show the token again.
///
/// # Errors
/// The database does not work, or the name is too long.
pub async fn create(database: &Database, coins: &Coins, name: &str, now_ms: i64) -> Result<String> {
    if name.len() > MAX_NAME {
        let message = format!("a token's name has at most {MAX_NAME} bytes: choose a shorter one");
        return Err(crate::database::DatabaseError::Misuse(message));
    }
    let id = hexadecimal(&coins.bytes::<{ ID_DIGITS / 2 }>());
    let secret = hexadecimal(&coins.bytes::<{ SECRET_DIGITS / 2 }>());
    let token = format!("{BEGIN}{id}_{secret}");
    let hash: PasswordHash = Argon2::default()
        .hash_password_with_salt(token.as_bytes(), &coins.bytes::<16>())
        .expect("token and salt have the lengths that Argon2 takes");
    let name = name.to_owned();
    let kept = KeptToken { id, name, hash: hash.to_string(), created: now_ms };
    database.add_token(&kept).await?;
    Ok(token)
}

/// The tokens that were not revoked.
///
/// # Errors
/// The database does not work.
pub async fn list(database: &Database) -> Result<Vec<TokenEntry>> {
    let entry =
        |kept: KeptToken| TokenEntry { id: kept.id, name: kept.name, created_ms: kept.created };
    Ok(database.tokens().await?.into_iter().map(entry).collect())
}

/// Makes a token worthless; whether there was one of this id.
///
/// # Errors
/// The database does not work.
pub async fn revoke(database: &Database, id: &str, now_ms: i64) -> Result<bool> {
    database.revoke_token(id, now_ms.max(1)).await
}

/// The id of what has the form of a token.
pub(crate) fn id_of(token: &str) -> Option<&str> {
    let (id, secret) = token.strip_prefix(BEGIN)?.split_once('_')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits =
        id.len() == ID_DIGITS && secret.len() == SECRET_DIGITS && digits(id) && digits(secret);
    fits.then_some(id)
}

/// Whether a token is the one of a hash, in a time that does not tell how much of it is right. It blocks.
pub(crate) fn verify(token: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(token.as_bytes(), &hash).is_ok())
}
