//! [`UserSessions`] on SQLite.

use keybound_protocol::time::Timestamp;
use keybound_protocol::user::UserSubject;
use serde_json::json;

use super::Database;
use super::batch::Batch;
use super::fault::Fault;
use super::rows::{change, counter, one, stored, subject, timestamp};
use super::users;
use crate::{
    Answer, AuditEntry, EndUserSession, NewUserSession, SignedIn, StartUserSession, StoreError, UserSessionHash,
    UserSessionStart, UserSessions,
};

const WHAT: &str = "user session";

impl UserSessions for Database {
    fn start_user_session(&self, start: UserSessionStart, entry: AuditEntry) -> Answer<StartUserSession> {
        self.writer.submit(move |batch| {
            let subject = &start.session.signed_in.subject;
            if !users::may_act(batch.connection, subject)? {
                return Ok(StartUserSession::UserBarred);
            }
            if !insert(batch, &start.session)? {
                return Ok(StartUserSession::AlreadyStarted);
            }
            end_replaced(batch, &start, &entry)?;
            batch.record(&entry, "user_session.started", subject.as_str(), None)?;
            Ok(StartUserSession::Started)
        })
    }

    fn find_user_session(&self, hash: &UserSessionHash) -> Result<Option<NewUserSession>, StoreError> {
        let sql = "SELECT subject, auth_time, acr, expires_at, idle_until FROM user_sessions
                   WHERE hash = ?1 AND epoch = (SELECT value FROM counters WHERE name = 'epoch')";
        self.readers.read(|connection| {
            one(connection, sql, [hash.as_bytes()], |row| {
                Ok(NewUserSession {
                    hash: *hash,
                    signed_in: SignedIn {
                        subject: subject(row, 0, WHAT)?,
                        auth_time: timestamp(row, 1)?,
                        acr: row.get(2)?,
                    },
                    expires_at: timestamp(row, 3)?,
                    idle_until: timestamp(row, 4)?,
                })
            })
        })
    }

    fn extend_user_session(&self, hash: UserSessionHash, idle_until: Timestamp) -> Answer<()> {
        self.writer.submit(move |batch| {
            let sql = "UPDATE user_sessions SET idle_until = min(expires_at, max(idle_until, ?2)) WHERE hash = ?1";
            change(batch.connection, sql, (hash.as_bytes(), idle_until.unix_secs()))?;
            Ok(())
        })
    }

    fn end_user_session(&self, hash: UserSessionHash, entry: AuditEntry) -> Answer<EndUserSession> {
        self.writer.submit(move |batch| end(batch, &hash, &entry))
    }

    fn end_user_sessions_of(&self, subject: UserSubject, entry: AuditEntry) -> Answer<u64> {
        self.writer.submit(move |batch| end_all_of(batch, &subject, &entry))
    }
}

fn end(batch: &mut Batch<'_>, hash: &UserSessionHash, entry: &AuditEntry) -> Result<EndUserSession, Fault> {
    let sql = "DELETE FROM user_sessions WHERE hash = ?1 RETURNING subject";
    let subject: Option<String> = one(batch.connection, sql, [hash.as_bytes()], |row| Ok(row.get(0)?))?;
    let Some(subject) = subject else {
        return Ok(EndUserSession::Unknown);
    };
    batch.record(entry, "user_session.ended", &subject, None)?;
    Ok(EndUserSession::Ended)
}

/// Ends what a session takes the place of, as part of the verb that starts it.
pub(super) fn end_replaced(batch: &mut Batch<'_>, start: &UserSessionStart, entry: &AuditEntry) -> Result<(), Fault> {
    if let Some(replaced) = start.instead_of.filter(|replaced| *replaced != start.session.hash) {
        end(batch, &replaced, entry)?;
    }
    Ok(())
}

/// Starts a session, as part of a verb that records it: false if the hash is on file.
pub(super) fn insert(batch: &Batch<'_>, session: &NewUserSession) -> Result<bool, Fault> {
    let sql = "INSERT INTO user_sessions (hash, subject, auth_time, acr, expires_at, idle_until, epoch)
               VALUES (?1, ?2, ?3, ?4, ?5, min(?5, ?6), ?7) ON CONFLICT DO NOTHING";
    let params = (
        session.hash.as_bytes(),
        session.signed_in.subject.as_str(),
        session.signed_in.auth_time.unix_secs(),
        session.signed_in.acr.as_deref(),
        session.expires_at.unix_secs(),
        session.idle_until.unix_secs(),
        stored(counter(batch.connection, "epoch")?),
    );
    Ok(change(batch.connection, sql, params)? == 1)
}

/// Ends every session of a user, also as part of another verb; returns how many there were. Whoever had signed in to an
/// interaction that is still open has to do so again.
pub(super) fn end_all_of(batch: &mut Batch<'_>, subject: &UserSubject, entry: &AuditEntry) -> Result<u64, Fault> {
    let ended = change(
        batch.connection,
        "DELETE FROM user_sessions WHERE subject = ?1",
        [subject.as_str()],
    )? as u64;
    // There are few interactions (their number is bounded), and this is done for a user once in a while.
    let sql = "UPDATE interactions SET subject = NULL, auth_time = NULL, acr = NULL WHERE subject = ?1";
    change(batch.connection, sql, [subject.as_str()])?;
    if ended > 0 {
        let details = json!({ "sessions": ended });
        batch.record(entry, "user_session.ended", subject.as_str(), Some(details))?;
    }
    Ok(ended)
}
