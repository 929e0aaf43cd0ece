//! [`ClientAssertions`] on SQLite.

use std::time::Duration;

use keybound_protocol::time::Timestamp;

use super::Database;
use super::batch::Batch;
use super::fault::Fault;
use super::rows::{change, one};
use crate::{Answer, AuditEntry, ClientAssertions, ConsumeClientAssertion, OneTimeAssertion};

/// No assertion is accepted that lives longer: one without `iat` that expires later than this after a restore was made
/// after it.
const LIFETIME_MAX: Duration = Duration::from_secs(600);
/// How far a client's clock may be ahead.
const LEEWAY_MAX: Duration = Duration::from_secs(60);

impl ClientAssertions for Database {
    fn consume_client_assertion(
        &self,
        assertion: OneTimeAssertion,
        entry: AuditEntry,
    ) -> Answer<ConsumeClientAssertion> {
        self.writer.submit(move |batch| consume(batch, &assertion, &entry))
    }
}

fn consume(
    batch: &mut Batch<'_>,
    assertion: &OneTimeAssertion,
    entry: &AuditEntry,
) -> Result<ConsumeClientAssertion, Fault> {
    if may_predate_restore(assertion, epoch_raised_at(batch)?) {
        return Ok(ConsumeClientAssertion::AlreadyUsed);
    }
    let sql = "INSERT INTO client_assertions (client_id, token_id, until) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    let params = (
        assertion.client_id.as_str(),
        &assertion.token_id,
        assertion.until.unix_secs(),
    );
    if change(batch.connection, sql, params)? == 0 {
        return Ok(ConsumeClientAssertion::AlreadyUsed);
    }
    let details = serde_json::json!({ "jti": assertion.token_id });
    batch.record(
        entry,
        "client_assertion.consumed",
        assertion.client_id.as_str(),
        Some(details),
    )?;
    Ok(ConsumeClientAssertion::Consumed)
}

/// When the last backup was restored, if ever.
fn epoch_raised_at(batch: &Batch<'_>) -> Result<Option<Timestamp>, Fault> {
    let sql = "SELECT value FROM counters WHERE name = 'epoch_raised_at' AND value > 0";
    one(batch.connection, sql, [], |row| {
        Ok(Timestamp::from_unix_secs(row.get(0)?))
    })
}

/// Whether the assertion may have been used in the time that a restored backup has lost.
fn may_predate_restore(assertion: &OneTimeAssertion, restored_at: Option<Timestamp>) -> bool {
    let Some(restored_at) = restored_at else { return false };
    match assertion.issued_at {
        Some(issued_at) => issued_at <= restored_at.plus(LEEWAY_MAX),
        None => assertion.until <= restored_at.plus(LIFETIME_MAX),
    }
}
