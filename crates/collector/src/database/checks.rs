//! What the trainer found when it computed log-probabilities again.

use kudos_schema::{Check, CheckOutcome, CheckReceipt};

use super::{Database, Result};

impl Database {
    /// Keeps outcomes; a later one of a rating takes the place of an earlier.
    pub(crate) async fn keep_checks(&self, checks: &[Check]) -> Result<CheckReceipt> {
        let mut receipt = CheckReceipt { stored: 0, unknown: 0 };
        let (mut transaction, _) = self.begin(0).await?;
        for check in checks {
            let sql = "INSERT INTO checks (rating, outcome, cause) SELECT id, $2, $3 FROM ratings \
                       WHERE id = $1 AND erased = 0 \
                       ON CONFLICT (rating) DO UPDATE SET outcome = $2, cause = $3";
            let query = sqlx::query(sql).bind(&check.rating).bind(outcome_name(check.outcome));
            let query = query.bind(check.cause.as_deref().unwrap_or_default());
            match query.execute(&mut *transaction).await?.rows_affected() {
                0 => receipt.unknown += 1,
                _ => receipt.stored += 1,
            }
        }
        transaction.commit().await?;
        Ok(receipt)
    }
}

/// The name of an outcome, as in JSON.
fn outcome_name(outcome: CheckOutcome) -> &'static str {
    match outcome {
        CheckOutcome::Pass => "pass",
        CheckOutcome::Fail => "fail",
        CheckOutcome::Unchecked => "unchecked",
    }
}
