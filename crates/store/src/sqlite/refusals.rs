//! [`Refusals`] on SQLite.

use keybound_protocol::confirmation::ThumbprintText;
use keybound_protocol::refusal::{Refusal, RefusalId};
use rusqlite::{Connection, Row};

use super::Database;
use super::batch::Batch;
use super::fault::Fault;
use super::rows::{all, change, counter, one, page, stored, unsigned};
use crate::refusals::{REFUSAL_BYTES_MAX, REFUSALS_KEPT_MAX};
use crate::{Answer, RefusalCounts, RefusalPage, RefusalQuery, Refusals, StoreError};

const WHAT: &str = "refusal";
const SECS_PER_HOUR: i64 = 3600;

impl Refusals for Database {
    fn append_refusals(&self, refusals: &[Refusal], not_stored: u64) -> Answer<()> {
        // Turned into rows here, on the caller's thread: the writer has only one.
        let rows: Result<Vec<NewRow>, _> = refusals.iter().map(NewRow::of).collect();
        self.writer.submit(move |batch| {
            append(
                batch,
                &rows.map_err(|error| Fault::unwritable(WHAT, error))?,
                not_stored,
            )
        })
    }

    fn find_refusal(&self, id: &RefusalId) -> Result<Option<Refusal>, StoreError> {
        let sql = "SELECT record FROM refusals WHERE id = ?1";
        self.readers
            .read(|connection| one(connection, sql, [id.as_str()], refusal))
    }

    fn list_refusals(&self, query: RefusalQuery) -> Answer<RefusalPage> {
        self.scanner.submit(move |connection| list(connection, &query))
    }

    fn count_refusals(&self) -> Answer<RefusalCounts> {
        self.scanner.submit(|connection| {
            let sql =
                "SELECT (SELECT count(*) FROM refusals), (SELECT coalesce(sum(count), 0) FROM refusals_not_stored)";
            let counts = one(connection, sql, [], |row| {
                Ok(RefusalCounts {
                    stored: unsigned(row, 0, WHAT)?,
                    not_stored: unsigned(row, 1, WHAT)?,
                })
            })?;
            Ok(counts.unwrap_or_default())
        })
    }
}

/// A refusal as its row.
struct NewRow {
    id: RefusalId,
    at: i64,
    client_id: Option<String>,
    thumbprint: Option<ThumbprintText>,
    record: String,
}

impl NewRow {
    fn of(refusal: &Refusal) -> serde_json::Result<NewRow> {
        Ok(NewRow {
            id: refusal.id,
            at: refusal.at.unix_secs(),
            client_id: refusal.client_id.clone(),
            thumbprint: refusal
                .certificate
                .as_ref()
                .map(|certificate| certificate.thumbprint.to_text()),
            record: serde_json::to_string(refusal)?,
        })
    }
}

fn append(batch: &mut Batch<'_>, rows: &[NewRow], not_stored: u64) -> Result<(), Fault> {
    let connection = batch.connection;
    let mut not_stored = not_stored;
    let mut position = counter(connection, "refusal_position")?;
    for row in rows {
        if row.record.len() > REFUSAL_BYTES_MAX {
            not_stored += 1;
            continue;
        }
        // The same id again is the same refusal, sent again after a commit whose answer was lost.
        let sql =
            "INSERT INTO refusals (position, id, at, client_id, thumbprint, record) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                   ON CONFLICT (id) DO NOTHING";
        let (client_id, thumbprint) = (row.client_id.as_deref(), row.thumbprint.as_deref());
        let params = (
            stored(position + 1),
            row.id.as_str(),
            row.at,
            client_id,
            thumbprint,
            &row.record,
        );
        position += change(connection, sql, params)? as u64;
    }
    change(
        connection,
        "UPDATE counters SET value = ?1 WHERE name = 'refusal_position'",
        [stored(position)],
    )?;
    // Positions have no holes: rows go only at the old end.
    let oldest_gone = position.saturating_sub(REFUSALS_KEPT_MAX);
    change(
        connection,
        "DELETE FROM refusals WHERE position <= ?1",
        [stored(oldest_gone)],
    )?;
    count_not_stored(connection, rows.last().map(|row| row.at), not_stored)
}

/// Counts in the hour of the batch's last refusal; a batch that is nothing but a count falls into the hour last
/// counted.
fn count_not_stored(connection: &Connection, at: Option<i64>, not_stored: u64) -> Result<(), Fault> {
    if not_stored == 0 {
        return Ok(());
    }
    let sql = "INSERT INTO refusals_not_stored (hour, count)
               VALUES (coalesce(?1, (SELECT max(hour) FROM refusals_not_stored), 0), ?2)
               ON CONFLICT (hour) DO UPDATE SET count = count + excluded.count";
    change(
        connection,
        sql,
        (at.map(|at| at.div_euclid(SECS_PER_HOUR)), stored(not_stored)),
    )?;
    Ok(())
}

fn list(connection: &Connection, query: &RefusalQuery) -> Result<RefusalPage, Fault> {
    let before = match &query.before {
        None => i64::MAX,
        Some(id) => {
            let sql = "SELECT position FROM refusals WHERE id = ?1";
            let position = one(connection, sql, [id.as_str()], |row| Ok(row.get(0)?))?;
            // Zero is before the first.
            position.unwrap_or(0)
        }
    };
    let rows = page(query.limit);
    let limit = stored(rows as u64 + 1);
    let thumbprint = query.thumbprint.map(|thumbprint| thumbprint.to_text());
    // Four statements instead of one with `OR ... IS NULL`, so that each uses its own index.
    let mut refusals = match (thumbprint.as_deref(), query.client_id.as_deref()) {
        (None, None) => {
            let sql = "SELECT record FROM refusals WHERE position < ?1 ORDER BY position DESC LIMIT ?2";
            all(connection, sql, (before, limit), refusal)?
        }
        (Some(thumbprint), None) => {
            let sql = "SELECT record FROM refusals WHERE thumbprint = ?3 AND position < ?1
                       ORDER BY position DESC LIMIT ?2";
            all(connection, sql, (before, limit, thumbprint), refusal)?
        }
        (None, Some(client_id)) => {
            let sql = "SELECT record FROM refusals WHERE client_id = ?3 AND position < ?1
                       ORDER BY position DESC LIMIT ?2";
            all(connection, sql, (before, limit, client_id), refusal)?
        }
        (Some(thumbprint), Some(client_id)) => {
            let sql = "SELECT record FROM refusals WHERE thumbprint = ?3 AND client_id = ?4 AND position < ?1
                       ORDER BY position DESC LIMIT ?2";
            all(connection, sql, (before, limit, thumbprint, client_id), refusal)?
        }
    };
    let more = refusals.len() > rows;
    refusals.truncate(rows);
    let next = refusals.last().filter(|_| more).map(|refusal| refusal.id);
    Ok(RefusalPage { refusals, next })
}

fn refusal(row: &Row<'_>) -> Result<Refusal, Fault> {
    let record = row.get_ref(0)?.as_str().map_err(|error| Fault::corrupt(WHAT, error))?;
    serde_json::from_str(record).map_err(|error| Fault::corrupt(WHAT, error))
}
