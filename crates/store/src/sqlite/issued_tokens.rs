//! [`IssuedTokens`] on SQLite.

use keybound_protocol::digest::hex;
use keybound_protocol::time::Timestamp;
use serde_json::json;

use super::Database;
use super::batch::{Batch, Deed};
use super::chain::{batch_hash, lane_number};
use super::fault::Fault;
use super::rows::{all, change, one, page, stored, unsigned};
use crate::issued_tokens::ISSUED_TOKENS_KEPT_FOR;
use crate::{Answer, AuditEntry, IssuedToken, IssuedTokenBatch, IssuedTokens, Lane};

const WHAT: &str = "batch of issued tokens";

const OPENED: &str = "issued_tokens.opened";
/// The record that seals one batch.
pub(super) const RECORDED: &str = "issued_tokens.recorded";
const CLOSED: &str = "issued_tokens.closed";
/// The record that says which batches are gone because their time was over.
pub(super) const REMOVED: &str = "issued_tokens.removed";

impl IssuedTokens for Database {
    fn open_issued_tokens(&self, entry: AuditEntry) -> Answer<bool> {
        self.writer.submit(move |batch| {
            let sql = "SELECT action FROM audit_records WHERE node = ?1 AND lane = ?2 ORDER BY sequence DESC LIMIT 1";
            let last: Option<String> = one(
                batch.connection,
                sql,
                (batch.node(), lane_number(Lane::IssuedTokens)),
                |row| Ok(row.get(0)?),
            )?;
            let is_interrupted = last.is_some_and(|action| action != CLOSED);
            append(batch, &entry, OPENED, Some(json!({ "interrupted": is_interrupted })))?;
            Ok(is_interrupted)
        })
    }

    fn append_issued_tokens(&self, tokens: &[IssuedToken], not_recorded: u64, entry: AuditEntry) -> Answer<()> {
        // Turned into text here, on the caller's thread: the writer has only one.
        let text = serde_json::to_string(tokens).map_err(|error| Fault::unwritable(WHAT, error));
        let count = tokens.len();
        self.writer
            .submit(move |batch| record(batch, &text?, count, not_recorded, &entry))
    }

    fn close_issued_tokens(&self, entry: AuditEntry) -> Answer<()> {
        self.writer
            .submit(move |batch| append(batch, &entry, CLOSED, None).map(|_| ()))
    }

    fn issued_token_batches(&self, after: u64, limit: u16) -> Answer<Vec<IssuedTokenBatch>> {
        let node = self.node.clone();
        self.scanner.submit(move |connection| {
            let sql = "SELECT node, sequence, tokens, not_recorded FROM issued_token_batches
                       WHERE node = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3";
            all(
                connection,
                sql,
                (&*node, stored(after), stored(page(limit) as u64)),
                |row| {
                    let tokens = row.get_ref(2)?.as_str().map_err(|error| Fault::corrupt(WHAT, error))?;
                    Ok(IssuedTokenBatch {
                        node: row.get(0)?,
                        sequence: unsigned(row, 1, WHAT)?,
                        tokens: serde_json::from_str(tokens).map_err(|error| Fault::corrupt(WHAT, error))?,
                        not_recorded: unsigned(row, 3, WHAT)?,
                    })
                },
            )
        })
    }
}

fn record(
    batch: &mut Batch<'_>,
    tokens: &str,
    count: usize,
    not_recorded: u64,
    entry: &AuditEntry,
) -> Result<(), Fault> {
    let at = entry.at.unix_secs();
    let sha256 = hex(&batch_hash(tokens, stored(not_recorded), at));
    let details = json!({ "count": count, "not_recorded": not_recorded, "sha256": sha256 });
    let sequence = append(batch, entry, RECORDED, Some(details))?;
    let sql = "INSERT INTO issued_token_batches (node, sequence, at, tokens, not_recorded) VALUES (?1, ?2, ?3, ?4, ?5)";
    change(
        batch.connection,
        sql,
        (batch.node(), stored(sequence), at, tokens, stored(not_recorded)),
    )?;
    Ok(())
}

/// Removes batches whose time is over and says so in the chain of changes, so that a missing batch is either named
/// there or was taken away. Returns how many rows went.
pub(super) fn remove_expired(
    batch: &mut Batch<'_>,
    now: Timestamp,
    rows_max: u64,
    entry: &AuditEntry,
) -> Result<u64, Fault> {
    let before = now.minus(ISSUED_TOKENS_KEPT_FOR).unix_secs();
    // From the old end of this node's chain, up to the first that is to be kept.
    let sql = "DELETE FROM issued_token_batches WHERE node = ?1 AND sequence IN (
                   SELECT sequence FROM issued_token_batches
                   WHERE node = ?1 AND sequence < coalesce(
                       (SELECT min(sequence) FROM issued_token_batches WHERE node = ?1 AND at >= ?2), 9223372036854775807)
                   ORDER BY sequence LIMIT ?3)
               RETURNING sequence";
    let removed = all(batch.connection, sql, (batch.node(), before, stored(rows_max)), |row| {
        unsigned(row, 0, WHAT)
    })?;
    if let Some(through) = removed.iter().max() {
        let details = json!({ "node": batch.node(), "through": through });
        batch.record(entry, REMOVED, &through.to_string(), Some(details))?;
    }
    Ok(removed.len() as u64)
}

fn append(
    batch: &mut Batch<'_>,
    entry: &AuditEntry,
    action: &'static str,
    details: Option<serde_json::Value>,
) -> Result<u64, Fault> {
    batch.append(
        entry,
        Deed {
            lane: Lane::IssuedTokens,
            action,
            subject: "",
            details,
        },
    )
}
