//! [`TrustAnchors`] on SQLite.

use rusqlite::Row;
use serde_json::json;

use super::Database;
use super::batch::Batch;
use super::fault::Fault;
use super::rows::{all, change, counter, next, one, stored, timestamp, unsigned};
use crate::trust_anchors::TRUST_ANCHORS_MAX;
use crate::{
    Answer, AuditEntry, CreateTrustAnchor, DeleteTrustAnchor, NewTrustAnchor, ReplaceTrustAnchor, StoreError,
    StoredTrustAnchor, TrustAnchors,
};

const WHAT: &str = "trust anchor";

impl TrustAnchors for Database {
    fn create_trust_anchor(&self, anchor: NewTrustAnchor, entry: AuditEntry) -> Answer<CreateTrustAnchor> {
        self.writer.submit(move |batch| create(batch, &anchor, &entry))
    }

    fn replace_trust_anchor(
        &self,
        anchor: NewTrustAnchor,
        if_version: Option<u64>,
        entry: AuditEntry,
    ) -> Answer<ReplaceTrustAnchor> {
        self.writer
            .submit(move |batch| replace(batch, &anchor, if_version, &entry))
    }

    fn delete_trust_anchor(
        &self,
        name: String,
        if_version: Option<u64>,
        entry: AuditEntry,
    ) -> Answer<DeleteTrustAnchor> {
        self.writer
            .submit(move |batch| delete(batch, &name, if_version, &entry))
    }

    fn trust_anchors(&self) -> Answer<Vec<StoredTrustAnchor>> {
        self.scanner.submit(|connection| {
            let sql = "SELECT name, definition, version, created_at FROM trust_anchors ORDER BY name";
            all(connection, sql, [], stored_trust_anchor)
        })
    }

    fn trust_epoch(&self) -> Result<u64, StoreError> {
        self.readers.read(|connection| counter(connection, "trust_epoch"))
    }
}

fn create(batch: &mut Batch<'_>, anchor: &NewTrustAnchor, entry: &AuditEntry) -> Result<CreateTrustAnchor, Fault> {
    let sql = "SELECT count(*) FROM trust_anchors";
    let count = one(batch.connection, sql, [], |row| unsigned(row, 0, WHAT))?.unwrap_or(0);
    if version(batch, &anchor.name)?.is_some() {
        return Ok(CreateTrustAnchor::AlreadyExists);
    }
    if count >= TRUST_ANCHORS_MAX {
        return Ok(CreateTrustAnchor::TooMany);
    }
    let epoch = next(batch.connection, "trust_epoch")?;
    let sql = "INSERT INTO trust_anchors (name, definition, version, created_at) VALUES (?1, ?2, ?3, ?4)";
    change(
        batch.connection,
        sql,
        (&anchor.name, &anchor.definition, stored(epoch), entry.at.unix_secs()),
    )?;
    batch.record(
        entry,
        "trust_anchor.created",
        &anchor.name,
        Some(json!({ "trust_epoch": epoch })),
    )?;
    Ok(CreateTrustAnchor::Created { epoch })
}

fn replace(
    batch: &mut Batch<'_>,
    anchor: &NewTrustAnchor,
    if_version: Option<u64>,
    entry: &AuditEntry,
) -> Result<ReplaceTrustAnchor, Fault> {
    let Some(current) = version(batch, &anchor.name)? else {
        return Ok(ReplaceTrustAnchor::Unknown);
    };
    if if_version.is_some_and(|expected| expected != current) {
        return Ok(ReplaceTrustAnchor::VersionConflict { current });
    }
    let epoch = next(batch.connection, "trust_epoch")?;
    change(
        batch.connection,
        "UPDATE trust_anchors SET definition = ?2, version = ?3 WHERE name = ?1",
        (&anchor.name, &anchor.definition, stored(epoch)),
    )?;
    batch.record(
        entry,
        "trust_anchor.replaced",
        &anchor.name,
        Some(json!({ "trust_epoch": epoch, "replaced_version": current })),
    )?;
    Ok(ReplaceTrustAnchor::Replaced { epoch })
}

fn delete(
    batch: &mut Batch<'_>,
    name: &str,
    if_version: Option<u64>,
    entry: &AuditEntry,
) -> Result<DeleteTrustAnchor, Fault> {
    let Some(current) = version(batch, name)? else {
        return Ok(DeleteTrustAnchor::Unknown);
    };
    if if_version.is_some_and(|expected| expected != current) {
        return Ok(DeleteTrustAnchor::VersionConflict { current });
    }
    let epoch = next(batch.connection, "trust_epoch")?;
    change(batch.connection, "DELETE FROM trust_anchors WHERE name = ?1", [name])?;
    batch.record(
        entry,
        "trust_anchor.deleted",
        name,
        Some(json!({ "trust_epoch": epoch })),
    )?;
    Ok(DeleteTrustAnchor::Deleted { epoch })
}

fn version(batch: &Batch<'_>, name: &str) -> Result<Option<u64>, Fault> {
    one(
        batch.connection,
        "SELECT version FROM trust_anchors WHERE name = ?1",
        [name],
        |row| unsigned(row, 0, WHAT),
    )
}

fn stored_trust_anchor(row: &Row<'_>) -> Result<StoredTrustAnchor, Fault> {
    Ok(StoredTrustAnchor {
        name: row.get(0)?,
        definition: row.get(1)?,
        version: unsigned(row, 2, WHAT)?,
        created_at: timestamp(row, 3)?,
    })
}
