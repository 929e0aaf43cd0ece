//! [`Upkeep`] on SQLite.

use std::sync::atomic::Ordering;
use std::time::Duration;

use keybound_protocol::time::Timestamp;
use serde_json::json;

use super::Database;
use super::batch::Batch;
use super::fault::Fault;
use super::rows::{all, change, counter, next, stored};
use super::{issued_tokens, revocations};
use crate::grants::GRANT_LIFETIME_MAX;
use crate::interactions::INTERACTION_LIFETIME_MAX;
use crate::refusals::REFUSALS_KEPT_FOR;
use crate::{Actor, Answer, AuditEntry, Removed, Revocation, RevocationSubject, StoreError, Upkeep, WriteCounts};

/// Rows that one call removes from one table: some milliseconds of the writer's time.
const ROWS_MAX: u64 = 2_000;
/// Batches of issued tokens are large: fewer of them.
const BATCHES_MAX: u64 = 50;
/// How long a client that asks about an expired request is told so.
const APPROVAL_REQUESTS_KEPT_FOR: Duration = Duration::from_secs(600);
/// Longer than any leeway: what has expired within it may still be accepted somewhere.
const LEEWAY_MAX: Duration = Duration::from_secs(60);
/// For how long a code is kept after its time: who presents one again by then still ends its grant.
const CODES_KEPT_FOR: Duration = Duration::from_secs(3_600);
/// For how long a grant that has ended is kept, and listed as such.
const ENDED_GRANTS_KEPT_FOR: Duration = Duration::from_secs(32 * 86_400);
/// How far counters jump with the epoch: more changes than a lost time can hold.
const EPOCH_SHIFT: u32 = 32;

impl Upkeep for Database {
    fn remove_expired(&self, now: Timestamp) -> Answer<Removed> {
        self.writer.submit(move |batch| remove_expired(batch, now))
    }

    fn epoch(&self) -> Result<u64, StoreError> {
        self.readers.read(|connection| counter(connection, "epoch"))
    }

    fn raise_epoch(&self, tokens_until: Timestamp, entry: AuditEntry) -> Answer<u64> {
        self.writer
            .submit(move |batch| raise_epoch(batch, tokens_until, &entry))
    }

    fn probe(&self, now: Timestamp) -> Answer<()> {
        self.writer.submit(move |batch| {
            let sql = "INSERT INTO meta (name, value) VALUES ('probed_at', ?1)
                       ON CONFLICT (name) DO UPDATE SET value = excluded.value";
            change(batch.connection, sql, [now.unix_secs().to_be_bytes()])?;
            Ok(())
        })
    }

    fn write_counts(&self) -> WriteCounts {
        let counters = self.writer.counters();
        WriteCounts {
            verbs: counters.verbs.load(Ordering::Relaxed),
            commits: counters.commits.load(Ordering::Relaxed),
            failures: counters.failures.load(Ordering::Relaxed),
        }
    }
}

fn remove_expired(batch: &mut Batch<'_>, now: Timestamp) -> Result<Removed, Fault> {
    let tables = [
        (
            "DELETE FROM access_tokens WHERE hash IN (SELECT hash FROM access_tokens WHERE expires_at < ?1 LIMIT ?2)",
            now.minus(LEEWAY_MAX),
        ),
        (
            "DELETE FROM client_assertions WHERE (client_id, token_id) IN
                 (SELECT client_id, token_id FROM client_assertions WHERE until < ?1 LIMIT ?2)",
            // A request that was judged before `until` may still wait for the writer.
            now.minus(LEEWAY_MAX),
        ),
        (
            "DELETE FROM revocations WHERE position IN (SELECT position FROM revocations WHERE until < ?1 LIMIT ?2)",
            now,
        ),
        (
            "DELETE FROM refusals WHERE position IN (SELECT position FROM refusals WHERE at < ?1 LIMIT ?2)",
            now.minus(REFUSALS_KEPT_FOR),
        ),
        (
            "DELETE FROM refusals_not_stored WHERE hour IN
                 (SELECT hour FROM refusals_not_stored WHERE hour < ?1 / 3600 LIMIT ?2)",
            now.minus(REFUSALS_KEPT_FOR),
        ),
        (
            "DELETE FROM registration_hours WHERE (address, hour) IN
                 (SELECT address, hour FROM registration_hours WHERE hour < ?1 / 3600 LIMIT ?2)",
            now,
        ),
        (
            "DELETE FROM grants WHERE grant_id IN (SELECT grant_id FROM grants WHERE expires_at < ?1 LIMIT ?2)",
            now.minus(LEEWAY_MAX),
        ),
        (
            "DELETE FROM grants WHERE grant_id IN
                 (SELECT grant_id FROM grants WHERE revoked_at IS NOT NULL AND revoked_at < ?1 LIMIT ?2)",
            now.minus(ENDED_GRANTS_KEPT_FOR),
        ),
        (
            "DELETE FROM ended_clients WHERE client_id IN
                 (SELECT client_id FROM ended_clients WHERE ended_at < ?1 LIMIT ?2)",
            now.minus(GRANT_LIFETIME_MAX).minus(LEEWAY_MAX),
        ),
        (
            "DELETE FROM authorization_codes WHERE hash IN
                 (SELECT hash FROM authorization_codes WHERE expires_at < ?1 LIMIT ?2)",
            now.minus(CODES_KEPT_FOR),
        ),
        (
            "DELETE FROM refresh_tokens WHERE hash IN
                 (SELECT hash FROM refresh_tokens WHERE idle_until < ?1 LIMIT ?2)",
            now.minus(LEEWAY_MAX),
        ),
        (
            "DELETE FROM user_sessions WHERE hash IN
                 (SELECT hash FROM user_sessions WHERE idle_until < ?1 LIMIT ?2)",
            now.minus(LEEWAY_MAX),
        ),
    ];
    // Those whose number is kept, because it is bounded.
    let counted = [
        (
            "pushed_requests",
            "DELETE FROM pushed_requests WHERE hash IN
                 (SELECT hash FROM pushed_requests WHERE interactions = 0 AND expires_at < ?1 LIMIT ?2)",
            // A browser that came in time may still wait for the writer.
            now.minus(LEEWAY_MAX),
        ),
        (
            "pushed_requests",
            "DELETE FROM pushed_requests WHERE hash IN
                 (SELECT hash FROM pushed_requests WHERE expires_at < ?1 LIMIT ?2)",
            // An interaction that it has opened is still to spend it.
            now.minus(INTERACTION_LIFETIME_MAX).minus(LEEWAY_MAX),
        ),
        (
            "approval_requests",
            "DELETE FROM approval_requests WHERE hash IN
                 (SELECT hash FROM approval_requests WHERE expires_at < ?1 LIMIT ?2)",
            // Until then a client that asks late is told that its time is over.
            now.minus(APPROVAL_REQUESTS_KEPT_FOR),
        ),
        (
            "interactions",
            "DELETE FROM interactions WHERE hash IN
                 (SELECT hash FROM interactions WHERE expires_at < ?1 LIMIT ?2)",
            now.minus(LEEWAY_MAX),
        ),
    ];
    let mut removed = Removed::default();
    for (sql, before) in tables {
        let rows = change(batch.connection, sql, (before.unix_secs(), stored(ROWS_MAX)))? as u64;
        removed.rows += rows;
        removed.more |= rows == ROWS_MAX;
    }
    for (name, sql, before) in counted {
        let rows = change(batch.connection, sql, (before.unix_secs(), stored(ROWS_MAX)))? as u64;
        let sql = "UPDATE counters SET value = max(0, value - ?2) WHERE name = ?1";
        change(batch.connection, sql, (name, stored(rows)))?;
        removed.rows += rows;
        removed.more |= rows == ROWS_MAX;
    }
    let entry = AuditEntry::new(now, Actor::Server);
    let batches = issued_tokens::remove_expired(batch, now, BATCHES_MAX, &entry)?;
    removed.rows += batches;
    removed.more |= batches == BATCHES_MAX;
    Ok(removed)
}

fn raise_epoch(batch: &mut Batch<'_>, tokens_until: Timestamp, entry: &AuditEntry) -> Result<u64, Fault> {
    let connection = batch.connection;
    let epoch = next(connection, "epoch")?;
    let sql = "UPDATE counters SET value = ?1 WHERE name = 'epoch_raised_at'";
    change(connection, sql, [entry.at.unix_secs()])?;
    let sql =
        "UPDATE counters SET value = max(value, ?1) WHERE name IN ('client_version', 'trust_epoch', 'user_version')";
    change(connection, sql, [stored(epoch << EPOCH_SHIFT)])?;
    // JWTs are not on file, so they are denied by the keys that signed them.
    let sql = "SELECT key_id FROM signing_keys WHERE state <> 'revoked'";
    let key_ids: Vec<String> = all(connection, sql, [], |row| Ok(row.get(0)?))?;
    for key_id in key_ids {
        let subject = RevocationSubject::SigningKey(key_id);
        let issued_before = Some(revocations::after(entry.at));
        revocations::add(
            batch,
            &Revocation {
                subject,
                issued_before,
                until: tokens_until,
            },
        )?;
    }
    batch.record(
        entry,
        "store.epoch_raised",
        &epoch.to_string(),
        Some(json!({ "tokens_until": tokens_until })),
    )?;
    Ok(epoch)
}
