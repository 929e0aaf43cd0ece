//! [`Users`] on SQLite.

use keybound_protocol::time::Timestamp;
use keybound_protocol::user::{UserName, UserSubject};
use rusqlite::{Connection, Row};
use serde_json::json;

use super::Database;
use super::batch::Batch;
use super::fault::Fault;
use super::grants::{self, Ending};
use super::rows::{all, change, next, one, optional_timestamp, page, stored, text, timestamp, unsigned};
use super::user_sessions;
use crate::{
    Answer, AuditEntry, BeginSignIn, BeginUserCode, ChangeUser, CreateUser, DeleteUser, LockOut, NewUser, PasswordHash,
    StoreError, StoredUser, UserChange, UserPage, UserRemoval, Users,
};

const WHAT: &str = "user";

/// How attempts at one secret are counted and forgotten.
struct Attempts {
    /// ?1 name, ?2 the time before which failures are forgotten, ?3 now.
    count: &'static str,
    /// ?1 name, ?2 until when.
    lock: &'static str,
    /// ?1 name.
    forget: &'static str,
    /// What the audit log calls it.
    locked_out: &'static str,
}

const AT_THE_PASSWORD: Attempts = Attempts {
    count:
        "UPDATE users SET failures = CASE WHEN failed_at >= ?2 AND locked_until IS NULL THEN failures + 1 ELSE 1 END,
                             failed_at = ?3, locked_until = NULL
            WHERE name = ?1 RETURNING failures",
    lock: "UPDATE users SET locked_until = ?2 WHERE name = ?1",
    forget: "UPDATE users SET failures = 0, failed_at = NULL, locked_until = NULL WHERE name = ?1",
    locked_out: "user.locked_out",
};

const AT_THE_USER_CODE: Attempts = Attempts {
    count:
        "UPDATE users SET user_code_failures = CASE WHEN user_code_failed_at >= ?2 AND user_code_locked_until IS NULL
                                                       THEN user_code_failures + 1 ELSE 1 END,
                             user_code_failed_at = ?3, user_code_locked_until = NULL
            WHERE name = ?1 RETURNING user_code_failures",
    lock: "UPDATE users SET user_code_locked_until = ?2 WHERE name = ?1",
    forget: "UPDATE users SET user_code_failures = 0, user_code_failed_at = NULL, user_code_locked_until = NULL
             WHERE name = ?1",
    locked_out: "user.user_code_locked_out",
};

const FIND: &str = "SELECT name, subject, password_hash, user_code_hash, claims, is_disabled, locked_until, version,
                           created_at, updated_at FROM users WHERE name = ?1";
const FIND_BY_SUBJECT: &str = "SELECT name, subject, password_hash, user_code_hash, claims, is_disabled, locked_until,
                                      version, created_at, updated_at FROM users WHERE subject = ?1";

impl Users for Database {
    fn create_user(&self, user: NewUser, entry: AuditEntry) -> Answer<CreateUser> {
        self.writer.submit(move |batch| create(batch, &user, &entry))
    }

    fn change_user(&self, change: UserChange, entry: AuditEntry) -> Answer<ChangeUser> {
        self.writer.submit(move |batch| change_user(batch, &change, &entry))
    }

    fn delete_user(&self, removal: UserRemoval, entry: AuditEntry) -> Answer<DeleteUser> {
        self.writer.submit(move |batch| delete(batch, &removal, &entry))
    }

    fn find_user(&self, name: &UserName) -> Result<Option<StoredUser>, StoreError> {
        self.readers.read(|connection| find(connection, name))
    }

    fn find_user_by_subject(&self, subject: &UserSubject) -> Result<Option<StoredUser>, StoreError> {
        self.readers
            .read(|connection| one(connection, FIND_BY_SUBJECT, [subject.as_str()], stored_user))
    }

    fn list_users(&self, after: Option<UserName>, limit: u16) -> Answer<UserPage> {
        self.scanner.submit(move |connection| {
            let sql = "SELECT name, subject, password_hash, user_code_hash, claims, is_disabled, locked_until, version,
                              created_at, updated_at FROM users WHERE name > ?1 ORDER BY name LIMIT ?2";
            let after = after.as_ref().map_or("", UserName::as_str);
            let rows = page(limit);
            let mut users = all(connection, sql, (after, stored(rows as u64 + 1)), stored_user)?;
            let more = users.len() > rows;
            users.truncate(rows);
            let next = users.last().filter(|_| more).map(|user| user.name.clone());
            Ok(UserPage { users, next })
        })
    }

    fn begin_sign_in(&self, name: Option<UserName>, lock_out: LockOut, entry: AuditEntry) -> Answer<BeginSignIn> {
        self.writer
            .submit(move |batch| begin_sign_in(batch, name.as_ref(), lock_out, &entry))
    }

    fn complete_sign_in(
        &self,
        name: UserName,
        version: u64,
        rehashed: Option<PasswordHash>,
        entry: AuditEntry,
    ) -> Answer<bool> {
        self.writer
            .submit(move |batch| complete_sign_in(batch, &name, version, rehashed.as_ref(), &entry))
    }

    fn begin_user_code(&self, subject: UserSubject, lock_out: LockOut, entry: AuditEntry) -> Answer<BeginUserCode> {
        self.writer
            .submit(move |batch| begin_user_code(batch, &subject, lock_out, &entry))
    }

    fn complete_user_code(&self, name: UserName, version: u64, entry: AuditEntry) -> Answer<bool> {
        self.writer
            .submit(move |batch| complete_user_code(batch, &name, version, &entry))
    }
}

/// Whether there is a user of this subject who is not disabled, as part of a verb that gives the user something: what disables or
/// deletes the user comes wholly before that verb, or wholly after it and ends what it gave.
pub(super) fn may_act(connection: &Connection, subject: &UserSubject) -> Result<bool, Fault> {
    let sql = "SELECT is_disabled FROM users WHERE subject = ?1";
    let is_disabled = one(connection, sql, [subject.as_str()], |row| Ok(row.get::<_, bool>(0)?))?;
    Ok(is_disabled == Some(false))
}

fn create(batch: &mut Batch<'_>, user: &NewUser, entry: &AuditEntry) -> Result<CreateUser, Fault> {
    let exists = "SELECT 1 FROM users WHERE name = ?1 OR subject = ?2";
    let params = (user.name.as_str(), user.subject.as_str());
    if one(batch.connection, exists, params, |_| Ok(()))?.is_some() {
        return Ok(CreateUser::AlreadyExists);
    }
    let version = next(batch.connection, "user_version")?;
    let sql = "INSERT INTO users
                   (name, subject, password_hash, user_code_hash, claims, is_disabled, version, created_at, updated_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)";
    let params = (
        user.name.as_str(),
        user.subject.as_str(),
        user.password_hash.as_phc(),
        user.user_code_hash.as_ref().map(PasswordHash::as_phc),
        &user.claims,
        user.is_disabled,
        stored(version),
        entry.at.unix_secs(),
    );
    change(batch.connection, sql, params)?;
    let details = json!({ "version": version, "sub": user.subject.as_str(), "disabled": user.is_disabled });
    batch.record(entry, "user.created", user.name.as_str(), Some(details))?;
    Ok(CreateUser::Created { version })
}

fn change_user(batch: &mut Batch<'_>, asked: &UserChange, entry: &AuditEntry) -> Result<ChangeUser, Fault> {
    let Some(user) = find(batch.connection, &asked.name)? else {
        return Ok(ChangeUser::Unknown);
    };
    if asked.if_version.is_some_and(|expected| expected != user.version) {
        return Ok(ChangeUser::VersionConflict { current: user.version });
    }
    let version = next(batch.connection, "user_version")?;
    let sql = "UPDATE users SET password_hash = ?2, user_code_hash = ?3, claims = ?4, is_disabled = ?5, version = ?6,
                                updated_at = ?7 WHERE name = ?1";
    let user_code_hash = asked.user_code_hash.as_ref().unwrap_or(&user.user_code_hash);
    let params = (
        asked.name.as_str(),
        asked.password_hash.as_ref().unwrap_or(&user.password_hash).as_phc(),
        user_code_hash.as_ref().map(PasswordHash::as_phc),
        asked.claims.as_ref().unwrap_or(&user.claims),
        asked.is_disabled.unwrap_or(user.is_disabled),
        stored(version),
        entry.at.unix_secs(),
    );
    change(batch.connection, sql, params)?;
    if asked.password_hash.is_some() {
        change(batch.connection, AT_THE_PASSWORD.forget, [asked.name.as_str()])?;
    }
    if asked.user_code_hash.is_some() {
        change(batch.connection, AT_THE_USER_CODE.forget, [asked.name.as_str()])?;
    }
    let details = json!({
        "version": version,
        "replaced_version": user.version,
        "password": asked.password_hash.is_some(),
        "user_code": asked.user_code_hash.is_some(),
        "claims": asked.claims.is_some(),
        "disabled": asked.is_disabled,
    });
    batch.record(entry, "user.changed", asked.name.as_str(), Some(details))?;
    if asked.password_hash.is_some() || asked.is_disabled == Some(true) {
        user_sessions::end_all_of(batch, &user.subject, entry)?;
    }
    if asked.is_disabled == Some(true) && !user.is_disabled {
        let ending = Ending {
            why: "user disabled",
            tokens_until: asked.tokens_until,
            entry,
        };
        grants::end_all_of(batch, &user.subject, &ending)?;
    }
    Ok(ChangeUser::Changed { version })
}

fn delete(batch: &mut Batch<'_>, removal: &UserRemoval, entry: &AuditEntry) -> Result<DeleteUser, Fault> {
    let Some(user) = find(batch.connection, &removal.name)? else {
        return Ok(DeleteUser::Unknown);
    };
    if removal.if_version.is_some_and(|expected| expected != user.version) {
        return Ok(DeleteUser::VersionConflict { current: user.version });
    }
    next(batch.connection, "user_version")?;
    change(
        batch.connection,
        "DELETE FROM users WHERE name = ?1",
        [removal.name.as_str()],
    )?;
    let details = json!({ "deleted_version": user.version, "sub": user.subject.as_str() });
    batch.record(entry, "user.deleted", removal.name.as_str(), Some(details))?;
    user_sessions::end_all_of(batch, &user.subject, entry)?;
    let ending = Ending {
        why: "user deleted",
        tokens_until: removal.tokens_until,
        entry,
    };
    grants::end_all_of(batch, &user.subject, &ending)?;
    Ok(DeleteUser::Deleted)
}

fn begin_sign_in(
    batch: &mut Batch<'_>,
    name: Option<&UserName>,
    lock_out: LockOut,
    entry: &AuditEntry,
) -> Result<BeginSignIn, Fault> {
    let found = name.map(|name| find(batch.connection, name)).transpose()?;
    let Some(mut user) = found.flatten() else {
        count_nobody(batch.connection, entry.at)?;
        return Ok(BeginSignIn::Unknown);
    };
    if user.is_disabled || user.locked_until.is_some_and(|until| entry.at < until) {
        count_nobody(batch.connection, entry.at)?;
        return Ok(BeginSignIn::Barred(Box::new(user)));
    }
    if let Some(until) = count(batch, &AT_THE_PASSWORD, &user.name, lock_out, entry)? {
        user.locked_until = Some(until);
    }
    Ok(BeginSignIn::Counted(Box::new(user)))
}

/// Counts this attempt; older ones only as long as they lie no further back than a lock-out lasts. Until when the user is locked out, if
/// this attempt is the last one: right, it unlocks; wrong, the next is refused.
fn count(
    batch: &mut Batch<'_>,
    attempts: &Attempts,
    name: &UserName,
    lock_out: LockOut,
    entry: &AuditEntry,
) -> Result<Option<Timestamp>, Fault> {
    let forgotten_before = entry.at.minus(lock_out.locked_for).unix_secs();
    let params = (name.as_str(), forgotten_before, entry.at.unix_secs());
    let failures = one(batch.connection, attempts.count, params, |row| unsigned(row, 0, WHAT))?
        .ok_or_else(|| Fault::corrupt(WHAT, "it was not there when its failures were counted"))?;
    if failures < u64::from(lock_out.failures_max) {
        return Ok(None);
    }
    let until = entry.at.plus(lock_out.locked_for);
    change(batch.connection, attempts.lock, (name.as_str(), until.unix_secs()))?;
    let details = json!({ "failures": failures, "until": until });
    batch.record(entry, attempts.locked_out, name.as_str(), Some(details))?;
    Ok(Some(until))
}

fn begin_user_code(
    batch: &mut Batch<'_>,
    subject: &UserSubject,
    lock_out: LockOut,
    entry: &AuditEntry,
) -> Result<BeginUserCode, Fault> {
    let found = one(batch.connection, FIND_BY_SUBJECT, [subject.as_str()], stored_user)?;
    let Some(user) = found.filter(|user| !user.is_disabled).map(Box::new) else {
        return Ok(BeginUserCode::Unknown);
    };
    let sql = "SELECT user_code_locked_until FROM users WHERE subject = ?1";
    let until = one(batch.connection, sql, [subject.as_str()], |row| {
        optional_timestamp(row, 0)
    })?;
    if let Some(until) = until.flatten().filter(|until| entry.at < *until) {
        return Ok(BeginUserCode::LockedOut { user, until });
    }
    count(batch, &AT_THE_USER_CODE, &user.name, lock_out, entry)?;
    Ok(BeginUserCode::Counted(user))
}

fn complete_user_code(batch: &mut Batch<'_>, name: &UserName, version: u64, entry: &AuditEntry) -> Result<bool, Fault> {
    let current = find(batch.connection, name)?;
    if !current.is_some_and(|user| user.version == version && !user.is_disabled) {
        return Ok(false);
    }
    change(batch.connection, AT_THE_USER_CODE.forget, [name.as_str()])?;
    batch.record(entry, "user.user_code_accepted", name.as_str(), None)?;
    Ok(true)
}

/// The write of an attempt to sign in as nobody, so that it takes as long as any other.
fn count_nobody(connection: &Connection, now: Timestamp) -> Result<(), Fault> {
    let sql = "INSERT INTO meta (name, value) VALUES ('nobody_signed_in_at', ?1)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    change(connection, sql, [now.unix_secs().to_be_bytes()])?;
    Ok(())
}

fn complete_sign_in(
    batch: &mut Batch<'_>,
    name: &UserName,
    version: u64,
    rehashed: Option<&PasswordHash>,
    entry: &AuditEntry,
) -> Result<bool, Fault> {
    let sql = "UPDATE users SET failures = 0, failed_at = NULL, locked_until = NULL,
                                password_hash = coalesce(?3, password_hash)
               WHERE name = ?1 AND version = ?2 AND is_disabled = 0";
    let params = (name.as_str(), stored(version), rehashed.map(PasswordHash::as_phc));
    if change(batch.connection, sql, params)? == 0 {
        return Ok(false);
    }
    batch.record(entry, "user.signed_in", name.as_str(), None)?;
    Ok(true)
}

fn find(connection: &Connection, name: &UserName) -> Result<Option<StoredUser>, Fault> {
    one(connection, FIND, [name.as_str()], stored_user)
}

fn stored_user(row: &Row<'_>) -> Result<StoredUser, Fault> {
    Ok(StoredUser {
        name: text(row, 0, WHAT)?,
        subject: text(row, 1, WHAT)?,
        password_hash: PasswordHash::from_phc(row.get::<_, String>(2)?),
        user_code_hash: row.get::<_, Option<String>>(3)?.map(PasswordHash::from_phc),
        claims: row.get(4)?,
        is_disabled: row.get(5)?,
        locked_until: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_unix_secs),
        version: unsigned(row, 7, WHAT)?,
        created_at: timestamp(row, 8)?,
        updated_at: timestamp(row, 9)?,
    })
}
