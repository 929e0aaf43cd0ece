//! Grants: what a user allowed a client once. Codes, refresh tokens and access tokens are made of one, and end with it.

use std::time::Duration;

use keybound_protocol::client::ClientId;
use keybound_protocol::grant_id::GrantId;
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::UserSubject;

use crate::{Answer, AuditEntry, AuthorizationCode, RequestUriHash, StoreError};

/// No grant lives longer than a year and a day.
pub const GRANT_LIFETIME_MAX: Duration = Duration::from_secs(366 * 86_400);

/// How many grants [`Grants::live_grants`] looks at.
pub const LIVE_GRANTS_MAX: u16 = 100;

/// What a user allowed a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its identifier. Every access token made of it begins its `jti` with this.
    pub grant_id: GrantId,
    /// The client it was given to.
    pub client_id: ClientId,
    /// The user who gave it: `sub` of its tokens.
    pub subject: UserSubject,
    /// `scope`, space-separated; the most that its tokens may have. Empty if none.
    pub scope: String,
    /// The resources its tokens may be for.
    pub resources: Vec<String>,
    /// `authorization_details` (RFC 9396), JSON text of an array; the most that its tokens may carry.
    pub authorization_details: Option<String>,
    /// The `claims` request of OpenID Connect Core §5.5, JSON text of an object.
    pub claims: Option<String>,
    /// When the user had signed in.
    pub auth_time: Option<Timestamp>,
    /// How the user had signed in (`acr`), if that has a name.
    pub acr: Option<String>,
    /// When it was given.
    pub created_at: Timestamp,
    /// When it ends, whatever happens; at most [`GRANT_LIFETIME_MAX`] later. No token of it lives longer.
    pub expires_at: Timestamp,
    /// The grant that it rests on, if the user was not asked for this one (`prompt=none`): it ends with that. `None` if the user gave it.
    pub based_on: Option<GrantId>,
}

/// A grant as found, with what has happened to it since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredGrant {
    /// What was given.
    pub grant: Grant,
    /// Whether it still counts. Expiry is the caller's to judge: it holds the time.
    pub state: GrantState,
}

/// Whether a grant still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantState {
    /// Nothing was said against it.
    Live,
    /// Withdrawn, or ended because something that came of it was used twice, or with its client or user.
    Revoked,
    /// Given before a backup was restored; it may have been withdrawn in the time that was lost.
    Void,
}

/// Who may revoke a grant; anybody else finds none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantOwner {
    /// The user who gave it.
    Subject(UserSubject),
    /// The client it was given to.
    Client(ClientId),
}

/// What [`Grants::revoke_grant`] revokes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRevocation {
    /// The grant.
    pub grant_id: GrantId,
    /// Only if it is theirs; `None` for an administrator.
    pub only_of: Option<GrantOwner>,
    /// When the last of its access tokens will have expired (leeway included): until then they are denied.
    pub tokens_until: Timestamp,
}

/// The outcome of [`Grants::revoke_grant`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeGrant {
    /// Durable; neither the grant nor any token of it counts any more.
    Revoked,
    /// It had ended before.
    AlreadyRevoked,
    /// It is somebody else's; nothing changed.
    OfAnother,
    /// There is no such grant.
    Unknown,
}

/// A grant that nobody was asked for, because it asks for nothing that its user has not allowed its client before (OpenID Connect Core
/// §3.1.2.1, `prompt=none`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilentGrant {
    /// The grant. What it is [based on](Grant::based_on) is one that the user gave.
    pub grant: Grant,
    /// The code that the client gets for it.
    pub code: AuthorizationCode,
    /// The pushed request it came from, which it spends.
    pub pushed: Option<RequestUriHash>,
}

/// The outcome of [`Grants::give_silently`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveSilently {
    /// Durable: the code may be sent to the client.
    Given,
    /// What it is based on has ended, is another user's or another client's, ends earlier, or is none that a user gave; nothing changed.
    NotAllowed,
    /// The user is gone or disabled; nothing changed.
    UserBarred,
    /// Its pushed request was finished before; nothing changed.
    RequestUriSpent,
}

/// Which grants [`Grants::list_grants`] returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantQuery {
    /// Only those of this user.
    pub subject: Option<UserSubject>,
    /// Only those to this client.
    pub client_id: Option<ClientId>,
    /// Only grants after this one.
    pub after: Option<GrantId>,
    /// At most so many, and never more than [`PAGE_MAX`](crate::PAGE_MAX).
    pub limit: u16,
}

/// Grants in the order of their identifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantPage {
    /// The grants, ended ones among them.
    pub grants: Vec<StoredGrant>,
    /// Where the next page starts (`after`); `None` if this was the last.
    pub next: Option<GrantId>,
}

/// What users allowed.
pub trait Grants: Send + Sync {
    /// The grant with this identifier, and whether anything ended it: its own revocation, the deletion of its client, a
    /// restored backup. A point read; never cached.
    fn find_grant(&self, grant_id: &GrantId) -> Result<Option<StoredGrant>, StoreError>;

    /// Grants of a user, to a client, or all.
    fn list_grants(&self, query: GrantQuery) -> Answer<GrantPage>;

    /// What a user gave a client and still counts at `now`, the newest first; at most [`LIVE_GRANTS_MAX`]. Not those that rest on others.
    fn live_grants(&self, subject: UserSubject, client_id: ClientId, now: Timestamp) -> Answer<Vec<Grant>>;

    /// Records a grant that nobody was asked for, with its code, and spends its pushed request. Atomic: of any number of callers with
    /// one pushed request, interactions included, exactly one succeeds.
    fn give_silently(&self, silent: SilentGrant, entry: AuditEntry) -> Answer<GiveSilently>;

    /// Ends a grant and those based on it, as [`delete_user`](crate::Users::delete_user) ends all of a user: its codes and refresh
    /// tokens are refused from now on, and a deny entry tells the gateways about its access tokens.
    fn revoke_grant(&self, revocation: GrantRevocation, entry: AuditEntry) -> Answer<RevokeGrant>;
}
