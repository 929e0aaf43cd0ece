//! [`AccessTokens`] on SQLite.

use std::time::Duration;

use keybound_protocol::client::ClientId;
use keybound_protocol::time::Timestamp;
use rusqlite::Row;
use serde_json::json;

use super::Database;
use super::batch::Batch;
use super::fault::Fault;
use super::revocations;
use super::rows::{change, client_id, counter, one, optional_text, optional_timestamp, stored, thumbprint, timestamp};
use crate::{
    AccessTokenHash, AccessTokenReference, AccessTokenState, AccessTokens, Answer, AuditEntry, OpaqueAccessToken,
    RecordAccessToken, Revocation, RevocationSubject, RevokeAccessToken, StoreError, StoredAccessToken,
    TokenRevocation,
};

const WHAT: &str = "access token";

/// How long after its `exp` a revoked opaque token stays on the deny list: longer than any leeway.
const LEEWAY_MAX: Duration = Duration::from_secs(60);

/// One statement: the token, its own revocation, and every deny entry that covers it.
const FIND: &str = "
    SELECT token_id, client_id, subject, scope, audience, thumbprint, issued_at, expires_at,
           epoch = (SELECT value FROM counters WHERE name = 'epoch'),
           revoked_at IS NOT NULL
           OR EXISTS (SELECT 1 FROM revocations AS denied
                      WHERE denied.kind = 'client_id' AND denied.name = access_tokens.client_id AND denied.until >= ?2
                        AND (denied.issued_before IS NULL OR denied.issued_before > access_tokens.issued_at))
           OR EXISTS (SELECT 1 FROM revocations AS denied
                      WHERE denied.kind = 'x5t#S256' AND denied.name = access_tokens.thumbprint AND denied.until >= ?2
                        AND (denied.issued_before IS NULL OR denied.issued_before > access_tokens.issued_at))
           OR EXISTS (SELECT 1 FROM revocations AS denied
                      WHERE denied.kind = 'jti' AND denied.name = access_tokens.token_id AND denied.until >= ?2
                        AND (denied.issued_before IS NULL OR denied.issued_before > access_tokens.issued_at))
           OR EXISTS (SELECT 1 FROM revocations AS denied
                      WHERE denied.kind = 'grant' AND denied.until >= ?2
                        AND denied.name = substr(access_tokens.token_id, 1, instr(access_tokens.token_id, '.') - 1)
                        AND (denied.issued_before IS NULL OR denied.issued_before > access_tokens.issued_at)),
           authorization_details, auth_time, acr, jkt
    FROM access_tokens WHERE hash = ?1";

impl AccessTokens for Database {
    fn record_opaque_access_token(
        &self,
        hash: AccessTokenHash,
        token: OpaqueAccessToken,
        entry: AuditEntry,
    ) -> Answer<RecordAccessToken> {
        self.writer.submit(move |batch| record(batch, &hash, &token, &entry))
    }

    fn find_access_token(
        &self,
        hash: &AccessTokenHash,
        now: Timestamp,
    ) -> Result<Option<StoredAccessToken>, StoreError> {
        self.readers.read(|connection| {
            one(
                connection,
                FIND,
                (hash.as_bytes(), now.unix_secs()),
                stored_access_token,
            )
        })
    }

    fn revoke_access_token(&self, revocation: TokenRevocation, entry: AuditEntry) -> Answer<RevokeAccessToken> {
        self.writer.submit(move |batch| match &revocation.token {
            AccessTokenReference::Opaque(hash) => revoke_opaque(batch, hash, revocation.issued_to.as_ref(), &entry),
            AccessTokenReference::Jwt {
                token_id,
                client_id,
                until,
            } => {
                if revocation
                    .issued_to
                    .as_ref()
                    .is_some_and(|issued_to| issued_to != client_id)
                {
                    return Ok(RevokeAccessToken::IssuedToAnother);
                }
                revoke_jwt(batch, token_id, client_id, *until, &entry)
            }
        })
    }
}

fn record(
    batch: &mut Batch<'_>,
    hash: &AccessTokenHash,
    token: &OpaqueAccessToken,
    entry: &AuditEntry,
) -> Result<RecordAccessToken, Fault> {
    let audience = serde_json::to_string(&token.audience).map_err(|error| Fault::unwritable(WHAT, error))?;
    let epoch = counter(batch.connection, "epoch")?;
    let thumbprint = token.thumbprint.map(|thumbprint| thumbprint.to_text());
    let key = token.key.map(|key| key.to_text());
    let sql = "INSERT INTO access_tokens
                   (hash, token_id, client_id, subject, scope, audience, thumbprint, issued_at, expires_at, epoch,
                    authorization_details, auth_time, acr, jkt)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) ON CONFLICT DO NOTHING";
    let params = (
        hash.as_bytes(),
        &token.token_id,
        token.client_id.as_str(),
        &token.subject,
        &token.scope,
        audience,
        thumbprint.as_deref(),
        token.issued_at.unix_secs(),
        token.expires_at.unix_secs(),
        stored(epoch),
        token.authorization_details.as_deref(),
        token.auth_time.map(Timestamp::unix_secs),
        token.acr.as_deref(),
        key.as_deref(),
    );
    if change(batch.connection, sql, params)? == 0 {
        return Ok(RecordAccessToken::AlreadyRecorded);
    }
    let details = json!({
        "client_id": token.client_id,
        "scope": token.scope,
        "aud": token.audience,
        "x5t#S256": token.thumbprint,
        "jkt": token.key,
        "exp": token.expires_at,
    });
    batch.record(entry, "access_token.issued", &token.token_id, Some(details))?;
    Ok(RecordAccessToken::Recorded)
}

/// Records the opaque token that is handed out by another verb, if it is one. Each is random: one that is on file is a fault.
pub(super) fn record_with(
    batch: &mut Batch<'_>,
    opaque: Option<&(AccessTokenHash, OpaqueAccessToken)>,
    entry: &AuditEntry,
) -> Result<(), Fault> {
    let Some((hash, token)) = opaque else {
        return Ok(());
    };
    match record(batch, hash, token, entry)? {
        RecordAccessToken::Recorded => Ok(()),
        RecordAccessToken::AlreadyRecorded => Err(Fault::unwritable(WHAT, "the same random number came twice")),
    }
}

fn revoke_opaque(
    batch: &mut Batch<'_>,
    hash: &AccessTokenHash,
    issued_to: Option<&ClientId>,
    entry: &AuditEntry,
) -> Result<RevokeAccessToken, Fault> {
    let sql = "SELECT token_id, client_id, expires_at, revoked_at IS NOT NULL FROM access_tokens WHERE hash = ?1";
    let found = one(batch.connection, sql, [hash.as_bytes()], |row| {
        Ok((
            row.get::<_, String>(0)?,
            client_id(row, 1, WHAT)?,
            timestamp(row, 2)?,
            row.get::<_, bool>(3)?,
        ))
    })?;
    let Some((token_id, client_id, expires_at, is_revoked)) = found else {
        return Ok(RevokeAccessToken::Unknown);
    };
    if issued_to.is_some_and(|issued_to| *issued_to != client_id) {
        return Ok(RevokeAccessToken::IssuedToAnother);
    }
    if is_revoked {
        return Ok(RevokeAccessToken::AlreadyRevoked);
    }
    let sql = "UPDATE access_tokens SET revoked_at = ?2 WHERE hash = ?1";
    change(batch.connection, sql, (hash.as_bytes(), entry.at.unix_secs()))?;
    deny(batch, &token_id, &client_id, expires_at.plus(LEEWAY_MAX), entry)?;
    Ok(RevokeAccessToken::Revoked)
}

/// A JWT is not on file: its deny entry is all there is of it.
fn revoke_jwt(
    batch: &mut Batch<'_>,
    token_id: &str,
    client_id: &ClientId,
    until: Timestamp,
    entry: &AuditEntry,
) -> Result<RevokeAccessToken, Fault> {
    let sql =
        "SELECT 1 FROM revocations WHERE kind = ?1 AND name = ?2 AND until >= ?3 AND issued_before IS NULL LIMIT 1";
    let is_revoked = one(
        batch.connection,
        sql,
        (revocations::TOKEN_ID, token_id, until.unix_secs()),
        |_| Ok(()),
    )?
    .is_some();
    if is_revoked {
        return Ok(RevokeAccessToken::AlreadyRevoked);
    }
    deny(batch, token_id, client_id, until, entry)?;
    Ok(RevokeAccessToken::Revoked)
}

fn deny(
    batch: &mut Batch<'_>,
    token_id: &str,
    client_id: &ClientId,
    until: Timestamp,
    entry: &AuditEntry,
) -> Result<(), Fault> {
    let subject = RevocationSubject::TokenId(token_id.to_owned());
    revocations::add(
        batch,
        &Revocation {
            subject,
            issued_before: None,
            until,
        },
    )?;
    batch.record(
        entry,
        "access_token.revoked",
        token_id,
        Some(json!({ "client_id": client_id })),
    )
}

fn stored_access_token(row: &Row<'_>) -> Result<StoredAccessToken, Fault> {
    let audience = row.get_ref(4)?.as_str().map_err(|error| Fault::corrupt(WHAT, error))?;
    let token = OpaqueAccessToken {
        token_id: row.get(0)?,
        client_id: client_id(row, 1, WHAT)?,
        subject: row.get(2)?,
        scope: row.get(3)?,
        audience: serde_json::from_str(audience).map_err(|error| Fault::corrupt(WHAT, error))?,
        thumbprint: thumbprint(row, 5, WHAT)?,
        authorization_details: row.get(10)?,
        auth_time: optional_timestamp(row, 11)?,
        acr: row.get(12)?,
        key: optional_text(row, 13, WHAT)?,
        issued_at: timestamp(row, 6)?,
        expires_at: timestamp(row, 7)?,
    };
    let (is_of_this_epoch, is_revoked) = (row.get(8)?, row.get(9)?);
    let state = match (is_of_this_epoch, is_revoked) {
        (_, true) => AccessTokenState::Revoked,
        (false, false) => AccessTokenState::Void,
        (true, false) => AccessTokenState::Live,
    };
    Ok(StoredAccessToken { token, state })
}
