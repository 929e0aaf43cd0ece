//! [`AuthorizationCodes`] on SQLite.

use keybound_protocol::grant_id::GrantId;
use rusqlite::{Connection, Row};
use serde_json::json;

use super::Database;
use super::batch::Batch;
use super::fault::Fault;
use super::grants::{
    self, Ending, GRANT_COLUMNS, grant_columns, grant_is_of_this_epoch, grant_was_ended, stored_grant,
};
use super::rows::{change, one, text, timestamp};
use super::{access_tokens, refresh_tokens, revocations};
use crate::{
    Answer, AuditEntry, AuthorizationCode, AuthorizationCodeHash, AuthorizationCodes, RedeemAuthorizationCode,
    Redemption, Revocation, RevocationSubject, StoreError, StoredAuthorizationCode,
};

pub(super) const FIND: &str = concat!(
    "SELECT ",
    grant_columns!(),
    ", c.redirect_uri, c.code_challenge, c.nonce, c.dpop_jkt, c.expires_at, c.spent_at IS NOT NULL, c.first_token_id,
     c.terms
     FROM authorization_codes AS c JOIN grants AS g ON g.grant_id = c.grant_id WHERE c.hash = ?1"
);

/// Spends a code that counts, and says whose it was. That it counts is the condition of the change itself.
const SPEND: &str = concat!(
    "UPDATE authorization_codes SET spent_at = ?2, first_token_id = ?3
     WHERE hash = ?1 AND spent_at IS NULL AND expires_at > ?2
       AND EXISTS (SELECT 1 FROM grants AS g WHERE g.grant_id = authorization_codes.grant_id AND g.expires_at > ?2 AND ",
    grant_is_of_this_epoch!(),
    " AND NOT ",
    grant_was_ended!(),
    ")
     RETURNING grant_id, (SELECT client_id FROM grants WHERE grants.grant_id = authorization_codes.grant_id)"
);

impl AuthorizationCodes for Database {
    fn find_authorization_code(
        &self,
        hash: &AuthorizationCodeHash,
    ) -> Result<Option<StoredAuthorizationCode>, StoreError> {
        self.readers
            .read(|connection| Ok(find(connection, hash)?.map(|(found, _)| found)))
    }

    fn redeem_authorization_code(&self, redemption: Redemption, entry: AuditEntry) -> Answer<RedeemAuthorizationCode> {
        self.writer.submit(move |batch| redeem(batch, &redemption, &entry))
    }
}

/// The code, and the `jti` that was given for it.
fn find(
    connection: &Connection,
    hash: &AuthorizationCodeHash,
) -> Result<Option<(StoredAuthorizationCode, Option<String>)>, Fault> {
    one(connection, FIND, [hash.as_bytes()], |row| {
        let found = StoredAuthorizationCode {
            grant: stored_grant(row, 0)?,
            code: code(row, *hash)?,
            is_spent: row.get(GRANT_COLUMNS + 5)?,
        };
        Ok((found, row.get(GRANT_COLUMNS + 6)?))
    })
}

fn code(row: &Row<'_>, hash: AuthorizationCodeHash) -> Result<AuthorizationCode, Fault> {
    Ok(AuthorizationCode {
        hash,
        redirect_uri: row.get(GRANT_COLUMNS)?,
        code_challenge: row.get(GRANT_COLUMNS + 1)?,
        nonce: row.get(GRANT_COLUMNS + 2)?,
        dpop_jkt: row.get(GRANT_COLUMNS + 3)?,
        terms: row.get(GRANT_COLUMNS + 7)?,
        expires_at: timestamp(row, GRANT_COLUMNS + 4)?,
    })
}

fn redeem(
    batch: &mut Batch<'_>,
    redemption: &Redemption,
    entry: &AuditEntry,
) -> Result<RedeemAuthorizationCode, Fault> {
    let params = (
        redemption.code.as_bytes(),
        entry.at.unix_secs(),
        &redemption.first_token_id,
    );
    let spent = one(batch.connection, SPEND, params, |row| {
        let grant_id: GrantId = text(row, 0, "authorization code")?;
        Ok((grant_id, row.get::<_, String>(1)?))
    })?;
    let Some((grant_id, client_id)) = spent else {
        return refuse(batch, redemption, entry);
    };
    if let Some(refresh) = &redemption.refresh {
        refresh_tokens::insert(batch, &grant_id, refresh, entry)?;
    }
    access_tokens::record_with(batch, redemption.opaque.as_ref(), entry)?;
    let details = json!({
        "client_id": client_id,
        "jti": redemption.first_token_id,
        "refresh_token": redemption.refresh.is_some(),
    });
    batch.record(entry, "authorization_code.redeemed", grant_id.as_str(), Some(details))?;
    Ok(RedeemAuthorizationCode::Redeemed)
}

/// Why a code was not spent; one that was spent before ends its grant.
fn refuse(
    batch: &mut Batch<'_>,
    redemption: &Redemption,
    entry: &AuditEntry,
) -> Result<RedeemAuthorizationCode, Fault> {
    let Some((found, first_token_id)) = find(batch.connection, &redemption.code)? else {
        return Ok(RedeemAuthorizationCode::Unknown);
    };
    if !found.is_spent {
        return Ok(RedeemAuthorizationCode::Expired);
    }
    let ending = Ending {
        why: "authorization code presented again",
        tokens_until: redemption.tokens_until,
        entry,
    };
    if grants::end(batch, &found.grant.grant.grant_id, &ending)?
        && let Some(first_token_id) = first_token_id
    {
        // Followers that know nothing of grants learn at least about the token that the code was exchanged for.
        let revocation = Revocation {
            subject: RevocationSubject::TokenId(first_token_id),
            issued_before: None,
            until: redemption.tokens_until,
        };
        revocations::add(batch, &revocation)?;
    }
    Ok(RedeemAuthorizationCode::AlreadySpent)
}

/// Records a code for a grant, as part of a consent.
pub(super) fn insert(batch: &Batch<'_>, grant_id: &str, code: &AuthorizationCode) -> Result<(), Fault> {
    let sql =
        "INSERT INTO authorization_codes (hash, grant_id, redirect_uri, code_challenge, nonce, dpop_jkt, expires_at, terms)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let params = (
        code.hash.as_bytes(),
        grant_id,
        code.redirect_uri.as_deref(),
        code.code_challenge.as_deref(),
        code.nonce.as_deref(),
        code.dpop_jkt.as_deref(),
        code.expires_at.unix_secs(),
        code.terms.as_deref(),
    );
    change(batch.connection, sql, params)?;
    Ok(())
}
