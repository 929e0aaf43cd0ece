//! [`Audit`] on SQLite: reading.

use std::sync::atomic::Ordering;

use keybound_protocol::digest::hex;
use rusqlite::{Connection, Row};
use tokio::sync::oneshot;

use super::Database;
use super::chain::{Body, lane_of};
use super::fault::Fault;
use super::rows::{all, page, stored, unsigned};
use super::{connection, verify_chain};
use crate::{Answer, Audit, AuditCursor, AuditPage, AuditQuery, AuditRecord, ChainReport, StoreError};

const WHAT: &str = "audit record";

impl Audit for Database {
    fn records(&self, query: AuditQuery) -> Answer<AuditPage> {
        self.scanner.submit(move |connection| records(connection, &query))
    }

    /// On a thread and a connection of its own, because it reads everything; one at a time.
    fn verify_chain(&self) -> Answer<ChainReport> {
        let (reply, answer) = oneshot::channel();
        let (path, key_file) = (self.path.clone(), self.key_file.clone());
        let verifying = self.verifying.clone();
        let was_verifying = verifying.swap(true, Ordering::AcqRel);
        if !was_verifying {
            let verifying = self.verifying.clone();
            let spawned = std::thread::Builder::new().name("store-verify".into()).spawn(move || {
                let report = connection::open_reader(&path)
                    .map_err(Fault::from)
                    .and_then(|connection| verify_chain::verify(&connection, &key_file));
                verifying.store(false, Ordering::Release);
                let _ = reply.send(report.map_err(|fault| fault.to_store_error()));
            });
            if spawned.is_err() {
                self.verifying.store(false, Ordering::Release);
            }
        }
        Box::pin(async move {
            if was_verifying {
                return Err(StoreError::Overloaded { waiting_max: 1 });
            }
            answer.await.unwrap_or(Err(StoreError::Closed))
        })
    }
}

fn records(connection: &Connection, query: &AuditQuery) -> Result<AuditPage, Fault> {
    let before = query.before.map_or(i64::MAX, |AuditCursor(position)| stored(position));
    let rows = page(query.limit);
    // `noun.` means every action of the noun: from `noun.` to just before `noun/`, the next character.
    let (from, to) = match query.action.as_deref() {
        Some(noun) if noun.ends_with('.') => (Some(noun.to_owned()), Some(format!("{}/", noun.trim_end_matches('.')))),
        Some(action) => (Some(action.to_owned()), None),
        None => (None, None),
    };
    let sql = "SELECT position, node, lane, sequence, action, subject, body, previous_hash, hash FROM audit_records
               WHERE position < ?1
                 AND (?2 IS NULL OR (action >= ?2 AND action < ?3) OR (?3 IS NULL AND action = ?2))
                 AND (?4 IS NULL OR subject = ?4)
               ORDER BY position DESC LIMIT ?5";
    let params = (before, from, to, query.subject.as_deref(), stored(rows as u64 + 1));
    let mut found = all(connection, sql, params, |row| {
        Ok((unsigned(row, 0, WHAT)?, record(row)?))
    })?;
    let more = found.len() > rows;
    found.truncate(rows);
    let next = found
        .last()
        .filter(|_| more)
        .map(|(position, _)| AuditCursor(*position));
    Ok(AuditPage {
        records: found.into_iter().map(|(_, record)| record).collect(),
        next,
    })
}

fn record(row: &Row<'_>) -> Result<AuditRecord, Fault> {
    let body: String = row.get(6)?;
    let Body { entry, details } = serde_json::from_str(&body).map_err(|error| Fault::corrupt(WHAT, error))?;
    let lane = row.get(2)?;
    Ok(AuditRecord {
        node: row.get(1)?,
        lane: lane_of(lane).ok_or_else(|| Fault::corrupt(WHAT, format_args!("its lane is {lane}")))?,
        sequence: unsigned(row, 3, WHAT)?,
        entry,
        action: row.get(4)?,
        subject: row.get(5)?,
        details,
        previous_hash: hex(row.get_ref(7)?.as_blob().map_err(|error| Fault::corrupt(WHAT, error))?),
        hash: hex(row.get_ref(8)?.as_blob().map_err(|error| Fault::corrupt(WHAT, error))?),
    })
}
