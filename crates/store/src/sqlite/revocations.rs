//! [`Revocations`] on SQLite.

use std::time::Duration;

use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::grant_id::GrantId;
use keybound_protocol::time::Timestamp;
use rusqlite::{Connection, Row};
use serde_json::json;
use tokio::sync::watch;

use super::Database;
use super::batch::Batch;
use super::fault::Fault;
use super::rows::{all, change, counter, next, one, page, stored, text, timestamp, unsigned};
use crate::{
    Answer, AuditEntry, Revocation, RevocationCursor, RevocationPage, RevocationSubject, Revocations, StoreError,
    TokenMarks,
};

const WHAT: &str = "deny entry";

impl Revocations for Database {
    fn revoke(&self, revocation: Revocation, entry: AuditEntry) -> Answer<RevocationCursor> {
        self.writer.submit(move |batch| {
            let position = add(batch, &revocation)?;
            end_bound_grants(batch, &revocation, &entry)?;
            let (kind, name) = columns(&revocation.subject);
            let details = json!({
                "kind": kind,
                "issued_before": revocation.issued_before,
                "until": revocation.until,
            });
            batch.record(&entry, "revocation.added", &name, Some(details))?;
            Ok(RevocationCursor {
                epoch: counter(batch.connection, "epoch")?,
                position,
            })
        })
    }

    fn find_revocation(&self, token: TokenMarks<'_>, now: Timestamp) -> Result<Option<Revocation>, StoreError> {
        let sql = "SELECT kind, name, issued_before, until FROM revocations
                   WHERE kind = ?1 AND name = ?2 AND until >= ?3 AND (issued_before IS NULL OR issued_before > ?4)
                   LIMIT 1";
        let thumbprint = token.thumbprint.map(|thumbprint| thumbprint.to_text());
        let marks = [
            (TOKEN_ID, Some(token.token_id)),
            (GRANT, GrantId::text_in(token.token_id)),
            (CLIENT, Some(token.client_id.as_str())),
            (CERTIFICATE, thumbprint.as_deref()),
            (SIGNING_KEY, token.key_id),
        ];
        self.readers.read(|connection| {
            for (kind, name) in marks {
                let Some(name) = name else { continue };
                let params = (kind, name, now.unix_secs(), token.issued_at.unix_secs());
                if let Some(found) = one(connection, sql, params, revocation)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        })
    }

    fn find_certificate_revocation(
        &self,
        thumbprint: &CertificateThumbprint,
        now: Timestamp,
    ) -> Result<Option<Revocation>, StoreError> {
        let sql = "SELECT kind, name, issued_before, until FROM revocations
                   WHERE kind = ?1 AND name = ?2 AND until >= ?3 LIMIT 1";
        let params = (CERTIFICATE, &*thumbprint.to_text(), now.unix_secs());
        self.readers.read(|connection| one(connection, sql, params, revocation))
    }

    fn count_bound_access_tokens(&self, thumbprint: CertificateThumbprint, now: Timestamp) -> Answer<u64> {
        self.scanner.submit(move |connection| {
            let sql = "SELECT count(*) FROM access_tokens
                       WHERE thumbprint = ?1 AND expires_at > ?2 AND revoked_at IS NULL
                         AND epoch = (SELECT value FROM counters WHERE name = 'epoch')";
            let params = (&*thumbprint.to_text(), now.unix_secs());
            Ok(one(connection, sql, params, |row| unsigned(row, 0, WHAT))?.unwrap_or_default())
        })
    }

    fn revocations_after(&self, cursor: RevocationCursor, limit: u16) -> Result<RevocationPage, StoreError> {
        self.readers.read(|connection| {
            let epoch = counter(connection, "epoch")?;
            // A position that was never handed out is another database's: everything is read again.
            let newest = counter(connection, "revocation_position")?;
            let is_ours = cursor.epoch == epoch && cursor.position <= newest;
            let from = if is_ours { cursor.position } else { 0 };
            let sql = "SELECT kind, name, issued_before, until, position FROM revocations
                       WHERE position > ?1 ORDER BY position LIMIT ?2";
            let rows = page(limit);
            let mut found = all(connection, sql, (stored(from), stored(rows as u64 + 1)), |row| {
                Ok((revocation(row)?, unsigned(row, 4, WHAT)?))
            })?;
            let more = found.len() > rows;
            found.truncate(rows);
            let position = found.last().map_or(from, |(_, position)| *position);
            let entries = found.into_iter().map(|(revocation, _)| revocation).collect();
            Ok(RevocationPage {
                entries,
                cursor: RevocationCursor { epoch, position },
                more,
            })
        })
    }

    fn watch_revocations(&self) -> watch::Receiver<RevocationCursor> {
        self.revocation_cursor.subscribe()
    }
}

/// The newest cursor.
pub(super) fn newest(connection: &Connection) -> Result<RevocationCursor, Fault> {
    Ok(RevocationCursor {
        epoch: counter(connection, "epoch")?,
        position: counter(connection, "revocation_position")?,
    })
}

/// Adds a deny entry, as part of another verb: its record is that verb's. Returns its position.
///
/// Positions are handed out inside the transaction of the one writer, so they become visible in their order and a
/// follower that has read up to one of them has missed none.
pub(super) fn add(batch: &mut Batch<'_>, revocation: &Revocation) -> Result<u64, Fault> {
    let position = next(batch.connection, "revocation_position")?;
    let (kind, name) = columns(&revocation.subject);
    let sql = "INSERT INTO revocations (position, kind, name, issued_before, until) VALUES (?1, ?2, ?3, ?4, ?5)";
    let issued_before = revocation.issued_before.map(Timestamp::unix_secs);
    change(
        batch.connection,
        sql,
        (
            stored(position),
            kind,
            &*name,
            issued_before,
            revocation.until.unix_secs(),
        ),
    )?;
    // Certificates also authenticate clients: cached verdicts about them name the trust epoch.
    if matches!(revocation.subject, RevocationSubject::Certificate(_)) {
        next(batch.connection, "trust_epoch")?;
    }
    batch.revoked(position);
    Ok(position)
}

/// Ends the grants whose refresh tokens are bound to a revoked certificate. Their access tokens are bound to it as well, so
/// the one deny entry is enough for them.
fn end_bound_grants(batch: &Batch<'_>, revocation: &Revocation, entry: &AuditEntry) -> Result<(), Fault> {
    let RevocationSubject::Certificate(thumbprint) = &revocation.subject else {
        return Ok(());
    };
    let sql = "UPDATE grants SET revoked_at = ?2 WHERE revoked_at IS NULL AND grant_id IN
                   (SELECT grant_id FROM refresh_tokens WHERE thumbprint = ?1 AND (?3 IS NULL OR issued_at < ?3))";
    let issued_before = revocation.issued_before.map(Timestamp::unix_secs);
    change(
        batch.connection,
        sql,
        (&*thumbprint.to_text(), entry.at.unix_secs(), issued_before),
    )?;
    Ok(())
}

/// The second after `at`: an `issued_before` that includes what was issued in the second of `at`.
pub(super) const fn after(at: Timestamp) -> Timestamp {
    at.plus(Duration::from_secs(1))
}

pub(super) const TOKEN_ID: &str = "jti";
pub(super) const GRANT: &str = "grant";
pub(super) const CLIENT: &str = "client_id";
pub(super) const CERTIFICATE: &str = "x5t#S256";
pub(super) const SIGNING_KEY: &str = "kid";

fn columns(subject: &RevocationSubject) -> (&'static str, String) {
    match subject {
        RevocationSubject::TokenId(token_id) => (TOKEN_ID, token_id.clone()),
        RevocationSubject::Grant(grant_id) => (GRANT, grant_id.as_str().to_owned()),
        RevocationSubject::Client(client_id) => (CLIENT, client_id.as_str().to_owned()),
        RevocationSubject::Certificate(thumbprint) => (CERTIFICATE, thumbprint.to_string()),
        RevocationSubject::SigningKey(key_id) => (SIGNING_KEY, key_id.clone()),
    }
}

fn revocation(row: &Row<'_>) -> Result<Revocation, Fault> {
    let kind: String = row.get(0)?;
    let subject = match kind.as_str() {
        TOKEN_ID => RevocationSubject::TokenId(row.get(1)?),
        GRANT => RevocationSubject::Grant(text(row, 1, WHAT)?),
        CLIENT => RevocationSubject::Client(text(row, 1, WHAT)?),
        CERTIFICATE => RevocationSubject::Certificate(text(row, 1, WHAT)?),
        SIGNING_KEY => RevocationSubject::SigningKey(row.get(1)?),
        other => return Err(Fault::corrupt(WHAT, format_args!("its kind is {other:?}"))),
    };
    let issued_before = row.get::<_, Option<i64>>(2)?.map(Timestamp::from_unix_secs);
    Ok(Revocation {
        subject,
        issued_before,
        until: timestamp(row, 3)?,
    })
}
