//! Users of the local directory: who may sign in, with which password, and what is said about them.
//!
//! Passwords come as PHC strings of argon2id that the authorization server made; nothing here hashes. Failed sign-ins are counted
//! here, because the count decides: it is raised before a password is compared, so that no number of attempts at once gets past it.

use std::time::Duration;

use keybound_protocol::time::Timestamp;
use keybound_protocol::user::{UserName, UserSubject};

use crate::{Answer, AuditEntry, StoreError};

/// The hash of a secret that a person chose, as a PHC string (`$argon2id$…`). Not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Box<str>);

/// A user as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredUser {
    /// What the user types to sign in.
    pub name: UserName,
    /// What tokens call the user. Made once, given to nobody else, and not changed with anything.
    pub subject: UserSubject,
    /// The password.
    pub password_hash: PasswordHash,
    /// The code that some clients of CIBA have the user say (CIBA Core §7.1), if there is one.
    pub user_code_hash: Option<PasswordHash>,
    /// What is said about the user: JSON text of one object.
    pub claims: String,
    /// Whether the user is kept from signing in.
    pub is_disabled: bool,
    /// Until when the user is locked out after too many wrong passwords, if ever.
    pub locked_until: Option<Timestamp>,
    /// Counts the changes of all users of this store; the entity tag of the admin API. A sign-in is no change.
    pub version: u64,
    /// When the user was made.
    pub created_at: Timestamp,
    /// When the user last changed.
    pub updated_at: Timestamp,
}

/// What [`Users::create_user`] stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUser {
    /// See [`StoredUser::name`].
    pub name: UserName,
    /// See [`StoredUser::subject`].
    pub subject: UserSubject,
    /// See [`StoredUser::password_hash`].
    pub password_hash: PasswordHash,
    /// See [`StoredUser::user_code_hash`].
    pub user_code_hash: Option<PasswordHash>,
    /// See [`StoredUser::claims`].
    pub claims: String,
    /// See [`StoredUser::is_disabled`].
    pub is_disabled: bool,
}

/// What [`Users::change_user`] changes. Whatever is `None` stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserChange {
    /// The user to change.
    pub name: UserName,
    /// The version the caller read (`If-Match`); `None` changes whatever is there.
    pub if_version: Option<u64>,
    /// Another password. Whoever was locked out is not any more.
    pub password_hash: Option<PasswordHash>,
    /// Another code for CIBA, or `Some(None)` for none. What was guessed at the one before is forgotten.
    pub user_code_hash: Option<Option<PasswordHash>>,
    /// Other claims.
    pub claims: Option<String>,
    /// Kept from signing in, or not any more.
    pub is_disabled: Option<bool>,
    /// When the last access token of the user's grants will have expired (leeway included): those of a user who becomes disabled are
    /// denied until then.
    pub tokens_until: Timestamp,
}

/// What [`Users::delete_user`] removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRemoval {
    /// The user to remove.
    pub name: UserName,
    /// The version the caller read (`If-Match`); `None` deletes whatever is there.
    pub if_version: Option<u64>,
    /// When the last access token of the user's grants will have expired (leeway included): until then they are denied.
    pub tokens_until: Timestamp,
}

/// The outcome of [`Users::create_user`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateUser {
    /// Stored, with this version.
    Created {
        /// The first version.
        version: u64,
    },
    /// There is one of this name (or, from a broken random generator, of this subject); nothing changed.
    AlreadyExists,
}

/// The outcome of [`Users::change_user`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeUser {
    /// Stored, with this version.
    Changed {
        /// The new version.
        version: u64,
    },
    /// The user has changed since the caller looked; nothing changed.
    VersionConflict {
        /// The version on file.
        current: u64,
    },
    /// There is no such user.
    Unknown,
}

/// The outcome of [`Users::delete_user`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteUser {
    /// Removed.
    Deleted,
    /// The user has changed since the caller looked; nothing changed.
    VersionConflict {
        /// The version on file.
        current: u64,
    },
    /// There is no such user.
    Unknown,
}

/// How many wrong passwords lock a user out, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockOut {
    /// So many attempts in a row without a success; the next ones are refused.
    pub failures_max: u32,
    /// For so long after the last of them. Failures that are older than this are forgotten.
    pub locked_for: Duration,
}

/// The outcome of [`Users::begin_sign_in`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeginSignIn {
    /// The attempt is counted; compare the password, then say so with [`Users::complete_sign_in`] if it was right.
    Counted(Box<StoredUser>),
    /// There is such a user, who is locked out or disabled: whatever the password is, the answer is no.
    Barred(Box<StoredUser>),
    /// There is no such user. As much was written as for one.
    Unknown,
}

/// The outcome of [`Users::begin_user_code`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeginUserCode {
    /// The attempt is counted; compare the code, then say so with [`Users::complete_user_code`] if it was right.
    Counted(Box<StoredUser>),
    /// Too many were wrong: whatever the code is, the answer is no.
    LockedOut {
        /// The user.
        user: Box<StoredUser>,
        /// Until when.
        until: Timestamp,
    },
    /// The user is gone or disabled.
    Unknown,
}

/// Users in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPage {
    /// The users.
    pub users: Vec<StoredUser>,
    /// Where the next page starts (`after`); `None` if this was the last.
    pub next: Option<UserName>,
}

impl PasswordHash {
    /// Takes a PHC string. Its form is the caller's business.
    pub fn from_phc(text: impl Into<Box<str>>) -> PasswordHash {
        PasswordHash(text.into())
    }

    /// The PHC string.
    pub fn as_phc(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PasswordHash(…)")
    }
}

/// Users of the local directory.
pub trait Users: Send + Sync {
    /// Stores a new user.
    fn create_user(&self, user: NewUser, entry: AuditEntry) -> Answer<CreateUser>;

    /// Changes a user if the version is still the expected one. Another password, or being kept out, ends the user's sessions.
    fn change_user(&self, change: UserChange, entry: AuditEntry) -> Answer<ChangeUser>;

    /// Removes a user, and ends the user's sessions and grants, in one transaction.
    fn delete_user(&self, removal: UserRemoval, entry: AuditEntry) -> Answer<DeleteUser>;

    /// The user of this name. A point read.
    fn find_user(&self, name: &UserName) -> Result<Option<StoredUser>, StoreError>;

    /// The user that tokens call this. A point read.
    fn find_user_by_subject(&self, subject: &UserSubject) -> Result<Option<StoredUser>, StoreError>;

    /// Users after `after` in the order of their names, at most `limit`.
    fn list_users(&self, after: Option<UserName>, limit: u16) -> Answer<UserPage>;

    /// Counts an attempt to sign in *before* its password is compared, so that of any number of attempts at once no more pass
    /// than the lock-out allows. `None` stands for a text that is no name. One durable write whatever there is, so that the time
    /// tells nothing. An audit entry is written only for the attempt that locks.
    fn begin_sign_in(&self, name: Option<UserName>, lock_out: LockOut, entry: AuditEntry) -> Answer<BeginSignIn>;

    /// The password was right: forgets the failures, and stores a password hash that was made anew by today's rules, if there is
    /// one. False if the user was changed, disabled or deleted since `version` was read: then nobody is signed in.
    fn complete_sign_in(
        &self,
        name: UserName,
        version: u64,
        rehashed: Option<PasswordHash>,
        entry: AuditEntry,
    ) -> Answer<bool>;

    /// Counts an attempt to know a user's code of CIBA *before* it is compared, whichever client makes it, as
    /// [`begin_sign_in`](Self::begin_sign_in) counts those at the password; and apart from them, so that a client that guesses codes
    /// keeps nobody from signing in. An audit entry is written only for the attempt that locks.
    fn begin_user_code(&self, subject: UserSubject, lock_out: LockOut, entry: AuditEntry) -> Answer<BeginUserCode>;

    /// The code was right: forgets the failures. False if the user was changed, disabled or deleted since `version` was read: then it
    /// counts as wrong.
    fn complete_user_code(&self, name: UserName, version: u64, entry: AuditEntry) -> Answer<bool>;
}
