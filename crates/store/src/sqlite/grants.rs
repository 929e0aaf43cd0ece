//! [`Grants`] on SQLite.

use keybound_protocol::client::ClientId;
use keybound_protocol::grant_id::GrantId;
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::UserSubject;
use rusqlite::{Connection, Row};
use serde_json::json;

use super::Database;
use super::batch::Batch;
use super::fault::Fault;
use super::rows::{
    all, change, client_id, counter, one, optional_text, optional_timestamp, page, stored, subject, text, timestamp,
};
use super::{authorization_codes, pushed_requests, revocations, users};
use crate::{
    Answer, AuditEntry, GiveSilently, Grant, GrantOwner, GrantPage, GrantQuery, GrantRevocation, GrantState, Grants,
    LIVE_GRANTS_MAX, Revocation, RevocationSubject, RevokeGrant, SilentGrant, StoreError, StoredGrant,
};

const WHAT: &str = "grant";

/// How many columns [`grant_columns`] names.
pub(super) const GRANT_COLUMNS: usize = 14;

/// Whether a grant `g` is of this database's time, not of one before a restored backup.
macro_rules! grant_is_of_this_epoch {
    () => {
        "(g.epoch = (SELECT value FROM counters WHERE name = 'epoch'))"
    };
}
pub(super) use grant_is_of_this_epoch;

/// Whether a grant `g` was ended: withdrawn itself, or with its client.
macro_rules! grant_was_ended {
    () => {
        "(g.revoked_at IS NOT NULL
          OR EXISTS (SELECT 1 FROM ended_clients AS ended
                     WHERE ended.client_id = g.client_id AND ended.ended_at >= g.created_at))"
    };
}
pub(super) use grant_was_ended;

/// The columns of a grant `g` and what became of it, for every statement that reads one: [`stored_grant`] reads them.
macro_rules! grant_columns {
    () => {
        concat!(
            "g.grant_id, g.client_id, g.subject, g.scope, g.resources, g.authorization_details, g.claims, g.auth_time,
             g.acr, g.created_at, g.expires_at, g.based_on, ",
            $crate::sqlite::grants::grant_is_of_this_epoch!(),
            ", ",
            $crate::sqlite::grants::grant_was_ended!()
        )
    };
}
pub(super) use grant_columns;

const FIND: &str = concat!("SELECT ", grant_columns!(), " FROM grants AS g WHERE g.grant_id = ?1");

impl Grants for Database {
    fn find_grant(&self, grant_id: &GrantId) -> Result<Option<StoredGrant>, StoreError> {
        self.readers.read(|connection| find(connection, grant_id))
    }

    fn list_grants(&self, query: GrantQuery) -> Answer<GrantPage> {
        self.scanner.submit(move |connection| list(connection, &query))
    }

    fn live_grants(&self, subject: UserSubject, client_id: ClientId, now: Timestamp) -> Answer<Vec<Grant>> {
        self.scanner
            .submit(move |connection| live(connection, &subject, &client_id, now))
    }

    fn give_silently(&self, silent: SilentGrant, entry: AuditEntry) -> Answer<GiveSilently> {
        self.writer.submit(move |batch| give_silently(batch, &silent, &entry))
    }

    fn revoke_grant(&self, revocation: GrantRevocation, entry: AuditEntry) -> Answer<RevokeGrant> {
        self.writer.submit(move |batch| revoke(batch, &revocation, &entry))
    }
}

/// A grant, as part of another verb.
pub(super) fn find(connection: &Connection, grant_id: &GrantId) -> Result<Option<StoredGrant>, Fault> {
    one(connection, FIND, [grant_id.as_str()], |row| stored_grant(row, 0))
}

fn list(connection: &Connection, query: &GrantQuery) -> Result<GrantPage, Fault> {
    // A statement for each filter, so that each has its index.
    let (sql, filter) = match (&query.subject, &query.client_id) {
        (Some(subject), _) => (
            concat!(
                "SELECT ",
                grant_columns!(),
                " FROM grants AS g WHERE g.subject = ?1 AND (?2 IS NULL OR g.client_id = ?2) AND g.grant_id > ?3
                 ORDER BY g.grant_id LIMIT ?4"
            ),
            subject.as_str(),
        ),
        (None, Some(client_id)) => (
            concat!(
                "SELECT ",
                grant_columns!(),
                " FROM grants AS g WHERE g.client_id = ?1 AND (?2 IS NULL OR g.client_id = ?2) AND g.grant_id > ?3
                 ORDER BY g.grant_id LIMIT ?4"
            ),
            client_id.as_str(),
        ),
        (None, None) => (
            concat!(
                "SELECT ",
                grant_columns!(),
                " FROM grants AS g WHERE g.grant_id > ?3 AND ?1 = '' AND ?2 IS NULL ORDER BY g.grant_id LIMIT ?4"
            ),
            "",
        ),
    };
    let rows = page(query.limit);
    let params = (
        filter,
        query.client_id.as_ref().map(ClientId::as_str),
        query.after.as_ref().map_or("", GrantId::as_str),
        stored(rows as u64 + 1),
    );
    let mut grants = all(connection, sql, params, |row| stored_grant(row, 0))?;
    let more = grants.len() > rows;
    grants.truncate(rows);
    let next = grants.last().filter(|_| more).map(|found| found.grant.grant_id.clone());
    Ok(GrantPage { grants, next })
}

fn live(
    connection: &Connection,
    subject: &UserSubject,
    client_id: &ClientId,
    now: Timestamp,
) -> Result<Vec<Grant>, Fault> {
    let sql = concat!(
        "SELECT ",
        grant_columns!(),
        " FROM grants AS g
         WHERE g.subject = ?1 AND g.client_id = ?2 AND g.based_on IS NULL AND g.revoked_at IS NULL AND g.expires_at > ?3
         ORDER BY g.created_at DESC, g.grant_id LIMIT ?4"
    );
    let params = (
        subject.as_str(),
        client_id.as_str(),
        now.unix_secs(),
        i64::from(LIVE_GRANTS_MAX),
    );
    let found = all(connection, sql, params, |row| stored_grant(row, 0))?;
    let found = found.into_iter().filter(|found| is_live(found, now));
    Ok(found.map(|found| found.grant).collect())
}

fn give_silently(batch: &mut Batch<'_>, silent: &SilentGrant, entry: &AuditEntry) -> Result<GiveSilently, Fault> {
    let grant = &silent.grant;
    // Before what it rests on is looked at, which being disabled has ended.
    if !users::may_act(batch.connection, &grant.subject)? {
        return Ok(GiveSilently::UserBarred);
    }
    let base = grant.based_on.as_ref().map(|base| find(batch.connection, base));
    let base = base.transpose()?.flatten();
    let is_allowed = base.is_some_and(|base| {
        is_live(&base, entry.at)
            && base.grant.based_on.is_none()
            && base.grant.subject == grant.subject
            && base.grant.client_id == grant.client_id
            && base.grant.expires_at >= grant.expires_at
    });
    if !is_allowed {
        return Ok(GiveSilently::NotAllowed);
    }
    if let Some(pushed) = &silent.pushed
        && !pushed_requests::spend(batch, pushed, entry.at)?
    {
        return Ok(GiveSilently::RequestUriSpent);
    }
    insert(batch, grant, entry)?;
    authorization_codes::insert(batch, grant.grant_id.as_str(), &silent.code)?;
    Ok(GiveSilently::Given)
}

fn revoke(batch: &mut Batch<'_>, revocation: &GrantRevocation, entry: &AuditEntry) -> Result<RevokeGrant, Fault> {
    let Some(found) = find(batch.connection, &revocation.grant_id)? else {
        return Ok(RevokeGrant::Unknown);
    };
    let is_theirs = match &revocation.only_of {
        Some(GrantOwner::Subject(subject)) => found.grant.subject == *subject,
        Some(GrantOwner::Client(client_id)) => found.grant.client_id == *client_id,
        None => true,
    };
    if !is_theirs {
        return Ok(RevokeGrant::OfAnother);
    }
    let has_ended = end(
        batch,
        &revocation.grant_id,
        &Ending {
            why: "withdrawn",
            tokens_until: revocation.tokens_until,
            entry,
        },
    )?;
    Ok(match has_ended {
        true => RevokeGrant::Revoked,
        false => RevokeGrant::AlreadyRevoked,
    })
}

/// Why and on whose authority a grant ends.
pub(super) struct Ending<'a> {
    /// In a word, for the audit log.
    pub(super) why: &'static str,
    /// Until when its access tokens are denied.
    pub(super) tokens_until: Timestamp,
    pub(super) entry: &'a AuditEntry,
}

/// Ends a grant, as part of another verb: false if it had ended before.
pub(super) fn end(batch: &mut Batch<'_>, grant_id: &GrantId, ending: &Ending<'_>) -> Result<bool, Fault> {
    let sql = "UPDATE grants SET revoked_at = ?2 WHERE grant_id = ?1 AND revoked_at IS NULL";
    let params = (grant_id.as_str(), ending.entry.at.unix_secs());
    if change(batch.connection, sql, params)? == 0 {
        return Ok(false);
    }
    revocations::add(
        batch,
        &Revocation {
            subject: RevocationSubject::Grant(grant_id.clone()),
            issued_before: None,
            until: ending.tokens_until,
        },
    )?;
    let details = json!({ "why": ending.why });
    batch.record(ending.entry, "grant.revoked", grant_id.as_str(), Some(details))?;
    // Nothing rests on a grant that itself rests on another, so this goes no deeper.
    let sql = "SELECT grant_id FROM grants WHERE based_on = ?1 AND revoked_at IS NULL";
    let resting: Vec<GrantId> = all(batch.connection, sql, [grant_id.as_str()], |row| text(row, 0, WHAT))?;
    for grant_id in &resting {
        end(batch, grant_id, ending)?;
    }
    Ok(true)
}

/// Ends every grant of a user, as part of another verb; returns how many there were.
pub(super) fn end_all_of(batch: &mut Batch<'_>, subject: &UserSubject, ending: &Ending<'_>) -> Result<u64, Fault> {
    let sql = "SELECT grant_id FROM grants WHERE subject = ?1 AND revoked_at IS NULL";
    let grant_ids = all(batch.connection, sql, [subject.as_str()], |row| text(row, 0, WHAT))?;
    for grant_id in &grant_ids {
        end(batch, grant_id, ending)?;
    }
    Ok(grant_ids.len() as u64)
}

/// Records a new grant, as part of another verb: a consent, the approval of a device or of a backchannel request.
pub(super) fn insert(batch: &mut Batch<'_>, grant: &Grant, entry: &AuditEntry) -> Result<(), Fault> {
    let resources = serde_json::to_string(&grant.resources).map_err(|error| Fault::unwritable(WHAT, error))?;
    let epoch = counter(batch.connection, "epoch")?;
    let sql =
        "INSERT INTO grants (grant_id, client_id, subject, scope, resources, authorization_details, claims, auth_time,
                                   acr, created_at, expires_at, epoch, based_on)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
    let params = (
        grant.grant_id.as_str(),
        grant.client_id.as_str(),
        grant.subject.as_str(),
        &grant.scope,
        &resources,
        grant.authorization_details.as_deref(),
        grant.claims.as_deref(),
        grant.auth_time.map(Timestamp::unix_secs),
        grant.acr.as_deref(),
        grant.created_at.unix_secs(),
        grant.expires_at.unix_secs(),
        stored(epoch),
        grant.based_on.as_ref().map(GrantId::as_str),
    );
    change(batch.connection, sql, params)?;
    let mut details = json!({
        "client_id": grant.client_id,
        "sub": grant.subject.as_str(),
        "scope": grant.scope,
        "resources": grant.resources,
        "exp": grant.expires_at,
    });
    if let Some(base) = &grant.based_on {
        details["based_on"] = json!(base.as_str());
    }
    batch.record(entry, "grant.created", grant.grant_id.as_str(), Some(details))
}

/// Whether something may still be made of a grant at `now`.
pub(super) fn is_live(found: &StoredGrant, now: Timestamp) -> bool {
    found.state == GrantState::Live && now < found.grant.expires_at
}

/// The [`grant_columns`], which begin at column `from`.
pub(super) fn stored_grant(row: &Row<'_>, from: usize) -> Result<StoredGrant, Fault> {
    let resources = row
        .get_ref(from + 4)?
        .as_str()
        .map_err(|error| Fault::corrupt(WHAT, error))?;
    let grant = Grant {
        grant_id: text(row, from, WHAT)?,
        client_id: client_id(row, from + 1, WHAT)?,
        subject: subject(row, from + 2, WHAT)?,
        scope: row.get(from + 3)?,
        resources: serde_json::from_str(resources).map_err(|error| Fault::corrupt(WHAT, error))?,
        authorization_details: row.get(from + 5)?,
        claims: row.get(from + 6)?,
        auth_time: optional_timestamp(row, from + 7)?,
        acr: row.get(from + 8)?,
        created_at: timestamp(row, from + 9)?,
        expires_at: timestamp(row, from + 10)?,
        based_on: optional_text(row, from + 11, WHAT)?,
    };
    let (is_of_this_epoch, is_revoked) = (row.get(from + 12)?, row.get(from + 13)?);
    let state = match (is_of_this_epoch, is_revoked) {
        (_, true) => GrantState::Revoked,
        (false, false) => GrantState::Void,
        (true, false) => GrantState::Live,
    };
    Ok(StoredGrant { grant, state })
}
