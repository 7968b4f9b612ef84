//! How long ratings are kept, if the operator set an end.

use std::time::Duration;

use crate::output;
use crate::problem::Trouble;
use crate::state::State;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(600);

/// Erases what is too old; returns how many ratings that were.
///
/// # Errors
/// The database does not work.
pub async fn erase_old(state: &State) -> Result<u64, crate::database::DatabaseError> {
    let Some(retention) = state.settings.retention else { return Ok(0) };
    let kept_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    let before = state.clock.now_ms().saturating_sub(kept_ms);
    let mut all = 0;
    loop {
        match state.database.erase_before(before).await? {
            0 => return Ok(all),
            erased => all += erased,
        }
    }
}

/// Does so again and again.
pub async fn keep_erasing(state: State) {
    loop {
        if let Err(error) = erase_old(&state).await {
            output::log(&Trouble { trouble: &error.to_string() });
        }
        tokio::time::sleep(PAUSE).await;
    }
}
