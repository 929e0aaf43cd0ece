//! Sessions of users who signed in, at rest as hashes of their cookies.

use keybound_protocol::time::Timestamp;
use keybound_protocol::user::UserSubject;

use crate::secret_hash::secret_hash;
use crate::{Answer, AuditEntry, SignedIn, StoreError};

secret_hash! {
    /// SHA-256 of a session cookie: all that is ever stored of it.
    UserSessionHash
}

/// A session as it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUserSession {
    /// Its cookie.
    pub hash: UserSessionHash,
    /// Who signed in.
    pub signed_in: SignedIn,
    /// From this second on it is over, whatever happens.
    pub expires_at: Timestamp,
    /// When it ends unless it is used.
    pub idle_until: Timestamp,
}

/// A session that starts where another may have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSessionStart {
    /// The session.
    pub session: NewUserSession,
    /// The one that its browser had until now, if any; whose ever it was, it ends in the same transaction. One that is none does no harm.
    pub instead_of: Option<UserSessionHash>,
}

/// The outcome of [`UserSessions::start_user_session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartUserSession {
    /// Durable; what it took the place of has ended.
    Started,
    /// The user is gone or disabled; nothing changed.
    UserBarred,
    /// The hash is on file: a broken random generator.
    AlreadyStarted,
}

/// The outcome of [`UserSessions::end_user_session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndUserSession {
    /// Durable; its cookie is worth nothing.
    Ended,
    /// There is none.
    Unknown,
}

/// Sessions of users.
pub trait UserSessions: Send + Sync {
    /// Starts a session, and ends the one that it takes the place of: at no time does the browser have both, or neither.
    fn start_user_session(&self, start: UserSessionStart, entry: AuditEntry) -> Answer<StartUserSession>;

    /// The session with this cookie; `None` also for one that started before a backup was restored. Expiry is the caller's to
    /// judge: it holds the time. A point read; never cached.
    fn find_user_session(&self, hash: &UserSessionHash) -> Result<Option<NewUserSession>, StoreError>;

    /// Moves the end of a session that is used; call it once a minute at most. Not audited: no answer changes by it.
    fn extend_user_session(&self, hash: UserSessionHash, idle_until: Timestamp) -> Answer<()>;

    /// Ends a session: the user signs out.
    fn end_user_session(&self, hash: UserSessionHash, entry: AuditEntry) -> Answer<EndUserSession>;

    /// Ends every session of a user; returns how many there were. The user is not signed in to any open interaction either.
    fn end_user_sessions_of(&self, subject: UserSubject, entry: AuditEntry) -> Answer<u64>;
}
