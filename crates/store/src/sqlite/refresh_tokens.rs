//! [`RefreshTokens`] on SQLite.

use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::grant_id::GrantId;
use keybound_protocol::time::Timestamp;
use rusqlite::{Connection, Row};
use serde_json::json;
use zeroize::Zeroizing;

use super::Database;
use super::access_tokens;
use super::batch::Batch;
use super::fault::Fault;
use super::grants::{self, Ending, GRANT_COLUMNS, grant_columns, stored_grant};
use super::rows::{change, one, optional_timestamp, stored, thumbprint, timestamp, unsigned};
use crate::{
    Answer, AuditEntry, NewRefreshToken, RecordRefresh, RefreshTokenHash, RefreshTokenHolder, RefreshTokens,
    RefreshUse, RotateRefreshToken, Rotation, StoreError, StoredRefreshToken,
};

const WHAT: &str = "refresh token";

const FIND: &str = concat!(
    "SELECT ",
    grant_columns!(),
    ", r.generation, r.holder, r.thumbprint, r.jkt, r.issued_at, r.used_at, r.superseded_at, r.idle_until
     FROM refresh_tokens AS r JOIN grants AS g ON g.grant_id = r.grant_id WHERE r.hash = ?1"
);

impl RefreshTokens for Database {
    fn find_refresh_token(&self, hash: &RefreshTokenHash) -> Result<Option<StoredRefreshToken>, StoreError> {
        self.readers.read(|connection| find(connection, hash))
    }

    fn record_refresh(&self, refresh: RefreshUse, entry: AuditEntry) -> Answer<RecordRefresh> {
        self.writer.submit(move |batch| record(batch, &refresh, &entry))
    }

    fn rotate_refresh_token(&self, rotation: Rotation, entry: AuditEntry) -> Answer<RotateRefreshToken> {
        self.writer.submit(move |batch| rotate(batch, &rotation, &entry))
    }

    fn derive_successor(
        &self,
        token: &str,
        family: &GrantId,
        generation: u64,
    ) -> Result<Zeroizing<String>, StoreError> {
        self.key_file
            .refresh_token_successor(token, family, generation)
            .ok_or_else(|| StoreError::Unavailable {
                reason: "the successor of a refresh token could not be derived".into(),
            })
    }
}

fn find(connection: &Connection, hash: &RefreshTokenHash) -> Result<Option<StoredRefreshToken>, Fault> {
    one(connection, FIND, [hash.as_bytes()], |row| {
        Ok(StoredRefreshToken {
            grant: stored_grant(row, 0)?,
            generation: unsigned(row, GRANT_COLUMNS, WHAT)?,
            holder: holder(row)?,
            issued_at: timestamp(row, GRANT_COLUMNS + 4)?,
            used_at: timestamp(row, GRANT_COLUMNS + 5)?,
            superseded_at: optional_timestamp(row, GRANT_COLUMNS + 6)?,
            idle_until: timestamp(row, GRANT_COLUMNS + 7)?,
        })
    })
}

fn holder(row: &Row<'_>) -> Result<RefreshTokenHolder, Fault> {
    let kind: String = row.get(GRANT_COLUMNS + 1)?;
    let missing = || Fault::corrupt(WHAT, format_args!("it has no {kind}"));
    Ok(match kind.as_str() {
        AUTHENTICATED_CLIENT => RefreshTokenHolder::AuthenticatedClient,
        CERTIFICATE => RefreshTokenHolder::Certificate(thumbprint(row, GRANT_COLUMNS + 2, WHAT)?.ok_or_else(missing)?),
        KEY => RefreshTokenHolder::Key(row.get::<_, Option<String>>(GRANT_COLUMNS + 3)?.ok_or_else(missing)?),
        BEARER => RefreshTokenHolder::Bearer,
        other => return Err(Fault::corrupt(WHAT, format_args!("its holder is {other:?}"))),
    })
}

const AUTHENTICATED_CLIENT: &str = "client";
const CERTIFICATE: &str = "certificate";
const KEY: &str = "key";
const BEARER: &str = "bearer";

/// Kind, thumbprint, key.
fn columns(holder: &RefreshTokenHolder) -> (&'static str, Option<&CertificateThumbprint>, Option<&str>) {
    match holder {
        RefreshTokenHolder::AuthenticatedClient => (AUTHENTICATED_CLIENT, None, None),
        RefreshTokenHolder::Certificate(thumbprint) => (CERTIFICATE, Some(thumbprint), None),
        RefreshTokenHolder::Key(jkt) => (KEY, None, Some(jkt)),
        RefreshTokenHolder::Bearer => (BEARER, None, None),
    }
}

/// Records the first refresh token of a grant, as part of another verb.
pub(super) fn insert(
    batch: &Batch<'_>,
    grant_id: &GrantId,
    token: &NewRefreshToken,
    entry: &AuditEntry,
) -> Result<(), Fault> {
    insert_generation(batch, grant_id, 1, token, entry.at)
}

fn insert_generation(
    batch: &Batch<'_>,
    grant_id: &GrantId,
    generation: u64,
    token: &NewRefreshToken,
    at: Timestamp,
) -> Result<(), Fault> {
    let (kind, thumbprint, jkt) = columns(&token.holder);
    let sql = "INSERT INTO refresh_tokens
                   (hash, grant_id, generation, holder, thumbprint, jkt, issued_at, used_at, idle_until)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8)";
    let params = (
        token.hash.as_bytes(),
        grant_id.as_str(),
        stored(generation),
        kind,
        thumbprint.map(|thumbprint| thumbprint.to_string()),
        jkt,
        at.unix_secs(),
        token.idle_until.unix_secs(),
    );
    change(batch.connection, sql, params)?;
    Ok(())
}

fn record(batch: &mut Batch<'_>, refresh: &RefreshUse, entry: &AuditEntry) -> Result<RecordRefresh, Fault> {
    let Some(found) = find(batch.connection, &refresh.hash)? else {
        return Ok(RecordRefresh::Ended);
    };
    if !grants::is_live(&found.grant, entry.at) {
        return Ok(RecordRefresh::Ended);
    }
    if let Some(idle_until) = refresh.idle_until {
        let sql = "UPDATE refresh_tokens SET used_at = ?2, idle_until = max(idle_until, ?3) WHERE hash = ?1";
        let params = (refresh.hash.as_bytes(), entry.at.unix_secs(), idle_until.unix_secs());
        change(batch.connection, sql, params)?;
        let grant = &found.grant.grant;
        let details = json!({ "client_id": grant.client_id, "idle_until": idle_until });
        batch.record(entry, "refresh_token.used", grant.grant_id.as_str(), Some(details))?;
    }
    access_tokens::record_with(batch, refresh.opaque.as_ref(), entry)?;
    Ok(RecordRefresh::Recorded)
}

fn rotate(batch: &mut Batch<'_>, rotation: &Rotation, entry: &AuditEntry) -> Result<RotateRefreshToken, Fault> {
    let Some(found) = find(batch.connection, &rotation.presented)? else {
        return Ok(RotateRefreshToken::Unknown);
    };
    if !found.holder.is_rotated() || !grants::is_live(&found.grant, entry.at) {
        return Ok(RotateRefreshToken::Refused);
    }
    let is_holder = found.holder == rotation.presenter;
    let grant = &found.grant.grant;
    match found.superseded_at {
        None if !is_holder || entry.at >= found.idle_until => Ok(RotateRefreshToken::Refused),
        None => {
            let sql = "UPDATE refresh_tokens SET superseded_at = ?2, used_at = ?2 WHERE hash = ?1";
            change(
                batch.connection,
                sql,
                (rotation.presented.as_bytes(), entry.at.unix_secs()),
            )?;
            let successor = NewRefreshToken {
                hash: rotation.successor,
                holder: found.holder,
                idle_until: rotation.idle_until,
            };
            let generation = found.generation.saturating_add(1);
            insert_generation(batch, &grant.grant_id, generation, &successor, entry.at)?;
            hand_out(batch, rotation, &grant.grant_id, generation, entry)?;
            Ok(RotateRefreshToken::Rotated)
        }
        Some(superseded_at) => {
            let generation = found.generation.saturating_add(1);
            // Never for a token that is bound to nothing: what makes asking again safe is that only the one who was answered can do
            // it. Anybody can send such a token and its `client_id`, so within the window a thief of the predecessor would be handed
            // the successor that its owner holds, with an access token, and no alarm before both have used it.
            let may_be_retry = is_holder
                && found.holder != RefreshTokenHolder::Bearer
                && entry.at <= superseded_at.plus(rotation.retry_window)
                && is_unused_successor(batch.connection, &grant.grant_id, generation, &rotation.successor)?;
            if may_be_retry {
                hand_out(batch, rotation, &grant.grant_id, generation, entry)?;
                return Ok(RotateRefreshToken::Repeated);
            }
            let ending = Ending {
                why: "refresh token presented again",
                tokens_until: rotation.tokens_until,
                entry,
            };
            grants::end(batch, &grant.grant_id, &ending)?;
            Ok(RotateRefreshToken::Reused)
        }
    }
}

fn hand_out(
    batch: &mut Batch<'_>,
    rotation: &Rotation,
    grant_id: &GrantId,
    generation: u64,
    entry: &AuditEntry,
) -> Result<(), Fault> {
    access_tokens::record_with(batch, rotation.opaque.as_ref(), entry)?;
    let details = json!({ "generation": generation });
    batch.record(entry, "refresh_token.rotated", grant_id.as_str(), Some(details))
}

/// Whether this generation is the one that was derived now, and was never used: every use leaves a successor.
fn is_unused_successor(
    connection: &Connection,
    grant_id: &GrantId,
    generation: u64,
    hash: &RefreshTokenHash,
) -> Result<bool, Fault> {
    let sql = "SELECT 1 FROM refresh_tokens
               WHERE grant_id = ?1 AND generation = ?2 AND hash = ?3 AND superseded_at IS NULL";
    let params = (grant_id.as_str(), stored(generation), hash.as_bytes());
    Ok(one(connection, sql, params, |_| Ok(()))?.is_some())
}
