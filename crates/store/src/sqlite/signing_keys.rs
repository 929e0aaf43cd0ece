//! [`SigningKeys`] on SQLite: private keys are encrypted before they reach the database and decrypted after they leave
//! it.

use std::sync::Arc;

use keybound_protocol::time::Timestamp;
use rusqlite::{Connection, Row};
use serde_json::json;

use super::Database;
use super::batch::Batch;
use super::fault::Fault;
use super::revocations;
use super::rows::{all, change, one, timestamp};
use crate::key_file::KeyFile;
use crate::{
    Answer, AuditEntry, NewSigningKey, PrivateKeyDer, Revocation, RevocationSubject, RevokeSigningKey,
    RotateSigningKey, SigningKeyState, SigningKeys, StoredSigningKey,
};

const WHAT: &str = "signing key";

impl SigningKeys for Database {
    fn create_first_signing_key(&self, key: NewSigningKey, entry: AuditEntry) -> Answer<RotateSigningKey> {
        let key_file = Arc::clone(&self.key_file);
        self.writer.submit(move |batch| {
            if !active(batch.connection, &key.algorithm)?.is_empty() {
                return Ok(RotateSigningKey::AlreadyExists);
            }
            rotate(batch, &key_file, &key, &entry)
        })
    }

    fn rotate_signing_key(&self, key: NewSigningKey, entry: AuditEntry) -> Answer<RotateSigningKey> {
        let key_file = Arc::clone(&self.key_file);
        self.writer.submit(move |batch| rotate(batch, &key_file, &key, &entry))
    }

    fn revoke_signing_key(&self, key_id: String, until: Timestamp, entry: AuditEntry) -> Answer<RevokeSigningKey> {
        self.writer.submit(move |batch| revoke(batch, &key_id, until, &entry))
    }

    fn retire_other_signing_keys(
        &self,
        kept: Vec<String>,
        added_before: Timestamp,
        entry: AuditEntry,
    ) -> Answer<Vec<String>> {
        self.writer
            .submit(move |batch| retire_others(batch, &kept, added_before, &entry))
    }

    fn remove_retired_signing_keys(&self, retiring_since: Timestamp, entry: AuditEntry) -> Answer<Vec<String>> {
        self.writer
            .submit(move |batch| remove_retired(batch, retiring_since, &entry))
    }

    fn signing_keys(&self) -> Answer<Vec<StoredSigningKey>> {
        let key_file = Arc::clone(&self.key_file);
        self.scanner.submit(move |connection| {
            let sql = "SELECT key_id, algorithm, state, sealed, public_jwk, created_at, changed_at FROM signing_keys
                       ORDER BY position DESC";
            all(connection, sql, [], |row| stored_signing_key(row, &key_file))
        })
    }
}

fn rotate(
    batch: &mut Batch<'_>,
    key_file: &KeyFile,
    key: &NewSigningKey,
    entry: &AuditEntry,
) -> Result<RotateSigningKey, Fault> {
    let connection = batch.connection;
    if state(connection, &key.key_id)?.is_some() {
        return Ok(RotateSigningKey::AlreadyExists);
    }
    let retiring = active(connection, &key.algorithm)?;
    let at = entry.at.unix_secs();
    let sql = "UPDATE signing_keys SET state = 'retiring', changed_at = ?2 WHERE algorithm = ?1 AND state = 'active'";
    change(connection, sql, (&key.algorithm, at))?;
    let sealed = key_file
        .seal(key.private_key.as_pkcs8(), &label(&key.key_id, &key.algorithm))
        .map_err(|error| Fault::unwritable(WHAT, error))?;
    let sql = "INSERT INTO signing_keys (key_id, algorithm, state, sealed, public_jwk, created_at, changed_at)
               VALUES (?1, ?2, 'active', ?3, ?4, ?5, ?5)";
    change(
        connection,
        sql,
        (&key.key_id, &key.algorithm, sealed, &key.public_jwk, at),
    )?;
    let details = json!({ "alg": key.algorithm, "retiring": retiring });
    batch.record(entry, "signing_key.created", &key.key_id, Some(details))?;
    Ok(RotateSigningKey::Rotated { retiring })
}

fn revoke(
    batch: &mut Batch<'_>,
    key_id: &str,
    until: Timestamp,
    entry: &AuditEntry,
) -> Result<RevokeSigningKey, Fault> {
    match state(batch.connection, key_id)? {
        None => return Ok(RevokeSigningKey::Unknown),
        Some(SigningKeyState::Revoked) => return Ok(RevokeSigningKey::AlreadyRevoked),
        Some(SigningKeyState::Active | SigningKeyState::Retiring) => {}
    }
    let sql = "UPDATE signing_keys SET state = 'revoked', sealed = NULL, changed_at = ?2 WHERE key_id = ?1";
    change(batch.connection, sql, (key_id, entry.at.unix_secs()))?;
    // Whoever has the key can date tokens as he likes, so the entry knows no `issued_before`.
    let subject = RevocationSubject::SigningKey(key_id.to_owned());
    revocations::add(
        batch,
        &Revocation {
            subject,
            issued_before: None,
            until,
        },
    )?;
    batch.record(entry, "signing_key.revoked", key_id, Some(json!({ "until": until })))?;
    Ok(RevokeSigningKey::Revoked)
}

fn retire_others(
    batch: &mut Batch<'_>,
    kept: &[String],
    added_before: Timestamp,
    entry: &AuditEntry,
) -> Result<Vec<String>, Fault> {
    let Some(algorithm) = kept.first() else {
        return Ok(Vec::new());
    };
    let sql = "UPDATE signing_keys SET state = 'retiring', changed_at = ?3
               WHERE state = 'active' AND algorithm NOT IN (SELECT value FROM json_each(?4)) AND created_at < ?2 AND EXISTS (
                   SELECT 1 FROM signing_keys AS successor
                   WHERE successor.state = 'active' AND successor.algorithm = ?1 AND successor.created_at < ?2)
               RETURNING key_id";
    let parameters = (
        algorithm,
        added_before.unix_secs(),
        entry.at.unix_secs(),
        json!(kept).to_string(),
    );
    let retiring: Vec<String> = all(batch.connection, sql, parameters, |row| Ok(row.get(0)?))?;
    for key_id in &retiring {
        batch.record(
            entry,
            "signing_key.retired",
            key_id,
            Some(json!({ "successor_alg": algorithm })),
        )?;
    }
    Ok(retiring)
}

fn remove_retired(batch: &mut Batch<'_>, retiring_since: Timestamp, entry: &AuditEntry) -> Result<Vec<String>, Fault> {
    let sql = "DELETE FROM signing_keys WHERE state = 'retiring' AND changed_at < ?1 RETURNING key_id";
    let removed: Vec<String> = all(batch.connection, sql, [retiring_since.unix_secs()], |row| {
        Ok(row.get(0)?)
    })?;
    for key_id in &removed {
        batch.record(entry, "signing_key.removed", key_id, None)?;
    }
    Ok(removed)
}

fn active(connection: &Connection, algorithm: &str) -> Result<Vec<String>, Fault> {
    let sql = "SELECT key_id FROM signing_keys WHERE algorithm = ?1 AND state = 'active' ORDER BY position";
    all(connection, sql, [algorithm], |row| Ok(row.get(0)?))
}

fn state(connection: &Connection, key_id: &str) -> Result<Option<SigningKeyState>, Fault> {
    one(
        connection,
        "SELECT state FROM signing_keys WHERE key_id = ?1",
        [key_id],
        |row| state_of(row, 0),
    )
}

/// A sealed key opens only as the key it was stored as: rows can't be exchanged.
fn label(key_id: &str, algorithm: &str) -> Vec<u8> {
    format!("signing key {}:{key_id} {algorithm}", key_id.len()).into_bytes()
}

fn stored_signing_key(row: &Row<'_>, key_file: &KeyFile) -> Result<StoredSigningKey, Fault> {
    let (key_id, algorithm): (String, String) = (row.get(0)?, row.get(1)?);
    let private_key = match row.get_ref(3)? {
        rusqlite::types::ValueRef::Null => None,
        value => {
            let sealed = value.as_blob().map_err(|error| Fault::corrupt(WHAT, error))?;
            let der = key_file.unseal(sealed, &label(&key_id, &algorithm)).map_err(|error| {
                Fault::corrupt(WHAT, format_args!("{key_id} {error} ({})", key_file.path().display()))
            })?;
            Some(PrivateKeyDer::from_zeroizing(der))
        }
    };
    Ok(StoredSigningKey {
        state: state_of(row, 2)?,
        key_id,
        algorithm,
        private_key,
        public_jwk: row.get(4)?,
        created_at: timestamp(row, 5)?,
        changed_at: timestamp(row, 6)?,
    })
}

fn state_of(row: &Row<'_>, column: usize) -> Result<SigningKeyState, Fault> {
    match row
        .get_ref(column)?
        .as_str()
        .map_err(|error| Fault::corrupt(WHAT, error))?
    {
        "active" => Ok(SigningKeyState::Active),
        "retiring" => Ok(SigningKeyState::Retiring),
        "revoked" => Ok(SigningKeyState::Revoked),
        other => Err(Fault::corrupt(WHAT, format_args!("its state is {other:?}"))),
    }
}
